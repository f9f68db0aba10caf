"""A million rows to a pandas DataFrame, through the gateway and without it.

Run by bench/frames.go with QUIRE_URL and QUIRE_TOKEN: frames.py duckdb FILE NAME RUNS,
or frames.py postgres ADDRESS CONNECTION RUNS. It prints the seconds of both sides.
"""

import json
import sys
import time

import kragle as kg

ROWS = 1_000_000
COLUMNS = """i::BIGINT AS id, (i::BIGINT * 7919) % 100003 AS profile_id, (i % 97)::INTEGER AS title_id, {random} AS share, i * 0.5::DOUBLE PRECISION AS hours,
 {random} * 1e6 AS seconds, 'device ' || i % 5 AS device_type, 'title ' || i % 5000 AS title,
 TIMESTAMP '2018-01-01' + i * INTERVAL '1 second' AS ts, (i % 2 = 0) AS finished"""


def make_file(path):
    import duckdb

    columns = COLUMNS.format(random="random()")
    duckdb.sql(f"COPY (SELECT {columns} FROM range({ROWS}) t(i)) TO '{path}' (FORMAT parquet)")


def make_table(address):
    import psycopg

    with psycopg.connect(address) as base:
        base.execute("DROP TABLE IF EXISTS million")
        base.execute(f"CREATE TABLE million AS SELECT {COLUMNS.format(random='random()')} FROM generate_series(0, {ROWS - 1}) i")


def timed(function):
    start = time.perf_counter()
    frame = function()
    seconds = time.perf_counter() - start
    assert frame.shape == (ROWS, 10), frame.shape
    return seconds


def main(engine, place, name, runs):
    if engine == "duckdb":
        import duckdb

        make_file(place)
        peer = lambda: duckdb.sql(f"SELECT * FROM '{place}'").df()
        ours = lambda: kg.sql(f"SELECT * FROM '{name}'", progress=False)
    else:
        import pandas
        import sqlalchemy

        make_table(place)
        base = sqlalchemy.create_engine(place.replace("postgres://", "postgresql+psycopg://"))
        peer = lambda: pandas.read_sql("SELECT * FROM million", base)
        ours = lambda: kg.sql("SELECT * FROM million", conn=name, progress=False)
    timed(ours), timed(peer)  # the first of each warms what can be warm
    seen = {"quire": [], "peer": []}
    for _ in range(runs):
        seen["quire"].append(timed(ours))
        seen["peer"].append(timed(peer))
    print(json.dumps(seen))


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
