"""`ecommerce alerts`: what is wrong now, and whether those who are to be told of it can be reached."""

from __future__ import annotations

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import FAILED, say, say_line, table
from ecommerce_platform.errors import InputError

app = typer.Typer(invoke_without_command=True, help="What is wrong now; `alerts test` tries who is told of it.")


@app.callback()
def alerts(context: typer.Context) -> None:
    """What is wrong now: failed runs, failing checks, tables that are too old, KPIs out of bounds."""
    if context.invoked_subcommand is not None:
        return
    from ecommerce_platform.alerting.alerts import clock
    from ecommerce_platform.operations.status import read_findings

    settings = given_settings()
    findings, time_zone = read_findings(settings)
    if not findings:
        say("nothing is wrong")
    else:
        rows = [(clock(f.at, time_zone), f.severity, f.where, f.what, f.run or None) for f in findings]
        columns = ["since", "severity", "where", "what", "seen in"]
        table(f"Wrong in {settings.source_name}", columns, rows)
    if settings.alert_urls is None:
        say("[dim]nobody is told: ECOMMERCE_ALERT_URLS is not set (docs/alerts.md)[/]")


@app.command()
def test() -> None:
    """Sends a message to every target in ECOMMERCE_ALERT_URLS and says whether it was delivered."""
    from ecommerce_platform.alerting.notify import Targets, test_message

    settings = given_settings()
    if settings.alert_urls is None:
        raise InputError(
            "nobody is to be told", where="ECOMMERCE_ALERT_URLS",
            fix="set it to apprise URLs, separated by spaces; docs/alerts.md has examples",
        )  # fmt: skip
    targets = Targets(settings)
    sent = targets.send(test_message(settings), targets.names)
    if sent:
        rows = [(d.target, "yes" if d.delivered else "no", d.why) for d in sent]
        table(None, ["target", "delivered", "why not"], rows)
    for problem in targets.unusable:
        say_line(f"[bold red]error:[/] {problem}", stderr=True)
    if targets.unusable or not all(d.delivered for d in sent):
        raise typer.Exit(FAILED)
