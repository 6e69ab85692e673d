"""A calculation's rows as the columns of a chart, thinned to what a screen can show."""

from itertools import pairwise
from typing import Any

import numpy as np

from analytics.calculations import stored_rows
from analytics.calculations.columns import columns_of, decimals_of_columns
from analytics.models import Calculation

MOST_POINTS = 5000


def result_chart(calculation: Calculation) -> dict[str, Any]:
    """{columns: [{name, label, unit, kind, draw, decimals}], data: [[x...], [y...], ...], rows}.

    x is ISO 8601 text. More rows than MOST_POINTS are thinned: the first and the last remain, and of each
    stretch of rows those with a column's smallest or largest value. `rows` is the number before.
    """
    columns = columns_of(calculation)
    decimals = decimals_of_columns(calculation)
    names = [column.name for column in columns]
    data: list[list[Any]] = [[] for _ in names]
    for row in stored_rows.all_rows(calculation):
        for values, name in zip(data, names, strict=True):
            values.append(row[name])
    count = calculation.row_count
    places = thinned_places(data[1:], count)
    return {
        "columns": [
            {"name": c.name, "label": c.label, "unit": c.unit, "kind": c.kind, "draw": c.draw}
            | {"decimals": decimals.get(c.name)}
            for c in columns
        ],
        "data": [[values[i] for i in places] for values in data],
        "rows": count,
    }


def thinned_places(columns: list[list[float]], count: int) -> list[int]:
    """Indexes, in order, of at most MOST_POINTS of `count` rows."""
    if count <= MOST_POINTS:
        return list(range(count))
    stretches = (MOST_POINTS - 2) // (2 * max(1, len(columns)))
    bounds = np.linspace(0, count, stretches + 1).astype(int)
    places = {0, count - 1}
    for values in map(np.asarray, columns):
        for low, high in pairwise(bounds):
            part = values[low:high]
            places |= {int(low + part.argmin()), int(low + part.argmax())}
    return sorted(places)
