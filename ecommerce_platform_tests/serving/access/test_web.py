"""Signing browsers in: nobody gets further without a session, whose token is in a cookie and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ecommerce_platform.serving.access import web
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.store import Store
from ecommerce_platform.serving.access.web import COOKIE, SignIn
from ecommerce_platform.web_guard import LOOPBACK

PASSWORD, BASE = "correct horse battery", "http://127.0.0.1:8501"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    accounts = Accounts(Store(tmp_path / "serving.db"))
    accounts.add_user("ada", "analyst", PASSWORD)
    yield accounts
    accounts.audit.flush()


@pytest.fixture
def browser(accounts: Accounts) -> Iterator[TestClient]:
    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("figures")

    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        try:
            while True:
                await connection.send_text(await connection.receive_text())
        except WebSocketDisconnect:
            return

    inner = Starlette(
        routes=[
            Route("/", page),
            Route("/sales", page),
            Route("/_stcore/health", page),
            WebSocketRoute("/live", socket),
        ]
    )
    app = SignIn(inner, accounts, LOOPBACK, title="A shop")
    with TestClient(app, base_url=BASE, follow_redirects=False) as found:
        yield found


def sign_in(browser: TestClient, **fields: str) -> Any:
    return browser.post("/-/sign-in", data={"name": "ada", "password": PASSWORD, **fields}, headers={"origin": BASE})


def test_without_a_session_a_browser_gets_the_form_and_a_program_nothing(browser: TestClient) -> None:
    asked = browser.get("/sales?region=North", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/-/sign-in?next=%2Fsales%3Fregion%3DNorth")
    assert browser.get("/sales").status_code == 401
    assert browser.get("/_stcore/health").text == "figures"
    form = browser.get("/-/sign-in", params={"next": '/sales?"><script>'})
    assert "<script>" not in form.text
    assert "frame-ancestors 'none'" in form.headers["content-security-policy"]
    with (
        pytest.raises(WebSocketDisconnect),
        browser.websocket_connect("ws://127.0.0.1:8501/live", headers={"origin": BASE}),
    ):
        pass


def test_signing_in_leads_to_where_one_was_going_with_a_cookie_no_script_reads(browser: TestClient) -> None:
    done = sign_in(browser, next="/sales?region=North")
    assert (done.status_code, done.headers["location"]) == (303, "/sales?region=North")
    cookie = done.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert browser.get("/sales").text == "figures"
    with browser.websocket_connect("ws://127.0.0.1:8501/live", headers={"origin": BASE}) as live:
        live.send_text("hello")
        assert live.receive_text() == "hello"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/\r\nx"]
)
def test_signing_in_never_leads_elsewhere(browser: TestClient, elsewhere: str) -> None:
    assert sign_in(browser, next=elsewhere).headers["location"] == "/"


def test_a_wrong_password_says_as_much_as_an_unknown_name(browser: TestClient) -> None:
    wrong, unknown = sign_in(browser, password="wrong password here"), sign_in(browser, name="bob")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text == unknown.text
    assert "set-cookie" not in wrong.headers
    assert browser.post("/-/sign-in", content=b"x" * 100_000, headers={"origin": BASE}).status_code == 401


def test_other_sites_can_neither_sign_in_nor_out_nor_listen(browser: TestClient) -> None:
    evil = {"origin": "http://evil.example"}
    assert browser.post("/-/sign-in", data={"name": "ada", "password": PASSWORD}, headers=evil).status_code == 403
    sign_in(browser)
    assert browser.post("/-/sign-out", headers=evil).status_code == 403
    assert browser.get("/sales", headers={"host": "evil.example"}).status_code == 421
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("ws://127.0.0.1:8501/live", headers=evil):
        pass
    assert browser.get("/sales").status_code == 200


def test_signing_out_ends_the_session_and_what_is_open(
    browser: TestClient, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_LOOK", 0.05)
    sign_in(browser)
    token = browser.cookies[COOKIE]
    with browser.websocket_connect("ws://127.0.0.1:8501/live", headers={"origin": BASE}) as live:
        live.send_text("hello")
        live.receive_text()
        assert "Sign out everywhere" in browser.get("/-/sign-out").text
        done = browser.post("/-/sign-out", data={"everywhere": "1"}, headers={"origin": BASE})
        assert done.headers["location"] == "/-/sign-in"
        with pytest.raises(WebSocketDisconnect):
            live.receive_text()
    assert accounts.session(token) is None
    browser.cookies.set(COOKIE, token)
    assert browser.get("/sales").status_code == 401


def test_a_one_time_link_signs_in_once(browser: TestClient, accounts: Accounts) -> None:
    link = accounts.one_time_link()
    done = browser.get("/-/link", params={"t": link})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert browser.get("/").text == "figures"
    browser.cookies.clear()
    again = browser.get("/-/link", params={"t": link})
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)
