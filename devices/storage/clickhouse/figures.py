"""Figures of spans and pools, computed in ClickHouse and exact.

ClickHouse sorts values for their ranks (its `quantileExactInclusive` adds 1 before it takes the fraction, and
so differs from PostgreSQL's percentile_cont in the last digits). It sums whole mantissas by exponent.
"""

from collections.abc import Sequence

from devices.storage import change_log
from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.answers import channel_figures, figures_from, is_consistent
from devices.storage.clickhouse.layers import layers
from devices.storage.clickhouse.parameters import pool_parameters, statement_parameters, unix_bound
from devices.storage.clickhouse.readings_server import ReadingsServer
from devices.storage.interface import NO_FIGURES, Figures, FiguresAnswer, FiguresQuery, Pool, Report

ATTEMPTS = 5
# The key of the row of pools; no device has the id 0.
POOLS_KEY = (0, 0)


def figures(
    server: ReadingsServer,
    queries: Sequence[FiguresQuery],
    shares: Sequence[float],
    pools: Sequence[Pool],
    report: Report | None,
) -> FiguresAnswer:
    for attempt in range(1, ATTEMPTS + 1):
        answer = figures_once(server, queries, shares, pools, report)
        # The shards of a cluster answer at different moments.
        if is_consistent(answer.each, answer.pooled, pools) or attempt == ATTEMPTS:
            return answer
    raise AssertionError("ATTEMPTS is at least 1.")


def figures_once(
    server: ReadingsServer,
    queries: Sequence[FiguresQuery],
    shares: Sequence[float],
    pools: Sequence[Pool],
    report: Report | None,
) -> FiguresAnswer:
    found: dict[int, Figures] = {}
    pooled = [NO_FIGURES] * len(pools)
    with change_log.repeatable_read():
        # Taken before the first query: what changes during the queries makes the answer stale.
        snapshot = change_log.snapshot()
        # Pools are of queries about one period, which are one layer.
        for layer in [list(range(len(queries)))] if pools else layers(queries):
            rows = rows_by_span(server, [queries[i] for i in layer], shares, pools)
            for i in layer:
                span = queries[i].span
                found[i] = figures_from(
                    queries[i], rows.get((span.device_id, unix_bound(span.start))), shares
                )
            for pool, of_pool in channel_figures(rows[POOLS_KEY][-1], shares) if pools else ():
                pooled[pool - 1] = of_pool
            if report is not None:
                report(len(found))
    return FiguresAnswer([found[i] for i in range(len(queries))], pooled, snapshot)


def rows_by_span(
    server: ReadingsServer, queries: Sequence[FiguresQuery], shares: Sequence[float], pools: Sequence[Pool]
) -> dict[tuple[int, int], list]:
    """Return rows of sql.FIGURES by device id and start of the span, and the row of pools by POOLS_KEY."""
    statement = server.on_shards(sql.FIGURES)
    parameters = statement_parameters(queries) | {"shares": list(shares)}
    if pools:
        statement += f" UNION ALL {sql.POOLS.replace('POOL_PARTS', server.on_shards(sql.POOL_PARTS))}"
        parameters |= pool_parameters(queries, pools)
    rows = server.query(statement, is_patient=True, **parameters)
    return {(device_id, boundary): row for device_id, boundary, *row in rows}
