"""Tests of the client library: python -m unittest discover -s python/tests.

The tests of Contract run against the small server of gateway.py, and against a
real one where QUIRE_TEST_URL and QUIRE_TEST_TOKEN name it (internal/server does).
"""

import asyncio
import contextlib
import datetime
import decimal
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zipfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

PYTHON = Path(__file__).parent.parent
sys.path[:0] = [str(PYTHON), str(Path(__file__).parent)]

import pandas as pd
import pyarrow as pa

import kragle as kg
from kragle import _arrow, _complete, _display, _files, _magic, _parameters, _progress, _query, _statement
from kragle._errors import _marked
from gateway import TOKEN, Gateway

REAL = os.environ.get("QUIRE_TEST_URL", "")
SLOW = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 2000000000) SELECT count(*) FROM t"


class Served(unittest.TestCase):
    """Has a server, and the environment that a kernel of it has."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.gateway = None
        url, token = REAL, os.environ.get("QUIRE_TEST_TOKEN", "")
        if not self.real():
            self.gateway = stack.enter_context(Gateway())
            url, token = self.gateway.url, TOKEN
        variables = {"QUIRE_URL": url, "QUIRE_TOKEN": token, "QUIRE_NOTEBOOK": "users/ann/etl/load.ipynb", "QUIRE_RUN": ""}
        if self.real():
            variables["QUIRE_NOTEBOOK"] = os.environ["QUIRE_TEST_NOTEBOOK"]
        stack.enter_context(mock.patch.dict(os.environ, variables))
        kg.connect()
        _complete._kept.clear()

    def real(self):
        return False


def cell(source, *tags):
    return {"cell_type": "code", "id": f"c{abs(hash(source)) % 10**8}", "metadata": {"tags": list(tags)},
            "execution_count": None, "outputs": [], "source": source}


CHILD = {"cells": [cell("day = ''\nfail = False", "parameters"), cell("import kragle as kg\nkg.record('rmse', 0.3)\n1 / (not fail)")],
         "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                      "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


class Contract(Served):
    """What holds for every server that speaks the contract."""

    def real(self):
        return bool(REAL)

    def setUp(self):
        super().setUp()
        self.made = []
        self.addCleanup(self.drop)

    def name(self, suffix=""):
        name = f"t_{os.getpid()}_{time.monotonic_ns()}{suffix}"
        self.made.append(name)
        return name

    def drop(self):
        for name in self.made:
            kg.sql(f"DROP TABLE IF EXISTS {name}")

    def test_values(self):
        frame = kg.sql("SELECT 1 AS a, 'x' AS b, 2.5 AS c UNION ALL SELECT 2, 'y', 3.5 ORDER BY 1")
        self.assertEqual(frame.to_dict("list"), {"a": [1, 2], "b": ["x", "y"], "c": [2.5, 3.5]})
        self.assertIs(type(frame), pd.DataFrame)
        self.assertEqual(kg.sql("SELECT 7 AS n", to="arrow").column("n").to_pylist(), [7])
        self.assertEqual(kg.sql("SELECT 7 AS n", "polars")["n"].to_list(), [7])

    def test_no_rows_keep_their_columns(self):
        frame = kg.sql("SELECT 1 AS a, 'x' AS b WHERE 1 = 0")
        self.assertEqual((list(frame.columns), len(frame)), (["a", "b"], 0))

    def test_parameters_are_bound(self):
        evil = "x'; DROP TABLE playback; --"
        self.assertEqual(kg.sql("SELECT :evil AS v", params={"evil": evil})["v"][0], evil)
        found = kg.sql("SELECT :n + 1 AS n, :f AS f, :none IS NULL AS none", params={"n": 41, "f": 0.5, "none": None})
        self.assertEqual((int(found["n"][0]), float(found["f"][0]), bool(found["none"][0])), (42, 0.5, True))
        text = kg.sql("SELECT ':n' AS t -- :n", params={})
        self.assertEqual(text["t"][0], ":n")

    def test_lists_are_bound(self):
        name = self.name()
        kg.write({"n": [1, 2, 3, 4]}, name)
        found = kg.sql(f"SELECT n FROM {name} WHERE n IN :wanted ORDER BY n", params={"wanted": [1, 3, 9]})
        self.assertEqual(found["n"].tolist(), [1, 3])

    def test_missing_table(self):
        with self.assertRaises(kg.QueryError) as caught:
            kg.sql("SELECT 1,\n  2\nFROM no_such_table_here")
        text = str(caught.exception)
        self.assertIn("no_such_table_here", text)
        self.assertIn("line 3", text)
        self.assertIn("^", text)
        self.assertNotIn("Traceback", text)

    def test_wrong_sql(self):
        with self.assertRaises(kg.QueryError) as caught:
            kg.sql("SELEC 1")
        self.assertIn("SELEC", str(caught.exception))

    def test_no_connection(self):
        with self.assertRaises(kg.Error) as caught:
            kg.sql("SELECT 1", conn="no_such_connection")
        self.assertIn("no_such_connection", str(caught.exception))
        self.assertEqual(caught.exception.kind, "not found")

    def test_connections(self):
        found = kg.connections()
        self.assertIn("local", [one.name for one in found])
        self.assertEqual(sum(one.default for one in found), 1)
        self.assertIn("local", repr(found))
        self.assertIn("<td>local</td>", found._repr_html_())

    def test_create_and_the_catalog(self):
        name = self.name()
        self.assertEqual(kg.sql(f"CREATE TABLE {name} AS SELECT 1 AS a, 'x' AS b").shape, (0, 0))
        table = next(one for one in kg.tables() if one.name == name)
        self.assertEqual(table.read()["b"].tolist(), ["x"])
        table = kg.table(name)
        self.assertEqual([column.name for column in table.columns], ["a", "b"])
        self.assertEqual(table.head(1)["a"].tolist(), [1])
        self.assertEqual(pa.table(table).num_rows, 1)
        with self.assertRaises(kg.QueryError) as caught:
            kg.sql(f"CREATE TABLE {name} AS SELECT 1 AS a")
        self.assertIn("already exists", str(caught.exception))
        with self.assertRaises(kg.Error) as missing:
            kg.table("no_such_table_here")
        self.assertEqual(missing.exception.kind, "not found")

    def test_write(self):
        name = self.name()
        frame = pd.DataFrame({"n": range(10_000), "s": [f"row {i}" for i in range(10_000)]})
        self.assertEqual(kg.write(frame, name), 10_000)
        with self.assertRaises(kg.Error):
            kg.write(frame, name)
        self.assertEqual(kg.write(pa.table({"n": [1], "s": ["one"]}), name, mode="append"), 1)
        self.assertEqual(int(kg.sql(f"SELECT count(*) AS c FROM {name}")["c"][0]), 10_001)
        self.assertEqual(kg.write([{"n": 5, "s": "five"}], name, mode="replace"), 1)
        self.assertEqual(kg.table(name).read()["s"].tolist(), ["five"])
        with self.assertRaises(TypeError):
            kg.write(object(), name)
        with self.assertRaises(ValueError):
            kg.write(frame, name, mode="upsert")

    def test_max_rows(self):
        query = kg.submit("SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3", max_rows=2)
        self.assertEqual(len(query.result()), 2)
        self.assertTrue(query.refresh().get("truncated"))

    def test_submit(self):
        query = kg.submit("SELECT 1 AS n")
        self.assertTrue(query.id)
        self.assertEqual(query.result("arrow").num_rows, 1)
        self.assertEqual(query.state, "succeeded")

    def test_cancel(self):
        query = kg.submit(SLOW)
        threading.Timer(0.3, query.cancel).start()
        with self.assertRaises(kg.Cancelled):
            query.result(progress=False)
        self.assertEqual(query.state, "cancelled")
        query.cancel()  # it is over: no error

    def test_interrupt_cancels(self):
        """Ctrl-C while a statement runs: nothing is left running."""
        # A shell gives what it starts in the background an interrupt that is ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        seen = []
        submit = _query.Query.submit

        def spy(query):
            seen.append(submit(query))
            threading.Timer(0.3, lambda: __import__("_thread").interrupt_main()).start()
            return query

        with mock.patch.object(_query.Query, "submit", spy), self.assertRaises(KeyboardInterrupt):
            kg.sql(SLOW, progress=False)
        self.assertEqual(ended(seen[0]), "cancelled")

    def test_asyncio(self):
        async def both():
            one, two = await asyncio.gather(kg.asql("SELECT 1 AS n"), kg.aio.sql("SELECT 2 AS n", to="arrow"))
            return int(one["n"][0]), two.column("n").to_pylist()

        self.assertEqual(asyncio.run(both()), (1, [2]))

    def test_asyncio_cancels(self):
        seen = []
        submit = _query.Query.submit

        async def short():
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(kg.aio.sql(SLOW), 0.4)

        with mock.patch.object(_query.Query, "submit", lambda query: seen.append(submit(query)) or query):
            asyncio.run(short())
        self.assertEqual(ended(seen[0]), "cancelled")

    def test_magics(self):
        with in_ipython() as cell:
            self.assertIsNone(cell("import kragle as kg").error_in_exec)
            name = self.name("_fr_2018_05_08")
            created = cell(f"%%sql\nCREATE TABLE {name} AS\n(\n  SELECT\n    'TV' AS device_type, 5 AS n\n)\n")
            self.assertIsNone(created.error_in_exec)
            cell("wanted = ['TV', 'it''s']")
            shown = cell(f"%%sql local -o df\nSELECT * FROM {name} WHERE device_type IN :wanted")
            self.assertIs(type(shown.result), pd.DataFrame)
            self.assertIs(cell.space["df"], shown.result)
            self.assertRegex(cell.printed, r"1 row × 2 columns · .* · local\n")
            self.assertEqual(shown.result["n"].tolist(), [5])
            line = cell(f"total = %sql SELECT sum(n) AS n FROM {name}")
            self.assertIsNone(line.error_in_exec)
            self.assertEqual(int(cell.space["total"]["n"].iloc[0]), 5)
            wrong = cell("%%sql\nSELECT *\nFROM no_such_table_here")
            self.assertIsInstance(wrong.error_in_exec, kg.QueryError)
            self.assertIn("line 3", str(wrong.error_in_exec))  # the magic's own line is the first

    def test_files_runs_and_schedules(self):
        name = f"child_{time.monotonic_ns()}"
        saved = kg.files.write(name + ".ipynb", CHILD)
        self.addCleanup(kg.files.delete, name + ".ipynb")
        self.assertEqual(saved.path, os.environ["QUIRE_NOTEBOOK"].rpartition("/")[0] + f"/{name}.ipynb")
        self.assertIn(name + ".ipynb", [one.name for one in kg.files.list()])
        self.assertEqual(json.loads(kg.files.read_text(name + ".ipynb"))["nbformat"], 4)
        run = kg.run(name + ".ipynb", {"day": datetime.date(2018, 5, 8)}, progress=False)
        self.assertEqual((run.records, run.parameters), ({"rmse": 0.3}, {"day": "2018-05-08"}))
        with self.assertRaises(kg.RunFailed) as caught:
            kg.run(name + ".ipynb", {"fail": True}, progress=False)
        self.assertIn("cell ", str(caught.exception))
        later = kg.run(name + ".ipynb", wait=False)
        self.assertTrue(list(later.follow()))
        self.assertEqual(later.info["state"], "succeeded")
        kg.schedule(name, name + ".ipynb", {"day": "x"}, cron="0 6 * * *", retries=1)
        self.assertEqual(kg.schedule.next(name, 1)[0].hour, 6)
        self.assertIn(name, [one["name"] for one in kg.schedule.list()])
        kg.schedule.delete(name)
        with self.assertRaises(kg.Error):
            kg.schedule.get(name)

    def test_completion(self):
        name = self.name()
        kg.write({"device_type": ["TV"], "seconds": [1]}, name)
        text = f"%%sql\nSELECT dev\nFROM {name}"
        fragment, found = _complete.candidates(text, text.index("dev") + 3, {})
        self.assertEqual((fragment, ("device_type", "column") in found), ("dev", True))
        text = f"%%sql\nSELECT * FROM {name[:8]}"
        self.assertIn((name, "table"), _complete.candidates(text, len(text), {})[1])
        text = f"%%sql\nSELECT x. FROM {name} AS x"
        self.assertIn(("x.seconds", "column"), _complete.candidates(text, text.index("x.") + 2, {})[1])
        text = f"df = %sql SELECT sec FROM {name}"
        self.assertIn(("seconds", "column"), _complete.candidates(text, text.index("sec") + 3, {})[1])
        text = "%%sql\nSELECT :coun"
        self.assertEqual(_complete.candidates(text, len(text), {"country": 1})[1], [(":country", "variable")])
        self.assertIsNone(_complete.candidates("x = 1", 3, {}))


def ended(query):
    """The state that a query comes to."""
    for _ in range(24):
        if query.refresh(wait=5)["state"] not in ("queued", "running"):
            break
    return query.info["state"]


@contextlib.contextmanager
def in_ipython():
    """A shell of IPython that is this process's; cell(text) executes one."""
    from IPython.core.interactiveshell import InteractiveShell

    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, {"IPYTHONDIR": home}):
        InteractiveShell.clear_instance()
        with mock.patch("IPython.core.history.HistoryManager.enabled", False, create=True):
            shell = InteractiveShell.instance()
        kg.load_ipython_extension(shell)

        def cell(text):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                result = shell.run_cell(text, store_history=False, silent=False)
            cell.printed = out.getvalue()
            return result

        cell.space, cell.shell, cell.printed = shell.user_ns, shell, ""
        try:
            yield cell
        finally:
            manager = shell.history_manager
            if manager is not None:
                manager.end_session()
                manager.db.close() if getattr(manager, "db", None) is not None and hasattr(manager.db, "close") else None
            InteractiveShell.clear_instance()


class Faults(Served):
    """What a server, or what is between, can do wrong."""

    def one_message(self, *words):
        stack = contextlib.ExitStack()
        caught = stack.enter_context(self.assertRaises(kg.Error))

        def look():
            for word in words:
                self.assertIn(word, str(caught.exception))

        stack.callback(look)
        return stack

    def test_a_result_that_breaks_off(self):
        kg.write({"n": list(range(5000))}, "t")
        self.gateway.break_after = 9000
        with self.assertRaises(kg.Error) as caught:
            kg.sql("SELECT * FROM t")
        self.assertIn("the engine went away in the middle", str(caught.exception))

    def test_a_result_without_an_end(self):
        self.gateway.without_end = True
        with self.assertRaises(kg.Error) as caught:
            kg.sql("SELECT 1 AS n")
        self.assertIn("broke off", str(caught.exception))

    def test_a_result_that_is_too_large(self):
        kg.write({"n": list(range(50_000))}, "t")
        with mock.patch.object(_arrow, "memory_limit", lambda: 100_000), self.assertRaises(kg.ResultTooLarge) as caught:
            kg.sql("SELECT * FROM t")
        self.assertIn("CREATE TABLE ... AS", str(caught.exception))

    def test_no_server(self):
        with mock.patch.dict(os.environ, {"QUIRE_URL": "http://127.0.0.1:9"}), self.assertRaises(kg.Error) as caught:
            kg.sql("SELECT 1")
        self.assertIn("http://127.0.0.1:9 does not answer", str(caught.exception))
        self.assertEqual(caught.exception.kind, "unavailable")
        with mock.patch.dict(os.environ, {"QUIRE_URL": ""}), self.assertRaises(kg.Error) as caught:
            kg.connections()
        self.assertIn("kg.connect", str(caught.exception))

    def test_wrong_token(self):
        with mock.patch.dict(os.environ, {"QUIRE_TOKEN": "wrong"}), self.assertRaises(kg.NotSignedIn) as caught:
            kg.connections()
        self.assertNotIn("wrong", str(caught.exception).replace("is wrong", ""))

    def test_token_file(self):
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump({"url": self.gateway.url, "token": TOKEN}, file)
            file.flush()
            changed = {"QUIRE_TOKEN": "old", "QUIRE_URL": "http://127.0.0.1:9", "QUIRE_TOKEN_FILE": file.name}
            with mock.patch.dict(os.environ, changed):
                self.assertEqual(len(kg.connections()), 1)

    def test_what_is_not_json(self):
        with mock.patch.object(self.gateway.server.RequestHandlerClass, "route", lambda self, *_: self.answer(b"<html>")):
            with self.assertRaises(kg.Error) as caught:
                kg.connections()
        self.assertIn("not JSON", str(caught.exception))

    def test_a_statement_is_never_sent_twice(self):
        kg.connections()
        sent = []

        def hang_up(handler, *_):
            sent.append(1)
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

        fail = mock.patch.object(self.gateway.server.RequestHandlerClass, "route", hang_up)
        with fail, self.assertRaises((kg.Error, OSError)), contextlib.redirect_stderr(io.StringIO()):
            kg.sql("INSERT INTO t VALUES (1)")
        self.assertEqual(len(sent), 1)


class Platform(Served):
    def test_files(self):
        kg.files.write("a.csv", "x\n1\n")
        self.assertEqual(self.gateway.files, {"users/ann/etl/a.csv": b"x\n1\n"})
        self.assertEqual(kg.files.read_text("/users/ann/etl/a.csv"), "x\n1\n")
        with kg.files.open("users/ann/b.txt", "w") as out:
            out.write("é")
        self.assertEqual(self.gateway.files["users/ann/b.txt"], "é".encode())
        with self.assertRaises(ZeroDivisionError), kg.files.open("c.txt", "w") as out:
            out.write("half")
            raise ZeroDivisionError
        self.assertFalse(kg.files.exists("c.txt"))
        with kg.files.open("../b.txt") as text:
            self.assertEqual(text.read(), "é")
        self.assertEqual([one.name for one in kg.files.list(".")], ["a.csv"])
        kg.files.delete("a.csv")
        with self.assertRaises(kg.Error) as caught:
            kg.files.read("a.csv")
        self.assertEqual(caught.exception.kind, "not found")
        with self.assertRaises(kg.Error):
            kg.files.write("shared/x.csv", b"")
        with self.assertRaises(ValueError):
            kg.files.open("a", "a+")

    def test_run(self):
        self.gateway.files["users/ann/etl/other.ipynb"] = b"{}"
        run = kg.run("other.ipynb", {"day": datetime.date(2018, 5, 8), "n": 1})
        self.assertEqual((run.notebook, run.info["state"]), ("users/ann/etl/other.ipynb", "succeeded"))
        self.assertEqual(run.parameters, {"day": "2018-05-08", "n": 1})
        self.assertEqual(run.records, {"rmse": 0.3})
        self.assertEqual(run.output, {"cells": []})
        with self.assertRaises(kg.RunFailed) as caught:
            kg.run("other.ipynb", {"fail": True})
        self.assertIn("ZeroDivisionError", str(caught.exception))
        self.assertIn("/runs/" + caught.exception.run.id, str(caught.exception))
        self.assertEqual(kg.run("other.ipynb", {"fail": True}, check=False).info["state"], "failed")
        later = kg.run("other.ipynb", wait=False)
        self.assertEqual(later.info["state"], "queued")
        self.assertEqual(list(later.follow()), [{"type": "cell"}])
        self.assertTrue(later.done)
        with self.assertRaises(kg.Error):
            kg.run("missing.ipynb")
        self.assertEqual(asyncio.run(kg.aio.run("other.ipynb")).records, {"rmse": 0.3})

    def test_schedule(self):
        kg.schedule("daily", "report.ipynb", {"a": 1}, cron="0 6 * * *", timezone="Europe/Istanbul", retries=2)
        self.assertEqual(self.gateway.schedules["daily"], {
            "schedule": 1, "name": "daily", "timezone": "Europe/Istanbul", "notebook": "users/ann/etl/report.ipynb",
            "triggers": [{"cron": "0 6 * * *"}], "parameters": {"a": 1}, "retries": {"notebook": 2}})
        self.assertEqual(kg.schedule.next("daily")[0].hour, 6)
        self.assertEqual([one["name"] for one in kg.schedule.list()], ["daily"])
        kg.schedule.pause("daily", "holidays")
        kg.schedule.delete("daily")
        self.assertEqual(kg.schedule.list(), [])
        with self.assertRaises(ValueError):
            kg.schedule.backfill("daily", datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 2))

    def test_parameters(self):
        source = "from typing import Literal\ncountry: Literal['US', 'BR'] = 'US'  # where\ndays: float = 14\nday: date = '2018-05-08'\nplain = 1\n"
        cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
        self.gateway.files["users/ann/etl/load.ipynb"] = json.dumps({"cells": [cell]}).encode()
        space = {"country": "BR", "days": 7, "day": "2018-05-09", "plain": 2, "other": 3}
        with mock.patch.object(_parameters, "_namespace", lambda: space):
            p = _parameters.Parameters()
            self.assertEqual(dict(p), {"country": "BR", "days": 7.0, "day": datetime.date(2018, 5, 9), "plain": 2})
            self.assertIs(type(p.days), float)
            self.assertEqual(p.types["country"], "Literal['US', 'BR']")
            with self.assertRaises(AttributeError):
                p.other

            @dataclass
            class Wanted:
                country: str
                days: int
                missing: str = "left out"

            self.assertEqual(p.to(Wanted), Wanted("BR", 7.0))
        with mock.patch.dict(os.environ, {"QUIRE_NOTEBOOK": ""}):
            self.assertIn("QUIRE_NOTEBOOK", repr(_parameters.Parameters()))

    def test_links(self):
        with mock.patch.dict(os.environ, {"QUIRE_RUN": "r42"}):
            query = kg.submit("SELECT 1 AS n")
        body = self.gateway.queries[query.id].body
        self.assertEqual((body["notebook"], body["run"]), ("users/ann/etl/load.ipynb", "r42"))


class Parts(unittest.TestCase):
    def test_names(self):
        for statement, want in [
            ("SELECT :a, :b_2 FROM t WHERE x=:a", ["a", "b_2"]),
            ("SELECT x::int, ':no', \":no\", t[1:n], {'a':b}, $$ :no $$, $x$ :no $x$", []),
            ("-- :no\n/* :no\n */ SELECT (:yes)", ["yes"]),
            ("SELECT 'it''s :no' || :yes", ["yes"]),
            ("SELECT 'open :no", []),
            ("SELECT a[:i]", ["i"]),
            ("x IN (:a,:b)", ["a", "b"]),
        ]:
            with self.subTest(statement=statement):
                self.assertEqual(_statement.names(statement), want)

    def test_bound(self):
        import numpy as np

        stamp = datetime.datetime(2018, 5, 8, 1, 2, tzinfo=datetime.timezone.utc)
        for value, want in [
            (1, 1), (True, True), (None, None), ("x", "x"), (0.5, 0.5),
            (1 << 70, {"type": "decimal", "value": str(1 << 70)}),
            (float("nan"), {"type": "float", "value": "nan"}),
            (decimal.Decimal("1.50"), {"type": "decimal", "value": "1.50"}),
            (datetime.date(2018, 5, 8), {"type": "date", "value": "2018-05-08"}),
            (stamp, {"type": "timestamp", "value": "2018-05-08T01:02:00+00:00"}),
            (b"\0\1", {"type": "bytes", "value": "AAE="}),
            (np.int64(5), 5), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.array([1, 2]), [1, 2]),
            (np.datetime64("2018-05-08"), {"type": "timestamp", "value": "2018-05-08T00:00:00"}),
            (pd.Series(["a"]), ["a"]), (pd.NA, None), (pd.NaT, None), ((1, "a"), [1, "a"]), (range(2), [0, 1]),
            (pd.Timestamp("2018-05-08"), {"type": "timestamp", "value": "2018-05-08T00:00:00"}),
        ]:
            with self.subTest(value=value):
                got = _query.bound(value, "p")
                self.assertEqual(got, want)
                json.dumps(got, allow_nan=False)
        for value in (object(), [[1]], {"a": 1}, decimal.Decimal("NaN")):
            with self.subTest(value=value), self.assertRaises((TypeError, ValueError)):
                _query.bound(value, "p")

    def test_marked(self):
        text = _marked("SELECT a,\n\tb\nFROM t", 2, 2, 2)
        self.assertEqual(text, "\n  line 3, column 2\n  2 | SELECT a,\n  3 | \tb\n    | \t^")
        self.assertEqual(_marked("x", 9, 1, 1), "")
        wide = _marked("x" * 10_000 + "HERE" + "y" * 10_000, 1, 10_001, 1).splitlines()
        self.assertEqual(wide[-2][wide[-1].index("^")], "H")
        self.assertLess(max(map(len, wide)), 200)

    def test_options(self):
        options, rest = _magic.parse("-o df --conn 'my pg' --max-rows=5 -q SELECT -1 -- comment")
        self.assertEqual((options.out, options.conn, options.max_rows, options.quiet), ("df", "my pg", 5, True))
        self.assertEqual(rest, "SELECT -1 -- comment")
        self.assertEqual(_magic.parse("-- a comment")[1], "-- a comment")
        self.assertEqual(_magic.parse_cell("presto -o df").conn, "presto")
        for line in ("--nope", "-o 1x", "--to excel", "--max-rows many", "-o"):
            with self.subTest(line=line), self.assertRaises(_magic.UsageError):
                _magic.parse(line)
        for line in ("a b", "a -c b"):
            with self.subTest(line=line), self.assertRaises(_magic.UsageError):
                _magic.parse_cell(line)

    def test_jinja_is_off(self):
        self.assertEqual(_magic.Options().jinja, False)
        self.assertEqual(_magic.parse("--jinja SELECT {{ a }}")[0].jinja, True)

    def test_jinja(self):
        space = {"devices": ["tv", "mobile"], "_hidden": 1, "frame": type("F", (), {"n": 2})()}
        text = "SELECT {{ frame.n }} FROM t WHERE{% for d in devices %} device = '{{ d }}'{{ '' if loop.last else ' OR' }}{% endfor %} AND day = :day"
        self.assertEqual(_magic._rendered(text, space), "SELECT 2 FROM t WHERE device = 'tv' OR device = 'mobile' AND day = :day")
        for text, line, says in (
            ("SELECT 1,\n {{ nothing }}", 0, "'nothing' is undefined"),
            ("SELECT {{ _hidden }}", 0, "'_hidden' is undefined"),
            ("SELECT {{ devices.__class__.__mro__ }}", 0, "__class__"),
            ("SELECT {{ devices.append('x') }}", 0, "append"),
            ("SELECT 1,\n{% if %}", 2, "Expected an expression"),
        ):
            with self.subTest(text=text), self.assertRaises(kg.QueryError) as caught:
                _magic._rendered(text, space)
            self.assertIn(says, str(caught.exception))
            self.assertEqual(caught.exception.line or 0, line)
        self.assertEqual(space["devices"], ["tv", "mobile"])

    def test_pandas_types(self):
        table = pa.table({
            "whole": pa.array([1, 2], pa.decimal128(38, 0)),
            "huge": pa.array([1 << 80, 2], pa.decimal128(38, 0)),
            "money": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(18, 2)),
            "day": pa.array([datetime.date(2018, 5, 8), None]),
        })
        frame = _arrow.to_pandas(table)
        self.assertEqual([dtype.kind for dtype in frame.dtypes], ["i", "f", "f", "M"])
        twice = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], ["a", "a", "a_1"])
        self.assertEqual(list(_arrow.to_pandas(twice).columns), ["a", "a_2", "a_1"])

    def test_identifiers(self):
        self.assertEqual(kg.Table('we"ird', "main").full_name, 'main."we""ird"')
        self.assertEqual(kg.Table("select").full_name, '"select"')
        self.assertEqual(kg.Table("Playback").full_name, '"Playback"')

    def test_results_are_shown(self):
        frame = pd.DataFrame({"n": range(2000), "s": ["<b>"] * 2000, "t": pd.Timestamp("2018-05-08"), "big": [1 << 60] * 2000})
        _display.mark(frame)
        bundle, _ = _display.bundle(frame)
        resource = bundle[_display.TABLE_MIME]
        self.assertEqual(len(resource["data"]), 1000)
        self.assertEqual([f["type"] for f in resource["schema"]["fields"]], ["integer", "string", "datetime", "integer"])
        self.assertEqual(resource["data"][0]["big"], str(1 << 60))
        json.dumps(bundle, allow_nan=False)
        self.assertNotIn("<b>", bundle["text/html"])
        note = _display.note(frame, _display.Shown(0.5, "local", "12:00", True))
        self.assertEqual(
            note,
            "2,000 rows × 4 columns · a table shows the first 1,000 · the statement gave more: it was ended at max-rows"
            " · kept from 12:00 · 0.50 s · local",
        )
        self.assertIsNone(_display.bundle(pd.DataFrame({"n": [1]})))
        known = len(_display._ours)
        del frame
        self.assertEqual(len(_display._ours), known - 1)

    def test_progress_in_a_terminal(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        out = Terminal()
        progress = _progress.Progress(title="local", stream=out)
        progress.update(_progress.State(fraction=0.5, seconds=3, rows=1000))
        self.assertIn("[===============               ] local: 50% · 1,000 rows · 3 s", out.getvalue())
        progress.close()
        self.assertTrue(out.getvalue().endswith("\r"))
        log = io.StringIO()
        _progress.Progress(title="local", stream=log).update(_progress.State())
        self.assertEqual(log.getvalue(), "")

    def test_paths(self):
        with mock.patch.dict(os.environ, {"QUIRE_NOTEBOOK": "users/ann/etl/a.ipynb"}):
            from kragle._context import volume_path

            for path, want in [("b.csv", "users/ann/etl/b.csv"), ("../b", "users/ann/b"), ("users/bob/x", "users/bob/x"),
                               ("/shared/y", "shared/y"), ("/", ""), ("../../../../../etc", "etc")]:
                self.assertEqual(volume_path(path), want)
            for path in ("a\\b", "a\0b", 5):
                with self.assertRaises((ValueError, TypeError)):
                    volume_path(path)
        with mock.patch.dict(os.environ, {"QUIRE_NOTEBOOK": "", "QUIRE_USER": ""}), self.assertRaises(kg.Error):
            _files.files.read("x")

    def test_import_needs_the_standard_library_only(self):
        code = "import sys; sys.path.insert(0, sys.argv[1]); import kragle; print(sorted({m.split('.')[0] for m in sys.modules} & {'pandas', 'pyarrow', 'polars', 'numpy', 'IPython', 'pyspark'}))"
        out = subprocess.run([sys.executable, "-I", "-c", code, str(PYTHON)], capture_output=True, text=True, check=True)
        self.assertEqual(out.stdout.strip(), "[]")

    def test_wheel(self):
        sys.path.insert(0, str(PYTHON))
        import build_wheel

        with tempfile.TemporaryDirectory() as folder:
            name = build_wheel.build_wheel(folder)
            wheel = Path(folder, name)
            with zipfile.ZipFile(wheel) as content:
                names = content.namelist()
                record = content.read(f"kragle-{kg.__version__}.dist-info/RECORD").decode()
            self.assertIn("kragle/py.typed", names)
            self.assertIn("quire/_record.py", names)
            self.assertEqual(len(record.splitlines()), len(names))
            first = wheel.read_bytes()
            build_wheel.build_wheel(folder)
            self.assertEqual(wheel.read_bytes(), first)
            code = "import sys; sys.path.insert(0, sys.argv[1]); import kragle; print(kragle.__file__)"
            out = subprocess.run([sys.executable, "-I", "-c", code, str(wheel)], capture_output=True, text=True, check=True)
            self.assertIn(name, out.stdout)


if __name__ == "__main__":
    unittest.main()
