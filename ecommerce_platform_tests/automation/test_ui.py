"""What `ecommerce ui` relies upon in dagster-webserver, which documents none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.operations.ui import guarded_webserver, serve_ui
from ecommerce_platform.settings import read_settings
from ecommerce_platform.web_guard import Guard


def test_the_webserver_that_is_started_is_guarded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dagster_webserver import cli

    served: list[Any] = []
    monkeypatch.setattr(cli, "create_app_from_workspace_process_context", cli.create_app_from_workspace_process_context)
    monkeypatch.setattr(cli.uvicorn, "run", lambda app, **_: served.append(app))
    monkeypatch.setenv("ECOMMERCE_ALLOWED_HOSTS", "ui.example.com")
    monkeypatch.setenv("ECOMMERCE_UI_URL", "https://dagster.example.com")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as done:
        guarded_webserver(["--empty-workspace", "-p", "3999"])
    assert not done.value.code
    (app,) = served
    assert isinstance(app, Guard)
    assert {"127.0.0.1", "ui.example.com", "dagster.example.com"} <= app.hosts


def test_without_a_place_for_the_guard_there_is_no_webserver(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_webserver import cli

    monkeypatch.delattr(cli, "create_app_from_workspace_process_context")
    with pytest.raises(SettingsError, match="makes its application elsewhere"):
        guarded_webserver(["--empty-workspace"])


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 cannot be used"):
            serve_ui(read_settings(data_dir=tmp_path), "127.0.0.1", port)
