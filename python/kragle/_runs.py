"""Durable runs of other notebooks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ._context import client, volume_path
from ._errors import Error, RunFailed
from ._progress import Progress, State

OVER = ("succeeded", "failed", "cancelled", "timed_out")
POLL = (0.2, 2.0)


class Run:
    """A durable run. It goes on whatever becomes of this process."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self.id = str(said.get("id", ""))

    def __repr__(self) -> str:
        return f"<kragle.Run {self.id} of {self.notebook}: {self._said.get('state')}>"

    @property
    def info(self) -> dict[str, Any]:
        """What the server said last of this run."""
        return self._said

    @property
    def notebook(self) -> str:
        """The path of the notebook."""
        return str(self._said.get("notebook", ""))

    @property
    def url(self) -> str:
        """The page of the run, which keeps its address for ever."""
        return f"{client().url}/runs/{self.id}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that the run was given."""
        return dict(self._said.get("parameters") or {})

    @property
    def state(self) -> str:
        """queued, starting, running, succeeded, failed, cancelled or timed_out, as the server says now."""
        return str(self.refresh()._said.get("state", ""))

    @property
    def done(self) -> bool:
        """Whether the run was over when the server was asked last."""
        return self._said.get("state") in OVER

    def refresh(self) -> Run:
        """Ask the server how it is."""
        self._said = client().json("GET", f"/api/runs/{self.id}") or {}
        return self

    def wait(self, timeout: float | None = None, progress: bool = True, check: bool = True) -> Run:
        """Wait until the run is over; return it. With ``check``, a failure is raised.

        An interrupt ends the waiting, not the run: ``cancel`` does that.
        """
        began, pause = time.monotonic(), POLL[0]
        shown = Progress(enabled=progress, title=self.notebook)
        try:
            while not self.refresh().done:
                seconds = time.monotonic() - began
                if timeout is not None and seconds > timeout:
                    raise TimeoutError(f"run {self.id} is not over after {timeout:g} s; it goes on: {self.url}")
                if progress and seconds > 0.7:
                    shown.update(State(seconds=seconds, message=str(self._said.get("state", ""))))
                time.sleep(pause)
                pause = min(pause * 1.3, POLL[1])
        except KeyboardInterrupt:
            print(f"run {self.id} goes on: {self.url}", file=sys.stderr)
            raise
        finally:
            shown.close(ok=self._said.get("state") == "succeeded")
        if check and self._said.get("state") != "succeeded":
            raise RunFailed(self._failure(), self)
        return self

    def follow(self) -> Iterator[dict[str, Any]]:
        """Yield what happens in the run, from its start until it is over."""
        for name, event in client().events(f"/api/runs/{self.id}/events"):
            if name == "end":
                self._said = event
                return
            if not name:  # those with a name tell of other things: how its container starts
                yield event

    def cancel(self) -> Run:
        """Ask the run to stop."""
        self._said = client().json("POST", f"/api/runs/{self.id}/cancel") or {}
        return self

    @property
    def records(self) -> dict[str, Any]:
        """What the notebook left with ``kg.record``, by name."""
        result = self._said.get("result") or {}
        return {str(one.get("name")): one.get("value") for one in result.get("records") or []}

    @property
    def output(self) -> dict[str, Any]:
        """The output notebook, as far as it has come."""
        said = client().json("GET", f"/api/runs/{self.id}/output")
        return dict(said or {})

    def _failure(self) -> str:
        result = self._said.get("result") or {}
        reason = str(self._said.get("reason") or result.get("reason") or self._said.get("state"))
        return f"run {self.id} of {self.notebook} {self._said.get('state')}: {reason}. See {self.url}"


def run(
    notebook: str,
    params: Mapping[str, Any] | None = None,
    *,
    wait: bool = True,
    check: bool = True,
    timeout: float | None = None,
    progress: bool = True,
    kernel: str = "",
    tags: list[str] | None = None,
    retries: int = 0,
    strict: bool = False,
    key: str = "",
) -> Run:
    """Run another notebook durably, and wait until it is over; return the run.

    The path is beside this notebook, or whole (users/ann/other.ipynb). What the
    notebook recorded is in ``records``. With ``wait=False`` this returns at once.
    The same ``key`` and request again is the same run.
    """
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"run: params is a {type(params).__name__}, not a dictionary")
    from quire._record import to_json

    body: dict[str, Any] = {
        "notebook": volume_path(notebook),
        "parameters": {name: to_json(value, f"parameter {name!r}") for name, value in (params or {}).items()},
        "strict": strict,
        "kernel": kernel,
        "tags": tags or [],
        "retries": retries,
    }
    headers = {"Idempotency-Key": key} if key else None
    started = Run(client().json("POST", "/api/runs", body, headers=headers) or {})
    if not started.id:
        raise Error("the server's answer names no run")
    return started.wait(timeout, progress, check) if wait else started


def runs(notebook: str = "", state: str = "", limit: int = 50) -> list[Run]:
    """Return runs, newest first."""
    query = {"notebook": volume_path(notebook) if notebook else None, "state": state or None, "limit": limit}
    said = client().json("GET", "/api/runs", query=query) or {}
    return [Run(one) for one in said.get("runs") or []]
