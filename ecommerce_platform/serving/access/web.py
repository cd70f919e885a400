"""Signing browsers in: an ASGI application in front of one that people look at (the dashboard).

```python
app = SignIn(streamlit_app, accounts, hosts=allowed_hosts(settings.allowed_hosts), title="…")
accounts.session(st.context.cookies.get(COOKIE))     # → Who, asked at every run of a page: None once it is over
```

Nobody gets further without a session. `/-/sign-in` shows the form, `/-/link?t=…` exchanges a one-time link, `/-/sign-out`
ends the session, here or everywhere; the session's token is in an HttpOnly, SameSite cookie and nowhere else. Open
websockets end with their session. Accounts themselves are in `accounts.py`.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from ecommerce_platform.serving.access.accounts import SESSION, Accounts
from ecommerce_platform.serving.front import refuse
from ecommerce_platform.web_guard import App, Receive, Scope, Send, foreign, wrong_host

COOKIE = "ecommerce_session"
#: Addresses that are answered to anybody: that the server is up.
OPEN = frozenset({"/_stcore/health"})
_FORM = 8192
#: Seconds between two looks at whether the session of an open websocket is over.
_LOOK = 5.0
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:12vh auto;padding:0 1rem;color-scheme:light dark}"
    "label{display:block;margin:.8rem 0 .2rem}input,button{font:inherit;width:100%;padding:.5rem;box-sizing:border-box}"
    "button{margin-top:1.2rem;cursor:pointer}[role=alert]{color:#b3261e}@media(prefers-color-scheme:dark){[role=alert]{color:#ff8a80}}"
)


class SignIn:
    """Passes on what comes with a session.

    Args:
        app: what is behind it.
        accounts: who there is.
        hosts: names this server is reached by, of `web_guard.allowed_hosts`.
        secure: whether browsers reach it by https alone, so that the cookie never goes in clear.
        title: of the sign-in page.
    """

    def __init__(
        self, app: App, accounts: Accounts, hosts: Collection[str], *, secure: bool = False, title: str = "Sign in"
    ) -> None:
        self.app, self.accounts, self.hosts = app, accounts, frozenset(hosts)
        self.secure, self.title = secure, title

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request or handshake."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        path, is_socket = scope["path"], scope["type"] == "websocket"
        why = wrong_host(headers, self.hosts)
        if why or (is_socket and foreign(headers)):
            await (_close(receive, send) if is_socket else refuse(send, 421, "wrong_host", why or ""))
            return
        token = _cookie(headers)
        if path.startswith("/-/") and not is_socket:
            await self._own(scope, receive, send, headers, token)
        elif path in OPEN and not is_socket:
            await self.app(scope, receive, send)
        elif self.accounts.session(token) is None:
            await (_close(receive, send) if is_socket else self._ask(scope, send, headers))
        else:
            await self.app(scope, *(self._while_signed_in(receive, send, token) if is_socket else (receive, send)))

    def _while_signed_in(self, receive: Receive, send: Send, token: str | None) -> tuple[Receive, Send]:
        """What an open websocket receives and sends until its session is over; then both ends are told that it is closed."""
        is_over = False

        async def guarded() -> Any:
            nonlocal is_over
            task = asyncio.ensure_future(receive())
            while True:
                done, _ = await asyncio.wait({task}, timeout=_LOOK)
                if self.accounts.session(token) is None and not is_over:
                    is_over = True
                    task.cancel()
                    await send({"type": "websocket.close", "code": 1008, "reason": "the session is over"})
                    return {"type": "websocket.disconnect", "code": 1008}
                if done:
                    return task.result()

        async def open_still(message: Any) -> None:
            if not is_over:
                await send(message)

        return guarded, open_still

    async def _ask(self, scope: Scope, send: Send, headers: list[tuple[str, str]]) -> None:
        """Sends a browser to the form; tells programs that they are not signed in."""
        if scope["method"] == "GET" and "text/html" in dict(headers).get("accept", ""):
            query = scope["query_string"].decode("latin-1")
            there = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
            await _redirect(send, f"/-/sign-in?next={there}")
        else:
            await refuse(send, 401, "not_signed_in", "sign in at /-/sign-in")

    async def _own(
        self, scope: Scope, receive: Receive, send: Send, headers: list[tuple[str, str]], token: str | None
    ) -> None:
        """The pages of signing in and out."""
        path, method = scope["path"], scope["method"]
        asked = _fields(scope["query_string"])
        if method == "POST" and (why := foreign(headers)):
            await refuse(send, 403, "foreign", why)
        elif method == "POST" and path == "/-/sign-in":
            await self._sign_in(await _form(receive), send)
        elif method == "POST" and path == "/-/sign-out":
            everywhere = "everywhere" in await _form(receive)
            if token:
                await asyncio.to_thread(self.accounts.sign_out, token, everywhere=everywhere)
            await _redirect(send, "/-/sign-in", self._cookie("", 0))
        elif method != "GET" or path not in ("/-/sign-in", "/-/sign-out", "/-/link"):
            await refuse(send, 404, "not_found", "there is no such page")
        elif path == "/-/link":
            new = await asyncio.to_thread(self.accounts.exchange, asked.get("t", ""))
            if new:
                await _redirect(send, "/", self._cookie(new, SESSION))
            else:
                await self._page(send, 401, "This link was used or is over: start the dashboard again for another one.")
        elif path == "/-/sign-out":
            await _html(send, 200, self.title, _SIGN_OUT)
        else:
            await self._page(send, 200, "", asked.get("next", "/"))

    async def _sign_in(self, form: dict[str, str], send: Send) -> None:
        then = _inside(form.get("next", "/"))
        name, password = form.get("name", ""), form.get("password", "")
        token = await asyncio.to_thread(self.accounts.sign_in, name, password)
        if token:
            await _redirect(send, then, self._cookie(token, SESSION))
        else:
            said = "Name or password is wrong, or there were too many tries: wait a minute."
            await self._page(send, 401, said, then)

    async def _page(self, send: Send, status: int, said: str, then: str = "/") -> None:
        alert = f'<p role="alert">{html.escape(said)}</p>' if said else ""
        await _html(send, status, self.title, alert + _SIGN_IN.format(next=html.escape(_inside(then), quote=True)))

    def _cookie(self, token: str, seconds: float) -> tuple[bytes, bytes]:
        secure = "; Secure" if self.secure else ""
        text = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={int(seconds)}{secure}"
        return b"set-cookie", text.encode()


_SIGN_IN = (
    '<form method="post" action="/-/sign-in"><input type="hidden" name="next" value="{next}">'
    '<label for="name">Name</label><input id="name" name="name" autocomplete="username" required autofocus>'
    '<label for="password">Password</label>'
    '<input id="password" name="password" type="password" autocomplete="current-password" required>'
    "<button>Sign in</button></form>"
)
_SIGN_OUT = (
    '<form method="post" action="/-/sign-out"><button>Sign out here</button>'
    '<button name="everywhere" value="1">Sign out everywhere</button></form>'
)


def _inside(address: str) -> str:
    """An address of this server; anything else is its first page."""
    parts = urlsplit(address)
    plain = address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and not parts.netloc and not parts.scheme else "/"


def _cookie(headers: list[tuple[str, str]]) -> str | None:
    for name, value in headers:
        if name == "cookie":
            for part in value.split(";"):
                key, _, token = part.strip().partition("=")
                if key == COOKIE:
                    return token
    return None


def _fields(text: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text.decode("latin-1"), max_num_fields=10).items()}


async def _form(receive: Receive) -> dict[str, str]:
    """The fields of a form, up to a few kilobytes; none of one that is longer."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False) and message["type"] == "http.request"
        if len(body) > _FORM:
            return {}
    try:
        return _fields(body)
    except ValueError:
        return {}


async def _redirect(send: Send, to: str, *headers: tuple[bytes, bytes]) -> None:
    there = [(b"location", to.encode("latin-1", "replace")), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": [*there, *headers]})
    await send({"type": "http.response.body", "body": b""})


async def _html(send: Send, status: int, title: str, body: str) -> None:
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><main><h1>{html.escape(title)}</h1>{body}</main></html>"
    ).encode()
    headers = {
        "content-type": "text/html; charset=utf-8", "content-length": str(len(text)), "cache-control": "no-store",
        "content-security-policy": _POLICY, "referrer-policy": "same-origin", "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }  # fmt: skip
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": text})


async def _close(receive: Receive, send: Send) -> None:
    """Refuses a handshake: before it is accepted, that is a 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": ""})
