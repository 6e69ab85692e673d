"""A calculation's rows as the columns of a chart, thinned to what a screen can show."""

from itertools import pairwise
from typing import Any

import numpy as np

from analytics.calculations import stored_rows
from analytics.kernels import KERNELS
from analytics.models import Calculation

MOST_POINTS = 5000


def of_calculation(calculation: Calculation) -> dict[str, Any]:
    """{columns: [{name, label, unit, kind, draw}], data: [[x...], [y...], ...]}; x as ISO 8601 text.

    Of more rows than MOST_POINTS, those stay that hold a column's least or largest value in their stretch,
    and the first and the last.
    """
    columns = KERNELS[calculation.kernel].columns_of(calculation.parameters)
    names = [column.name for column in columns]
    data: list[list[Any]] = [[] for _ in names]
    for row in stored_rows.all_rows(calculation):
        for values, name in zip(data, names, strict=True):
            values.append(row[name])
    kept = thinned(data[1:], len(data[0]))
    return {
        "columns": [
            {"name": c.name, "label": c.label, "unit": c.unit, "kind": c.kind, "draw": c.draw}
            for c in columns
        ],
        "data": [[values[i] for i in kept] for values in data],
        "rows": len(data[0]),
    }


def thinned(columns: list[list[float]], count: int) -> list[int]:
    """The places, in order, of up to MOST_POINTS of so many rows."""
    if count <= MOST_POINTS:
        return list(range(count))
    stretches = (MOST_POINTS - 2) // (2 * len(columns))
    bounds = np.linspace(0, count, stretches + 1).astype(int)
    kept = {0, count - 1}
    for values in map(np.asarray, columns):
        for low, high in pairwise(bounds):
            part = values[low:high]
            kept |= {int(low + part.argmin()), int(low + part.argmax())}
    return sorted(kept)
