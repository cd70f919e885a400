"""`ecommerce …`: the platform from the command line.

Commands parse arguments, call the same functions the assets call and say what happened. Exit codes: 0 all is
well; 1 an asset or a blocking check failed; 2 wrong usage, settings or definitions; 3 everything was built, but
part of the input could not be used.

A module holds the commands of one subject, as functions; this one makes them an app and starts it. How they look
belongs in `console`, what they are given in `arguments`, what they do in the packages below. Whatever is slow to
import is imported inside the command that uses it: `--help` is quick.
"""

from __future__ import annotations

import gc
import sys

import typer

from ecommerce_platform.cli import (
    alerts,
    building,
    documents,
    drops,
    experiments,
    instance,
    looking,
    models,
    persons,
    publishing,
    serving,
    sources,
)
from ecommerce_platform.cli.console import FAILED, USAGE, say_line, show_log
from ecommerce_platform.disk import keep_private
from ecommerce_platform.errors import CheckError, understood

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From an online shop's raw exports to trusted tables, KPIs and models.\n\n"
    "Exit codes: 0 all is well · 1 an asset or a blocking check failed · 2 wrong usage, settings or definitions · "
    "3 built, but part of the input could not be used.",
)

# In the order of `--help`; a command is called as its function is, with - for _.
for command in (
    drops.generate, drops.land, drops.extract,
    building.build, building.status, building.rejects,
    publishing.publish, publishing.snapshots, publishing.sql,
    looking.dashboard, looking.report, looking.powerbi, serving.api, serving.mcp,
    documents.docs, documents.questions, documents.by_source, documents.targets, instance.ui, documents.data_docs,
    models.train, models.predict,
    persons.forget,
    sources.new_source, sources.check_source,
):  # fmt: skip
    app.command()(command)
for command in (instance.setup, instance.variables):
    app.command(hidden=True)(command)
app.add_typer(alerts.app, name="alerts")
app.add_typer(experiments.app, name="experiment")
app.add_typer(models.app, name="models")
app.add_typer(serving.users, name="users")
app.add_typer(serving.keys, name="keys")


def main() -> None:
    """Runs the command line; errors the user can put right are printed without a traceback."""
    keep_private()
    show_log()
    # What is imported and declared stays until the end: looking for garbage among it again and again takes a quarter second.
    gc.set_threshold(100_000, 20, 20)
    try:
        app()
    except KeyboardInterrupt:
        say_line("interrupted: nothing half-written stays; run the command again", stderr=True)
        sys.exit(130)
    except Exception as error:
        from rich.markup import escape

        known = understood(error)
        if known is None:
            raise
        say_line(f"[bold red]error:[/] {escape(str(known))}", stderr=True)
        sys.exit(FAILED if isinstance(known, CheckError) else USAGE)
