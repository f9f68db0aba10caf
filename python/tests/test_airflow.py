"""Tests of the operator for Airflow, with stand-ins for Airflow where it is not installed.

    python -m unittest discover -s python/tests -p test_airflow.py
"""

import asyncio
import contextlib
import importlib
import os
import sys
import types
import unittest
from pathlib import Path
from unittest import mock

PYTHON = Path(__file__).parent.parent
sys.path[:0] = [str(PYTHON), str(Path(__file__).parent)]

from gateway import TOKEN, Gateway


class Deferred(Exception):
    """What defer raises."""

    def __init__(self, trigger, method_name):
        super().__init__(method_name)
        self.trigger, self.method_name = trigger, method_name


def stand_ins():
    """Modules that are as much of Airflow as the operator uses."""

    class BaseOperator:
        def __init__(self, *, task_id, **kwargs):
            assert not kwargs, kwargs
            self.task_id, self.log = task_id, mock.Mock()

        def defer(self, *, trigger, method_name):
            raise Deferred(trigger, method_name)

    class BaseHook:
        connections = {}

        def __init__(self):
            pass

        @classmethod
        def get_connection(cls, name):
            return cls.connections[name]

    class BaseTrigger:
        def __init__(self):
            pass

    class TriggerEvent:
        def __init__(self, payload):
            self.payload = payload

    made = {name: types.ModuleType(name) for name in ("airflow", "airflow.sdk", "airflow.sdk.exceptions", "airflow.triggers", "airflow.triggers.base")}
    made["airflow.sdk"].BaseOperator, made["airflow.sdk"].BaseHook = BaseOperator, BaseHook
    made["airflow.sdk.exceptions"].AirflowException = type("AirflowException", (Exception,), {})
    made["airflow.triggers.base"].BaseTrigger, made["airflow.triggers.base"].TriggerEvent = BaseTrigger, TriggerEvent
    return made


class Operator(unittest.TestCase):
    def setUp(self):
        patched = mock.patch.dict(sys.modules, stand_ins())
        patched.start()
        self.addCleanup(patched.stop)
        sys.modules.pop("kragle.airflow", None)
        self.addCleanup(sys.modules.pop, "kragle.airflow", None)
        self.module = importlib.import_module("kragle.airflow")
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.gateway = stack.enter_context(Gateway())
        self.gateway.files["users/ann/etl/load.ipynb"] = b"{}"
        stack.enter_context(mock.patch.dict(os.environ, {"QUIRE_URL": self.gateway.url, "QUIRE_TOKEN": TOKEN}))
        ti = types.SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
        self.context = {"ti": ti}

    def operator(self, **kwargs):
        kwargs.setdefault("notebook", "users/ann/etl/load.ipynb")
        return self.module.QuireRunNotebookOperator(task_id="t", quire_conn_id=None, poll_interval=0.01, **kwargs)

    def test_waits_and_returns_what_was_recorded(self):
        said = self.operator(parameters={"day": "2026-01-01"}, tags=["x"]).execute(self.context)
        self.assertTrue(said["run_id"])
        self.assertEqual(said["url"], f"{self.gateway.url}/runs/{said['run_id']}")
        self.assertEqual(said["records"], {"rmse": 0.3})

    def test_secrets_are_bound_by_name(self):
        self.assertEqual(self.operator(secrets={"token": "api"})._body()["secrets"], {"token": "api"})
        self.assertNotIn("secrets", self.operator()._body())

    def test_a_try_is_one_run(self):
        first = self.operator().execute(self.context)
        self.assertEqual(self.operator().execute(self.context)["run_id"], first["run_id"])
        self.context["ti"].try_number = 2
        self.assertNotEqual(self.operator().execute(self.context)["run_id"], first["run_id"])

    def test_deferred(self):
        with self.assertRaises(Deferred) as caught:
            self.operator(deferrable=True).execute(self.context)
        where, said = caught.exception.trigger.serialize()
        self.assertEqual(where, "kragle.airflow.QuireRunTrigger")
        self.assertNotIn(TOKEN, str(said))
        trigger = self.module.QuireRunTrigger(**said)

        async def first():
            async for event in trigger.run():
                return event

        event = asyncio.run(first())
        self.assertEqual(event.payload["error"], "")
        back = self.operator(deferrable=True)
        self.assertEqual(getattr(back, caught.exception.method_name)(self.context, event.payload)["run_id"], said["run_id"])
        with self.assertRaisesRegex(self.module.AirflowException, "gone"):
            back.execute_complete(self.context, {"run_id": "x", "error": "gone"})

    def test_a_failure_fails_the_task(self):
        with self.assertRaisesRegex(self.module.AirflowException, "load.ipynb failed: cell 2: ZeroDivisionError"):
            self.operator(parameters={"fail": True}).execute(self.context)
        hook = mock.Mock(spec=self.module.QuireHook)
        hook.page.return_value = "https://q/runs/r1"
        with self.assertRaisesRegex(self.module.AirflowException, r"a\.ipynb failed: cell 3: KeyError: https://q/runs/r1"):
            self.operator()._outcome(hook, {"state": "failed", "notebook": "a.ipynb", "reason": "cell 3: KeyError"})

    def test_a_server_that_is_away_is_asked_again(self):
        operator = self.operator()
        operator.run_id = "r1"
        hook = mock.Mock(spec=self.module.QuireHook)
        hook.run.side_effect = self.module.Error("away", "unavailable")
        self.assertEqual(operator._look(hook), {})
        hook.run.side_effect = self.module.Error("no run", "not found")
        with self.assertRaises(self.module.Error):
            operator._look(hook)

    def test_killed(self):
        operator = self.operator()
        operator.on_kill()  # nothing was asked for: nothing is stopped
        operator.run_id = "r1"
        with mock.patch.object(self.module.QuireHook, "cancel") as cancel:
            operator.on_kill()
        cancel.assert_called_once_with("r1")

    def test_wrong(self):
        for kwargs in ({"notebook": ""}, {"notebook": "a.ipynb", "template": "t"}):
            with self.assertRaises(ValueError):
                self.operator(**kwargs)

    def test_connection(self):
        base = sys.modules["airflow.sdk"].BaseHook
        for host, schema, port, want in (("https://q.example.org/quire", "", None, "https://q.example.org/quire"), ("q", "http", 8888, "http://q:8888"), ("q", "", None, "https://q")):
            base.connections = {"quire_default": types.SimpleNamespace(host=host, schema=schema, port=port, password="p")}
            self.assertEqual(self.module.QuireHook().get_conn().url, want)
        base.connections = {"quire_default": types.SimpleNamespace(host="", schema="", port=None, password="")}
        with self.assertRaises(self.module.AirflowException):
            self.module.QuireHook().get_conn()


if __name__ == "__main__":
    unittest.main()
