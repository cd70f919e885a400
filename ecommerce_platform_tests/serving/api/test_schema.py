"""schemathesis finds neither a 5xx nor an answer that OpenAPI does not tell of; a few cases here, many in the long run."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ecommerce_platform_tests.serving.api.client import BASE, app_of, bearer, fastapi_of
from ecommerce_platform_tests.serving.shop import Served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def schema(served: Served) -> Any:
    app = app_of(served)
    found = schemathesis.openapi.from_asgi("/v1/openapi.json", app, headers={"host": "127.0.0.1"})
    assert fastapi_of(app)
    return found


def try_all(schema: Any, served: Served, cases: int) -> int:
    """Tries so many cases of each operation; how many were tried."""
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=cases, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def try_one(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(
                base_url=BASE, headers={**bearer(served.keys["admin"]), "host": "127.0.0.1"}, checks=CHECKS
            )

        try_one()
    return tried


def test_a_few_odd_requests_of_each_kind_are_answered_as_told(schema: Any, served: Served) -> None:
    assert try_all(schema, served, 2) > 30


@pytest.mark.long
def test_many_odd_requests_of_each_kind_are_answered_as_told(schema: Any, served: Served) -> None:
    assert try_all(schema, served, 150) > 2000
