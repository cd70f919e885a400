"""Commands for pages that people read: the data dictionary, and Data Docs. The Dagster UI: `instance`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import bar, say, short

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.settings import Settings

#: The shops whose answers `docs/questions.md` shows, as they are called there; the generated one is always this one.
SHOPS = {
    "olist": "Olist, a Brazilian marketplace",
    "marketplace": "The marketplace",
    "pet_retail": "The retailer of pet supplies",
    "synthetic": "The generated shop (10,000 orders over 500 days, seed 1)",
}
GENERATED: dict[str, Any] = {"orders": 10_000, "days": 500, "seed": 1, "dirty_share": 0.002}
#: Experiments of a smaller one have too few persons to learn whom they move.
LARGER: dict[str, Any] = {"orders": 100_000, "days": 730, "seed": 1}
#: The exports are landed as the drop of this day, whenever that is done.
_DROP = date(2026, 1, 1)
_Exports = Annotated[Path, typer.Argument(help="Folder with an export each in olist, marketplace and pet_retail.")]


def docs(
    folder: Annotated[Path, typer.Option("--to", help="Where to write them.")] = Path("docs"),
) -> None:
    """Writes the data dictionary, the metrics, the ER diagram and the page about models from what is declared."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.contracts.documents import write_documents
    from ecommerce_platform.ml.cards import models_page
    from ecommerce_platform.ml.models import described
    from ecommerce_platform.persons.identity import ABOUT
    from ecommerce_platform.scaffold.systems import systems_page

    catalog = read_catalog()
    written = write_documents(catalog, folder)
    written.append(folder / "models.md")
    written[-1].write_text(models_page([*described(catalog), ABOUT]), encoding="utf-8")
    written.append(folder / "shop-systems.md")
    written[-1].write_text(systems_page(), encoding="utf-8")
    for path in written:
        say(f"wrote {short(path)}")


def questions(
    exports: _Exports,
    folder: Annotated[Path, typer.Option("--to", help="Where to write the page.")] = Path("docs"),
) -> None:
    """Writes what the business asks, with the answers of four shops, which are built for it in a folder of their own."""
    from ecommerce_platform.insight.questions import questions_page, tables_asked

    with _four_shops(exports, tables_asked()) as shops:
        page = questions_page(shops, SHOPS)
    _write(folder / "questions.md", page)


def by_source(
    exports: _Exports,
    folder: Annotated[Path, typer.Option("--to", help="Where to write the page.")] = Path("docs"),
) -> None:
    """Writes how every model and decision does on four shops, which are built for it in a folder of their own."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.decisions.needs import DATA
    from ecommerce_platform.insight.by_source import by_source_page
    from ecommerce_platform.ml.models import all_models

    models = {name: model.described for name, model in sorted(all_models(read_catalog()).items())}
    wanted = {"ml.model_summary", *(f"ml.{name}" for name in DATA), *(t for m in models.values() for t in m.tables)}
    with _four_shops(exports, wanted, _with_figures, LARGER) as shops:
        titles = SHOPS | {"synthetic": "The generated shop (`ecommerce generate`)"}
        page = by_source_page(shops, titles, {name: model.reads for name, model in models.items()}, list(DATA))
    _write(folder / "by-source.md", page)


@contextmanager
def _four_shops(
    exports: Path,
    tables: Collection[str],
    source: Callable[[str, Path], str] = lambda name, _: name,
    generated: Mapping[str, Any] = GENERATED,
) -> Iterator[dict[str, DuckDBPyConnection]]:
    """The shops of `SHOPS`, built as far as these tables need; `source` says where the definition of each is, `generated` how
    large the generated one is."""
    import tempfile

    from ecommerce_platform.orchestration.resources import open_warehouse

    with tempfile.TemporaryDirectory(prefix="shops-") as there, ExitStack() as stack:
        shops = {}
        for name in SHOPS:
            folder = Path(there, name)
            settings = given_settings(
                source=source(name, folder), data_dir=folder / "data", dagster_home=folder / "home"
            )
            _build_shop(settings, exports / name, tables, generated)
            shops[name] = stack.enter_context(open_warehouse(settings).connect())
        yield shops


def _with_figures(name: str, folder: Path) -> str:
    """A copy of a source to which the generated shop's `decisions:` are added; itself where it is that shop."""
    import re
    import shutil

    from ecommerce_platform.contracts.source import find_source
    from ecommerce_platform.settings import DEFAULT_SOURCE

    if name == DEFAULT_SOURCE:
        return name
    there = shutil.copytree(find_source(name), folder / name)
    figures = re.search(
        r"^decisions:\n(?: .*\n)+", (find_source(DEFAULT_SOURCE) / "source.yml").read_text("utf-8"), re.M
    )
    assert figures
    with (there / "source.yml").open("a", encoding="utf-8") as file:
        file.write(figures[0])
    return str(there)


def _build_shop(
    settings: Settings, export: Path, tables: Collection[str], generated: Mapping[str, Any] = GENERATED
) -> None:
    """Brings a shop's drops and builds these tables with what they are made from."""
    from ecommerce_platform.errors import CheckError
    from ecommerce_platform.ingestion.landing import land
    from ecommerce_platform.ingestion.zone import open_zone
    from ecommerce_platform.operations.builds import run_build
    from ecommerce_platform.orchestration.project import read_project
    from ecommerce_platform.settings import DEFAULT_SOURCE
    from ecommerce_platform.simulation import generate_shop

    with bar(f"building {settings.source_name}") as progress:
        if settings.source_name == DEFAULT_SOURCE:
            generate_shop(settings.data, **generated, progress=progress.step)
        else:
            land(export, read_project(settings).source, open_zone(settings), _DROP, _DROP)
        select = " or ".join(f'+key:"{table.replace(".", "/")}"' for table in sorted(tables))
        result = run_build(settings, select, progress.built)
    for table, why in result.failed.items():
        raise CheckError(f"{table} was not built: {why}", where=settings.source_name)


def _write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    say(f"wrote {short(path)}")


def targets(
    file: Annotated[
        Path | None, typer.Argument(help="SQLite file of the small analytics shop; default: one is generated (seed 1).")
    ] = None,
    folder: Annotated[Path, typer.Option("--to", help="Where to write the page.")] = Path("docs"),
) -> None:
    """Writes what the published targets of the small analytics shop are worth, beside our models on the same shop."""
    import tempfile

    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.ml.models import all_models
    from ecommerce_platform.ml.published_targets import read_transactions, targets_page
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.simulation import generate_analytics_shop

    with tempfile.TemporaryDirectory(prefix="targets-") as there:
        command = f"ecommerce targets {file}" if file else "ecommerce targets"
        shop = file or generate_analytics_shop(Path(there, "shop.sqlite"))
        rows = read_transactions(shop)
        settings = given_settings(
            source="analytics_shop", data_dir=Path(there, "data"), dagster_home=Path(there, "home")
        )
        _export_tables(shop, Path(there, "export"))
        tables = {table for model in all_models(read_catalog()).values() for table in model.scored_on}
        _build_shop(settings, Path(there, "export"), tables)
        with open_warehouse(settings).connect() as con:
            page = targets_page(rows, con, command)
    _write(folder / "small-analytics-shop.md", page)


def _export_tables(database: Path, folder: Path) -> None:
    """Writes each table of the SQLite file as CSV, as a drop holds it."""
    import csv
    import sqlite3
    from contextlib import closing

    folder.mkdir()
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as con:
        for table in ("customers", "transactions"):
            found = con.execute(f"select * from {table} order by 1")
            with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as out:
                writer = csv.writer(out)
                writer.writerow([name for name, *_ in found.description])
                writer.writerows(found)


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
    from ecommerce_platform.web_guard import allowed_hosts

    settings = given_settings()
    hosts = allowed_hosts(settings.allowed_hosts, settings.data_docs_url)
    port = port or urlsplit(settings.data_docs_url).port or 3070
    with serve(settings.data_docs, settings.source_name, port, hosts) as server:
        address = f"http://127.0.0.1:{server.server_port}/{settings.source_name}/"
        say(f"Data Docs of {settings.source_name}: {address}", highlight=False)
        if open_:
            webbrowser.open(address)
        server.serve_forever()
