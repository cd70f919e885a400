"""The API put together: routes, what they share, and how errors are answered."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ecommerce_platform.errors import BusyError, InputError, LimitError, PlatformError
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.api import figures, tables, things
from ecommerce_platform.serving.api.answers import problem
from ecommerce_platform.serving.api.asking import Refused, Serving, Unchanged
from ecommerce_platform.serving.api.limits import Rate
from ecommerce_platform.serving.api.scoring import Scorer
from ecommerce_platform.serving.front import Front
from ecommerce_platform.serving.read.people import NotThere
from ecommerce_platform.serving.read.reader import Reader

#: Threads in which requests wait for the read layer: more than may queue there.
_THREADS = 160
#: Requests without a valid key that one address may send in a second.
_FAILURES = 5.0
_DESCRIPTION = (
    "The figures of an online shop, from its published snapshot. Every answer names the snapshot it comes from and has an "
    "ETag: sent back as If-None-Match, an answer that is still the same costs nothing (304)."
)


def make_api(
    reader: Reader,
    accounts: Accounts,
    hosts: Collection[str],
    *,
    scorer: Scorer | None = None,
    rate: float = 200.0,
) -> Front:
    """The API as an ASGI application.

    Args:
        reader: what it reads.
        accounts: whose keys it takes.
        hosts: names it is reached by, of `web_guard.allowed_hosts`.
        scorer: scores new rows; without, that route says that it cannot.
        rate: requests a second that one key may send.
    """
    return Front(_app(Serving(reader, accounts, Rate(rate), Rate(_FAILURES), scorer)), hosts)


def _app(serving: Serving) -> FastAPI:
    app = FastAPI(
        title="ecommerce platform", version="1", description=_DESCRIPTION, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    serving.details["limiter"] = anyio.CapacityLimiter(_THREADS)
    app.state.serving = serving
    for module in (figures, things, tables):
        app.include_router(module.router)

    @app.get("/health", tags=["health"], summary="Whether the server is up")
    async def health() -> dict[str, str]:
        """Answers without a key, and says nothing else."""
        return {"status": "ok"}

    _answer_errors(app)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Every error in the one shape that OpenAPI tells of."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return problem(error.status, error.code, error.message, error.fix, **error.headers)

    @app.exception_handler(Unchanged)
    async def unchanged(_: Request, error: Unchanged) -> Response:
        return Response(status_code=304, headers={"etag": error.etag, "cache-control": "private, no-cache"})

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> Response:
        return problem(429 if error.own else 503, "busy", error.what, error.fix, retry_after=str(error.retry_after))

    @app.exception_handler(LimitError)
    async def limited(_: Request, error: LimitError) -> Response:
        return problem(503, "took_too_long", error.what, "ask for less, or at a quieter time", retry_after="5")

    @app.exception_handler(NotThere)
    async def not_there(_: Request, error: NotThere) -> Response:
        return problem(404, "not_found", error.what, error.fix)

    @app.exception_handler(InputError)
    async def wrong(_: Request, error: InputError) -> Response:
        # Who asks from elsewhere has no command line here.
        fix = error.fix.replace("`ecommerce status`", "/v1/tables") if error.fix else None
        return problem(422, "wrong_request", error.what, fix)

    @app.exception_handler(PlatformError)
    async def failed(_: Request, error: PlatformError) -> Response:
        return problem(503, "not_ready", error.what, error.fix, retry_after="30")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = dict(error.errors()[0])
        where = ".".join(str(part) for part in first["loc"])
        return problem(422, "wrong_request", f"{where}: {first['msg']}", "/v1/openapi.json says what is expected")

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "wrong_method", 400: "wrong_request", 413: "too_large"}
        fix = "/v1/openapi.json lists the routes" if error.status_code in (404, 405) else None
        answer = problem(error.status_code, codes.get(error.status_code, "refused"), str(error.detail), fix)
        answer.headers.update(error.headers or {})
        return answer
