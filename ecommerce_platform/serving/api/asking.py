"""Between a route and the read layer: who asks, whether they may, how often, on which snapshot, and whether they are still there.

Routes say which permission they need (`asking("figures")`) and get an `Asking`, pinned to one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from threading import Event
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import Who
from ecommerce_platform.serving.api.answers import answered
from ecommerce_platform.serving.api.limits import Rate
from ecommerce_platform.serving.api.scoring import Scorer
from ecommerce_platform.serving.encoding import encoded
from ecommerce_platform.serving.read.answer import Answer
from ecommerce_platform.serving.read.jobs import Ticket
from ecommerce_platform.serving.read.reader import Reader, View

T = TypeVar("T")
#: Seconds between two looks at whether who asks is still there.
_LOOK = 0.25
#: Rows whose JSON is made in a thread, so that nobody else waits for it.
_MANY = 500
_bearer = HTTPBearer(auto_error=False, description="An API key: `ecommerce keys new NAME --role viewer`.")
AsOf = Annotated[str | None, Query(max_length=40, description="An earlier snapshot: its id, its beginning, or a time.")]


@dataclass
class Serving:
    """What all routes share; `app.state.serving`."""

    reader: Reader
    accounts: Accounts
    rate: Rate
    #: Of callers without a valid key, by address.
    failures: Rate
    scorer: Scorer | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Refused(Exception):
    """A request that is not answered, with the status that says so."""

    def __init__(self, status: int, code: str, message: str, fix: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fix, self.headers = status, code, message, fix, headers


class Unchanged(Exception):
    """The caller has this answer already."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


@dataclass
class Asking:
    """One request of somebody who may ask it, on one snapshot."""

    request: Request
    who: Who
    view: View
    serving: Serving

    @property
    def etag(self) -> str:
        """Stands for the answer: the same for the same question of the same role on the same snapshot."""
        url = self.request.url
        text = f"{self.view.version}\n{self.who.role}\n{url.path}\n{url.query}"
        return f'"{sha256(text.encode()).hexdigest()[:32]}"'

    async def rows(self, start: Callable[[View], Ticket]) -> Answer:
        """The answer to one question; stopped if the caller goes."""
        ticket = start(self.view)
        if ticket.future.done():
            return ticket.result()
        return await self._while_there(lambda gone: ticket.result(gone))

    async def run(self, work: Callable[[View], T]) -> T:
        """What several questions give, asked in a thread."""
        return await self._while_there(lambda _: work(self.view))

    async def _while_there(self, work: Callable[[Callable[[], bool]], T]) -> T:
        gone = Event()

        async def watch() -> None:
            while not await self.request.is_disconnected():
                await asyncio.sleep(_LOOK)
            gone.set()

        watching = asyncio.create_task(watch())
        try:
            return await anyio.to_thread.run_sync(work, gone.is_set, limiter=self.serving.details["limiter"])
        finally:
            watching.cancel()

    async def answer(self, content: dict[str, Any], many: int = 0) -> Response:
        """The content as JSON with its ETag."""
        if many > _MANY:
            return answered(await anyio.to_thread.run_sync(encoded, content), headers=self.headers)
        return answered(content, headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        """What stands above every answer of a snapshot."""
        return {"etag": self.etag, "cache-control": "private, no-cache", "x-snapshot": self.view.id}

    def note(self, action: str, object_: str | None = None) -> None:
        """Notes in the audit log what is done, to whom."""
        self.serving.accounts.audit.note(self.who.id, action, object_)


async def somebody(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Who:
    """Whose key comes with the request; counts it.

    Raises:
        Refused: no valid key, or too many requests.
    """
    serving: Serving = request.app.state.serving
    who = serving.accounts.key(given.credentials if given else None)
    if who is None:
        address = request.client.host if request.client else "?"
        if wait := serving.failures.taken(address):
            raise _too_often(wait)
        raise Refused(
            401, "no_key", "a valid API key is needed", "Authorization: Bearer ek_…; `ecommerce keys new` makes one",
            www_authenticate="Bearer",
        )  # fmt: skip
    if wait := serving.rate.taken(who.id):
        raise _too_often(wait)
    return who


def _too_often(wait: int) -> Refused:
    return Refused(429, "too_often", "too many requests", f"try again in {wait} s", retry_after=str(wait))


def permitted(what: str) -> Callable[..., Awaitable[Who]]:
    """A dependency: somebody who may do `what` (a permission of `roles.py`)."""

    async def check(request: Request, who: Annotated[Who, Depends(somebody)]) -> Who:
        if not who.may(what):
            request.app.state.serving.accounts.audit.note(who.id, f"refused.{what}", None, "role")
            raise Refused(403, "not_allowed", f"the role {who.role} may not do this ({what})", "ask an admin for a key")
        return who

    return check


def asking(what: str, *, cached: bool = True) -> Callable[..., AsyncIterator[Asking]]:
    """A dependency: a request that may be answered, on one snapshot.

    Args:
        what: the permission it needs.
        cached: whether the caller may already have the answer (ETag).
    """

    allowed = Depends(permitted(what))  # not in an annotation: those see no local names

    async def ask(request: Request, who: Who = allowed, as_of: AsOf = None) -> AsyncIterator[Asking]:
        serving: Serving = request.app.state.serving
        _known_parameters(request)
        async with AsyncExitStack() as stack:
            context = serving.reader.view(as_of=as_of, user=who.id)
            view = await anyio.to_thread.run_sync(context.__enter__) if as_of else context.__enter__()
            stack.callback(context.__exit__, None, None, None)
            found = Asking(request, who, view, serving)
            if cached and found.etag in _etags(request.headers.get("if-none-match", "")):
                raise Unchanged(found.etag)
            yield found

    return ask


def _known_parameters(request: Request) -> None:
    """Refuses a parameter that the route does not have: left out without a word, it would change what the answer means."""
    if not request.query_params:
        return
    route = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [parameter["name"] for parameter in route.get("parameters", ()) if parameter["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, 1)
            fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}" if known else "it takes none"
            raise Refused(422, "wrong_request", f"there is no parameter {name[:100]!r} here", fix)


def _etags(text: str) -> set[str]:
    return {part.strip().removeprefix("W/") for part in text.split(",")}
