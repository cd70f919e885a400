"""How assistants reach the MCP server: over stdio as a child of theirs, or by HTTP on this machine with an API key.

Over HTTP each request shows a key (Bearer) and comes from no web page of somebody else (Host and Origin); sessions are not
kept, so that a key that was revoked ends at once. The tools are in `server.py`.
"""

from __future__ import annotations

from collections.abc import Collection

from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import Role, Who
from ecommerce_platform.serving.api.limits import Rate
from ecommerce_platform.serving.assistants.server import make_server
from ecommerce_platform.serving.front import Front, refuse
from ecommerce_platform.serving.read.reader import Reader
from ecommerce_platform.web_guard import App, Receive, Scope, Send, foreign


def serve_stdio(reader: Reader, accounts: Accounts, role: Role) -> None:
    """Answers the process that started this one, until it closes its end. Nothing else may write to stdout."""
    who = Who("local", role, "stdio")
    make_server(reader, accounts, lambda _: who).run("stdio")


def make_http(reader: Reader, accounts: Accounts, hosts: Collection[str], *, rate: float = 200.0) -> Front:
    """The MCP server as an ASGI application; it answers at `/mcp`.

    Args:
        reader: what it reads.
        accounts: whose keys it takes.
        hosts: names it is reached by, of `web_guard.allowed_hosts`.
        rate: requests a second that one key may send.
    """
    from mcp.server.transport_security import TransportSecuritySettings

    server = make_server(
        reader,
        accounts,
        lambda context: context.request_context.request.scope["who"],
        stateless_http=True,
        json_response=True,
        # Host and Origin are looked at here, by the rules of all servers of this platform.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Front(_Bearer(server.streamable_http_app(), accounts, rate), hosts)


class _Bearer:
    """Passes on requests that show a key."""

    def __init__(self, app: App, accounts: Accounts, rate: float) -> None:
        self.app, self.accounts = app, accounts
        self.rate, self.failures = Rate(rate), Rate(5.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if why := foreign(headers):
            await refuse(send, 403, "foreign", why)
            return
        kind, _, token = dict(headers).get("authorization", "").partition(" ")
        who = self.accounts.key(token.strip()) if kind.lower() == "bearer" else None
        caller = who.id if who else str((scope.get("client") or ("?",))[0])
        if wait := (self.rate if who else self.failures).taken(caller):
            await refuse(send, 429, "too_often", "too many requests", {"retry-after": str(wait)})
        elif who is None:
            await refuse(send, 401, "no_key", "a valid API key is needed", {"www-authenticate": "Bearer"})
        else:
            await self.app({**scope, "who": who}, receive, send)
