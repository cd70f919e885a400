"""How answers look: JSON of what DuckDB gives, errors of one shape, and the models that OpenAPI describes them with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from ecommerce_platform.serving.encoding import encoded


class Error(BaseModel):
    """What is wrong, and what to do about it."""

    code: str = Field(examples=["wrong_request"])
    message: str = Field(examples=["there is no metric 'revenu'"])
    fix: str | None = Field(None, examples=["did you mean revenue?"])


class Problem(BaseModel):
    """The body of every answer that is none."""

    error: Error


class Table(BaseModel):
    """Rows of one snapshot."""

    snapshot: str = Field(examples=["20240131T101500000000Z"])
    columns: list[str]
    types: list[str] = Field(description="DuckDB's types")
    rows: list[dict[str, Any]]
    truncated: bool = Field(description="whether there are more rows")
    next: str | int | None = Field(None, description="`offset` or `after` of the following page")


class Figures(Table):
    """Metrics, with what they mean."""

    grain: str = Field(examples=["one row per month and per region"])
    definitions: dict[str, str]
    units: dict[str, str | None]
    tables: list[str]
    findings: list[dict[str, Any]] = Field(description="open findings about the tables behind it")
    hints: list[str] = Field(
        description="values in filters that no order has",
        examples=[["no order has the channel 'wbe': did you mean web?"]],
    )


class Things(BaseModel):
    """A list of things with their properties."""

    model_config = {"extra": "allow"}
    snapshot: str
    items: list[dict[str, Any]]


class Thing(BaseModel):
    """One thing with its properties."""

    model_config = {"extra": "allow"}
    snapshot: str


#: Statuses besides 200 that routes document, with what they mean.
MEANINGS = {
    304: "Nothing has changed since the answer with this ETag.",
    400: "The request cannot be read.",
    401: "No key, or one that is not valid (any more).",
    403: "The key's role does not allow this.",
    404: "There is no such thing in this snapshot.",
    413: "The request is too large.",
    414: "The address is too long.",
    421: "The request names a host that is not this server's.",
    422: "What is asked has no meaning; `fix` says what to ask instead.",
    429: "Too many requests of this key; Retry-After says when to come again.",
    503: "Too many requests of all, or the query took too long; Retry-After says when to come again.",
}


def responses(*also: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's answers besides 200: those of all routes and `also`."""
    always = (304, 400, 401, 403, 413, 414, 421, 422, 429, 503)
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*always, *also}):
        found[status] = {"description": MEANINGS[status]}
        if status != 304:
            found[status]["model"] = Problem
    return found


def answered(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = content if isinstance(content, bytes) else encoded(content)
    return Response(body, status, dict(headers or {}), "application/json")


def problem(status: int, code: str, message: str, fix: str | None = None, **headers: str) -> Response:
    """An answer that is none."""
    content = {"error": {"code": code, "message": message, "fix": fix}}
    return answered(content, status, {name.replace("_", "-"): value for name, value in headers.items()})
