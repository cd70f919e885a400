"""Commands that say who may see what is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecommerce_platform.cli import app
from ecommerce_platform.serving.access.accounts import Accounts


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(tmp_path))
    return tmp_path


def ok(*arguments: str, given: str = "") -> str:
    done = CliRunner().invoke(app, list(arguments), input=given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_users_are_added_changed_listed_and_removed(data: Path) -> None:
    ok("users", "add", "ada", "--role", "analyst", given="correct horse battery\n")
    assert "analyst" in ok("users", "list")
    ok("users", "role", "ada", "admin")
    ok("users", "password", "ada", given="another long password\n")
    accounts = Accounts.of(data)
    assert accounts.session(accounts.sign_in("ada", "another long password")).role == "admin"  # type: ignore[union-attr]
    ok("users", "remove", "ada")
    assert accounts.users() == []


def test_a_key_is_shown_once_and_ends_when_revoked(data: Path) -> None:
    key = ok("keys", "new", "robot", "--role", "viewer", "--days", "2").strip()
    accounts = Accounts.of(data)
    assert accounts.key(key).role == "viewer"  # type: ignore[union-attr]
    listed = ok("keys", "list")
    assert "robot" in listed
    assert key.split("_", 2)[2] not in listed
    ok("keys", "revoke", key.split("_")[1])
    assert accounts.key(key) is None
