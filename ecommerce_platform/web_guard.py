"""Which requests a server on this machine answers: those that do not come from somebody else's web page.

A server on the loopback address is reached by every page that the same browser shows. So each request must name a host
that is ours (else a page could give the address of its own site to this machine), and whatever does something must come
from our own pages, as JSON, which other pages cannot send unasked. Requests without a browser's headers (scripts) pass.
Pure rules, and an ASGI application that keeps them in front of another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

#: This machine, whatever the port.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_FIX_HOST = (
    "name it in ECOMMERCE_ALLOWED_HOSTS if this server is reached under it; a proxy must pass the Host header on"
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[str, str]]


def allowed_hosts(names: str, *urls: str) -> frozenset[str]:
    """The hosts a server answers to: this machine, those of its own addresses, and `names` (separated by commas)."""
    own = {urlsplit(url).netloc.rpartition("@")[2] for url in urls}
    return LOOPBACK | {_name(n) for n in (*own, *names.replace(",", " ").split()) if n}


def wrong_host(headers: Headers, hosts: Collection[str]) -> str | None:
    """Why a request's Host is refused; None if it is one of ours."""
    given = [value for name, value in headers if name.lower() == "host"]
    if len(given) == 1 and _name(given[0]) in hosts:
        return None
    return f"the host {given[0]!r} is not one of this server's: {_FIX_HOST}" if given else "the request names no Host"


def foreign(headers: Headers) -> str | None:
    """Why a request is not from a page of this server; None if it is, or not from a browser."""
    found = [(name.lower(), value) for name, value in headers]
    host = next((value for name, value in found if name == "host"), "")
    for name, value in found:
        if name == "origin" and _place(value) != _bare(host):
            return f"the request comes from a page of {value!r}, not of {host!r}: {_FIX_HOST}"
        if name == "sec-fetch-site" and value not in ("same-origin", "none"):
            return "the request comes from a page of another site"
    return None


def refused(method: str, path: str, headers: Headers, hosts: Collection[str]) -> tuple[int, str] | None:
    """HTTP status and reason why a request is not answered; None if it is.

    Args:
        method: of the request; WEBSOCKET for a handshake.
        path: without the query.
        headers: all of them, as they came.
        hosts: of `allowed_hosts`.
    """
    headers = list(headers)
    if why := wrong_host(headers, hosts):
        return 421, why
    asks = path.rstrip("/").endswith("/graphql")
    if method in ("GET", "HEAD") and not asks:
        return None
    if why := foreign(headers):
        return 403, why
    if method in ("GET", "WEBSOCKET"):
        accepted = next((value for name, value in headers if name.lower() == "accept"), "")
        if method == "WEBSOCKET" or "text/html" in accepted:  # that page asks nothing by itself
            return None
        return 405, "queries are sent by POST as application/json"
    kinds = [value.partition(";")[0].strip().lower() for name, value in headers if name.lower() == "content-type"]
    if method == "POST" and kinds != ["application/json"]:
        return 415, "send application/json"
    return None if method == "POST" else (405, f"{method} is not answered here")


class Guard:
    """An ASGI application that passes on what is not refused."""

    def __init__(self, app: App, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request or handshake."""
        if scope["type"] not in ("http", "websocket"):  # starting and stopping
            await self.app(scope, receive, send)
            return
        method = "WEBSOCKET" if scope["type"] == "websocket" else scope["method"]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        found = refused(method, scope["path"], headers, self.hosts)
        if found is None:
            await self.app(scope, receive, send)
        elif method == "WEBSOCKET":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before it is accepted: 403
        else:
            body = f"{found[1]}\n".encode()
            kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": found[0], "headers": kind})
            await send({"type": "http.response.body", "body": body})


def _name(host: str) -> str:
    """A Host header or address without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _bare(host: str) -> str:
    """A Host header without the port that goes without saying."""
    host = host.strip().lower()
    return next((host.removesuffix(port) for port in _DEFAULT_PORTS.values() if host.endswith(port)), host)


def _place(origin: str) -> str | None:
    """Host and port of an Origin, as `_bare` has them; None for `null` and what is no origin."""
    parts = urlsplit(origin.strip().lower())
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        return None
    return parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])
