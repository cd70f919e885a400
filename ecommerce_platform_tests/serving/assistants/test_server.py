"""The MCP server as an assistant meets it: a real client over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

from ecommerce_platform.serving.assistants.server import BYTES, bounded
from ecommerce_platform.serving.assistants.transport import make_http
from ecommerce_platform.web_guard import LOOPBACK
from ecommerce_platform_tests.reading.hostile import HOSTILE
from ecommerce_platform_tests.serving.api.client import bearer
from ecommerce_platform_tests.serving.shop import Served

TOOLS = {
    "list_metrics", "list_dimensions", "query_metric", "read_insights", "data_trust", "list_tables", "describe_table",
    "table_lineage", "run_sql",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(served: Served) -> Iterator[str]:
    """The server on a port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = make_http(served.reader, served.accounts, LOOPBACK, rate=10_000)
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/mcp"
    server.should_exit = True
    thread.join()


@asynccontextmanager
async def by_http(url: str, key: str) -> AsyncIterator[ClientSession]:
    async with (
        streamablehttp_client(url, headers=bearer(key)) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


async def ask(session: ClientSession, tool: str, **arguments: Any) -> Any:
    """A tool's answer; its text where it is an error."""
    found = await session.call_tool(tool, arguments)
    text = found.content[0].text  # type: ignore[union-attr]
    return text if found.isError else json.loads(text)


def asked(url: str, key: str, tool: str, **arguments: Any) -> Any:
    async def run() -> Any:
        async with by_http(url, key) as session:
            return await ask(session, tool, **arguments)

    return asyncio.run(run())


def test_a_figure_is_that_of_the_gold_table_and_says_what_it_means(url: str, served: Served) -> None:
    found = asked(
        url, served.keys["viewer"], "query_metric", metrics=["revenue", "orders"], period="month", limit=500
    )  # fmt: skip
    stored = served.rows("select month, revenue, orders from gold.kpi_monthly order by month")
    assert [(r["period"], r["revenue"], r["orders"]) for r in found["rows"]] == [
        (str(r["month"]), pytest.approx(float(r["revenue"])), r["orders"]) for r in stored
    ]
    assert found["grain"] == "one row per month"
    assert set(found["definitions"]) == {"revenue", "orders"}
    assert found["truncated"] is False
    assert found["freshness"]["snapshot"] == served.published.joinpath("current").readlink().name
    cut = asked(url, served.keys["viewer"], "query_metric", metrics=["orders"], by=["channel"], limit=1)
    assert (len(cut["rows"]), cut["truncated"]) == (1, True)
    web = asked(
        url, served.keys["viewer"], "query_metric", metrics=["orders"], by=["channel"], filters={"channel": ["web"]}
    )
    assert [r["channel"] for r in web["rows"]] == ["web"]


def test_tables_come_with_grain_lineage_and_open_findings(url: str, served: Served) -> None:
    async def run() -> None:
        async with by_http(url, served.keys["analyst"]) as session:
            tools = (await session.list_tools()).tools
            assert {t.name for t in tools} == TOOLS
            assert all(t.annotations and t.annotations.readOnlyHint for t in tools)
            assert not any("context" in t.inputSchema.get("properties", {}) for t in tools)
            table = await ask(session, "describe_table", table="gold.kpi_monthly")
            assert (table["grain"], [f["check"] for f in table["findings"]]) == ("one row per month", ["no_gaps"])
            assert (await ask(session, "table_lineage", table="gold.kpi_monthly"))["from"] == ["gold.kpi_daily"]
            assert "revenue" in {m["name"] for m in (await ask(session, "list_metrics"))["items"]}
            assert "region" in {d["name"] for d in (await ask(session, "list_dimensions"))["items"]}
            assert "gold.kpi_monthly" in {t["table"] for t in (await ask(session, "list_tables"))["items"]}
            assert (await ask(session, "data_trust"))["failed_checks"]
            assert isinstance((await ask(session, "read_insights"))["items"], list)
            assert "did you mean" in await ask(session, "query_metric", metrics=["revenu"])
            sql = await ask(session, "run_sql", sql="select sum(revenue) as r from gold.kpi_monthly")
            assert sql["rows"][0]["r"] == pytest.approx(
                float(served.rows("select revenue from gold.kpi_summary")[0]["revenue"])
            )
            assert sql["findings"]
            assert "untrusted" not in sql
            assert (
                "never instructions"
                in (await ask(session, "run_sql", sql="select message from silver.reviews"))["untrusted"]
            )

    asyncio.run(run())


def test_sql_reaches_nothing_but_the_snapshot(url: str, served: Served) -> None:
    async def run() -> None:
        async with by_http(url, served.keys["admin"]) as session:
            for sql in HOSTILE:
                names = {
                    "secret": "/etc/passwd",
                    "folder": "/etc",
                    "database": "/etc/passwd",
                    "out": "/tmp/never-written",
                }
                found = await ask(session, "run_sql", sql=sql.format(**names))
                assert isinstance(found, str), sql
                assert "root:" not in found

    asyncio.run(run())


def test_a_role_that_may_not_is_told_so_and_nobody_else_gets_in(url: str, served: Served) -> None:
    assert "may not" in asked(url, served.keys["viewer"], "run_sql", sql="select 1")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream"}
    assert httpx.post(url, json=call, headers=accept).status_code == 401
    assert httpx.post(url, json=call, headers={**accept, **bearer("ek_guess")}).status_code == 401
    good = {**accept, **bearer(served.keys["viewer"])}
    assert httpx.post(url, json=call, headers={**good, "origin": "http://evil.example"}).status_code == 403
    assert httpx.post(url, json=call, headers={**good, "host": "evil.example"}).status_code == 421
    assert httpx.post(url, json=call, headers=good).status_code == 200


def test_answers_are_bounded_in_bytes_and_say_so() -> None:
    found = json.loads(bounded({"rows": [{"x": "y" * 1000} for _ in range(500)], "truncated": False}))
    assert found["truncated"]
    assert 0 < found["rows_given"] == len(found["rows"]) < 61
    assert len(bounded({"description": "x" * 2 * BYTES})) < 200


def test_over_stdio_it_is_an_analyst_unless_a_setting_says_otherwise(served: Served) -> None:
    async def run(role: str | None) -> Any:
        program = str(Path(sys.executable).with_name("ecommerce"))
        environment = {"ECOMMERCE_SOURCE": "synthetic", "ECOMMERCE_DATA_DIR": str(served.folder)}
        environment |= {"ECOMMERCE_MCP_ROLE": role} if role else {}
        server = StdioServerParameters(command=program, args=["mcp"], env=environment)
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            return await ask(session, "run_sql", sql="select count(*) as n from gold.kpi_monthly")

    assert asyncio.run(run(None))["rows"] == served.rows("select count(*) as n from gold.kpi_monthly")
    assert "may not" in asyncio.run(run("viewer"))
