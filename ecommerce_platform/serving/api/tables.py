"""Routes about the data itself: tables, lineage, data trust; rows of a table, SQL, scoring, and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ecommerce_platform.serving.api.answers import Table, Thing, Things, responses
from ecommerce_platform.serving.api.asking import Asking, Refused, asking
from ecommerce_platform.serving.api.figures import Figure, Limit, Offset, table_of
from ecommerce_platform.serving.read import about, people
from ecommerce_platform.serving.read.people import NotThere

router = APIRouter(prefix="/v1", tags=["data"])
Sql = Annotated[Asking, Depends(asking("sql"))]
Name = Annotated[str, Path(max_length=100, pattern=r"^[a-z]+\.[a-z0-9_]+$", examples=["gold.kpi_monthly"])]
#: Rows scored by one request.
_SCORED = 1000


@router.get("/tables", response_model=Things, responses=responses(), summary="Published tables")
async def tables(ask: Figure) -> Response:
    """Every table with its meaning, grain and rows."""
    return await ask.answer({"snapshot": ask.view.id, "items": await ask.run(about.table_list)})


@router.get("/tables/{table}", response_model=Thing, responses=responses(404), summary="A table's meaning and columns")
async def table(ask: Figure, table: Name) -> Response:
    """Meaning, grain, key, columns with units, freshness and open findings."""
    _known(ask, table)
    return await ask.answer({"snapshot": ask.view.id, **await ask.run(lambda view: about.describe(view, table))})


@router.get(
    "/tables/{table}/lineage", response_model=Thing, responses=responses(404), summary="Where a table comes from"
)
async def lineage(ask: Figure, table: Name) -> Response:
    """Tables before and after it, and the origins of each of its columns."""
    _known(ask, table)
    return await ask.answer({"snapshot": ask.view.id, **await ask.run(lambda view: about.lineage(view, table))})


@router.get("/tables/{table}/rows", response_model=Table, responses=responses(404), summary="A table's rows")
async def rows(
    ask: Sql,
    table: Name,
    column: Annotated[list[str], Query(max_length=200, description="Default: all.")] = [],  # noqa: B006
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Rows in the order of the table's key; personal columns are keyed hashes."""
    _known(ask, table)
    sql = ask.view.rows_sql(table, tuple(dict.fromkeys(column)), offset=offset)
    answer = await ask.rows(lambda view: view.start(sql, limit=limit))
    ask.note("rows", table)
    return await ask.answer(table_of(ask, answer, offset + limit if answer.truncated else None), len(answer.rows))


def _known(ask: Asking, table: str) -> None:
    if not ask.view.has(table):
        raise NotThere(f"there is no table {table!r} in this snapshot", fix="/v1/tables lists them")


@router.get("/trust", response_model=Thing, responses=responses(), summary="How far the data can be trusted")
async def trust(ask: Figure) -> Response:
    """Freshness, checks that fail, tables overdue, rejected rows by entity, strange days."""
    found = await ask.run(about.trust)
    return await ask.answer({**found, "snapshot": ask.view.id})


class Asked(BaseModel):
    """A query in SQL."""

    model_config = ConfigDict(extra="forbid")
    sql: str = Field(max_length=20_000, examples=["select month, revenue from gold.kpi_monthly order by month"])
    limit: int = Field(100, ge=1, le=1000, description="Rows at most.")


@router.post("/sql", response_model=Table, responses=responses(), summary="One SELECT over the snapshot")
async def sql(ask: Annotated[Asking, Depends(asking("sql", cached=False))], asked: Asked) -> Response:
    """Reads the snapshot's tables and nothing else, within limits of time, memory and rows."""
    ask.note("sql")
    answer = await ask.rows(lambda view: view.start(asked.sql, limit=asked.limit, pool="strangers"))
    return await ask.answer(table_of(ask, answer), len(answer.rows))


class Rows(BaseModel):
    """Rows to be scored."""

    model_config = ConfigDict(extra="forbid")
    rows: list[dict[str, str | int | float | bool | None]] = Field(
        min_length=1,
        max_length=_SCORED,
        examples=[[{"person_id": "new", "recency_days": 12, "frequency": 3, "monetary": 250.5}]],
    )


@router.post("/score/{model}", response_model=Things, responses=responses(404), summary="Scores new customers")
async def score(
    ask: Annotated[Asking, Depends(asking("scoring", cached=False))],
    model: Annotated[str, Path(max_length=60, pattern=r"^[a-z_]+$", examples=["segments"])],
    given: Rows,
) -> Response:
    """Rows scored by the model's current version (`ml.models`); what columns it takes, the answer to wrong ones says."""
    scorer = ask.serving.scorer
    if scorer is None:
        raise NotThere("this server scores nothing", fix="`ecommerce api` does")
    row = await ask.run(lambda view: people.model_in_force(view, model))
    if row is None:
        raise NotThere(f"there is no model {model!r}", fix="/v1/tables/ml.models/rows lists what is trained")
    ask.note("score", model)
    scored: list[dict[str, Any]] = await ask.run(lambda _: scorer(model, row, given.rows))
    return await ask.answer({"snapshot": ask.view.id, "items": scored}, len(scored))


@router.get("/audit", response_model=Things, responses=responses(), summary="Who did what")
async def audit(
    ask: Annotated[Asking, Depends(asking("access", cached=False))], limit: Limit = 100, offset: Offset = 0
) -> Response:
    """The newest lines of the audit log first: ids, no values."""
    ask.note("audit")
    lines = await ask.run(lambda _: ask.serving.accounts.audit.lines(limit=limit, offset=offset))
    return await ask.answer({"snapshot": ask.view.id, "items": lines}, len(lines))


@router.get("/keys", response_model=Things, responses=responses(), summary="API keys")
async def keys(ask: Annotated[Asking, Depends(asking("access", cached=False))]) -> Response:
    """All keys by id, without what is secret about them."""
    found = await ask.run(lambda _: [vars(key) for key in ask.serving.accounts.all_keys()])
    return await ask.answer({"snapshot": ask.view.id, "items": found})


@router.delete("/keys/{key}", status_code=204, responses=responses(404), summary="Ends a key")
async def revoke(
    ask: Annotated[Asking, Depends(asking("access", cached=False))],
    key: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")],
) -> Response:
    """The key is refused from now on."""
    if all(known.id != key for known in ask.serving.accounts.all_keys()):
        raise Refused(404, "not_found", f"there is no key {key!r}", "/v1/keys lists them")
    await ask.run(lambda _: ask.serving.accounts.revoke(key, by=ask.who.id))
    return Response(status_code=204)
