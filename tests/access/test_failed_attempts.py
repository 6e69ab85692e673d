"""Credentials that fail too often wait; so do made-up ones from one address, far later."""

import asyncio

import pytest

from devices.access.failed_attempts import (
    ADDRESS_FAILURES_PER_MINUTE,
    FAILURES_PER_MINUTE,
    FailedAttempts,
    sender_address,
)

KEY = b"Device pld_1.x"


@pytest.fixture
def attempts() -> FailedAttempts:
    return FailedAttempts()


def test_a_credential_waits_after_its_bound_wherever_it_comes_from(attempts):
    for number in range(FAILURES_PER_MINUTE):
        assert attempts.wait_seconds(KEY, "9.9.9.9") == 0
        attempts.note(KEY, f"9.9.9.{number}")
    assert 0 < attempts.wait_seconds(KEY, "8.8.8.8") <= 60
    assert attempts.wait_seconds(b"Device pld_2.x", "9.9.9.1") == 0


def test_an_address_waits_after_a_bound_that_no_fleet_reaches(attempts):
    for number in range(ADDRESS_FAILURES_PER_MINUTE):
        attempts.note(b"Device %d" % number, "9.9.9.9")
    assert 0 < attempts.wait_seconds(KEY, "9.9.9.9") <= 60
    assert attempts.wait_seconds(KEY, "8.8.8.8") == 0


def test_only_a_bad_credential_counts(attempts):
    async def answered(status: int) -> None:
        async def send(_: dict) -> None:
            pass

        for _ in range(FAILURES_PER_MINUTE):
            await attempts.watch(KEY, "9.9.9.9", send)({"type": "http.response.start", "status": status})

    asyncio.run(answered(400))
    assert attempts.wait_seconds(KEY, "9.9.9.9") == 0
    asyncio.run(answered(401))
    assert attempts.wait_seconds(KEY, "9.9.9.9") > 0


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        # Not even from this computer, where uvicorn would believe it.
        (0, "127.0.0.1", [b"6.6.6.6"], "127.0.0.1"),
        (1, "127.0.0.1", [b"6.6.6.6, 9.9.9.9"], "9.9.9.9"),
        (1, "127.0.0.1", [b"6.6.6.6", b"9.9.9.9"], "9.9.9.9"),
        (1, "127.0.0.1", [], "127.0.0.1"),
        (0, "2001:db8:1:2:3::4", [], "2001:db8:1:2::"),
        (0, "", [], "0.0.0.0"),  # noqa: S104  compared, not bound
    ],
)
def test_the_address_is_the_one_that_pages_count(settings, proxies, peer, forwarded, address):
    settings.TRUSTED_PROXIES = proxies
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    assert sender_address({"headers": headers, "client": (peer, 1) if peer else None}) == address
