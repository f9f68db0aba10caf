"""Speaking with the server over HTTP, with nothing but the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

from ._errors import Error, NotSignedIn

MAX_JSON = 64 << 20
MAX_EVENT = 4 << 20
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 90.0

ARROW = "application/vnd.apache.arrow.stream"


class Response:
    """An answer whose body is still on its way. Close it."""

    def __init__(
        self, raw: http.client.HTTPResponse, connection: http.client.HTTPConnection, sock: socket.socket | None
    ) -> None:
        self.raw = raw
        self.status = raw.status
        self.headers = raw.headers
        self._connection, self._sock = connection, sock

    def read(self, limit: int = MAX_JSON) -> bytes:
        """Return the body, which may have ``limit`` bytes."""
        try:
            data = self.raw.read(limit + 1)
        finally:
            self.close()
        if len(data) > limit:
            raise Error(f"the answer of the server is longer than {limit} bytes", "too large")
        return data

    def close(self) -> None:
        """Hang up. Another thread that reads the body gets an error."""
        self.hang_up()
        self.raw.close()
        self._connection.close()

    def hang_up(self) -> None:
        """End the connection; a thread that reads from it gets an error, and closes it."""
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already


class Client:
    """Requests to one server, as one person.

    The address and the token are read at each request where they were not given:
    from the file that QUIRE_TOKEN_FILE names, which the platform keeps fresh for
    kernels that outlive their token, or else from QUIRE_URL and QUIRE_TOKEN. A
    client may be used by any number of threads; each keeps a connection.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._url, self._token = url, token
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"<kragle.Client of {self._url or os.environ.get('QUIRE_URL') or 'no server'}>"

    @property
    def url(self) -> str:
        """The address of the server, without a slash at its end."""
        address = self._url or _fresh().get("url") or os.environ.get("QUIRE_URL", "")
        if not address:
            raise Error(
                "no server is known: set QUIRE_URL and QUIRE_TOKEN, or call kg.connect(url, token)", "unavailable"
            )
        return address.rstrip("/")

    def _authorization(self) -> str:
        token = self._token or _fresh().get("token") or os.environ.get("QUIRE_TOKEN", "")
        if not token:
            raise NotSignedIn("there is no access token: set QUIRE_TOKEN, or call kg.connect(url, token)", "denied")
        if not token.isascii() or not token.isprintable():
            raise NotSignedIn("the access token is not one: it holds characters that no token has", "denied")
        return "Bearer " + token

    def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Make a request; return what the answer says in JSON, None where it says nothing."""
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {"Accept": "application/json", **(headers or {})}
        if data is not None:
            headers["Content-Type"] = "application/json"
        with _Lease(self, reuse=True) as lease:
            response = lease.send(method, path, query, headers, data)
            text = response.raw.read(MAX_JSON + 1)
            lease.done(response)
        if len(text) > MAX_JSON:
            raise Error(f"{method} {path}: the answer is longer than {MAX_JSON} bytes", "too large")
        if response.status >= 400:
            raise problem(response.status, text, f"{method} {path}")
        return _parsed(text, f"{method} {path}") if text.strip() else None

    def stream(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        accept: str = "*/*",
        body: bytes | Iterable[bytes] | None = None,
        content_type: str = "",
        wait: float | None = ANSWER_SECONDS,
    ) -> Response:
        """Make a request whose answer, or whose body, is too large to have at once."""
        headers = {"Accept": accept}
        if content_type:
            headers["Content-Type"] = content_type
        lease = _Lease(self, reuse=False, wait=wait)
        try:
            response = lease.send(method, path, query, headers, body)
            if response.status >= 400:
                raise problem(response.status, response.read(), f"{method} {path}")
        except BaseException:
            lease.drop()
            raise
        return response

    def events(self, path: str, query: dict[str, Any] | None = None) -> Iterator[tuple[str, Any]]:
        """Yield the server-sent events (name, data in JSON) of a path."""
        response = self.stream("GET", path, query, accept="text/event-stream", wait=ANSWER_SECONDS)
        name, size = "", 0
        data: list[str] = []
        try:
            while True:
                line = response.raw.readline(MAX_EVENT)
                if not line:
                    return
                size += len(line)
                if size > MAX_EVENT:
                    raise Error(f"{path}: an event is longer than {MAX_EVENT} bytes", "too large")
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                if text == "":
                    if data:
                        yield name, _parsed("\n".join(data).encode(), path)
                    name, data, size = "", [], 0
                elif text.startswith("data:"):
                    data.append(text[5:].removeprefix(" "))
                elif text.startswith("event:"):
                    name = text[6:].strip()
        finally:
            response.close()


def _fresh() -> dict[str, str]:
    """The address and token in the file of QUIRE_TOKEN_FILE; nothing where there is none."""
    file = os.environ.get("QUIRE_TOKEN_FILE")
    if not file:
        return {}
    try:
        with open(file, encoding="utf-8") as source:
            said = json.loads(source.read(1 << 16))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}


class _Kept:
    """A connection that nobody uses now. It ends with the thread that has it."""

    def __init__(self, address: str, connection: http.client.HTTPConnection) -> None:
        self._of = (address, os.getpid())
        self._connection: http.client.HTTPConnection | None = connection

    def take(self, address: str) -> http.client.HTTPConnection | None:
        if self._of != (address, os.getpid()):
            return None  # of another server, or of the process that this one was forked from
        connection, self._connection = self._connection, None
        return connection

    def __del__(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Lease:
    """A connection, kept for the thread's next request when that is in order."""

    def __init__(self, client: Client, reuse: bool, wait: float | None = ANSWER_SECONDS) -> None:
        self.client, self.reuse, self.wait = client, reuse, wait
        self.connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> _Lease:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            self.drop()

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def done(self, response: Response) -> None:
        if self.connection is not None and not response.raw.will_close and response.raw.isclosed():
            self.client._local.kept = _Kept(self.client.url, self.connection)
        else:
            self.drop()

    def send(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None,
        headers: dict[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        address = self.client.url
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Error(f"{address!r} is not the address of a server: want http://host:port", "invalid")
        target = parts.path.rstrip("/") + path
        if query:
            pairs = [(name, value) for name, value in query.items() if value is not None]
            target += "?" + urllib.parse.urlencode(pairs) if pairs else ""
        headers = {"Authorization": self.client._authorization(), **headers}
        kept = self._kept(address) if self.reuse else None
        if kept is not None and method == "GET":  # what changes things is never sent twice
            try:
                return self._send(kept, method, target, headers, body)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.drop()  # the server closed it while nobody spoke
        elif kept is not None:
            kept.close()
        try:
            return self._send(_connection(parts, self.wait), method, target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            self.drop()
            raise Error(f"the server at {address} does not answer: {_why(error)}", "unavailable") from error

    def _kept(self, address: str) -> http.client.HTTPConnection | None:
        kept: _Kept | None = getattr(self.client._local, "kept", None)
        self.client._local.kept = None
        return None if kept is None else kept.take(address)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        self.connection = connection
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            headers = {**headers, "Transfer-Encoding": "chunked"}
        connection.request(method, target, body=body, headers=headers, encode_chunked=chunked)
        sock: socket.socket | None = connection.sock
        return Response(connection.getresponse(), connection, sock)


def _connection(parts: urllib.parse.SplitResult, wait: float | None) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)
    connection.connect()
    connection.sock.settimeout(wait)
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it hung up"
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Error(f"{what}: the answer is not JSON: {text[:80]!r}. Is QUIRE_URL the address of Quire?") from None


KINDS = {
    400: "invalid",
    401: "denied",
    403: "denied",
    404: "not found",
    409: "conflict",
    412: "conflict",
    413: "too large",
    429: "unavailable",
    499: "canceled",
    503: "unavailable",
    504: "timeout",
}


def problem(status: int, text: bytes, what: str) -> Error:
    """Return the error that an answer of the server says."""
    try:
        said = json.loads(text)
        detail = str(said.get("detail") or said.get("message") or said.get("title") or "")
        request = str(said.get("requestId") or "")
    except (ValueError, AttributeError):
        said, detail, request = {}, "", ""
    kind = KINDS.get(status, "internal")
    detail = detail or f"{what}: the server answered {status}"
    if status == 401:
        return NotSignedIn(f"{detail}. The access token (QUIRE_TOKEN) is wrong, or too old", kind, request)
    if request and kind == "internal":
        detail = f"{detail} (request {request})"
    error = Error(detail, kind, request)
    error.position = position(said)
    return error


def position(said: Any) -> tuple[int, int]:
    """Return the line and column that a problem names, 0 where it names none."""
    place = said.get("position") if isinstance(said, dict) else None
    if not isinstance(place, dict):
        return 0, 0
    line, column = place.get("line"), place.get("column")
    return (line if isinstance(line, int) else 0), (column if isinstance(column, int) else 0)


def quoted(path: str) -> str:
    """A path of files for an address: its slashes stay."""
    return urllib.parse.quote(path.strip("/"), safe="/")


def encoded(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")
