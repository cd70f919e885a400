"""What stands in front of every HTTP server here: host, size and number of requests, headers that browsers obey.

Who somebody is comes behind it (`access/web.py` for browsers, `api/asking.py` for keys).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from starlette.exceptions import HTTPException

from ecommerce_platform.web_guard import App, Receive, Scope, Send, wrong_host

#: Bytes of a request's body and of its address.
BODY, ADDRESS = 1024**2, 8192
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]


class Front:
    """An ASGI application in front of another.

    Args:
        app: the other.
        hosts: names this server is reached by, of `web_guard.allowed_hosts`.
        most: requests that may be under way at once; more are told to come again.
        body: bytes that a request's body may have.
    """

    def __init__(self, app: App, hosts: Collection[str], *, most: int = 256, body: int = BODY) -> None:
        self.app, self.hosts, self.most, self.body = app, frozenset(hosts), most, body
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if found := self._refused(scope):
            status, code, message, headers = found
            await refuse(send, status, code, message, headers)
            return
        self.under_way += 1
        try:
            await self.app(scope, self._bounded(receive), _with_headers(send))
        except _TooLarge:
            await refuse(send, 413, "too_large", f"a request has up to {self.body:,} bytes")
        finally:
            self.under_way -= 1

    def _refused(self, scope: Scope) -> tuple[int, str, str, dict[str, str]] | None:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if why := wrong_host(headers, self.hosts):
            return 421, "wrong_host", why, {}
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > ADDRESS:
            return 414, "too_long", f"an address has up to {ADDRESS:,} bytes", {}
        length = dict(headers).get("content-length", "0")
        if not length.isdigit() or int(length) > self.body:
            return 413, "too_large", f"a request has up to {self.body:,} bytes", {}
        if self.under_way >= self.most:
            return 503, "busy", "too many requests are under way", {"retry-after": "1"}
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """Also bodies that don't say how long they are end somewhere."""
        taken = 0

        async def bounded() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.body:
                raise _TooLarge
            return message

        return bounded


class _TooLarge(HTTPException):
    """Of a kind that frameworks between here and the route pass on instead of wording it in their own way."""

    def __init__(self) -> None:
        super().__init__(413, "the request is too large")


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            there = {name for name, _ in message.get("headers", ())}
            message["headers"] = [*message.get("headers", ()), *(h for h in _HEADERS if h[0] not in there)]
        await send(message)

    return wrapped


async def refuse(send: Send, status: int, code: str, message: str, headers: Mapping[str, str] = {}) -> None:
    """Answers with an error, as all of this platform's HTTP servers word them."""
    body = json.dumps({"error": {"code": code, "message": message, "fix": None}}).encode()
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *extra, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
