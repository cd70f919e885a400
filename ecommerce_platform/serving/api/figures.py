"""Routes of figures: metrics by dimensions, filters and periods; what there is to ask; experiments and insights."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from ecommerce_platform.contracts import metric_sql
from ecommerce_platform.errors import InputError
from ecommerce_platform.serving.api.answers import Figures, Table, Things, responses
from ecommerce_platform.serving.api.asking import Asking, asking
from ecommerce_platform.serving.read import about
from ecommerce_platform.serving.read.answer import Answer
from ecommerce_platform.serving.read.people import NotThere

router = APIRouter(prefix="/v1", tags=["figures"])
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows at most.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="Rows left out; `next` of the page before.")]
Figure = Annotated[Asking, Depends(asking("figures"))]
_EXPERIMENTS = "ml.experiment_results"


@router.get("/metrics", response_model=Things, responses=responses(), summary="Metrics that can be asked for")
async def metrics(ask: Figure) -> Response:
    """Every metric that this shop's snapshot can answer, with its meaning, unit, and what it can be cut by."""
    return await ask.answer({"snapshot": ask.view.id, "items": await ask.run(about.metric_list)})


@router.get("/dimensions", response_model=Things, responses=responses(), summary="What metrics can be cut by")
async def dimensions(ask: Figure) -> Response:
    """Every dimension with its meaning; `within` is the one that one drills down from."""
    return await ask.answer({"snapshot": ask.view.id, "items": await ask.run(about.dimension_list)})


def parsed_filters(texts: list[str]) -> tuple[metric_sql.Filter, ...]:
    """Filters as the address has them: `region:South`, `region:South,West` (one of), `-channel:web` (not).

    A comma within a value is written `\\,`.

    Raises:
        InputError: a filter is no such text.
    """
    found = []
    for text in texts:
        name, colon, values = text.partition(":")
        if not colon or not name or not values:
            raise InputError(
                f"{text[:100]!r} is no filter", fix="write dimension:value, or -dimension:value to leave out"
            )
        if "\0" in values:
            raise InputError("a filter's value cannot hold a null character")
        parts = [v.replace("\0", ",") for v in values.replace("\\,", "\0").split(",")]
        found.append(metric_sql.Filter(name.removeprefix("-"), tuple(parts), name.startswith("-")))
    return tuple(found)


@router.get(
    "/query", response_model=Figures, responses=responses(), summary="Metrics by dimensions, filters and periods"
)
async def query(
    ask: Figure,
    metric: Annotated[list[str], Query(min_length=1, max_length=30, examples=[["revenue", "orders"]])],
    by: Annotated[list[str], Query(max_length=5, examples=[["region"]])] = [],  # noqa: B006
    period: Annotated[str | None, Query(examples=["month"], description="day, week, month, quarter, year")] = None,
    filter: Annotated[
        list[str],
        Query(max_length=10, examples=[["channel:web,app"]], description="`dimension:value,…`; `-` before it: not"),
    ] = [],  # noqa: B006
    since: Annotated[date | None, Query(ge=about.FIRST, le=about.LAST, description="First day.")] = None,
    until: Annotated[date | None, Query(ge=about.FIRST, le=about.LAST, description="Last day.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """The figures, and beside them what they mean, their grain and open findings about the tables behind them."""
    asked = metric_sql.Query(tuple(metric), tuple(by), period, parsed_filters(filter), since, until)
    sql = ask.view.compiled(asked) + (f"\noffset {offset}" if offset else "")
    answer = await ask.rows(lambda view: view.start(sql, limit=limit))
    explained = await ask.run(lambda view: about.explained(view, asked))
    following = offset + limit if answer.truncated else None
    return await ask.answer({**table_of(ask, answer, following), **explained}, len(answer.rows))


def table_of(ask: Asking, answer: Answer, following: str | int | None = None) -> dict[str, Any]:
    """An answer's rows as the API gives them, and where the following page begins."""
    return {
        "snapshot": ask.view.id,
        "columns": answer.columns,
        "types": answer.types,
        "rows": answer.records(),
        "truncated": answer.truncated,
        "next": following,
    }


@router.get("/experiments", response_model=Table, responses=responses(404), summary="Results of experiments")
async def experiments(ask: Figure, limit: Limit = 100, offset: Offset = 0) -> Response:
    """What came of each experiment: `ml.experiment_results`."""
    if not ask.view.has(_EXPERIMENTS):
        raise NotThere("this shop has no experiments", fix="a source that maps `experiment_assignments` has")
    sql = ask.view.rows_sql(_EXPERIMENTS, offset=offset)
    answer = await ask.rows(lambda view: view.start(sql, limit=limit))
    return await ask.answer(table_of(ask, answer, offset + limit if answer.truncated else None), len(answer.rows))


@router.get("/insights", response_model=Things, responses=responses(), summary="What stands out, in sentences")
async def insights(ask: Figure) -> Response:
    """Findings about the figures with effect and interval; each sentence names the table it is made from."""
    return await ask.answer({"snapshot": ask.view.id, "items": await ask.run(about.insights)})
