"""What the API answers: the figures of the gold tables, page by page, masked, and the same for the same snapshot."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from ecommerce_platform_tests.serving.api.client import app_of, bearer, client
from ecommerce_platform_tests.serving.shop import Served

NAMES = (
    "orders",
    "customers",
    "new_customers",
    "revenue",
    "units",
    "aov",
    "net_profit",
    "avg_review_score",
    "nps_proxy",
)


@pytest.fixture(scope="module")
def api(served: Served) -> Iterator[TestClient]:
    with client(app_of(served)) as found:
        yield found


@pytest.fixture(scope="module")
def get(api: TestClient, served: Served) -> Any:
    def ask(url: str, role: str = "analyst", **parameters: Any) -> Any:
        answer = api.get(url, params=parameters, headers=bearer(served.keys[role]))
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


def plain(rows: list[dict[str, Any]]) -> Any:
    """Rows of DuckDB as JSON has them."""
    return json.loads(json.dumps(rows, default=lambda v: v.isoformat() if hasattr(v, "isoformat") else float(v)))


def test_figures_equal_the_gold_tables(get: Any, served: Served) -> None:
    for period, table, key in (("month", "gold.kpi_monthly", "month"), ("day", "gold.kpi_daily", "order_date")):
        found = get("/v1/query", metric=NAMES, period=period, limit=1000)["rows"]
        stored = plain(served.rows(f"select {key} as period, {', '.join(NAMES)} from {table} order by 1"))
        assert len(found) == len(stored) > 3
        for row, expected in zip(found, stored, strict=True):
            assert {n: row[n] for n in expected} == pytest.approx(expected)
    (whole,) = get("/v1/query", metric=NAMES)["rows"]
    assert whole == pytest.approx(plain(served.rows(f"select {', '.join(NAMES)} from gold.kpi_summary"))[0])


def test_cuts_and_filters_equal_the_gold_tables(get: Any, served: Served) -> None:
    found = get("/v1/query", metric=["revenue", "orders"], by="channel", period="month", limit=1000)["rows"]
    stored = served.rows(
        "select month as period, value as channel, revenue, orders from gold.kpi_by_dimension where dimension = 'channel' order by 1, 2"
    )
    assert sorted(found, key=lambda r: (r["period"], r["channel"])) != []
    for row, expected in zip(
        sorted(found, key=lambda r: (r["period"], r["channel"])), plain(stored), strict=True
    ):  # fmt: skip
        assert {n: row[n] for n in expected} == pytest.approx(expected)
    channels = [c["channel"] for c in get("/v1/query", metric="orders", by="channel")["rows"]]
    kept = get("/v1/query", metric="orders", by="channel", filter=f"channel:{channels[0]}")["rows"]
    left = get("/v1/query", metric="orders", by="channel", filter=f"-channel:{channels[0]}")["rows"]
    assert [r["channel"] for r in kept] == channels[:1]
    assert [r["channel"] for r in left] == channels[1:]


def test_answers_say_what_they_mean_and_what_is_wrong_with_their_tables(get: Any) -> None:
    found = get("/v1/query", metric=["revenue"], by="region", period="month")
    assert found["grain"] == "one row per month and per region"
    assert "discount" in found["definitions"]["revenue"].lower() or found["definitions"]["revenue"]
    assert "gold.fct_orders" in found["tables"]
    table = get("/v1/tables/gold.kpi_monthly")
    assert [f["check"] for f in table["findings"]] == ["no_gaps"]
    assert get("/v1/tables/gold.kpi_daily")["findings"] == []
    trust = get("/v1/trust")
    assert [f["table"] for f in trust["failed_checks"]] == ["gold.kpi_monthly"]
    assert "gold.kpi_monthly" in trust["overdue"]
    assert get("/v1/tables/gold.kpi_daily/lineage")["to"] == ["gold.kpi_monthly"]
    assert get("/v1/tables/gold.kpi_monthly/lineage")["columns"]["revenue"] == ["gold.kpi_daily.revenue"]


def test_a_filter_by_a_value_that_nothing_has_is_pointed_out(get: Any) -> None:
    def hints(filter: str) -> list[str]:
        return get("/v1/query", metric="orders", filter=filter)["hints"]

    assert hints("channel:wbe") == ["no order has the channel 'wbe': did you mean web?"]
    assert hints("-channel:web,WEB") == ["no order has the channel 'WEB': did you mean web?"]
    assert hints("channel:xyzxyz") == ["no order has the channel 'xyzxyz': there are app, store, web"]
    assert hints("channel:web") == []
    assert hints("device:toaster") == []  # which devices there are is not kept by value


def test_pages_put_together_are_the_whole(get: Any, served: Served) -> None:
    days, offset = [], 0
    while offset is not None:
        page = get("/v1/query", metric="orders", period="day", limit=7, offset=offset)
        days += [row["period"] for row in page["rows"]]
        offset = page["next"]
    assert days == plain(served.rows("select order_date from gold.kpi_daily order by 1")) or len(days) == len(set(days))
    assert len(days) == served.rows("select count(*) as n from gold.kpi_daily")[0]["n"]
    persons, after = [], None
    while True:
        page = get("/v1/customers", limit=20, **({"after": after} if after else {}))
        persons += [row["person_id"] for row in page["rows"]]
        after = page["next"]
        if after is None:
            break
    assert persons == [r["person_id"] for r in served.rows("select person_id from gold.rfm order by 1")]
    segment = served.rows("select segment from gold.rfm order by 1 limit 1")[0]["segment"]
    only = get("/v1/customers", limit=1000, segment=segment)["rows"]
    assert {r["segment"] for r in only} == {segment}


def test_personal_columns_are_masked_but_for_admins_who_ask(get: Any, served: Served) -> None:
    sql = "select person_id, full_name, email from gold.dim_customer where email is not null order by 1 limit 1"
    with served.connect() as con:
        person, name, email = con.execute(sql).fetchall()[0]
    profile = get(f"/v1/customers/{person}")
    assert set(profile["masked"]) == {"full_name", "email", "phone", "birth_date"}
    assert not {name, email} & set(map(str, profile["profile"].values()))
    assert profile["rfm"] is None or profile["rfm"]["person_id"] == person
    personal = get(f"/v1/customers/{person}/personal", "admin")["personal"]
    assert (personal["full_name"], personal["email"]) == (name, email)
    rows = get("/v1/tables/gold.dim_customer/rows", "admin", column=["person_id", "email"], limit=1000)["rows"]
    assert email not in {row["email"] for row in rows}


def test_products_are_those_of_the_gold_tables(get: Any, served: Served) -> None:
    stored = plain(served.rows("select * from gold.product_performance order by rank_by_revenue, product_id"))
    assert get("/v1/products", limit=1000)["rows"] == stored
    assert get(f"/v1/products/{stored[0]['product_id']}")["product"] == stored[0]
    pairs = served.rows(
        "select product_id, other_product_id, lift from gold.product_affinity order by lift desc limit 1"
    )
    if pairs:
        one, other = pairs[0]["product_id"], pairs[0]["other_product_id"]
        assert other in [i["product_id"] for i in get(f"/v1/products/{one}/bought-together")["items"]]
        assert one in [i["product_id"] for i in get(f"/v1/products/{other}/bought-together")["items"]]


def test_what_the_model_shows_beside_a_product_comes_in_its_order(get: Any) -> None:
    shown = get("/v1/products/p3/bought-together")["recommended"]
    assert [(s["place"], s["other_product_id"], s["basis"]) for s in shown] == [
        (1, "p5", "category"),
        (2, "p4", "category"),
    ]
    assert get("/v1/products/p6/bought-together")["recommended"] == []


@pytest.mark.parametrize(
    ("path", "status", "what", "fix"),
    [
        ("/v1/query?metric=revenue&perod=month", 422, "there is no parameter 'perod' here", "did you mean period?"),
        ("/v1/metrics?x=1", 422, "there is no parameter 'x' here", "there are as_of"),
        ("/v1/products/none", 404, "there is no product 'none' that was sold", "/v1/products lists them"),
        (
            "/v1/products/none/bought-together",
            404,
            "there is no product 'none' that was sold",
            "/v1/products lists them",
        ),
        ("/v1/customers/nobody", 404, "there is no person 'nobody'", "/v1/customers lists those with orders"),
        ("/v1/metricss", 404, "Not Found", "/v1/openapi.json lists the routes"),
    ],
)
def test_what_somebody_got_wrong_is_said_with_the_way_out(
    api: TestClient, served: Served, path: str, status: int, what: str, fix: str
) -> None:
    answer = api.get(path, headers=bearer(served.keys["analyst"]))
    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["fix"]) == (status, what, fix)


def test_sql_that_does_not_run_names_a_route_and_no_command(api: TestClient, served: Served) -> None:
    asked = {"sql": "select * from gold.kpi_month"}
    error = api.post("/v1/sql", json=asked, headers=bearer(served.keys["analyst"])).json()["error"]
    assert "kpi_monthly" in error["message"]
    assert error["fix"] == "/v1/tables lists the tables"


def test_an_answer_that_is_still_the_same_costs_nothing(api: TestClient, served: Served) -> None:
    headers = bearer(served.keys["viewer"])
    first = api.get("/v1/query?metric=revenue", headers=headers)
    tag = first.headers["etag"]
    assert api.get("/v1/query?metric=revenue", headers={**headers, "if-none-match": tag}).status_code == 304
    assert api.get("/v1/query?metric=orders", headers={**headers, "if-none-match": tag}).status_code == 200
    assert api.get("/v1/query?metric=revenue", headers={"if-none-match": tag}).status_code in (401, 429)
    computed = served.reader.jobs.computed
    api.get("/v1/query?metric=revenue", headers=headers)
    assert served.reader.jobs.computed == computed


def test_sql_answers_within_limits(api: TestClient, served: Served) -> None:
    def ask(sql: str, limit: int = 100) -> Any:
        return api.post("/v1/sql", json={"sql": sql, "limit": limit}, headers=bearer(served.keys["analyst"]))

    found = ask("select month, revenue from gold.kpi_monthly order by month").json()
    assert found["rows"] == plain(served.rows("select month, revenue from gold.kpi_monthly order by month"))
    assert ask("select * from range(50)", 10).json()["truncated"]
    odd = ask(
        "select 'nan'::double as a, [1, 2] as b, {'c': date '2024-01-01'} as d, '\\x00'::blob as e, interval 1 day as f"
    )
    assert odd.json()["rows"] == [{"a": None, "b": [1, 2], "d": {"c": "2024-01-01"}, "e": "00", "f": 86400.0}]


def test_a_publish_while_programs_ask_gives_no_error_and_no_mixture(served: Served) -> None:
    ids, until = set[str](), time.monotonic() + 60
    stop = threading.Event()
    with client(app_of(served)) as api:
        headers = bearer(served.keys["analyst"])

        def ask(_: int) -> None:
            while not stop.is_set():
                sql = (
                    "select (select sum(orders) from gold.kpi_monthly) = (select orders from gold.kpi_summary) as same"
                )
                answer = api.post("/v1/sql", json={"sql": sql}, headers=headers)
                assert answer.status_code == 200, answer.text
                body = answer.json()
                assert body["rows"] == [{"same": True}]
                assert answer.headers["x-snapshot"] == body["snapshot"]
                ids.add(body["snapshot"])

        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask, i) for i in range(3)]
            for published in (1, 2):
                while len(ids) < published and time.monotonic() < until and not any(a.done() for a in asking):
                    time.sleep(0.02)
                served.publish(even_unchanged=True)
            while len(ids) < 3 and time.monotonic() < until and not any(a.done() for a in asking):
                time.sleep(0.02)
            stop.set()
            for asked in asking:
                asked.result()
    assert len(ids) == 3, "one before, and each of the two published"


def test_earlier_snapshots_can_be_asked(get: Any, served: Served) -> None:
    from ecommerce_platform.reading.snapshots import snapshots

    served.publish(even_unchanged=True)
    first = snapshots(served.published)[0].id
    assert get("/v1/query", metric="revenue", as_of=first)["snapshot"] == first
