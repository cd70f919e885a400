"""Who gets nothing: those without a key, those whose role is too small, those who come from elsewhere, ask too much or too often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from ecommerce_platform.serving.access.roles import PERMISSIONS, ROLES
from ecommerce_platform.serving.front import ADDRESS, BODY
from ecommerce_platform_tests.reading.hostile import ACTS, READS
from ecommerce_platform_tests.serving.api.client import BASE, app_of, bearer, client, fastapi_of
from ecommerce_platform_tests.serving.shop import Served

#: Every route: how it is called, and what it takes.
ROUTES: list[tuple[str, str, str, Any]] = [
    ("GET", "/v1/metrics", "figures", None),
    ("GET", "/v1/dimensions", "figures", None),
    ("GET", "/v1/query?metric=revenue&period=month", "figures", None),
    ("GET", "/v1/experiments", "figures", None),
    ("GET", "/v1/insights", "figures", None),
    ("GET", "/v1/customers", "customers", None),
    ("GET", "/v1/customers/{person}", "customers", None),
    ("GET", "/v1/customers/{person}/personal", "personal", None),
    ("GET", "/v1/products", "figures", None),
    ("GET", "/v1/products/{product}", "figures", None),
    ("GET", "/v1/products/{product}/bought-together", "figures", None),
    ("GET", "/v1/products/{product}/forecast", "figures", None),
    ("GET", "/v1/tables", "figures", None),
    ("GET", "/v1/tables/gold.kpi_monthly", "figures", None),
    ("GET", "/v1/tables/gold.kpi_monthly/lineage", "figures", None),
    ("GET", "/v1/tables/gold.kpi_monthly/rows", "sql", None),
    ("GET", "/v1/trust", "figures", None),
    ("POST", "/v1/sql", "sql", {"sql": "select 1 as one"}),
    ("POST", "/v1/score/segments", "scoring", {"rows": [{"person_id": "p"}]}),
    ("GET", "/v1/audit", "access", None),
    ("GET", "/v1/keys", "access", None),
    ("DELETE", "/v1/keys/000000000000", "access", None),
]
#: What a shop may lack: then the route says so.
MAY_LACK = ("score", "keys/0")


@pytest.fixture(scope="module")
def app(served: Served) -> Any:
    return app_of(served)


@pytest.fixture(scope="module")
def api(app: Any) -> Iterator[TestClient]:
    with client(app) as found:
        yield found


def filled(url: str, served: Served) -> str:
    person = served.rows("select min(person_id) as id from gold.dim_customer")[0]["id"]
    product = served.rows("select min(product_id) as id from gold.product_performance")[0]["id"]
    return url.format(person=person, product=product)


def test_no_route_is_left_out_here(app: Any) -> None:
    routes = fastapi_of(app).openapi()["paths"]
    there = {(method.upper(), path) for path, methods in routes.items() for method in methods}
    named = {
        "{person}": "{person_id}",
        "{product}": "{product_id}",
        "gold.kpi_monthly": "{table}",
        "/segments": "/{model}",
    }
    tested = set()
    for method, url, *_ in ROUTES:
        path = url.partition("?")[0].replace("/keys/000000000000", "/keys/{key}")
        for example, parameter in named.items():
            path = path.replace(example, parameter)
        tested.add((method, path))
    assert there - tested == {("GET", "/health")}


@pytest.mark.parametrize(("method", "url", "permission", "body"), ROUTES)
def test_without_a_key_and_with_too_small_a_role_one_gets_nothing(
    api: TestClient, served: Served, method: str, url: str, permission: str, body: Any
) -> None:
    url = filled(url, served)
    least = ROLES.index(PERMISSIONS[permission])
    for headers in ({}, bearer("ek_000000000000_" + "x" * 43), {"authorization": "Basic YTpi"}):
        answer = api.request(method, url, json=body, headers=headers)
        assert answer.status_code in (401, 429)  # who guesses on is told to wait
        assert set(answer.json()) == {"error"}
    for role in ROLES[:least]:
        answer = api.request(method, url, json=body, headers=bearer(served.keys[role]))
        assert answer.status_code == 403
        assert set(answer.json()) == {"error"}
    for role in ROLES[least:]:
        answer = api.request(method, url, json=body, headers=bearer(served.keys[role]))
        expected = 404 if any(name in url for name in MAY_LACK) else 200
        assert answer.status_code == expected, answer.text


def test_a_revoked_key_opens_nothing(api: TestClient, served: Served) -> None:
    key = served.accounts.add_key("gone", "admin")
    assert api.get("/v1/metrics", headers=bearer(key)).status_code == 200
    id_ = key.split("_")[1]
    assert api.delete(f"/v1/keys/{id_}", headers=bearer(served.keys["admin"])).status_code == 204
    assert api.get("/v1/metrics", headers=bearer(key)).status_code in (401, 429)


def test_guessing_keys_is_slowed_down(served: Served) -> None:
    with client(app_of(served)) as api:
        answers = [api.get("/v1/metrics", headers=bearer("guess")) for _ in range(30)]
        assert {a.status_code for a in answers} == {401, 429}
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert api.get("/v1/metrics", headers=bearer(served.keys["viewer"])).status_code == 200


def test_one_key_alone_is_told_to_wait(served: Served) -> None:
    with client(app_of(served, rate=1.0)) as api:
        first = [api.get("/v1/metrics", headers=bearer(served.keys["viewer"])).status_code for _ in range(4)]
        assert first == [200, 200, 429, 429]
        assert api.get("/v1/metrics", headers=bearer(served.keys["analyst"])).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "169.254.169.254", ""])
def test_another_host_is_not_answered(api: TestClient, served: Served, host: str) -> None:
    answer = api.get("/v1/metrics", headers={**bearer(served.keys["admin"]), "host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("sql", [*READS, *ACTS])
def test_sql_reaches_the_snapshot_and_nothing_else(api: TestClient, served: Served, sql: str) -> None:
    sql = sql.format(secret="/etc/passwd", folder="/etc", database="/etc/passwd", out="/tmp/never-written")
    answer = api.post("/v1/sql", json={"sql": sql}, headers=bearer(served.keys["admin"]))
    assert (answer.status_code, set(answer.json())) == (422, {"error"})
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "url",
    [
        "/v1/tables/..%2f..%2fetc%2fpasswd",
        "/v1/tables/gold.kpi_monthly%00/rows",
        "/v1/tables/restricted.dim_customer/rows",
        "/v1/tables/about.tables/rows",
        "/v1/customers/..%2f..%2fserving.db",
        "/v1/customers/%2e%2e",
        "/v1/products/' or 1=1 --",
        "/v1/../../etc/passwd",
        "/v1/score/..%2fmodels",
    ],
)
def test_paths_lead_nowhere_else(api: TestClient, served: Served, url: str) -> None:
    answer = api.get(url, headers=bearer(served.keys["admin"]))
    assert answer.status_code in (404, 405, 422)
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    "query",
    [
        "metric=revenue%27%3B+drop+table+x",
        "metric=revenue&by=region)+union+select+1",
        "metric=revenue&period=month%27",
        "metric=revenue&filter=region",
        "metric=revenue&since=yesterday",
        "metric=revenue&limit=100000",
        "metric=revenue&offset=-1",
        "metric=revenue&as_of=..%2f..",
        "",
        "&".join(["metric=revenue"] * 40),
    ],
)
def test_what_is_no_question_is_refused_with_a_reason(api: TestClient, served: Served, query: str) -> None:
    answer = api.get(f"/v1/query?{query}", headers=bearer(served.keys["viewer"]))
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def test_what_is_too_large_is_refused_before_it_is_read(api: TestClient, served: Served) -> None:
    headers = bearer(served.keys["admin"])
    assert api.get(f"/v1/query?metric={'x' * ADDRESS}", headers=headers).status_code == 414
    big = "x" * (BODY + 1)
    assert api.post("/v1/sql", content=big, headers=headers).status_code == 413
    assert api.post("/v1/sql", content=iter([big.encode()]), headers=headers).status_code == 413
    assert api.post("/v1/sql", json={"sql": "x" * 30_000}, headers=headers).status_code == 422


def test_more_requests_than_fit_are_told_to_come_again(served: Served) -> None:
    app = app_of(served)
    with client(app) as api:
        app.under_way = app.most
        answer = api.get("/health")
        app.under_way = 0
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_what_is_done_to_whom_stands_in_the_audit_log_without_values(api: TestClient, served: Served) -> None:
    person = served.rows("select person_id, email from gold.dim_customer where email is not null order by 1 limit 1")[0]
    api.get(f"/v1/customers/{person['person_id']}/personal", headers=bearer(served.keys["admin"]))
    lines = api.get("/v1/audit", headers=bearer(served.keys["admin"])).json()["items"]
    found = [line for line in lines if line["action"] == "customer.personal"]
    assert found[0]["object"] == person["person_id"]
    assert found[0]["who"] == f"key:{served.keys['admin'].split('_')[1]}"
    assert "@" not in str(lines)
    assert BASE
