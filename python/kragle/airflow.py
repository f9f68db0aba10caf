"""Quire's notebooks as tasks of Apache Airflow (2.7 and newer).

    from kragle.airflow import QuireRunNotebookOperator

    QuireRunNotebookOperator(
        task_id="report",
        notebook="users/ann/report.ipynb",
        parameters={"day": "{{ ds }}"},
        deferrable=True,
    )

The server is the connection ``quire_default`` (its host or schema and host is the
address, its password the access token), or, with ``quire_conn_id=None``, what
QUIRE_URL and QUIRE_TOKEN name. A try of a task is one run, whatever becomes of the
worker: asking again is answered with the run that is there.

What the notebook recorded, with the id and the address of the run, is the task's
XCom value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

try:  # Airflow 3
    from airflow.sdk import BaseHook, BaseOperator
except ImportError:
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator
try:
    from airflow.sdk.exceptions import AirflowException
except ImportError:
    from airflow.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from ._errors import Error
from ._http import Client
from ._runs import OVER

__all__ = ["QuireHook", "QuireRunNotebookOperator", "QuireRunTrigger"]

DEFAULT_CONNECTION = "quire_default"


class QuireHook(BaseHook):  # type: ignore[misc]  # airflow has no types of its own
    """A server of Quire, as a connection of Airflow names it."""

    conn_name_attr = "quire_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "http"
    hook_name = "Quire"

    def __init__(self, quire_conn_id: str | None = DEFAULT_CONNECTION) -> None:
        super().__init__()
        self.quire_conn_id = quire_conn_id

    def get_conn(self) -> Client:
        """Return a client of the server."""
        if self.quire_conn_id is None:
            return Client()
        connection = self.get_connection(self.quire_conn_id)
        host = str(connection.host or "")
        if not host:
            raise AirflowException(f"connection {self.quire_conn_id}: its host is to be the address of the server")
        if "://" not in host:
            scheme = connection.schema or "https"
            host = f"{scheme}://{host}" + (f":{connection.port}" if connection.port else "")
        return Client(host, str(connection.password or "") or None)

    def submit(self, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Ask for a run; the same key and body again is the same run."""
        said = self.get_conn().json("POST", "/api/runs", dict(body), headers={"Idempotency-Key": key})
        return dict(said or {})

    def run(self, run_id: str) -> dict[str, Any]:
        """Return how a run is."""
        return dict(self.get_conn().json("GET", "/api/runs/" + quote(run_id, safe="")) or {})

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop."""
        self.get_conn().json("POST", "/api/runs/" + quote(run_id, safe="") + "/cancel")

    def page(self, run_id: str) -> str:
        """The address of the page of a run."""
        return f"{self.get_conn().url}/runs/{run_id}"


class QuireRunTrigger(BaseTrigger):  # type: ignore[misc]
    """Waits for the end of a run in the triggerer. It carries no token."""

    def __init__(self, run_id: str, quire_conn_id: str | None, poll_interval: float) -> None:
        super().__init__()
        self.run_id, self.quire_conn_id, self.poll_interval = run_id, quire_conn_id, poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this anew from."""
        said = {"run_id": self.run_id, "quire_conn_id": self.quire_conn_id, "poll_interval": self.poll_interval}
        return "kragle.airflow.QuireRunTrigger", said

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event when the run is over. A server that does not answer is asked again."""
        hook = QuireHook(self.quire_conn_id)
        while True:
            try:
                said = await asyncio.to_thread(hook.run, self.run_id)
            except Error as e:
                if e.kind not in ("unavailable", "timeout"):
                    yield TriggerEvent({"run_id": self.run_id, "error": str(e)})
                    return
            else:
                if said.get("state") in OVER:
                    yield TriggerEvent({"run_id": self.run_id, "error": ""})
                    return
            await asyncio.sleep(self.poll_interval)


class QuireRunNotebookOperator(BaseOperator):  # type: ignore[misc]
    """Runs a notebook, or a template, on a server of Quire and waits for its end.

    :param notebook: path on the platform, users/ann/report.ipynb; or
    :param template: the name of a template
    :param parameters: of the notebook; strings in it may be Airflow's expressions
    :param secrets: names of secrets, of whom the access token is, by parameter
    :param version: of the notebook or template; 0 is the newest
    :param kernel: another kernel than the notebook's
    :param tags: words to find the run by
    :param notebook_retries: how often the platform tries again when the notebook fails
    :param timeout_seconds: how long a run may take; 0 is without end
    :param container: its size: {"cpuMilli": 1000, "memoryBytes": ...}; None is the default
    :param quire_conn_id: the connection; None takes QUIRE_URL and QUIRE_TOKEN
    :param deferrable: wait in the triggerer, without a worker
    :param poll_interval: seconds between two looks
    :param cancel_on_kill: stop the run when the task is stopped
    """

    template_fields: Sequence[str] = ("notebook", "template", "parameters", "tags")
    template_fields_renderers = {"parameters": "json"}
    ui_color = "#f4dfe1"

    def __init__(
        self,
        *,
        notebook: str = "",
        template: str = "",
        parameters: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        version: int = 0,
        kernel: str = "",
        tags: Sequence[str] = (),
        notebook_retries: int = 0,
        timeout_seconds: int = 0,
        container: Mapping[str, int] | None = None,
        quire_conn_id: str | None = DEFAULT_CONNECTION,
        deferrable: bool = False,
        poll_interval: float = 5.0,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if bool(notebook) == bool(template):
            raise ValueError("QuireRunNotebookOperator: want notebook or template, one of them")
        self.notebook, self.template = notebook, template
        self.parameters: Mapping[str, Any] = dict(parameters or {})
        self.secrets: Mapping[str, str] = dict(secrets or {})
        self.version, self.kernel, self.tags = version, kernel, list(tags)
        self.notebook_retries, self.timeout_seconds = notebook_retries, timeout_seconds
        self.container = container
        self.quire_conn_id, self.deferrable = quire_conn_id, deferrable
        self.poll_interval, self.cancel_on_kill = poll_interval, cancel_on_kill
        self.run_id = ""

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "parameters": dict(self.parameters), "kernel": self.kernel, "tags": ["airflow", *self.tags],
            "retries": self.notebook_retries, "timeoutSeconds": self.timeout_seconds,
        }
        if self.template:
            body.update(template=self.template, templateVersion=self.version)
        else:
            body.update(notebook=self.notebook, version=self.version)
        if self.secrets:
            body["secrets"] = dict(self.secrets)
        if self.container is not None:
            body["container"] = dict(self.container)
        return body

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for the run of this try, and wait for its end."""
        ti = context["ti"]
        key = f"airflow/{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}/{ti.try_number}"
        hook = QuireHook(self.quire_conn_id)
        self.run_id = str(hook.submit(self._body(), key)["id"])
        self.log.info("run %s: %s", self.run_id, hook.page(self.run_id))
        if self.deferrable:
            self.defer(
                trigger=QuireRunTrigger(self.run_id, self.quire_conn_id, self.poll_interval),
                method_name="execute_complete",
            )
        while True:
            said = self._look(hook)
            if said.get("state") in OVER:
                return self._outcome(hook, said)
            time.sleep(self.poll_interval)

    def _look(self, hook: QuireHook) -> dict[str, Any]:
        try:
            return hook.run(self.run_id)
        except Error as e:
            if e.kind not in ("unavailable", "timeout"):
                raise
            self.log.warning("run %s goes on; the server is asked again: %s", self.run_id, e)
            return {}

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger says that the run is over."""
        if event.get("error"):
            raise AirflowException(f"run {event['run_id']}: {event['error']}")
        self.run_id = str(event["run_id"])
        hook = QuireHook(self.quire_conn_id)
        return self._outcome(hook, hook.run(self.run_id))

    def _outcome(self, hook: QuireHook, said: Mapping[str, Any]) -> dict[str, Any]:
        result = said.get("result") or {}
        if said.get("state") != "succeeded":
            why = said.get("reason") or "no reason is given"
            raise AirflowException(f"{said.get('notebook')} {said.get('state')}: {why}: {hook.page(self.run_id)}")
        records = {str(one.get("name")): one.get("value") for one in result.get("records") or []}
        return {"run_id": self.run_id, "url": hook.page(self.run_id), "records": records}

    def on_kill(self) -> None:
        """Stop the run with the task."""
        if self.run_id and self.cancel_on_kill:
            try:
                QuireHook(self.quire_conn_id).cancel(self.run_id)
            except Error as e:
                self.log.warning("run %s is not stopped: %s", self.run_id, e)
