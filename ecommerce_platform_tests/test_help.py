"""What `--help` says, of the command line and of every command, those that it hides too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from click import unstyle
from syrupy.assertion import SnapshotAssertion
from typer.main import get_command
from typer.testing import CliRunner

from ecommerce_platform.cli import app


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def shown(path: tuple[str, ...]) -> str:
    plain = {"COLUMNS": "100", "TERMINAL_WIDTH": None, "NO_COLOR": "1"}
    result = CliRunner().invoke(app, [*path, "--help"], env=plain, prog_name="ecommerce")
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in unstyle(result.output).splitlines())


def test_the_help_of_every_command_is_as_recorded(snapshot: SnapshotAssertion) -> None:
    found = {" ".join(("ecommerce", *path)): shown(path) for path in commands(get_command(app))}
    assert found == snapshot
