"""Loads the readings of one device into DuckDB or chDB and answers queries from standard input.

It runs in the bench's own environment: `engine.py NAME FOLDER FILE`. FILE has rows of an int64 and three
doubles. Each input line `START END` (microseconds, half open) is answered by a line with the seconds taken
and the medians.
"""

import sys
import time

FIELDS = ("x", "y", "z")


def duckdb_asker(folder, file):
    import duckdb  # noqa: PLC0415, the other engine is not loaded
    import numpy  # noqa: PLC0415

    table = numpy.memmap(file, [("t", "<i8"), *((name, "<f8") for name in FIELDS)])
    database = duckdb.connect(f"{folder}/readings.duckdb")
    database.execute("CREATE TABLE r (t BIGINT, x DOUBLE, y DOUBLE, z DOUBLE)")
    for start in range(0, len(table), 5_000_000):
        part = {name: table[name][start : start + 5_000_000].copy() for name in table.dtype.names}
        database.register("part", part)
        database.execute("INSERT INTO r SELECT t, x, y, z FROM part")
        database.unregister("part")
    database.execute("CHECKPOINT")
    figures = ", ".join(f"min({n}), max({n}), sum({n}), quantile_cont({n}, 0.5)" for n in FIELDS)

    def ask(start, end):
        query = f"SELECT count(*), {figures} FROM r WHERE t >= {start} AND t < {end}"
        return database.execute(query).fetchone()[4::4]

    return ask


def chdb_asker(folder, file):
    from chdb.session import Session  # noqa: PLC0415

    session = Session(f"{folder}/chdb")
    session.query(
        "CREATE DATABASE d; CREATE TABLE d.r (t Int64, x Float64, y Float64, z Float64)"
        " ENGINE = MergeTree ORDER BY t"
    )
    columns = "t Int64, x Float64, y Float64, z Float64"
    session.query(f"INSERT INTO d.r SELECT * FROM file('{file}', 'RowBinary', '{columns}')")
    figures = ", ".join(f"min({n}), max({n}), sum({n}), quantileExactInclusive(0.5)({n})" for n in FIELDS)

    def ask(start, end):
        query = f"SELECT count(), {figures} FROM d.r WHERE t >= {start} AND t < {end}"
        answer = str(session.query(query, "TabSeparated")).split()
        return [float(part) for part in answer][4::4]

    return ask


ASKERS = {"DuckDB": duckdb_asker, "chDB": chdb_asker}


def main() -> None:
    name, folder, file = sys.argv[1:]
    ask = ASKERS[name](folder, file)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        began = time.perf_counter()
        medians = ask(*line.split())
        print(time.perf_counter() - began, *medians, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
