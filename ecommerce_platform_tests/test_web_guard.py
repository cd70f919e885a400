"""Which requests a server on this machine answers, and which are from somebody else's page."""

from __future__ import annotations

import pytest

from ecommerce_platform.web_guard import allowed_hosts, refused

OURS = {"Host": "127.0.0.1:3000"}
JSON = {"Content-Type": "application/json"}
HOSTS = allowed_hosts("", "http://127.0.0.1:3000")


def status(method: str, path: str, headers: dict[str, str], hosts: frozenset[str] = HOSTS) -> int:
    found = refused(method, path, headers.items(), hosts)
    return found[0] if found else 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/", OURS, 200),
        ("GET", "/assets", {**OURS, "Sec-Fetch-Site": "cross-site"}, 200),  # a link in an e-mail
        ("GET", "/", {}, 421),
        ("GET", "/", {"Host": "evil.example"}, 421),
        ("GET", "/", {"Host": "127.0.0.1.evil.example"}, 421),
        ("GET", "/", {"Host": "localhost:8000"}, 200),
        ("GET", "/", {"Host": "LOCALHOST."}, 200),
        ("GET", "/", {"Host": "[::1]:3000"}, 200),
        ("GET", "/graphql", OURS, 405),
        ("GET", "/graphql", {**OURS, "Accept": "text/html"}, 200),
        ("GET", "/graphql", {**OURS, "Accept": "text/html", "Sec-Fetch-Site": "cross-site"}, 403),
        ("HEAD", "/graphql", OURS, 405),
        ("POST", "/graphql", {**OURS, **JSON}, 200),
        ("POST", "/graphql", {**OURS, "Content-Type": "Application/JSON; charset=utf-8"}, 200),
        ("POST", "/graphql", OURS, 415),
        ("POST", "/graphql", {**OURS, "Content-Type": "text/plain"}, 415),
        ("POST", "/graphql", {**OURS, "Content-Type": "text/plain; application/json"}, 415),
        ("POST", "/graphql", {**OURS, "Content-Type": "application/graphql"}, 415),
        ("POST", "/graphql", {**OURS, "Content-Type": "application/jsonx"}, 415),
        ("POST", "/graphql", {**OURS, **JSON, "Origin": "http://127.0.0.1:3000"}, 200),
        ("POST", "/graphql", {**OURS, **JSON, "Origin": "http://127.0.0.1:8888"}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "Origin": "http://localhost:3000"}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "Origin": "http://evil.example"}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "Origin": "null"}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "Origin": ""}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", "/graphql", {**OURS, **JSON, "Sec-Fetch-Site": "same-site"}, 403),
        ("POST", "/graphql", {**OURS, **JSON, "Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/graphql", {"Host": "evil.example", **JSON, "Origin": "http://evil.example"}, 421),
        ("POST", "/report_asset_materialization/a", {**OURS, "Content-Type": "text/plain"}, 415),
        ("POST", "/report_asset_materialization/a", {**OURS, **JSON, "Origin": "http://evil.example"}, 403),
        ("PUT", "/graphql", {**OURS, **JSON}, 405),
        ("OPTIONS", "/graphql", {**OURS, "Origin": "http://evil.example"}, 403),
        ("WEBSOCKET", "/graphql", {**OURS, "Origin": "http://127.0.0.1:3000"}, 200),
        ("WEBSOCKET", "/graphql", OURS, 200),
        ("WEBSOCKET", "/graphql", {**OURS, "Origin": "http://evil.example"}, 403),
        ("WEBSOCKET", "/graphql", {"Host": "evil.example", "Origin": "http://evil.example"}, 421),
    ],
)
def test_only_our_own_pages_and_scripts_are_answered(
    method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    assert status(method, path, headers) == expected
    # The same in lower case, as ASGI has them.
    assert status(method, path, {name.lower(): value for name, value in headers.items()}) == expected


def test_two_hosts_or_two_kinds_are_none() -> None:
    assert refused("GET", "/", [("Host", "localhost"), ("Host", "evil.example")], HOSTS)
    twice = [*OURS.items(), *JSON.items(), ("Content-Type", "text/plain")]
    assert refused("POST", "/graphql", twice, HOSTS) == (415, "send application/json")


def test_behind_a_proxy_its_name_is_allowed() -> None:
    hosts = allowed_hosts("ui.example.com, other.example:8443", "https://dagster.example.com/ui")
    for name in ("ui.example.com", "other.example", "dagster.example.com", "127.0.0.1"):
        assert status("GET", "/", {"Host": name}, hosts) == 200
    headers = {"Host": "ui.example.com", **JSON}
    assert status("POST", "/graphql", {**headers, "Origin": "https://ui.example.com"}, hosts) == 200
    assert status("POST", "/graphql", {**headers, "Origin": "https://ui.example.com:8443"}, hosts) == 403
    assert status("POST", "/graphql", {**headers, "Origin": "https://dagster.example.com"}, hosts) == 403
