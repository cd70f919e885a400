"""Commands that make drops: of the generated shop, of files, of a database. What becomes of them: `building`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecommerce_platform.cli.arguments import given_settings, parse_day
from ecommerce_platform.cli.console import bar, left, note, say, short, table
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from ecommerce_platform.contracts.source import Source
    from ecommerce_platform.ingestion.replay import Replayed
    from ecommerce_platform.ingestion.zone import Zone
    from ecommerce_platform.settings import Settings


def generate(
    orders: Annotated[
        int | None, typer.Option(min=1, help="How many orders; default: 100000, of the analytics shop 15000.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Over how many days.")] = 730,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 1,
    dirty: Annotated[float, typer.Option(min=0, max=1, help="Share of records with a fault.")] = 0.002,
    lost: Annotated[
        float, typer.Option(min=0, max=1, help="Share of what is wanted of an empty shelf that is not bought.")
    ] = 0.0,
    vary_ads: Annotated[
        bool, typer.Option("--vary-ads", help="Spend on each flight of advertising drawn over a factor of eight.")
    ] = False,
    no_uplift: Annotated[bool, typer.Option("--no-uplift", help="No experiment does anything.")] = False,
    outside: Annotated[
        float, typer.Option(min=0, max=10, help="Percent of lines lost to other shops with each percent dearer.")
    ] = 0.0,
    shop: Annotated[
        Literal["synthetic", "analytics"],
        typer.Option(help="Which shop: synthetic with all its systems, or analytics, a small one in a SQLite file."),
    ] = "synthetic",
    file: Annotated[
        Path, typer.Option("--to", help="With --shop analytics: the SQLite file; one that is there is replaced.")
    ] = Path("analytics_shop.sqlite"),
) -> None:
    """Writes the generated shop's drops, or the small analytics shop's SQLite file."""
    from ecommerce_platform.simulation import generate_shop

    if shop == "analytics":
        _generate_analytics(file, orders or 15_000, days, seed)
        return
    settings = given_settings()
    _ready_for_generated_drops(settings)
    with bar("generating") as progress:
        truth = generate_shop(
            settings.data,
            orders=orders or 100_000,
            days=days,
            seed=seed,
            dirty_share=dirty,
            lost_share=lost,
            vary_ads=vary_ads,
            uplift=not no_uplift,
            outside=outside,
            progress=progress.step,
        )
    say(f"generated {truth.orders:,} orders over {days} days in {short(settings.raw)}")


def _generate_analytics(file: Path, orders: int, days: int, seed: int) -> None:
    from ecommerce_platform.simulation import generate_analytics_shop

    if file.exists() and file.read_bytes()[:16] not in (b"", b"SQLite format 3\0"):
        raise InputError("is no SQLite file, and would be replaced", where=file, fix="name another file with --to")
    customers = max(1, round(orders * 2 / 15))
    generate_analytics_shop(file, transactions=orders, customers=customers, days=days, seed=seed)
    say(f"generated {orders:,} transactions of {customers:,} customers over {days} days in {short(file)}")
    say(f"to load it: ECOMMERCE_SOURCE=analytics_shop ECOMMERCE_ANALYTICS_SHOP_FILE={file} ecommerce extract")


def _ready_for_generated_drops(settings: Settings) -> None:
    """Refuses to mix generated drops with a shop's own."""
    from ecommerce_platform.settings import DEFAULT_SOURCE

    if settings.source_name != DEFAULT_SOURCE:
        raise InputError(
            f"drops can be generated for the source {DEFAULT_SOURCE!r} only",
            where=f"ECOMMERCE_SOURCE={settings.source}",
            fix="unset ECOMMERCE_SOURCE; for a shop of your own use `ecommerce land`",
        )
    if settings.raw_url and settings.raw_url != str(settings.data / "raw"):
        raise InputError(
            f"the generated shop is written to {short(settings.data / 'raw')}, and the landing zone is elsewhere",
            where=f"ECOMMERCE_RAW_URL={settings.raw_url}",
            fix="unset ECOMMERCE_RAW_URL; the drops can then be copied there, or landed day by day",
        )
    if settings.raw.is_dir() and any(p.is_dir() and not p.name.startswith(".") for p in settings.raw.iterdir()):
        raise InputError(
            "there are drops already", where=settings.raw, fix="move them away first, or set ECOMMERCE_DATA_DIR"
        )


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

    from ecommerce_platform.ingestion.zone import open_zone
    from ecommerce_platform.orchestration.project import read_project

    if by and date_:
        raise InputError("a replay dates its drops itself", where="--date", fix="leave out --date, or --by")
    if every and not by:
        raise InputError("says how often, but not by what", where="--every", fix="add --by TABLE.COLUMN")
    if every not in (None, "day", "month"):
        raise InputError(f"{every!r} is neither day nor month", where="--every", fix="use --every day or --every month")
    settings = given_settings(**({"source": source} if source else {}))
    shop = read_project(settings).source
    zone = open_zone(settings)
    today = datetime.now(ZoneInfo(shop.file.time_zone)).date()
    if by:
        _replay(zone, shop, directory, by, "month" if every == "month" else "day", today)
    else:
        _land(zone, shop, directory, parse_day(date_, "--date"), today)


def _land(zone: Zone, shop: Source, directory: Path, day: date | None, today: date) -> None:
    """`land` as one drop."""
    from ecommerce_platform.ingestion.landing import land as land_files

    with bar("landing", in_bytes=True) as progress:
        landed = land_files(
            directory, shop, zone, day, today, progress=lambda done, total: progress.step("landing", done, total)
        )
    if landed.already:
        say(f"already landed as the drop of {landed.day}: nothing to do")
    else:
        say(f"landed {len(landed.landed)} files as the drop of {landed.day} in {short(zone.where)}")
    if landed.replaced:
        say(f"the drop that was there is kept in {short(landed.replaced)}")
    left(landed.left, shop.name)


def _replay(zone: Zone, shop: Source, directory: Path, by: str, every: Literal["day", "month"], today: date) -> None:
    """`land --by`: many drops from one export."""
    from ecommerce_platform.ingestion.replay import replay

    with bar("replaying") as progress:
        done = replay(directory, shop, zone, by, every, today, progress=progress.step)
    columns = ["raw table", "rows in the export", "states in the drops"]
    table(None, columns, [(t.name, t.rows, t.states) for t in done.tables], right={1, 2})
    _tell_replayed(done, f"{len(done.days):,} drops, {done.days[0]} to {done.days[-1]}, in {short(zone.where)}")
    left(done.left, shop.name)


def _tell_replayed(done: Replayed, drops: str) -> None:
    if done.already == len(done.days):
        say(f"already replayed as {drops}: nothing to do")
    else:
        there = f"; {done.already:,} were there already" if done.already else ""
        say(f"replayed as {drops}{there}; every row's last state is in them once")
    if done.whole:
        say(f"whole in the first drop: {', '.join(done.whole)}")
    if done.replaced:
        aside = str(done.replaced[0]).rpartition("/")[0]
        say(f"{len(done.replaced):,} drops that were there are kept in {short(aside)}")
    if done.others:
        say(f"[yellow]note:[/] {done.others:,} drops of other days stand there too")
    for text in done.notes:
        note(text)


def extract(
    table_: Annotated[
        list[str] | None, typer.Option("--table", metavar="RAW_TABLE", help="Only this table; may be given repeatedly.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read tables with a watermark from the beginning, deliver all tables.")
    ] = False,
) -> None:
    """Reads what is new out of the source's database and lands it under raw/ as the day's drop."""
    from ecommerce_platform.ingestion.extraction.extract import extract as extract_tables
    from ecommerce_platform.orchestration.project import read_project

    settings = given_settings()
    shop = read_project(settings).source
    with bar("connecting") as progress:

        def step(raw: str, rows: int, total: int | None) -> None:
            progress.step(raw, rows, max(rows, total) if total else None)

        done = extract_tables(
            shop, settings.raw, tables=table_ or (), full=full, scratch=settings.scratch, progress=step
        )
    columns = ["raw table", "rows", "bytes", "since", "file"]
    rows = [
        (t.raw, t.rows, t.bytes, t.since and f"{t.since:%Y-%m-%d %H:%M}", t.file or "unchanged") for t in done.tables
    ]
    table(None, columns, rows, right={1, 2})
    for t in done.tables:
        for text in t.notes:
            note(f"{t.raw}: {text}")
    if done.folder is None:
        say("nothing has changed since the last extract: no drop")
        return
    total = sum(t.rows for t in done.tables)
    say(f"extracted {total:,} rows into the drop of {done.day} in {short(settings.raw)}")
    if done.replaced:
        say(f"what these files take the place of is kept in {short(done.replaced)}")
