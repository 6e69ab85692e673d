"""The address of a client behind proxies."""

import pytest
from django.test import RequestFactory

from users.account.addresses import client_address, counted_address


def request(peer: str, forwarded: str | None = None):
    meta = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return RequestFactory().get("/", REMOTE_ADDR=peer, **meta)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "10.0.0.1"),
        (0, "9.9.9.9", "10.0.0.1"),
        (1, None, "10.0.0.1"),
        (1, "9.9.9.9", "9.9.9.9"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        (2, "9.9.9.9", "9.9.9.9"),
        (1, "6.6.6.6, 9.9.9.9:1234", "9.9.9.9"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "2001:DB8:0::1", "2001:db8::1"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "::ffff:9.9.9.9", "9.9.9.9"),
        (1, "9.9.9.9, nonsense", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "\0", "10.0.0.1"),
    ],
)
def test_header_is_believed_for_as_many_hops_as_there_are_proxies(settings, proxies, forwarded, address):
    settings.TRUSTED_PROXIES = proxies
    assert client_address(request("10.0.0.1", forwarded)) == address


@pytest.mark.parametrize(
    ("peer", "counted"), [("9.9.9.9", "9.9.9.9"), ("2001:db8:1:2:3::4", "2001:db8:1:2::")]
)
def test_addresses_of_one_ipv6_network_count_as_one(peer, counted):
    assert counted_address(request(peer)) == counted


def test_a_socket_without_an_address_has_one_all_the_same():
    assert client_address(request("")) == "0.0.0.0"  # noqa: S104  compared, not bound
