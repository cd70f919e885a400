"""Commands that serve the published snapshot, and say who may see it. What they serve: `serving`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import say, say_line, table
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ecommerce_platform.serving.access.accounts import Accounts
    from ecommerce_platform.serving.api.scoring import Scorer
    from ecommerce_platform.settings import Settings

users = typer.Typer(no_args_is_help=True, help="People who sign in to the dashboard.")
keys = typer.Typer(no_args_is_help=True, help="Keys that programs and assistants show to the API.")
RoleOption = Annotated[Literal["viewer", "analyst", "admin"], typer.Option(help="What they may: docs/api.md.")]
#: Days that the key of a first start is valid.
_FIRST_DAYS = 7.0


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serves the published snapshot to programs, until interrupted."""
    needs("fastapi", "uvicorn")
    from ecommerce_platform.serving.api.app import make_api
    from ecommerce_platform.serving.read.reader import Reader
    from ecommerce_platform.web_guard import allowed_hosts

    settings = given_settings()
    accounts = _accounts(settings)
    reader = Reader.of(settings)
    reader.refresh()
    say(f"API: http://{host}:{port}/v1, described at /v1/openapi.json", highlight=False)
    if not any(key.revoked_at is None for key in accounts.all_keys()):
        _first_key(accounts, host, port)
    app = make_api(
        reader, accounts, allowed_hosts(settings.allowed_hosts), scorer=scorer(settings), rate=settings.api_rate
    )
    try:
        listen(app, host, port)
    finally:
        reader.close()


def mcp(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Answer by HTTP on this port, with a key; default: over stdio.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on, with --port.")] = "127.0.0.1",
) -> None:
    """Serves the published snapshot to assistants by the Model Context Protocol."""
    needs("mcp")
    from ecommerce_platform.serving.assistants.transport import make_http, serve_stdio
    from ecommerce_platform.serving.read.reader import Reader
    from ecommerce_platform.web_guard import allowed_hosts

    settings = given_settings()
    accounts = _accounts(settings)
    reader = Reader.of(settings)
    reader.refresh()
    try:
        if port is None:
            serve_stdio(reader, accounts, settings.mcp_role)
        else:
            say(f"MCP: http://{host}:{port}/mcp, with a key of `ecommerce keys new`", highlight=False)
            listen(
                make_http(reader, accounts, allowed_hosts(settings.allowed_hosts), rate=settings.api_rate), host, port
            )
    finally:
        reader.close()


def _first_key(accounts: Accounts, host: str, port: int) -> None:
    """A key to begin with, on this machine only."""
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise InputError(
            "there is no key yet, so nobody could ask", fix="`ecommerce keys new NAME --role viewer` first"
        )
    key = accounts.add_key("first-start", "analyst", days=_FIRST_DAYS)
    say_line(f"a key to begin with, for {_FIRST_DAYS:g} days (analyst); it is shown this once:")
    say_line(f'  curl -H "Authorization: Bearer {key}" "http://127.0.0.1:{port}/v1/query?metric=revenue&period=month"')


def listen(app: Any, host: str, port: int) -> None:
    """Serves an ASGI application until interrupted.

    Raises:
        InputError: the port is taken.
    """
    import socket

    import uvicorn

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} of {host} cannot be used: {error.strerror}",
                fix="stop what uses it, or give another --port",
            ) from None
    # No proxy headers: who asks is whoever connects. No access log: addresses hold ids.
    uvicorn.run(
        app, host=host, port=port, log_level="warning", access_log=False, proxy_headers=False, server_header=False,
        timeout_keep_alive=60,
    )  # fmt: skip


def scorer(settings: Settings) -> Scorer:
    """Scores rows with the artifacts of an instance, for the API."""

    def score(model: str, registered: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        import json
        import tempfile
        from pathlib import Path

        from ecommerce_platform.contracts.catalog import read_catalog
        from ecommerce_platform.ml.models import find_model
        from ecommerce_platform.ml.predict import predict_file

        with tempfile.TemporaryDirectory(prefix="ecommerce-score-") as folder:
            file = Path(folder, "rows.jsonl")
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            try:
                return predict_file(settings.models, find_model(read_catalog(), model), registered, file).to_dicts()
            except InputError as error:  # its place is a file of ours, which tells nobody anything
                raise InputError(error.what, where="rows", fix=error.fix) from None

    return score


def _accounts(settings: Settings) -> Accounts:
    from ecommerce_platform.serving.access.accounts import Accounts

    return Accounts.of(settings.data)


def needs(*modules: str) -> None:
    """Says how to get libraries that only serving takes."""
    from importlib.util import find_spec

    if missing := [name for name in modules if find_spec(name) is None]:
        raise InputError(
            f"{' and '.join(missing)} is not installed",
            fix="make api installs it; or pip install 'ecommerce_platform[serve]'",
        )


# -- users --------------------------------------------------------------------------------------------------------


def _password(twice: bool = True) -> str:
    """Asks for a password, or takes the first line of what is piped in: never an argument, which `ps` would show."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=twice))


@users.command("add")
def add_user(name: str, role: RoleOption = "viewer") -> None:
    """Adds somebody; asks for the password, or reads it from a pipe."""
    _accounts_for_change().add_user(name, role, _password())
    say(f"{name} may sign in as {role}")


@users.command("role")
def change_role(name: str, role: Annotated[Literal["viewer", "analyst", "admin"], typer.Argument()]) -> None:
    """Gives somebody another role; ends all sessions of theirs."""
    _accounts_for_change().change_user(name, role=role)
    say(f"{name} is {role} now")


@users.command("password")
def change_password(name: str) -> None:
    """Gives somebody a new password; ends all sessions of theirs, and a lock."""
    _accounts_for_change().change_user(name, password=_password())
    say(f"{name} has a new password")


@users.command("remove")
def remove_user(name: str) -> None:
    """Removes somebody, with saved views and thresholds."""
    _accounts_for_change().remove_user(name)
    say(f"{name} is gone")


@users.command("list")
def list_users() -> None:
    """Who may sign in."""
    rows = [
        (u["name"], u["role"], _day(u["created_at"]), "locked" if u["locked_until"] else None)
        for u in _accounts_for_change().users()
    ]
    table("Users", ["name", "role", "since", ""], rows)


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: RoleOption = "viewer",
    days: Annotated[float | None, typer.Option(min=0.01, help="How long it is valid; default: until revoked.")] = None,
) -> None:
    """Makes a key and prints it, this once."""
    print(_accounts_for_change().add_key(name, role, days=days))


@keys.command("list")
def list_keys() -> None:
    """The keys there are."""
    rows = [
        (
            k.id,
            k.name,
            k.role,
            _day(k.created_at),
            _day(k.used_at),
            _day(k.expires_at),
            "revoked" if k.revoked_at else None,
        )
        for k in _accounts_for_change().all_keys()
    ]
    table("Keys", ["id", "name", "role", "since", "last used", "until", ""], rows)


@keys.command("revoke")
def revoke_key(id_: Annotated[str, typer.Argument(metavar="ID", help="Of `ecommerce keys list`.")]) -> None:
    """Ends a key at once."""
    _accounts_for_change().revoke(id_)
    say(f"{id_} is refused from now on")


def _accounts_for_change() -> Accounts:
    return _accounts(given_settings())


def _day(at: object) -> str | None:
    return f"{datetime.fromtimestamp(float(str(at))):%Y-%m-%d %H:%M}" if at else None
