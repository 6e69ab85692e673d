from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devices.storage.interface import FiguresQuery

# Boundaries in one query: a server takes parameters of up to 128 KiB (http_max_field_value_size).
BOUNDARIES_AT_ONCE = 5000


@dataclass
class Layer:
    """Queries that one statement can answer, by their indexes.

    A statement assigns a reading to a span by its time alone. So all devices of a layer have the same spans,
    and these spans do not overlap.
    """

    device_ids: list[int]
    end: int
    indexes: list[int]

    def has_room(self, device_ids: list[int], start: int) -> bool:
        return self.device_ids == device_ids and self.end <= start


def layers(queries: Sequence[FiguresQuery]) -> list[list[int]]:
    """Group queries, by index, so that one statement answers each group."""
    found: list[Layer] = []
    for start, end, indexes in spans_with_queries(queries):
        device_ids = sorted(queries[i].span.device_id for i in indexes)
        layer = next((layer for layer in found if layer.has_room(device_ids, start)), None)
        if layer is None:
            found.append(Layer(device_ids, end, list(indexes)))
        else:
            layer.end = end
            layer.indexes += indexes
    return [
        layer.indexes[i : i + BOUNDARIES_AT_ONCE]
        for layer in found
        for i in range(0, len(layer.indexes), BOUNDARIES_AT_ONCE)
    ]


def spans_with_queries(queries: Sequence[FiguresQuery]) -> Iterator[tuple[int, int, list[int]]]:
    """Yield start, end and the indexes of the queries of each span, in the order of starts.

    A span comes before those that it contains. Its statement then runs first, and if readings come in
    between, it is the containing span that lacks them, and whose answer is stale.
    """
    by_span: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, query in enumerate(queries):
        by_span[query.span.start, query.span.end].append(i)
    for start, end in sorted(by_span, key=lambda span: (span[0], -span[1])):
        yield start, end, by_span[start, end]
