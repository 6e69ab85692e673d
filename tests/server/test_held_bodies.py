"""What the server holds for slow senders is bounded, and a late body is waited for."""

import json
import socket
import time
from functools import partial
from typing import Any

import pytest

from config.asgi.bodies import MAX_HELD_BYTES
from devices.ingestion.checks import FAULTS_OF_ITEM, InvalidItems, reading_faults
from devices.ingestion.decoding import MAX_BYTES, MAX_ITEMS
from devices.ingestion.intake import check_batch_item, check_items
from devices.timeline.unix_time import SECOND
from tests.ingestion.test_ingest import NOW, target
from tests.ingestion.test_known_heads import GOOD, request, wire
from tests.support.portal import Portal, Sender, eventually
from tests.support.raw_clients import begun_requests, note_statuses
from tests.support.senders import batch_path, stats_path

CLIENTS = 40
PROCESSES = 2
# uvicorn's time for an idle connection.
IDLE_SECONDS = 5


def test_dripping_bodies_at_the_gate_are_bounded_together(portal: Portal, device: Sender) -> None:
    """Each lacks its last byte. Whatever is held, others are taken in."""
    head = (
        f"POST {batch_path(device)} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Device {device.key}",
        "Content-Type: application/json",
        f"Content-Length: {MAX_BYTES}",
    )
    with begun_requests(portal, head, b" " * (MAX_BYTES - 1), CLIENTS) as clients:
        held_at_most = PROCESSES * (MAX_HELD_BYTES // MAX_BYTES)
        refused: dict[socket.socket, int] = {}

        def are_refused() -> bool:
            note_statuses(clients, refused)
            return len(refused) >= CLIENTS - held_at_most

        eventually(are_refused)
        # Whoever had not sent all that is refused may see the end of the connection instead.
        assert 503 in refused.values()
        assert set(refused.values()) <= {0, 503}
        for _ in range(4):
            portal.post_reading(device, x=1, y=2, z=3)


def test_a_late_body_is_waited_for_on_a_kept_connection(portal: Portal, device: Sender) -> None:
    """It was cut off as an idle connection is, and the reading was lost."""
    whole = request(device)
    head = len(whole) - len(GOOD)
    with wire(portal) as connection:
        connection.send(whole)
        assert connection.answer().status == 201
        connection.send(whole[:head])
        time.sleep(IDLE_SECONDS + 1)
        connection.send(whole[head:])
        assert connection.answer().status == 201


def receipt(portal: Portal, device: Sender, items: list[Any], key: str) -> dict[str, Any]:
    response = portal.request(
        "POST",
        f"{batch_path(device)}?partial=true",
        device_key=device.key,
        data=json.dumps(items),
        headers={"Content-Type": "application/json", "Idempotency-Key": key},
    )
    assert response.status_code == 201, response.text
    return response.json()


def test_a_receipt_names_a_hundred_faults_at_most_and_counts_all(portal: Portal, device: Sender) -> None:
    good = {"timestamp": "2026-11-21T09:31:00Z", "x": 1, "y": 2, "z": 3}
    cases = {
        "few": ([good, 7, 7], 2, None),
        "many": ([good, *[7] * 9_999], 100, 9_999),
        "long": ([good, {"x" * 100_000: 1}, *[{f"{number}" * 50: 1} for number in range(2000)]], None, 2001),
    }
    for key, (items, named, count) in cases.items():
        first = receipt(portal, device, items, key)
        assert (first["accepted"], first.get("rejected_count")) == (1, count)
        assert named in (None, len(first["rejected"]))
        assert [fault["index"] for fault in first["rejected"]] == list(range(1, 1 + len(first["rejected"])))
        assert receipt(portal, device, items, key) == first
    kept = (
        "SELECT max(octet_length(receipt)) FROM devices_idempotencykey WHERE key IN ('few', 'many', 'long')"
    )
    assert portal.query(kept)[0][0] < 10_000


def test_an_answer_is_not_much_longer_than_the_faulty_body(portal: Portal, device: Sender) -> None:
    body = json.dumps({"x" * 300: 1} | {str(number): 1 for number in range(100_000)}).encode()
    response = portal.request(
        "POST",
        stats_path(device),
        device_key=device.key,
        data=body,
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 400
    assert len(response.content) < 10_000


class TestRefusals:
    """A few kilobytes of gzip can be a batch of very many faults."""

    CHANNELS = tuple(f"channel_{number}" for number in range(500))

    @pytest.mark.parametrize(
        "item",
        [
            {},
            {str(number): 1 for number in range(25)},
            dict.fromkeys(CHANNELS[:30], "1"),
        ],
    )
    @pytest.mark.parametrize("skip_bad", [False, True])
    def test_a_batch_names_every_index_in_few_bytes(self, item: dict[str, Any], skip_bad: bool) -> None:
        body = json.dumps([item] * MAX_ITEMS).encode()
        items = json.loads(body)
        read = partial(check_batch_item, target(*self.CHANNELS), NOW, SECOND)
        try:
            faults = check_items(items, read, skip_bad=skip_bad)[1]
        except InvalidItems as error:
            faults = error.errors
        assert [fault["index"] for fault in faults] == list(range(MAX_ITEMS))
        assert sum(len(fault["message"]) for fault in faults) < 500_000
        assert faults[0]["message"].endswith("It has more faults.")
        assert faults[-1]["message"] == "Has faults, too."

    def test_a_reading_names_some_of_very_many(self) -> None:
        assert len(reading_faults({}, self.CHANNELS)) == FAULTS_OF_ITEM + 1
        [fault] = reading_faults(dict.fromkeys((*self.CHANNELS, "extra"), 1), self.CHANNELS)
        named = ", ".join(self.CHANNELS[:10])
        assert fault["message"] == f"Unknown channel; there are {named} and 490 others."
