"""Routes of single things: customers and products. What is gathered about them is in `read/people.py`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from ecommerce_platform.serving.api.answers import Table, Thing, Things, responses
from ecommerce_platform.serving.api.asking import Asking, asking
from ecommerce_platform.serving.api.figures import Figure, Limit, Offset, table_of
from ecommerce_platform.serving.read import people, restricted
from ecommerce_platform.serving.read.reader import View

router = APIRouter(prefix="/v1", tags=["customers and products"])
Customer = Annotated[Asking, Depends(asking("customers"))]
PersonId = Annotated[
    str, Path(min_length=1, max_length=200, examples=["C-000123"], description="A `person_id` of /v1/customers.")
]
ProductId = Annotated[
    str, Path(min_length=1, max_length=200, examples=["HOM-10110"], description="A `product_id` of /v1/products.")
]


@router.get("/customers", response_model=Table, responses=responses(404), summary="Customers, by segment")
async def customers(
    ask: Customer,
    segment: Annotated[str | None, Query(max_length=100, examples=["Champions"])] = None,
    after: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
    limit: Limit = 100,
) -> Response:
    """Persons with orders, by their id, with their RFM figures; no personal columns."""
    sql = people.customers_sql(ask.view, segment, after)
    answer = await ask.rows(lambda view: view.start(sql, limit=limit))
    ask.note("customers.list")
    following = str(answer.rows[-1][0]) if answer.truncated and answer.rows else None
    return await ask.answer(table_of(ask, answer, following), len(answer.rows))


@router.get("/customers/{person_id}", response_model=Thing, responses=responses(404), summary="A customer's profile")
async def customer(ask: Customer, person_id: PersonId) -> Response:
    """Profile, segment, and, where models give them: churn risk, value, next best action. Personal columns are masked."""
    found = await ask.run(lambda view: people.customer(view, person_id))
    ask.note("customer", person_id)
    return await ask.answer({"snapshot": ask.view.id, **found})


@router.get(
    "/customers/{person_id}/personal",
    response_model=Thing,
    responses=responses(404),
    summary="Name, e-mail, phone in clear",
)
async def personal(ask: Annotated[Asking, Depends(asking("personal", cached=False))], person_id: PersonId) -> Response:
    """The personal columns in clear. Each look stands in the audit log."""
    await ask.run(lambda view: people.customer(view, person_id))
    ask.note("customer.personal", person_id)
    found = await ask.run(lambda view: restricted.in_clear(view, people.PERSONS, person_id))
    answer = await ask.answer({"snapshot": ask.view.id, "personal": found})
    answer.headers["cache-control"] = "no-store"
    return answer


@router.get("/products", response_model=Table, responses=responses(404), summary="Products, by revenue")
async def products(ask: Figure, limit: Limit = 100, offset: Offset = 0) -> Response:
    """Every product that was sold, with its performance over the whole history: `gold.product_performance`."""
    if not ask.view.has(people.PRODUCTS):
        raise people.NotThere("this shop has no product figures")
    sql = ask.view.rows_sql(people.PRODUCTS, order=("rank_by_revenue", "product_id"), offset=offset)
    answer = await ask.rows(lambda view: view.start(sql, limit=limit))
    return await ask.answer(table_of(ask, answer, offset + limit if answer.truncated else None), len(answer.rows))


@router.get("/products/{product_id}", response_model=Thing, responses=responses(404), summary="A product's performance")
async def product(ask: Figure, product_id: ProductId) -> Response:
    """The product's row of `gold.product_performance`."""
    found = await ask.run(lambda view: people.product(view, product_id))
    return await ask.answer({"snapshot": ask.view.id, "product": found})


@router.get(
    "/products/{product_id}/bought-together",
    response_model=Things,
    responses=responses(404),
    summary="What is bought with it",
)
async def bought_together(ask: Figure, product_id: ProductId, limit: Limit = 20) -> Response:
    """Other products by lift; `confidence` is the share of this product's orders that hold the other.

    `recommended` is what the model shows beside it (`ml.bought_together`), where the shop has one.
    """
    items = await ask.run(lambda view: _or_not_sold(view, product_id, people.bought_together(view, product_id, limit)))
    shown = await ask.run(lambda view: people.recommended(view, product_id))
    return await ask.answer({"snapshot": ask.view.id, "items": items, "recommended": shown})


def _or_not_sold(view: View, product_id: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was found of a product; nothing of one that was never sold is not the same as nothing."""
    if not found:
        people.product(view, product_id)
    return found


@router.get(
    "/products/{product_id}/forecast", response_model=Things, responses=responses(404), summary="Expected sales"
)
async def forecast(ask: Figure, product_id: ProductId, limit: Limit = 100) -> Response:
    """What is expected to be sold: `ml.demand_forecast`."""
    items = await ask.run(lambda view: _or_not_sold(view, product_id, people.forecast_of(view, product_id, limit)))
    return await ask.answer({"snapshot": ask.view.id, "items": items})
