"""The change log: which stretches of a device's data were changed otherwise than by fresh readings.

Segments and stored results are about a state of the data. Each late reading, deletion and correction leaves
an entry here in its own transaction; what is about a state that has not seen an entry of its stretch is
stale. Fresh readings leave none: nothing is built of them, and they are noticed by their number.
"""

from collections.abc import Sequence

from devices.store import Span


def changed_since(spans: Sequence[Span], snapshot: str) -> set[int]:
    """The devices of the spans in which something was changed that was not visible in the snapshot."""
    return set()


def note(span: Span) -> None:
    """Something of the span was changed, in the transaction that is open."""
