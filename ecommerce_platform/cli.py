"""`ecommerce …`: the platform from the command line.

Commands parse arguments, call the same functions the assets call and say what happened. Exit codes: 0 all is
well; 1 an asset or a blocking check failed; 2 wrong usage, settings or definitions; 3 everything was built, but
part of the input could not be used (an unreadable file, a missing column).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ecommerce_platform.errors import CheckError, InputError, understood
from ecommerce_platform.object_store import protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ecommerce_platform.contracts.source import Source
    from ecommerce_platform.ingestion.zone import Zone
    from ecommerce_platform.settings import Settings

FAILED, USAGE, INCOMPLETE = 1, 2, 3

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From an online shop's raw exports to trusted tables, KPIs and models.\n\n"
    "Exit codes: 0 all is well · 1 an asset or a blocking check failed · 2 wrong usage, settings or definitions · "
    "3 built, but part of the input could not be used.",
)


def main() -> None:
    """Runs the command line; errors the user can put right are printed without a traceback."""
    _show_log()
    try:
        app()
    except KeyboardInterrupt:
        _console(stderr=True).print("interrupted: nothing half-written stays; run the command again")
        sys.exit(130)
    except Exception as error:
        from rich.markup import escape

        known = understood(error)
        if known is None:
            raise
        _console(stderr=True).print(f"[bold red]error:[/] {escape(str(known))}", highlight=False, soft_wrap=True)
        sys.exit(FAILED if isinstance(known, CheckError) else USAGE)


@app.command()
def generate(
    orders: Annotated[int, typer.Option(min=1, help="How many orders.")] = 100_000,
    days: Annotated[int, typer.Option(min=1, help="Over how many days.")] = 730,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 1,
    dirty: Annotated[float, typer.Option(min=0, max=1, help="Share of records with a fault.")] = 0.002,
) -> None:
    """Writes the generated shop's drops."""
    from ecommerce_platform.settings import DEFAULT_SOURCE
    from ecommerce_platform.simulation import generate_shop

    settings = _settings()
    if settings.source_name != DEFAULT_SOURCE:
        raise InputError(
            f"drops can be generated for the source {DEFAULT_SOURCE!r} only",
            where=f"ECOMMERCE_SOURCE={settings.source}",
            fix="unset ECOMMERCE_SOURCE; for a shop of your own use `ecommerce land`",
        )
    if settings.raw_url and settings.raw_url != str(settings.data / "raw"):
        raise InputError(
            f"the generated shop is written to {_short(settings.data / 'raw')}, and the landing zone is elsewhere",
            where=f"ECOMMERCE_RAW_URL={settings.raw_url}",
            fix="unset ECOMMERCE_RAW_URL; the drops can then be copied there, or landed day by day",
        )
    if settings.raw.is_dir() and any(p.is_dir() and not p.name.startswith(".") for p in settings.raw.iterdir()):
        raise InputError(
            "there are drops already", where=settings.raw, fix="move them away first, or set ECOMMERCE_DATA_DIR"
        )
    with _progress() as bar:
        task = bar.add_task("generating", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        truth = generate_shop(settings.data, orders=orders, days=days, seed=seed, dirty_share=dirty, progress=step)
    _console().print(f"generated {truth.orders:,} orders over {days} days in {_short(settings.raw)}")


@app.command()
def land(
    directory: Annotated[Path, typer.Argument(help="Folder with the exported files; it is only read.")],
    source: Annotated[str | None, typer.Option(help="Name or folder of the source; default: ECOMMERCE_SOURCE.")] = None,
    date_: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD", help="Day of the drop; default: today in the shop's zone."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="TABLE.COLUMN", help="Replay history as many drops, by the time in this column."),
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="day|month", help="With --by: how often; default: day.")
    ] = None,
) -> None:
    """Puts an export under raw/ as one drop, or, with --by, as the drops it would have come in over time."""
    from zoneinfo import ZoneInfo

    from ecommerce_platform.build import read_ground
    from ecommerce_platform.ingestion.landing import land as land_files
    from ecommerce_platform.ingestion.zone import open_zone

    if by and date_:
        raise InputError("a replay dates its drops itself", where="--date", fix="leave out --date, or --by")
    if every and not by:
        raise InputError("says how often, but not by what", where="--every", fix="add --by TABLE.COLUMN")
    if every not in (None, "day", "month"):
        raise InputError(f"{every!r} is neither day nor month", where="--every", fix="use --every day or --every month")
    settings = _settings(**({"source": source} if source else {}))
    shop = read_ground(settings).source
    zone = open_zone(settings)
    today = datetime.now(ZoneInfo(shop.file.time_zone)).date()
    if by:
        _replay(zone, shop, directory, by, "month" if every == "month" else "day", today)
        return
    with _progress(bytes_=True) as bar:
        task = bar.add_task("landing", total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        landed = land_files(directory, shop, zone, _date(date_, "--date"), today, progress=step)
    console = _console()
    if landed.already:
        console.print(f"already landed as the drop of {landed.day}: nothing to do")
    else:
        console.print(f"landed {len(landed.landed)} files as the drop of {landed.day} in {_short(zone.where)}")
    if landed.replaced:
        console.print(f"the drop that was there is kept in {_short(landed.replaced)}")
    for name in landed.left:
        console.print(f"[dim]left: {name} (no table of {shop.name} names it)[/]")


@app.command()
def extract(
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="RAW_TABLE", help="Only this table; may be given repeatedly.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read tables with a watermark from the beginning, deliver all tables.")
    ] = False,
) -> None:
    """Reads what is new out of the source's database and lands it under raw/ as the day's drop."""
    from ecommerce_platform.build import read_ground
    from ecommerce_platform.ingestion.extraction.extract import extract as extract_tables

    settings = _settings()
    shop = read_ground(settings).source
    with _progress() as bar:
        task = bar.add_task("connecting", total=None)

        def step(raw: str, rows: int, total: int | None) -> None:
            bar.update(task, description=raw, completed=rows, total=max(rows, total) if total else None)

        done = extract_tables(
            shop, settings.raw, tables=table or (), full=full, scratch=settings.scratch, progress=step
        )
    console = _console()
    columns = ["raw table", "rows", "bytes", "since", "file"]
    rows = [
        (t.raw, t.rows, t.bytes, t.since and f"{t.since:%Y-%m-%d %H:%M}", t.file or "unchanged") for t in done.tables
    ]
    _table(console, None, columns, rows, right={1, 2})
    for t in done.tables:
        for note in t.notes:
            _note(console, f"{t.raw}: {note}")
    if done.folder is None:
        console.print("nothing has changed since the last extract: no drop")
        return
    console.print(
        f"extracted {sum(t.rows for t in done.tables):,} rows into the drop of {done.day} in {_short(settings.raw)}"
    )
    if done.replaced:
        console.print(f"what these files take the place of is kept in {_short(done.replaced)}")


@app.command()
def build(
    select: Annotated[
        str, typer.Option(help="Dagster asset selection, e.g. 'key:gold/kpi_summary+' or 'group:gold'.")
    ] = "*",
    partitions: Annotated[
        str | None,
        typer.Option(metavar="A..B", help="Loads to take over (again), as days: 2024-03-01..2024-03-31, or one day."),
    ] = None,
    full_checks: Annotated[
        bool, typer.Option("--full-checks", help="Check whole tables, not only what is written.")
    ] = False,
) -> None:
    """Materializes what the drops deliver, from bronze to models, through Dagster in this process.

    Without --partitions that is what is new, changed, redelivered or removed.
    """
    from functools import partial

    from ecommerce_platform.automation.runs import run_build

    settings = _settings()
    run = partial(run_build, days=_days(partitions), full_checks=full_checks)
    result = _with_bar(settings, select, run)
    console = _console()
    if result.failed:
        _table(console, "Failed", ["table", "why"], [(t, why) for t, why in result.failed.items()], styles=["red", ""])
    if result.findings:
        _table(console, "Input that could not be used", ["table", "finding"], result.findings, styles=["yellow", ""])
    if result.warnings:
        _table(console, "Warnings", ["table", "check", "finding"], result.warnings)
    if result.unparsable:
        columns = ["raw table", "reason", "lines", "first"]
        _table(console, "Could not be parsed (bronze.rejects)", columns, result.unparsable, right={2})
    built = f"{len(result.built)} tables built in {result.seconds:.1f} s"
    if result.failed:
        skipped = f", {result.skipped} not attempted" if result.skipped else ""
        console.print(f"{built}, {len(result.failed)} failed{skipped}")
        raise typer.Exit(FAILED)
    console.print(built + (f"; {result.rejected:,} rows stand in silver.rejects" if result.rejected else ""))
    _summary(console, settings)
    console.print(
        "Next: [bold]make ui[/] (or `dagster dev`) shows the assets, lineage and checks · [bold]ecommerce status[/] "
        'the tables · [bold]ecommerce publish[/] and [bold]ecommerce sql "select * from gold.kpi_monthly"[/] the data'
    )
    if result.findings:
        raise typer.Exit(INCOMPLETE)


@app.command()
def status() -> None:
    """Tables, rows, loads, rejects, freshness and failed checks."""
    from ecommerce_platform.automation.runs import read_status

    state = read_status(_settings())
    console = _console()
    _table(console, f"Tables of {state.source}", ["table", "rows", "built"], state.tables, right={1})
    _table(
        console, "Loads", ["raw table", "days", "first", "last", "rows", "unparsable", "rejected", "used", "superseded"],
        state.loads, right={1, 4, 5, 6, 7, 8},
    )  # fmt: skip
    if state.waiting:
        console.print("waiting to be built: " + ", ".join(f"{t} ({n} days)" for t, n in state.waiting))
    if state.unlisted:
        _console(stderr=True).print(f"what is waiting is not known: {state.unlisted}", markup=False, soft_wrap=True)
    if state.rejects:
        _table(console, "Rejected rows", ["entity", "reason", "rows", "e.g."], state.rejects, right={2})
    if state.checks:
        _table(console, "Failed checks", ["table", "check", "severity", "finding"], state.checks)
    else:
        console.print("no check fails" if state.tables else "nothing is built yet: run `ecommerce build`")


@app.command()
def rejects(
    target: Annotated[str | None, typer.Argument(help="Only this entity or raw table, e.g. orders.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason code, e.g. not_convertible.")] = None,
    load: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what this load brought.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples per reason.")] = 2,
    csv: Annotated[bool, typer.Option("--csv", help="Every single row, as delivered, as CSV.")] = False,
) -> None:
    """What could not be used and why, by reason, with examples."""
    from ecommerce_platform.assets.resources import open_warehouse
    from ecommerce_platform.quality.rejects import reject_groups, rejected_rows

    settings, console = _settings(), _console()
    if not settings.warehouse.is_file():
        raise InputError("there is no warehouse yet", where=settings.warehouse, fix="run `ecommerce build` first")
    day = _date(load, "--load")
    with open_warehouse(settings).connect() as con:
        if csv:
            import csv as csv_writer

            rows = rejected_rows(con, target=target, reason_code=reason, load=day)
            writer = csv_writer.writer(sys.stdout, lineterminator="\n")
            writer.writerow(["target", "origin", "reason_code", "reason", "as_delivered"])
            writer.writerows((r.target, r.origin, r.reason_code, r.reason, r.raw) for r in rows)
            return
        groups = reject_groups(con, target=target, reason_code=reason, load=day, examples=examples)
    if not groups:
        console.print("nothing was rejected" + (" of what was asked for" if target or reason or load else ""))
        return
    shown = [
        (
            g.target, g.raw_table, g.reason_code, g.column, g.rows, _span(g.first_load, g.last_load),
            "\n".join(f"{origin}: {why}" for origin, why in g.examples),
        )
        for g in groups
    ]  # fmt: skip
    columns = ["entity", "raw table", "reason", "column", "rows", "loads", "examples"]
    _table(console, "Rejected", columns, shown, right={4})
    console.print(
        "Put the file right and land it again, or correct the mapping: `ecommerce build` then takes these rows over. "
        "[bold]--csv[/] lists every row as delivered."
    )


def _span(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} … {last}"


@app.command()
def publish(
    wait: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for tables that lag behind their inputs.")
    ] = 600,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Publish although tables lag behind what they are made from, or break rules that block."
        ),
    ] = False,
) -> None:
    """Publishes every table as Parquet and switches readers to it in one step."""
    from ecommerce_platform.assets.expectations import court
    from ecommerce_platform.assets.resources import open_warehouse, warehouse_resource
    from ecommerce_platform.automation.runs import read_about
    from ecommerce_platform.build import read_ground
    from ecommerce_platform.warehouse.publish import publish as publish_tables

    settings = _settings()
    if not settings.warehouse.is_file():
        raise InputError("there is no warehouse yet", where=settings.warehouse, fix="run `ecommerce build` first")
    ground = read_ground(settings)
    with _progress() as bar:
        task = bar.add_task("publishing", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        snapshot = publish_tables(
            open_warehouse(settings).connect, ground.catalog, settings.published, settings.source_name,
            hash_key=settings.hash_key.get_secret_value() if settings.hash_key else None,
            keep=settings.keep_snapshots, wait_seconds=wait, force=force, progress=step,
            court=court(ground, warehouse_resource(settings)), about=read_about(settings),
        )  # fmt: skip
    console, rows = _console(), sum(snapshot.tables.values())
    tables = f"{len(snapshot.tables)} tables, {rows:,} rows"
    if snapshot.unchanged:
        console.print(f"nothing has changed since the last publish: {tables} stay in {_short(snapshot.folder)}")
    else:
        linked = f" ({len(snapshot.linked)} unchanged and linked)" if snapshot.linked else ""
        console.print(f"published {tables}{linked}: {_short(snapshot.folder)}")
    if snapshot.removed:
        console.print(f"[dim]removed {len(snapshot.removed)} old snapshots (ECOMMERCE_KEEP_SNAPSHOTS)[/]")
    if snapshot.lagging:
        _table(
            console, "Published although they lag", ["table", "behind"],
            [(table, ", ".join(inputs)) for table, inputs in snapshot.lagging.items()], styles=["yellow", ""],
        )  # fmt: skip
    if settings.publish_url:
        _mirror(console, settings, settings.publish_url)


@app.command()
def snapshots(
    restore: Annotated[
        str | None,
        typer.Option(metavar="SNAPSHOT", help="Make this one current again: an id, its beginning, or a local time."),
    ] = None,
) -> None:
    """The published snapshots, newest last."""
    from ecommerce_platform.warehouse.publish import restore as restore_snapshot
    from ecommerce_platform.warehouse.snapshots import snapshots as list_snapshots

    settings = _settings()
    console = _console()
    if restore is not None:
        restored = restore_snapshot(settings.published, restore)
        console.print(f"readers now get the snapshot of {restored.local_time} ({restored.id}), until the next publish")
        return
    found = list_snapshots(settings.published)
    if not found:
        console.print("nothing is published yet: run `ecommerce build` and `ecommerce publish`")
        return
    rows = [
        (
            s.id, s.local_time, len(s.tables), s.rows, len(s.changed), _size(s.own_bytes), _size(s.linked_bytes),
            s.newest_load, "current" if s.current else None,
        )
        for s in found
    ]  # fmt: skip
    _table(
        console, f"Snapshots of {settings.source_name}",
        ["snapshot", "published", "tables", "rows", "changed", "own", "linked", "newest load", ""], rows,
        right={2, 3, 4, 5, 6},
    )  # fmt: skip
    console.print(f"on disk: {_size(sum(s.own_bytes for s in found))}")


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="A SELECT over silver.…, gold.… and ml.….")],
    limit: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 40,
    csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV instead of a table.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="SNAPSHOT",
            help="An earlier state: a snapshot's id, its beginning, or a local time (YYYY-MM-DD, 'YYYY-MM-DD HH:MM').",
        ),
    ] = None,
) -> None:
    """Runs a query over the published snapshot."""
    import duckdb

    from ecommerce_platform.warehouse.snapshots import current_snapshot, find_snapshot, open_snapshot

    settings = _settings()
    if as_of is None:
        folder = current_snapshot(settings.published)
    else:
        chosen = find_snapshot(settings.published, as_of)
        folder = chosen.folder
        _console(stderr=True).print(f"[dim]as of {chosen.local_time} ({chosen.id})[/]", highlight=False)
    con = open_snapshot(folder)
    try:
        found = con.execute(query)
        columns = [column[0] for column in found.description or ()]
        rows = found.fetchmany(10_000 if csv else limit + 1)
    except duckdb.Error as error:
        raise InputError(f"the query does not run: {error}", fix="`ecommerce status` lists the tables") from None
    if csv:
        import csv as csv_writer

        writer = csv_writer.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        while rows:
            writer.writerows(rows)
            rows = found.fetchmany(10_000)
        return
    _table(_console(), None, columns, rows[:limit])
    if len(rows) > limit:
        _console().print(f"[dim]more than {limit} rows; --limit or --csv shows them[/]")


@app.command()
def docs(
    folder: Annotated[Path, typer.Option("--to", help="Where to write them.")] = Path("docs"),
) -> None:
    """Writes the data dictionary and the ER diagram from the contracts."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.contracts.documents import write_documents

    for path in write_documents(read_catalog(), folder):
        _console().print(f"wrote {_short(path)}")


@app.command("data-docs")
def data_docs(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: that of ECOMMERCE_DATA_DOCS_URL.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open them in a browser.")] = False,
) -> None:
    """Serves Data Docs, the pages about the business expectations, on this machine until interrupted."""
    import webbrowser
    from urllib.parse import urlsplit

    from ecommerce_platform.quality.data_docs import serve

    settings = _settings()
    with serve(
        settings.data_docs, settings.source_name, port or urlsplit(settings.data_docs_url).port or 3070
    ) as server:
        address = f"http://127.0.0.1:{server.server_port}/{settings.source_name}/"
        _console().print(f"Data Docs of {settings.source_name}: {address}", highlight=False)
        if open_:
            webbrowser.open(address)
        server.serve_forever()


@app.command()
def train(
    model: Annotated[Literal["identity"], typer.Argument(help="The model: identity (which records are one person's).")],
    seed: Annotated[int, typer.Option(help="Seed of what is drawn at random.")] = 1,
) -> None:
    """Trains a model that is not trained by builds, on the warehouse as it is; the next build uses it."""
    from ecommerce_platform.assets.resources import connection_config, open_warehouse
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.contracts.source import read_source
    from ecommerce_platform.warehouse.identities import train_parameters

    settings = _settings()
    catalog = read_catalog()
    shop = read_source(settings.source_folder, catalog.entities)
    if not settings.warehouse.is_file():
        raise InputError(
            "there are no customers to learn from", where=settings.warehouse, fix="run `ecommerce build` first"
        )
    card = train_parameters(
        open_warehouse(settings).connect, catalog.contract("ml.models"), settings.models, connection_config(settings), seed=seed
    )  # fmt: skip
    console = _console()
    weights = [(c, level, w) for c, levels in card.metrics["weights"].items() for level, w in levels.items()]
    _table(console, "Match weights (bits)", ["comparison", "level", "weight"], weights, right={2})
    console.print(f"trained {model} {card.version} on {card.rows_trained:,} records")
    if not shop.file.identity.link:
        console.print(
            f"[yellow]note:[/] {shop.name} does not link records; `identity: {{link: true}}` in source.yml does"
        )


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="The model, e.g. segments.")],
    input_: Annotated[Path, typer.Option("--input", help="CSV, JSON lines or Parquet with the model's columns.")],
    output: Annotated[Path | None, typer.Option(help="CSV or Parquet to write; default: print.")] = None,
) -> None:
    """Scores new rows with the current model."""
    from ecommerce_platform.assets.resources import open_warehouse
    from ecommerce_platform.ml.predict import predict_file
    from ecommerce_platform.ml.registry import current_version

    settings = _settings()
    if not settings.warehouse.is_file():
        raise InputError("no model is trained yet", where=settings.warehouse, fix="run `ecommerce build` first")
    with open_warehouse(settings).connect() as con:
        version = current_version(con, model)
    result = predict_file(settings.models, model, version, input_)
    if output is None:
        sys.stdout.write(result.write_csv())
    elif output.suffix == ".parquet":
        result.write_parquet(output)
    else:
        result.write_csv(output)
    if output is not None:
        _console().print(f"scored {result.height:,} rows with {model} {version}: {_short(output)}")


# -- alerts ------------------------------------------------------------------------------------------------------

alerts_app = typer.Typer(invoke_without_command=True, help="What is wrong now; `alerts test` tries who is told of it.")
app.add_typer(alerts_app, name="alerts")


@alerts_app.callback()
def alerts(context: typer.Context) -> None:
    """What is wrong now: failed runs, failing checks, tables that are too old, KPIs out of bounds."""
    if context.invoked_subcommand is not None:
        return
    from ecommerce_platform.automation.alerts import clock
    from ecommerce_platform.automation.runs import read_findings

    settings = _settings()
    findings, time_zone = read_findings(settings)
    console = _console()
    if not findings:
        console.print("nothing is wrong")
    else:
        rows = [(clock(f.at, time_zone), f.severity, f.where, f.what, f.run or None) for f in findings]
        columns = ["since", "severity", "where", "what", "seen in"]
        _table(console, f"Wrong in {settings.source_name}", columns, rows)
    if settings.alert_urls is None:
        console.print("[dim]nobody is told: ECOMMERCE_ALERT_URLS is not set (docs/alerts.md)[/]")


@alerts_app.command("test")
def alerts_test() -> None:
    """Sends a message to every target in ECOMMERCE_ALERT_URLS and says whether it was delivered."""
    from ecommerce_platform.automation.notify import Targets, test_message

    settings = _settings()
    if settings.alert_urls is None:
        raise InputError(
            "nobody is to be told", where="ECOMMERCE_ALERT_URLS",
            fix="set it to apprise URLs, separated by spaces; docs/alerts.md has examples",
        )  # fmt: skip
    targets = Targets(settings)
    sent = targets.send(test_message(settings), targets.names)
    if sent:
        rows = [(d.target, "yes" if d.delivered else "no", d.why) for d in sent]
        _table(_console(), None, ["target", "delivered", "why not"], rows)
    for problem in targets.unusable:
        _console(stderr=True).print(f"[bold red]error:[/] {problem}", highlight=False, soft_wrap=True)
    if targets.unusable or not all(d.delivered for d in sent):
        raise typer.Exit(FAILED)


@app.command(hidden=True)
def setup() -> None:
    """Initialises DAGSTER_HOME (done by `make setup`)."""
    from ecommerce_platform.automation.instance import open_instance

    settings = _settings()
    with open_instance(settings) as instance:
        instance.get_runs(limit=1)
    _console().print(
        f"ready: source {settings.source_name}, data in {_short(settings.data)}, DAGSTER_HOME {_short(settings.home)}"
    )


@app.command(hidden=True)
def variables() -> None:
    """Prints the environment of these settings as shell assignments (used by the Makefile)."""
    import shlex

    from ecommerce_platform.automation.instance import prepare_home

    settings = _settings()
    prepare_home(settings)
    for name, value in settings.environment().items():
        print(f"export {name}={shlex.quote(value)}")


def _replay(zone: Zone, shop: Source, directory: Path, by: str, every: Literal["day", "month"], today: date) -> None:
    """`land --by`: many drops from one export, and what there is to say of them."""
    from ecommerce_platform.ingestion.replay import replay

    with _progress() as bar:
        task = bar.add_task("replaying", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        done = replay(directory, shop, zone, by, every, today, progress=step)
    console = _console()
    columns = ["raw table", "rows in the export", "states in the drops"]
    _table(console, None, columns, [(t.name, t.rows, t.states) for t in done.tables], right={1, 2})
    drops = f"{len(done.days):,} drops, {done.days[0]} to {done.days[-1]}, in {_short(zone.where)}"
    if done.already == len(done.days):
        console.print(f"already replayed as {drops}: nothing to do")
    else:
        there = f"; {done.already:,} were there already" if done.already else ""
        console.print(f"replayed as {drops}{there}; every row's last state is in them once")
    if done.whole:
        console.print(f"whole in the first drop: {', '.join(done.whole)}")
    if done.replaced:
        aside = str(done.replaced[0]).rpartition("/")[0]
        console.print(f"{len(done.replaced):,} drops that were there are kept in {_short(aside)}")
    if done.others:
        console.print(f"[yellow]note:[/] {done.others:,} drops of other days stand there too")
    for note in done.notes:
        _note(console, note)
    for name in done.left:
        console.print(f"[dim]left: {name} (no table of {shop.name} names it)[/]")


def _mirror(console: Console, settings: Settings, url: str) -> None:
    """The copy of the current snapshot in an object store; a failure is told after what was published here."""
    from ecommerce_platform.warehouse.mirror import mirror

    with _progress() as bar:
        task = bar.add_task("copying", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        copy = mirror(settings.published, url, keep=settings.keep_snapshots, progress=step)
    if copy.unchanged:
        console.print(f"the copy at {copy.url} is up to date")
    else:
        within = f", {len(copy.copied)} unchanged and copied there" if copy.copied else ""
        tables = f"{len(copy.uploaded)} tables uploaded, {_size(copy.size)}{within}"
        console.print(f"copied to {copy.url}/snapshots/{copy.snapshot}: {tables}")
    if copy.removed:
        console.print(f"[dim]removed {len(copy.removed)} old snapshots there[/]")


@app.command("new-source")
def new_source(
    name: Annotated[str, typer.Argument(help="Name of the source, or path of the folder to write; never overwritten.")],
    from_: Annotated[Path, typer.Option("--from", metavar="DIR", help="Folder with a sample of the shop's files.")],
) -> None:
    """Drafts a source from a sample of files: source.yml and mappings, with every guess marked."""
    from rich.markup import escape

    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.scaffold.new import new_source as draft_source
    from ecommerce_platform.settings import DEFAULT_SOURCE

    settings, catalog = _settings(source=DEFAULT_SOURCE), read_catalog()
    with _spinner("reading the files"):
        new = draft_source(
            name, from_, catalog, date.today(), memory_limit=settings.memory_limit, threads=settings.threads
        )
    console = _console()
    console.print(f"wrote {_short(new.folder)}: source.yml and {len(new.files) - 1} mappings, all of it guesses")
    rows = [
        (d.table, len(new.sample.tables[d.table].files), new.sample.tables[d.table].rows, f"{d.entity}.{d.table}.sql",
         "{} of {}".format(*new.required(d, catalog)), len(d.filled))
        for d in new.guesses.drafts
    ]  # fmt: skip
    _table(console, None, ["raw table", "files", "rows", "mapping", "required", "filled"], rows, right={1, 2, 4, 5})
    for table in new.guesses.left:
        console.print(f"[dim]left: {escape(table)} seems to fill no entity (its columns stand in source.yml)[/]")
    for file, why in new.sample.skipped:
        console.print(f"[dim]left: {escape(file)} {escape(why)}[/]", highlight=False, soft_wrap=True)
    for file, what in new.open:
        console.print(f"[yellow]to do:[/] {escape(f'{name}/{file}: {what} could not be guessed')}", highlight=False)
    console.print(
        f"Next: read what was guessed, then [bold]ecommerce check-source {escape(name)} --sample {escape(str(from_))}[/]"
    )


@app.command("check-source")
def check_source(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the source.")],
    sample: Annotated[
        Path | None, typer.Option(help="Folder with files to try it on; default: the drops under raw/.")
    ] = None,
) -> None:
    """Says what is wrong with a source and what it would make of the files; loads and writes nothing.

    Exit codes: 0 all of the input would be used · 2 definitions are wrong · 3 part of the input could not be used.
    """
    from rich.markup import escape

    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.ingestion.zone import LocalZone, open_zone
    from ecommerce_platform.scaffold.check import check_source as look
    from ecommerce_platform.settings import DEFAULT_SOURCE

    settings = _settings(source=DEFAULT_SOURCE)
    files: Path | Zone | None = sample
    if sample is None and (directory / "source.yml").is_file():
        zone = open_zone(_settings(source=str(directory)))
        there = zone.raw_dir if isinstance(zone, LocalZone) else zone
        files = there if zone.exists() else None
    with _spinner("looking at the files"):
        report = look(
            directory, read_catalog(), files, date.today(),
            memory_limit=settings.memory_limit, threads=settings.threads,
        )  # fmt: skip
    console = _console()
    if report.tables:
        _table(
            console, None, ["raw table", "files", "rows", "unparsable", "used", "superseded", "rejected"],
            [(name, *counts, *next((a[2:] for a in report.accounting if a[0] == name), ("?", "?", "?")))
             for name, *counts in report.tables],
            right={1, 2, 3, 4, 5, 6},
        )  # fmt: skip
        _table(console, None, ["entity", "raw table", "rows", "accepted", "rejected"], report.entities, right={2, 3, 4})
    titles = {"definition": "[bold red]wrong:[/]", "data": "[bold yellow]input:[/]", "note": "[dim]note:[/]"}
    for level, title in titles.items():
        for finding in report.findings:
            if finding.level == level:
                fix = f"\n  → {finding.fix}" if finding.fix else ""
                said = escape(f"{finding.where}: {finding.what}{fix}")
                console.print(f"{title} {said}", highlight=False, soft_wrap=True)
    for entity, missing in report.unfilled:
        console.print(f"[dim]no {entity}: {missing or 'nothing reads it'}[/]", highlight=False, soft_wrap=True)
    for entity, columns in report.empty:
        console.print(f"[dim]{entity} without {columns}[/]", highlight=False, soft_wrap=True)
    for name in report.left:
        console.print(f"[dim]left: {escape(name)} (no table of {report.source} names it)[/]")
    wrong, data = len(report.of("definition")), len(report.of("data"))
    if not report.looked_at:
        console.print("only definitions were looked at: --sample DIR tries them on files")
    if wrong:
        console.print(f"to correct in the definitions: {wrong}")
        raise typer.Exit(USAGE)
    if data:
        console.print(f"part of the input would not be used as it is: {data} findings")
        raise typer.Exit(INCOMPLETE)
    console.print("all is well: every row of data would be used" if report.looked_at else "all is well")


# -- how it looks ------------------------------------------------------------------------------------------------


def _settings(**overrides: Any) -> Settings:
    from ecommerce_platform.settings import read_settings

    return read_settings(**overrides)


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Where nobody watches (a pipe, CI) lines must not be folded at 80 columns.
    width = None if stream.isatty() or "COLUMNS" in os.environ else 200
    return Console(stderr=stderr, width=width)


def _show_log() -> None:
    """Lets the platform's own log lines (who is waited for, what could not be removed) be seen on stderr."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # A new console each time: while a progress bar is drawn, stderr is the bar's.
            _console(stderr=True).print(self.format(record), style="dim", markup=False, highlight=False, soft_wrap=True)

    log = logging.getLogger("ecommerce_platform")
    log.addHandler(Lines())
    log.setLevel(logging.INFO)
    log.propagate = False


@contextmanager
def _progress(bytes_: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr; where that is no terminal, nothing is drawn."""
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    counts = DownloadColumn() if bytes_ else MofNCompleteColumn()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), counts, TimeElapsedColumn(),
        console=_console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        yield bar


@contextmanager
def _spinner(what: str) -> Iterator[None]:
    """A moving line on stderr for work whose length is not known; where that is no terminal, nothing is drawn."""
    with _console(stderr=True).status(what):
        yield


def _with_bar(settings: Settings, select: str, run: Any) -> Any:
    with _progress() as bar:
        task = bar.add_task("loading definitions", total=None)

        def listener(table: str, what: str, done: int, total: int) -> None:
            bar.update(
                task, description=table if what == "start" else bar.tasks[0].description, completed=done, total=total
            )

        return run(settings, select, listener)


def _table(
    console: Console, title: str | None, columns: list[str], rows: Any,
    right: set[int] | frozenset[int] = frozenset(), styles: list[str] | None = None,
) -> None:  # fmt: skip
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        table.add_column(
            name,
            justify="right" if number in right else "left",
            style=(styles or [""] * len(columns))[number],
            overflow="fold",
        )
    for row in rows:
        table.add_row(
            *(
                "" if v is None else f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else escape(str(v))
                for v in row
            )
        )
    console.print(table)


def _note(console: Console, text: str) -> None:
    from rich.markup import escape

    console.print(f"[yellow]note:[/] {escape(text)}", highlight=False, soft_wrap=True)


def _summary(console: Console, settings: Settings) -> None:
    from ecommerce_platform.assets.resources import open_warehouse

    with open_warehouse(settings).connect() as con:
        try:
            relation = con.sql("select * from gold.kpi_summary")
        except Exception:  # a selection may leave the table unbuilt; the summary is a courtesy
            return
        names, row = relation.columns, relation.fetchall()
    if row:
        shown = [
            (n, f"{v:,.6g}" if isinstance(v, float) else f"{v:,}" if not isinstance(v, (date, str)) else v)
            for n, v in zip(names, row[0], strict=True)
            if v is not None
        ]
        _table(console, "gold.kpi_summary", ["kpi", "value"], shown, right={1})


def _size(count: int) -> str:
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"


def _date(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is not a date", where=option, fix="write it as YYYY-MM-DD") from None


def _days(text: str | None) -> tuple[date, date] | None:
    if text is None:
        return None
    first, _, last = text.partition("..")
    days = _date(first, "--partitions"), _date(last or first, "--partitions")
    assert days[0]
    assert days[1]
    return days[0], days[1]


def _short(path: Path | str) -> str:
    if protocol(str(path)):
        return str(path)
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    main()
