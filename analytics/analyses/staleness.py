"""When the result of an analysis is stale: its data have changed since it was computed."""

from datetime import datetime

from analytics.models import Analysis, Status
from devices import statistics


def is_stale(analysis: Analysis, now: datetime) -> bool:
    """There is a result, and the data have changed since."""
    return analysis.status == Status.FINISHED and have_data_changed(analysis, now)


def have_data_changed(analysis: Analysis, now: datetime) -> bool:
    """Readings of its period were added, deleted or corrected since, or the fleet has other devices.

    Fresh readings change their number; every other change is in the change log.
    """
    ids = device_ids(analysis)
    if reading_counts(ids, analysis, now) != analysis.counts:
        return True
    return bool(statistics.changed_since(ids, analysis.period(now), analysis.snapshot))


def device_ids(analysis: Analysis) -> list[int]:
    return list(analysis.devices.values_list("pk", flat=True))


def reading_counts(ids: list[int], analysis: Analysis, now: datetime) -> dict[str, int]:
    """Number of readings by device id, which is text: it is stored as a key of JSON."""
    return {str(pk): count for pk, count in statistics.count(ids, analysis.period(now)).items()}
