"""A small server that speaks the contract of the gateway, on SQLite: for tests only.

test_kragle.Contract runs the same tests against it and against a real server.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import sqlite3
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.ipc

TOKEN = "token-of-the-test"


class Fail(Exception):
    def __init__(self, status: int, detail: str, position: dict | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.position = status, detail, position


class Statement:
    """One query and the thread that executes it."""

    def __init__(self, gateway: Gateway, body: dict) -> None:
        self.gateway, self.body = gateway, body
        self.id, self.state, self.error, self.table = uuid.uuid4().hex, "queued", None, None
        self.affected: int | None = None
        self.truncated = False
        self.changed = threading.Condition()
        self.connection: sqlite3.Connection | None = None
        self.thread = threading.Thread(target=self.execute, daemon=True)
        self.thread.start()

    def execute(self) -> None:
        self.turn("running")
        try:
            self.connection = sqlite3.connect(self.gateway.database, check_same_thread=False)
            values = {n: self.value(v) for n, v in self.body.get("parameters", {}).items()}
            text = self.body["statement"]
            for name, value in list(values.items()):
                if isinstance(value, list):
                    text = re.sub(rf":{name}\b", "(" + ",".join(f":{name}_{i}" for i in range(len(value))) + ")", text)
                    values |= {f"{name}_{i}": one for i, one in enumerate(value)}
                    del values[name]
            text = re.sub(r"(?s)^(\s*CREATE TABLE \w+ AS)\s*\((.*)\)\s*;?\s*$", r"\1 \2", text)  # SQLite knows no such brackets
            cursor = self.connection.execute(text, values)
            if cursor.description is None:
                self.connection.commit()
                self.affected = max(cursor.rowcount, 0)
                self.table = pa.table({})
            else:
                names = [one[0] for one in cursor.description]
                rows = cursor.fetchall()
                limit = self.body.get("maxRows")
                if limit is not None and len(rows) > limit:
                    rows, self.truncated = rows[:limit], True
                columns = list(zip(*rows)) if rows else [[] for _ in names]
                arrays = [pa.array(column) for column in columns]
                self.table = pa.Table.from_arrays(arrays, names=names)
            self.turn("succeeded")
        except sqlite3.Error as error:
            if "interrupted" in str(error):
                self.turn("cancelled")
                return
            self.error = {"detail": f"local: {error}", "status": 400}
            near = re.search(r'near "(.*)"|no such (?:column|table): (\S+)', str(error))
            word = (near.group(1) or near.group(2)) if near else ""
            for number, line in enumerate(self.body["statement"].splitlines(), 1):
                if word and word in line:
                    self.error["position"] = {"line": number, "column": line.index(word) + 1}
                    break
            self.turn("failed")
        finally:
            if self.connection is not None:
                self.connection.close()

    @staticmethod
    def value(given):
        if isinstance(given, dict):
            if given["type"] == "decimal":
                return float(given["value"])
            return base64.b64decode(given["value"]) if given["type"] == "bytes" else given["value"]
        return given

    def turn(self, state: str) -> None:
        with self.changed:
            self.state = state
            self.changed.notify_all()

    def over(self, wait: float | None = None) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.state in ("succeeded", "failed", "cancelled"), wait)

    def cancel(self) -> None:
        """Interrupt it until it is over: what has not begun yet does not hear the first time."""
        while not self.over(0.02):
            if self.connection is not None:
                with contextlib.suppress(sqlite3.ProgrammingError):  # it is over just now
                    self.connection.interrupt()

    def info(self) -> dict:
        said = {"id": self.id, "state": self.state, "hasResult": self.affected is None, "connection": self.body.get("connection", "local"),
                "progress": {"fraction": 0.5, "rows": 10, "bytes": 0, "message": "scanning"}}
        if self.error:
            said["error"] = self.error
        if self.affected is not None:
            said["affected"] = self.affected
        if self.truncated:
            said["truncated"] = True
        return said


class Gateway:
    """The server: ``with Gateway() as gateway`` has it listen until the end of the block."""

    def __init__(self) -> None:
        self.database = f"file:{uuid.uuid4().hex}?mode=memory&cache=shared"
        self.queries: dict[str, Statement] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict]] = []
        self.runs: dict[str, dict] = {}
        self.schedules: dict[str, dict] = {}
        self.break_after: int | None = None  # a result ends after so many bytes
        self.without_end = False  # a result has no end-of-stream

    def __enter__(self) -> Gateway:
        sqlite3.enable_callback_tracebacks(True)
        self.database = f"/dev/shm/kragle-test-{uuid.uuid4().hex}.db" if _shm() else f"/tmp/kragle-{uuid.uuid4().hex}.db"
        gateway = self

        class Handler(Requests):
            pass

        Handler.gateway = gateway
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        for query in self.queries.values():
            query.cancel()
            query.thread.join(60)
        for end in ("", "-journal", "-wal", "-shm"):
            if os.path.exists(self.database + end):
                os.unlink(self.database + end)


def _shm() -> bool:
    return os.access("/dev/shm", os.W_OK)


class Requests(BaseHTTPRequestHandler):
    gateway: Gateway
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def handle_one(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.broken = False
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Fail(401, "the token is not one of ours")
            self.gateway.requests.append((self.command, parts.path, query))
            self.route(self.command, [unquote(p) for p in parts.path.strip("/").split("/")], query)
        except Fail as error:
            said = {"status": error.status, "detail": error.detail, "title": "problem", "requestId": "r1"}
            if error.position:
                said["position"] = error.position
            self.answer(said, error.status, "application/problem+json")
        except ConnectionError:  # the client went away
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = handle_one

    def answer(self, value, status: int = 200, kind: str = "application/json") -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def route(self, method: str, path: list[str], query: dict) -> None:
        name = f"{method} {'/'.join(path[:2])}"
        if name == "GET api/connections":
            self.answer({"connections": [
                {"name": "local", "engine": "sqlite", "description": "of the test", "readOnly": False, "default": True}]})
        elif path[:2] == ["api", "queries"]:
            self.query(method, path[2:], query)
        elif path[:2] == ["api", "catalog"]:
            self.catalog(method, path[2:], query)
        elif "contents" in path[:4] or path[0] == "files":
            self.contents(method, path)
        elif path[:2] == ["api", "runs"]:
            self.run(method, path[2:])
        elif path[:2] == ["api", "schedules"]:
            self.schedule(method, path[2:])
        else:
            raise Fail(404, f"{self.path}: there is no such page")

    def query(self, method: str, path: list[str], query: dict) -> None:
        gateway = self.gateway
        if method == "POST" and not path:
            body = json.loads(self.body())
            if body.get("connection", "local") != "local":
                raise Fail(404, f"there is no connection {body['connection']!r}")
            one = Statement(gateway, body)
            gateway.queries[one.id] = one
            return self.answer(one.info(), 201)
        one = gateway.queries.get(path[0])
        if one is None:
            raise Fail(404, "there is no such query")
        if path[1:] == ["cancel"]:
            self.body()
            one.cancel()
            return self.answer(one.info())
        if path[1:] == ["result"]:
            return self.result(one)
        one.over(float(query.get("wait", 0)))
        self.answer(one.info())

    def result(self, one: Statement) -> None:
        one.over()
        if one.state != "succeeded":
            raise Fail(409, f"the query has {one.state}")
        if one.affected is not None:
            self.send_response(204)
            return self.end_headers()
        sink = io.BytesIO()
        with pyarrow.ipc.new_stream(sink, one.table.schema) as writer:
            writer.write_table(one.table)
        data = sink.getvalue()
        if self.gateway.without_end:
            data = data[:-8]
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apache.arrow.stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        end = len(data) if self.gateway.break_after is None else self.gateway.break_after
        for at in range(0, end, 4096):
            part = data[at : min(at + 4096, end)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if self.gateway.break_after is not None:
            one.state, one.error = "failed", {"detail": "local: the engine went away in the middle", "status": 503}
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def catalog(self, method: str, path: list[str], query: dict) -> None:
        base = sqlite3.connect(self.gateway.database)
        try:
            if path == ["load"]:
                table = pyarrow.ipc.open_stream(self.body()).read_all()
                name, mode = query["name"], query["mode"]
                exists = base.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [name]).fetchone()
                if mode == "create" and exists:
                    raise Fail(409, f"there is a table {name} already: mode replace or append")
                if mode == "replace":
                    base.execute(f'DROP TABLE IF EXISTS "{name}"')
                columns = ", ".join(f'"{column}"' for column in table.column_names)
                if mode != "append":
                    base.execute(f'CREATE TABLE "{name}" ({columns})')
                marks = ", ".join("?" for _ in table.column_names)
                base.executemany(f'INSERT INTO "{name}" VALUES ({marks})', [tuple(r.values()) for r in table.to_pylist()])
                base.commit()
                return self.answer({"rows": table.num_rows})
            if path == ["table"]:
                columns = base.execute(f'PRAGMA table_info("{query["name"].split(".")[-1]}")').fetchall()
                if not columns:
                    raise Fail(404, f"there is no table {query['name']}")
                return self.answer({"name": query["name"], "schema": "main", "kind": "table", "rows": 1,
                                    "columns": [{"name": c[1], "type": c[2]} for c in columns]})
            names = base.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
            self.answer({"tables": [{"schema": "main", "name": n, "kind": "table", "rows": 1,
                                     "modifiedAt": "2026-11-30T07:00:00Z"} for (n,) in names]})
        finally:
            base.close()

    def contents(self, method: str, path: list[str]) -> None:
        files = self.gateway.files
        if path[0] == "user":
            full = f"users/{path[1]}/" + "/".join(path[4:])
        else:
            full = "/".join(path[1:] if path[0] == "files" else path[2:])
        if method == "PUT":
            said = json.loads(self.body())
            files[full] = base64.b64decode(said["content"]) if said["format"] == "base64" else json.dumps(said["content"]).encode()
        elif method == "DELETE":
            files.pop(full, None)
            self.send_response(204)
            return self.end_headers()
        below = [name for name in files if name.startswith(full + "/")]
        if full not in files and not below:
            raise Fail(404, f"{full}: there is no such file")
        if path[0] == "files":
            return self.answer(files[full], kind="application/octet-stream")
        said = {"name": full.split("/")[-1], "path": full, "type": "file", "last_modified": "2026-11-30T07:00:00Z"}
        if below:
            said |= {"type": "directory", "content": [
                {"name": n.split("/")[-1], "path": n, "type": "file", "size": len(files[n])} for n in below]}
        elif full.endswith(".ipynb"):
            said |= {"type": "notebook", "content": json.loads(files[full])}
        self.answer(said)

    def run(self, method: str, path: list[str]) -> None:
        runs = self.gateway.runs
        if method == "POST" and not path:
            body = json.loads(self.body())
            if body["notebook"] not in self.gateway.files:
                raise Fail(404, f"{body['notebook']}: there is no such file")
            key = self.headers.get("Idempotency-Key", "")
            for old in runs.values():
                if key and old["key"] == key:
                    return self.answer(old, 201)
            one = {"id": uuid.uuid4().hex, "notebook": body["notebook"], "parameters": body["parameters"], "state": "queued", "key": key}
            runs[one["id"]] = one
            return self.answer(one, 201)
        one = runs.get(path[0])
        if one is None:
            raise Fail(404, "there is no such run")
        turns = {"queued": "running", "running": "failed" if one["parameters"].get("fail") else "succeeded"}
        one["state"] = turns.get(one["state"], one["state"])
        if one["state"] == "failed":
            one["reason"] = "cell 2: ZeroDivisionError: division by zero"
        if one["state"] == "succeeded":
            one["result"] = {"records": [{"name": "rmse", "value": 0.3}]}
        if path[1:] == ["events"]:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            one |= {"state": "succeeded"}
            return void(self.wfile.write(b': hello\n\nevent: start\ndata: {"start": []}\n\nid: 1.1\ndata: {"type": "cell"}\n\nevent: end\ndata: %s\n\n' % json.dumps(one).encode()))
        self.answer({"cells": []} if path[1:] == ["output"] else one)

    def schedule(self, method: str, path: list[str]) -> None:
        kept = self.gateway.schedules
        if method == "POST" and not path:
            definition = json.loads(json.loads(self.body())["text"])
            kept[definition["name"]] = definition
            return self.answer(definition, 201)
        self.body()
        if not path:
            return self.answer({"schedules": list(kept.values())})
        if path[0] not in kept:
            raise Fail(404, f"there is no schedule {path[0]}")
        if path[1:] == ["next"]:
            return self.answer({"slots": [{"slot": "2026-12-01T06:00:00Z"}]})
        if method == "DELETE":
            del kept[path[0]]
            self.send_response(204)
            return self.end_headers()
        self.answer(kept[path[0]])


def void(_) -> None:
    return None
