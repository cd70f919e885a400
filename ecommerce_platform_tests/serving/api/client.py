"""The API over the small shop, as a program asks it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from ecommerce_platform.serving.api.app import make_api
from ecommerce_platform.web_guard import LOOPBACK
from ecommerce_platform_tests.serving.shop import Served

BASE = "http://127.0.0.1"


def app_of(served: Served, **options: Any) -> Any:
    """The application, fast enough for a test unless it says otherwise."""
    return make_api(served.reader, served.accounts, LOOPBACK, **{"rate": 10_000.0, **options})


def fastapi_of(app: Any) -> FastAPI:
    found = app.app
    assert isinstance(found, FastAPI)
    return found


def client(app: Any) -> TestClient:
    return TestClient(app, base_url=BASE, raise_server_exceptions=False)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
