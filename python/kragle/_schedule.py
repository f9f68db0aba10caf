"""Schedules of the server: ``kg.schedule("daily", "report.ipynb", cron="0 6 * * *")``."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ._context import client, volume_path


Answers = list[dict[str, Any]]  # a class with a method called list cannot say it itself
Times = list[datetime.datetime]


class Schedules:
    """``kg.schedule``: call it to make one; its methods list, show and steer those there are."""

    def __repr__(self) -> str:
        return "<kg.schedule: call it, or list, get, apply, next, fires, run, pause, resume, backfill, delete>"

    def __call__(
        self,
        name: str,
        notebook: str,
        params: Mapping[str, Any] | None = None,
        *,
        cron: str = "",
        every: str = "",
        timezone: str = "UTC",
        retries: int = 0,
        timeout: str = "",
        description: str = "",
        **more: Any,
    ) -> dict[str, Any]:
        """Make the schedule of this name, or replace it; return it.

        ``cron`` has five fields; ``every`` is a span such as "15m"; without both it
        fires by hand only. ``more`` are further keys of a definition, as docs/guide/schedules.md
        has them: ``strategy="last-only"``, ``catchUp="all"``.
        """
        definition: dict[str, Any] = {
            "schedule": 1,
            "name": name,
            "timezone": timezone,
            "notebook": volume_path(notebook),
            **more,
        }
        triggers = [{key: value} for key, value in (("cron", cron), ("every", every)) if value]
        if triggers:
            definition["triggers"] = triggers
        for key, value in (("parameters", dict(params or {})), ("description", description), ("timeout", timeout)):
            if value:
                definition[key] = value
        if retries:
            definition["retries"] = {"notebook": retries}
        return self.apply(definition)

    def apply(self, definition: Mapping[str, Any] | str) -> dict[str, Any]:
        """Make a definition (a dictionary, or YAML or JSON text) the schedule of its name."""
        return _one("POST", "", {"text": _text(definition)})

    def check(self, definition: Mapping[str, Any] | str) -> Answers:
        """Return everything that is wrong in a definition; an empty list when nothing is."""
        return _many(_one("POST", "/check", {"text": _text(definition)}).get("faults"))

    def list(self) -> Answers:
        """Return all schedules, by name."""
        return _many(_one("GET", "").get("schedules"))

    def get(self, name: str) -> dict[str, Any]:
        """Return a schedule."""
        return _one("GET", _at(name))

    def next(self, name: str, count: int = 5) -> Times:
        """Return the next times at which it fires, in UTC."""
        said = client().json("GET", f"/api/schedules{_at(name)}/next", query={"n": count}) or {}
        return [datetime.datetime.fromisoformat(one["slot"].replace("Z", "+00:00")) for one in said.get("slots") or []]

    def fires(self, name: str, limit: int = 50) -> Answers:
        """Return what it fired, newest first."""
        said = client().json("GET", f"/api/schedules{_at(name)}/fires", query={"limit": limit}) or {}
        return _many(said.get("fires"))

    def run(self, name: str) -> dict[str, Any]:
        """Fire once, now."""
        return _one("POST", _at(name) + "/run")

    def pause(self, name: str, reason: str = "") -> dict[str, Any]:
        """Fire nothing until it is resumed."""
        return _one("POST", _at(name) + "/pause", {"reason": reason})

    def resume(self, name: str) -> dict[str, Any]:
        """Fire again, from now on."""
        return _one("POST", _at(name) + "/resume")

    def backfill(
        self, name: str, start: datetime.datetime, end: datetime.datetime, parallel: int = 1, preview: bool = False
    ) -> dict[str, Any]:
        """Fire the slots of a span of time; with ``preview``, only say which."""
        body = {"from": _stamp(start), "to": _stamp(end), "parallel": parallel, "preview": preview}
        return _one("POST", _at(name) + "/backfills", body)

    def delete(self, name: str) -> None:
        """Remove a schedule; its runs stay."""
        client().json("DELETE", f"/api/schedules{_at(name)}")


def _one(method: str, path: str, body: Any = None) -> dict[str, Any]:
    return dict(client().json(method, "/api/schedules" + path, body) or {})


def _many(said: Any) -> Answers:
    return [dict(one) for one in said or []]


def _at(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError("schedule: the name is missing")
    return "/" + quote(name, safe="")


def _text(definition: Mapping[str, Any] | str) -> str:
    return definition if isinstance(definition, str) else json.dumps(definition)


def _stamp(time: datetime.datetime) -> str:
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone: say tzinfo=datetime.timezone.utc, or another")
    return time.isoformat()


schedule = Schedules()
