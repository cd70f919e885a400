"""Commands for people who look at figures: dashboard and reports. What they show: `serving/dashboard`, `serving/report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import FAILED, say, say_line, short, table
from ecommerce_platform.cli.serving import needs
from ecommerce_platform.errors import InputError


def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
) -> None:
    """Shows the published figures in a browser, until interrupted."""
    needs("streamlit", "plotly")
    from ecommerce_platform.serving.access.accounts import Accounts
    from ecommerce_platform.serving.dashboard.server import serve_dashboard

    settings = given_settings()
    accounts = Accounts.of(settings.data)
    here = host in ("127.0.0.1", "localhost", "::1")
    if not here and not accounts.users():
        raise InputError(
            "there is no user yet, so nobody could sign in", fix="`ecommerce users add NAME --role viewer` first"
        )
    shown = f"http://{'localhost' if here else host}:{port}"
    if here:
        say("open this link within five minutes; it signs this browser in, once:")
        say_line(f"  {shown}/-/link?t={accounts.one_time_link()}")
    else:
        say(f"dashboard: {shown}", highlight=False)
    serve_dashboard(settings, accounts, host, port)


def report(
    period: Annotated[str, typer.Option(help="2018-08, 2018-Q3 or 2018.")],
    form: Annotated[Literal["pdf", "html"], typer.Option("--format", help="What is written.")] = "pdf",
    to: Annotated[Path | None, typer.Option(help="Where to; default: <data dir>/reports/<period>.<format>.")] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="SNAPSHOT", help="An earlier state, as `ecommerce sql` takes it.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Sends it as PDF to ECOMMERCE_REPORT_TO, besides.")] = False,
) -> None:
    """Writes an executive report of one period: figures, findings, what to do."""
    needs(*(["weasyprint"] if form == "pdf" else []))
    from ecommerce_platform.orchestration.reports import SentReports, report_targets, send_report
    from ecommerce_platform.serving.dashboard.data import Shop
    from ecommerce_platform.serving.read.reader import Reader
    from ecommerce_platform.serving.report.contents import days_of, make_report
    from ecommerce_platform.serving.report.render import write_report

    settings, period = given_settings(), period.strip().upper()
    days = days_of(period)
    targets = report_targets(settings) if send else None
    reader = Reader.of(settings)
    try:
        shop = Shop(reader, as_of)
        found = make_report(shop, days)
        file = write_report(found, form, to or settings.data / "reports" / f"{period}.{form}")
        say(f"report of {found.title}: {short(file)}", highlight=False)
        if targets:
            sent = send_report(shop, period, targets, targets.names, SentReports(settings.data), settings)
            table(
                None, ["to", "delivered", "why not"], [(d.target, "yes" if d.delivered else "no", d.why) for d in sent]
            )
            if not all(d.delivered for d in sent):
                raise typer.Exit(FAILED)
    finally:
        reader.close()


def powerbi(
    folder: Annotated[Path, typer.Option("--to", help="Where to write it.")] = Path("powerbi"),
    snapshot: Annotated[
        str | None,
        typer.Option(help="Folder of the snapshot as Power BI sees it; default: where it is on this machine."),
    ] = None,
) -> None:
    """Writes a Power BI project over the published tables, and views.sql for SQL clients."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.contracts.metrics import read_metrics
    from ecommerce_platform.reading.snapshots import current_snapshot, read_manifest
    from ecommerce_platform.serving.powerbi.project import make_project, write_project

    published = given_settings().published
    tables = read_manifest(current_snapshot(published))["tables"]
    here = str((published / "current").absolute())
    project = make_project(read_catalog(), read_metrics(), tables, snapshot or here, here)
    write_project(project, folder)
    say(
        f"wrote {short(folder)}: {len(project.measures)} measures; open ecommerce.pbip in Power BI Desktop (docs/power-bi.md)"
    )
    for metric, reason in project.left_out.items():
        say(f"left out: {metric} ({reason})")
