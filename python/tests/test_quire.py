"""Tests of the notebook helper: python -m unittest discover -s python/tests."""

import contextlib
import datetime
import io
import json
import math
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent))

import quire
from quire import _checkpoint, _record


class Published(unittest.TestCase):
    """Catches what would go to the notebook, and gives each test a directory."""

    def setUp(self):
        self.shown = []
        for module in (_record, _checkpoint):
            patch = mock.patch.object(module, "publish", lambda *args: self.shown.append(args))
            patch.start()
            self.addCleanup(patch.stop)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        environment = mock.patch.dict(os.environ, {"QUIRE_CHECKPOINT_DIR": self.dir})
        environment.start()
        self.addCleanup(environment.stop)
        self.variables = {}
        space = mock.patch.object(_checkpoint, "_namespace", lambda: self.variables)
        space.start()
        self.addCleanup(space.stop)


class RecordTest(Published):
    def test_values(self):
        for value, want in [
            (1, 1),
            (True, True),
            (2.5, 2.5),
            (float("nan"), None),
            (-math.inf, None),
            ("é", "é"),
            ((1, [2]), [1, [2]]),
            ({1: "a", "b": None}, {"1": "a", "b": None}),
            (datetime.date(2026, 11, 23), "2026-11-23"),
        ]:
            with self.subTest(value=value):
                self.shown.clear()
                quire.record("x", value)
                mime, content, _ = self.shown[0]
                self.assertEqual(mime, "application/x-quire-record")
                self.assertEqual(content, {"name": "x", "value": want})
                self.assertIs(type(content["value"]), type(want))
                json.dumps(content, allow_nan=False)

    def test_numpy_and_pandas(self):
        numpy, pandas = needs("numpy"), needs("pandas")
        for value, want in [
            (numpy.int64(7), 7),
            (numpy.float32(0.5), 0.5),
            (numpy.bool_(True), True),
            (numpy.array([1, 2]), [1, 2]),
            (pandas.Series([1.0, float("nan")]), [1.0, None]),
            (pandas.Timestamp("2026-11-23"), "2026-11-23T00:00:00"),
            (pandas.NaT, None),
        ]:
            with self.subTest(value=value):
                self.shown.clear()
                quire.record("x", value)
                self.assertEqual(self.shown[0][1]["value"], want)

    def test_refuses(self):
        loop = []
        loop.append(loop)
        for name, value, error in [
            ("", 1, ValueError),
            (3, 1, ValueError),
            ("n" * 201, 1, ValueError),
            ("x", object(), TypeError),
            ("x", {object(): 1}, TypeError),
            ("x", loop, ValueError),
            ("x", "a" * 300_000, ValueError),
        ]:
            with self.subTest(name=str(name)[:9]), self.assertRaises(error):
                quire.record(name, value)
        self.assertEqual(self.shown, [])


class CheckpointTest(Published):
    def keep_and_restore(self, **variables):
        self.variables.update(variables)
        quire.checkpoint(*variables)
        content = self.shown[-1][1]
        self.variables = {}
        manifest = os.path.join(self.dir, content["manifest"]["file"])
        self.assertEqual(quire.restore(manifest), list(variables))
        return content

    def test_formats_come_back_exactly(self):
        pandas = needs("pandas")
        frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]})
        dated = pandas.DataFrame({"a": ["x", None]}, index=pandas.date_range("2026-01-01", periods=2))
        for value, form in [
            ({"a": [1, 2.5, None, "é"]}, "json"),
            ((1, 2), "pickle"),
            ({1: "a"}, "pickle"),
            (float("nan"), "pickle"),
            (frame, "parquet" if has("pyarrow") else "pickle"),
            (dated, "pickle"),
        ]:
            with self.subTest(form=form, kind=type(value).__name__):
                content = self.keep_and_restore(value=value)
                self.assertEqual(content["files"]["value"]["format"], form)
                got = self.variables["value"]
                if isinstance(value, pandas.DataFrame):
                    pandas.testing.assert_frame_equal(got, value)
                    self.assertEqual(getattr(got.index, "freq", None), getattr(value.index, "freq", None))
                else:
                    self.assertEqual(repr(got), repr(value))

    def test_imports_come_back(self):
        self.variables.update(j=json, loads=json.loads, Path=Path, Any=Any, own=lambda: 1, _hidden=os, two=2)
        self.keep_and_restore(n=1)
        self.assertEqual(self.variables, {"j": json, "loads": json.loads, "Path": Path, "Any": Any, "n": 1})

    def test_an_earlier_checkpoint_stays_whole(self):
        self.variables["n"] = 1
        quire.checkpoint("n")
        first = os.path.join(self.dir, self.shown[-1][1]["manifest"]["file"])
        self.variables["n"] = 2
        quire.checkpoint("n")
        quire.restore(first)
        self.assertEqual(self.variables["n"], 1)

    def test_files_are_private_and_no_part_is_left(self):
        self.variables.update(n=1, bad=io.StringIO)
        quire.checkpoint("n")
        with self.assertRaises(TypeError):
            self.variables["bad"] = open(os.devnull)
            self.addCleanup(self.variables["bad"].close)
            quire.checkpoint("bad")
        for path in Path(self.dir).iterdir():
            self.assertFalse(path.name.startswith(".part-"), path.name)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path.name)

    def test_refuses_names(self):
        for name, error in [("missing", NameError), ("a b", ValueError), ("../x", ValueError)]:
            with self.subTest(name=name), self.assertRaises(error):
                quire.checkpoint(name)

    def test_refuses_what_the_notebook_defines(self):
        code = (
            "import quire\nclass Model: pass\nmodel = [Model()]\n"
            "try: quire.checkpoint('model')\nexcept TypeError as e: print(e)"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(quire.__file__).parent.parent)}
        out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        self.assertIn("'Model', which this notebook defines", out.stdout)

    def test_restore_refuses_what_was_changed(self):
        self.variables["value"] = (1, 2)
        quire.checkpoint("value")
        content = self.shown[-1][1]
        manifest = Path(self.dir, content["manifest"]["file"])
        kept = Path(self.dir, content["files"]["value"]["file"])
        good, text = kept.read_bytes(), manifest.read_text()

        def other_bytes():
            kept.write_bytes(good[:-2] + b"x.")

        def cut():
            kept.write_bytes(good[:-1])

        def open_to_others():
            kept.chmod(0o666)

        def link():
            kept.unlink()
            kept.symlink_to(manifest)

        def outside():
            manifest.write_text(text.replace(kept.name, "../" + kept.name))

        def unknown_format():
            manifest.write_text(text.replace('"pickle"', '"shelve"'))

        for damage in (other_bytes, cut, open_to_others, link, outside, unknown_format):
            with self.subTest(damage=damage.__name__):
                kept.unlink()
                kept.write_bytes(good)
                kept.chmod(0o600)
                manifest.write_text(text)
                self.variables = {}
                damage()
                with self.assertRaises((ValueError, OSError)):
                    quire.restore(str(manifest))
                self.assertEqual(self.variables, {})

    def test_without_a_directory_it_only_says_so(self):
        del os.environ["QUIRE_CHECKPOINT_DIR"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            quire.checkpoint("anything")
        self.assertEqual(out.getvalue().count("\n"), 1)
        self.assertEqual((self.shown, os.listdir(self.dir)), ([], []))


class StopTest(unittest.TestCase):
    def test_passes_except_exception(self):
        with self.assertRaises(quire.QuireStop) as caught:
            try:
                quire.stop("no new data")
            except Exception:  # what a careless notebook has
                self.fail("except Exception caught it")
        self.assertEqual(str(caught.exception), "no new data")
        self.assertEqual(caught.exception._render_traceback_(), ["The run ends here: no new data"])
        self.assertEqual(type(caught.exception).__name__, "QuireStop")


class ShellTest(unittest.TestCase):
    def shell(self, command, /, **variables):
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                quire.shell(command, **variables)
            except quire.CommandFailed as failed:
                return out.getvalue(), errors.getvalue(), failed
        return out.getvalue(), errors.getvalue(), None

    def test_prints_and_variables(self):
        out, errors, failed = self.shell('echo "$day $rows $command"; echo oops >&2', day="2026-01-02", rows=[1, None], command=True)
        self.assertEqual((out, errors, failed), ("2026-01-02 [1, null] true\n", "oops\n", None))

    def test_stops_at_the_first_that_fails(self):
        out, errors, failed = self.shell("echo before; echo why >&2; echo because >&2; (exit 3); echo after")
        self.assertEqual((out, errors), ("before\n", "why\nbecause\n"))
        self.assertEqual((str(failed), failed.status), ("exit status 3: because", 3))

    def test_is_killed(self):
        self.assertEqual(str(self.shell("kill -9 $$")[2]), "ended by SIGKILL")

    def test_has_no_input_and_prints_any_bytes(self):
        out, _, failed = self.shell(r"cat; printf 'a\303'; printf '\251\377\n'")
        self.assertEqual((out, failed), ("a\u00e9\ufffd\n", None))


class SecretTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = Path(directory.name)
        environment = mock.patch.dict(os.environ, {"QUIRE_SECRETS_DIR": directory.name})
        environment.start()
        self.addCleanup(environment.stop)

    def test_reads(self):
        (self.dir / "token").write_bytes("pä ss\n".encode())
        self.assertEqual(quire.secret("token"), "pä ss\n")

    def test_names_what_there_is(self):
        (self.dir / "token").write_text("value")
        with self.assertRaises(LookupError) as caught:
            quire.secret("tokn")
        self.assertIn("token", str(caught.exception))
        self.assertNotIn("value", str(caught.exception))

    def test_refuses(self):
        for name in ("", "../token", "a/b", "a\n", 3):
            with self.subTest(name=name), self.assertRaises(ValueError):
                quire.secret(name)
        (self.dir / "link").symlink_to("/etc/hostname")
        with self.assertRaises(OSError):
            quire.secret("link")
        del os.environ["QUIRE_SECRETS_DIR"]
        with self.assertRaises(LookupError):
            quire.secret("token")


class PlainScriptTest(unittest.TestCase):
    def test_helper_needs_only_the_standard_library(self):
        code = "import quire; quire.record('rows', 3)"
        environment = {"PYTHONPATH": str(Path(quire.__file__).parent.parent), "PATH": os.environ["PATH"]}
        out = subprocess.run(
            [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        self.assertEqual(out.stdout, "rows: 3\n")


def has(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def needs(module):
    """The module; its absence is a failure of the environment, not a skip."""
    __import__(module)
    return sys.modules[module]


if __name__ == "__main__":
    unittest.main()
