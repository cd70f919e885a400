"""A mistake in a table's files or a source's is answered with file, line and what to do, when definitions load."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.source import (
    RawTable,
    Source,
    SourceFile,
    builtin_sources,
    examine_source,
    find_source,
    read_source,
)
from ecommerce_platform.errors import DefinitionError, DefinitionErrors, SettingsError
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform.warehouse.sql_model import parse_models
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, SOURCE_YML, TinyShop, write_source

GOOD_YML = """description: A table made for a test.
grain: one row per order
key: [order_id]
columns:
  order_id:
    type: VARCHAR
    description: The order.
  amount:
    type: DECIMAL(18,4)
    description: What it is worth.
    min: 0
"""
GOOD_SQL = "select\n    order_id,\n    cast(1 as decimal(18, 4)) as amount\nfrom silver.orders\n"


def models(tmp_path: Path, yml: str = GOOD_YML, sql: str | None = GOOD_SQL) -> Catalog:
    folder = tmp_path / "models"
    (folder / "gold" / "test").mkdir(parents=True, exist_ok=True)
    (folder / "silver").mkdir(exist_ok=True)
    for path in (Path(read_catalog().contract("silver.orders").path),):
        (folder / "silver" / path.name).write_text(path.read_text())
    (folder / "gold" / "test" / "worth.yml").write_text(yml)
    if sql is not None:
        (folder / "gold" / "test" / "worth.sql").write_text(sql)
    return read_catalog(folder)


def parsed(tmp_path: Path, **files: str) -> None:
    parse_models(models(tmp_path, **files), {"orders": [1]})


def test_a_copied_source_folder_is_told_to_write_its_own_name_in_every_mapping(tmp_path: Path) -> None:
    copied = {**MAPPINGS, "orders.orders": MAPPINGS["orders.orders"].replace("tiny__", "original__")}
    with pytest.raises(DefinitionError, match=r"orders.orders.sql:\d+") as error:
        TinyShop(tmp_path, copied)
    assert "the source is called tiny, by its folder: write bronze.tiny__orders instead" in str(error.value)


def test_a_good_pair_of_files_loads(tmp_path: Path) -> None:
    parsed(tmp_path)


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("DECIMAL(18,4)", "MONEY"), 9, "unknown type 'MONEY'"),
        (("    min: 0\n", "    minimum: 0\n"), 11, "there is no field"),
        (("key: [order_id]", "key: [number]"), 1, "key column 'number' is not among the columns"),
        (("description: What it is worth.", "description: TODO"), 10, "placeholder"),
        (("  amount:\n", "  Amount:\n"), 4, "not lower snake_case"),
        (("grain: one row per order\n", "grain: [one\n"), 3, "not valid YAML"),
        (("grain: one row per order\n", ""), 1, "grain is missing"),
    ],
)
def test_a_mistake_in_a_contract_names_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    assert change[0] in GOOD_YML
    with pytest.raises(DefinitionError) as error:
        models(tmp_path, yml=GOOD_YML.replace(*change))
    assert f"worth.yml:{line}" in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("sql", "line", "says"),
    [
        ("select\n    order_id,\n    from from\n", 3, "not valid SQL"),
        (GOOD_SQL.replace("silver.orders", "silver.ordres"), 4, "there is no table 'silver.ordres'"),
        (GOOD_SQL.replace("silver.orders", "orders"), 4, "there is no table 'orders'"),
        (GOOD_SQL.replace("as amount", "as sum"), 2, "missing in the SELECT: amount"),
        ("create table x as select 1", 1, "exactly one SELECT"),
        ("select 1; select 2", 1, "exactly one SELECT"),
    ],
)
def test_a_mistake_in_a_select_names_file_and_line(tmp_path: Path, sql: str, line: int, says: str) -> None:
    with pytest.raises(DefinitionError) as error:
        parsed(tmp_path, sql=sql)
    assert f"worth.sql:{line}" in str(error.value)
    assert says in str(error.value)


def test_a_contract_without_select_says_which_file_to_add(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"add worth\.sql beside it"):
        models(tmp_path, sql=None)


def test_a_select_without_contract_is_refused(tmp_path: Path) -> None:
    models(tmp_path)
    (tmp_path / "models" / "gold" / "test" / "worth.yml").unlink()
    with pytest.raises(DefinitionError, match="a SELECT without a contract"):
        read_catalog(tmp_path / "models")


HISTORY_YML = """description: Every version of each order.
grain: one row per order and version
key: [order_id, valid_from]
history_of: orders
"""


@pytest.mark.parametrize(
    ("name", "change", "line", "says"),
    [
        ("orders_history", ("history_of: orders", "history_of: ordres"), 4, "'ordres' is not a canonical entity"),
        ("order_versions", ("", ""), 1, "the history of orders is silver.orders_history"),
        (
            "orders_history",
            ("[order_id, valid_from]", "[order_id]"),
            3,
            "the key of a history is its entity's and the day",
        ),
        ("orders_history", ("key:", "columns: {a: {type: DATE, description: A day.}}\nkey:"), 1, "leave out `columns`"),
        ("orders_history", ("history_of:", "entity: true\nhistory_of:"), 1, "filled in exactly one way"),
        ("orders_history", ("history_of: orders\n", ""), 1, "columns are missing"),
    ],
)
def test_a_mistake_in_a_historys_contract_names_file_and_line(
    tmp_path: Path, name: str, change: tuple[str, str], line: int, says: str
) -> None:
    (tmp_path / "models" / "silver").mkdir(parents=True)
    (tmp_path / "models" / "silver" / f"{name}.yml").write_text(HISTORY_YML.replace(*change, 1))
    with pytest.raises(DefinitionError) as error:
        models(tmp_path)
    assert f"{name}.yml:{line}" in str(error.value)
    assert says in str(error.value)


def test_a_history_has_its_entitys_columns_and_what_says_when_they_held(tmp_path: Path) -> None:
    (tmp_path / "models" / "silver").mkdir(parents=True)
    (tmp_path / "models" / "silver" / "orders_history.yml").write_text(HISTORY_YML)
    catalog = models(tmp_path)
    entity, history = catalog.contract("silver.orders"), catalog.contract("silver.orders_history")
    assert list(history.columns) == [*entity.columns, "version", "valid_from", "valid_to", "is_current"]
    assert list(history.all_columns)[-4:] == ["_load_date", "_raw_table", "_source_file", "_source_row"]
    assert catalog.histories == ("orders_history",)
    assert "orders_history" not in catalog.entities


def tiny(tmp_path: Path, **mapping: str) -> TinyShop:
    return TinyShop(tmp_path, {**MAPPINGS, **{k.replace("__", "."): v for k, v in mapping.items()}})


@pytest.mark.parametrize(
    ("name", "sql", "says"),
    [
        ("orders.orders", MAPPINGS["orders.orders"].replace("as_timestamp(placed)", "cast(placed as timestamp)"),
         "converts text without reporting"),
        ("orders.orders", MAPPINGS["orders.orders"].replace("as_timestamp(placed)", "try_strptime(placed, '%Y')"),
         "converts text without reporting"),
        ("orders.orders", MAPPINGS["orders.orders"].replace("as_timestamp(placed)", "as_moment(placed)"),
         "there is no macro 'as_moment'"),
        ("orders.orders", MAPPINGS["orders.orders"] + " join bronze.tiny__lines using (id)", "exactly one table"),
        ("orders.orders", MAPPINGS["orders.orders"].replace("tiny__orders", "tiny__lines"), "reads exactly one table"),
        ("orders.orders", MAPPINGS["orders.orders"].replace("as order_id", "as number"), "is not a column of"),
        ("orders.orders", MAPPINGS["orders.orders"].replace("as_text(id) as order_id, ", ""),
         "required column 'order_id'"),
        ("postal_codes.places", MAPPINGS["postal_codes.places"].replace("_load_date, ", ""), "leaves out _load_date"),
        ("order_items.lines", MAPPINGS["order_items.lines"].replace("_load_date, ", ""), "leaves out _load_date"),
        ("postal_codes.places", MAPPINGS["postal_codes.places"].replace("median(as_double(lat))", "as_double(max(lat))"),
         "convert first, then aggregate"),
        ("orders.orders", "selec 1", "not valid SQL"),
    ],
)  # fmt: skip
def test_a_mapping_that_would_break_convergence_is_refused(tmp_path: Path, name: str, sql: str, says: str) -> None:
    with pytest.raises(DefinitionError) as error:
        TinyShop(tmp_path, {**MAPPINGS, name: sql})
    assert f"{name}.sql:" in str(error.value)
    assert says in str(error.value)


def test_numbering_rows_without_a_unit_is_refused(tmp_path: Path) -> None:
    yml = SOURCE_YML.replace("units:\n  order_items.lines: [order_id]\n", "")
    with pytest.raises(DefinitionError, match="needs a unit"):
        TinyShop(tmp_path, MAPPINGS, yml)


def source(tmp_path: Path, yml: str) -> Source:
    return read_source(write_source(tmp_path, MAPPINGS, yml), read_catalog().entities)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("Europe/Berlin", "Berlin"), "unknown time zone 'Berlin'"),
        (("EUR", "Euro"), "currency"),
        (("delivery: full}", "delivery: daily}"), "delivery"),
        (('files: ["web*.csv"], ', ""), "files is missing"),
    ],
)
def test_a_mistake_in_source_yml_names_file_and_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(DefinitionError) as error:
        source(tmp_path, SOURCE_YML.replace(*change, 1))
    assert "source.yml:" in str(error.value)
    assert says in str(error.value)


REPLAY = """replay:
  orders:
    created: placed
    status: state
    events: {placed: created, paid: paid}
  lines: {follows: orders.id, by: order_id}
"""


def test_a_replay_section_is_read(tmp_path: Path) -> None:
    replay = source(tmp_path, SOURCE_YML + REPLAY).file.replay
    assert list(replay["orders"].events.items()) == [("placed", "created"), ("paid", "paid")]
    assert replay["lines"].followed == ("orders", "id")
    assert source(tmp_path, SOURCE_YML).file.replay == {}


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("  lines:", "  line:"), 6, "there is no raw table 'line'"),
        (("  lines:", "  products:"), 6, "each delivery of this table is the whole table"),
        (("orders.id", "crm.id"), 6, "'crm' is no table with dates of its own"),
        (("orders.id", "lines.id"), 6, "'lines' is no table with dates of its own"),
        (("orders.id", "orders"), 6, "it should match"),
        (("by: order_id", "by: order_id, status: state"), 6, "rows that follow others come once"),
        (("{follows: orders.id, by: order_id}", "{}"), 6, "say when rows come in"),
        (("follows: orders.id", "created: made"), 6, "belong to a table that `follows` another"),
        (("by: order_id", "comes_with: approval"), 6, "it should be 'creation' or 'last_event'"),
        (("by: order_id", 'time_format: "%H:%M"'), 6, "'%H:%M' does not give a day"),
        (("    created: placed\n", "    create: placed\n"), 3, "there is no field"),
        (("{placed: created, paid: paid}", "{paid: paid, placed: created}"), 2, "the first of `events`"),
        (("    events: {placed: created, paid: paid}\n", ""), 2, "`status` needs `events`"),
        (("status: state", "status: paid"), 2, "`status` cannot be one of `events`"),
    ],
)
def test_a_mistake_in_replay_names_file_and_line(tmp_path: Path, change: tuple[str, str], line: int, says: str) -> None:
    assert change[0] in REPLAY
    with pytest.raises(DefinitionError) as error:
        source(tmp_path, SOURCE_YML + REPLAY.replace(*change))
    assert f"source.yml:{SOURCE_YML.count(chr(10)) + line}" in str(error.value)
    assert says in str(error.value)


def test_a_replay_of_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    yml = SOURCE_YML.replace("Lines without numbers., ", "Lines., format: parquet, ") + REPLAY
    with pytest.raises(DefinitionError, match="only CSV and JSON can be split, not parquet"):
        source(tmp_path, yml)


PAGES = """  pages: {files: ["pages*.json"], description: Pages of notes.}
  notes: {explode: pages.notes, description: Notes.}
  marks: {explode: notes.marks, description: Marks of notes.}
"""


@pytest.mark.parametrize(
    ("replay", "says"),
    [
        ("{notes: {created: at}}", None),
        ("{notes: {created: at}, marks: {created: at}}", "replay.marks: its records stand in those of 'pages'"),
        ("{pages: {created: at}, notes: {created: at}}", "files of 'pages' are split by 'notes' already"),
        ("{notes: {created: at}, others: {created: at}}", "files of 'pages' are split by 'others' already"),
    ],
)
def test_pages_are_replayed_by_the_records_in_their_array_alone(tmp_path: Path, replay: str, says: str | None) -> None:
    tables = PAGES + "  others: {explode: pages.others, description: Others.}\n"
    yml = SOURCE_YML.replace("tables:\n", f"tables:\n{tables}") + f"replay: {replay}\n"
    if says is None:
        assert source(tmp_path, yml).file.replayed == {"pages": "notes"}
        return
    with pytest.raises(DefinitionError) as error:
        source(tmp_path, yml)
    assert says in str(error.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DefinitionErrors) as error:
        source(tmp_path, SOURCE_YML.replace("EUR", "Euro").replace("Europe/Berlin", "Berlin"))
    assert [e.where for e in error.value.errors] == [
        f"{tmp_path / 'tiny' / 'source.yml'}:{line}" for line in (3, 4)
    ]  # fmt: skip
    wrong = (
        MAPPINGS["orders.orders"].replace("as_timestamp(placed)", "as_moment(placed)").replace("as order_id", "as x")
    )
    with pytest.raises(DefinitionErrors) as error:
        TinyShop(tmp_path, {**MAPPINGS, "orders.orders": wrong, "customers.web": "selec 1"})
    for part in (
        "no macro 'as_moment'",
        "'x' is not a column",
        "column 'order_id'",
        "customers.web.sql:1: not valid SQL",
    ):
        assert part in str(error.value)


BRAND_RULES = """brand_rules:
  - {brand: Acme}
  - {brand: Apple, words: [iPhone*, Mac Mini]}
"""


def test_a_brand_without_words_is_looked_for_itself(tmp_path: Path) -> None:
    rules = source(tmp_path, SOURCE_YML + BRAND_RULES).file.brand_rules
    assert [(rule.brand, rule.names) for rule in rules] == [("Acme", ("Acme",)), ("Apple", ("iPhone*", "Mac Mini"))]


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("iPhone*", "'*'"), 3, "'*' has neither a letter nor a digit"),
        (("iPhone*", "i*Phone"), 3, "'i*Phone': * stands at the end of a word"),
        (("{brand: Acme}", '{brand: ""}'), 2, "at least 1 character"),
        (("words:", "word:"), 3, "there is no field"),
    ],
)
def test_a_mistake_in_a_brand_rule_names_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    assert change[0] in BRAND_RULES
    with pytest.raises(DefinitionError) as error:
        source(tmp_path, SOURCE_YML + BRAND_RULES.replace(*change))
    assert f"source.yml:{SOURCE_YML.count(chr(10)) + line}" in str(error.value)
    assert says in str(error.value)


def test_a_mapping_named_after_nothing_known_is_refused(tmp_path: Path) -> None:
    home = write_source(tmp_path)
    (home / "ordres.orders.sql").write_text("select 1")
    with pytest.raises(DefinitionError, match="'ordres' is not a canonical entity"):
        read_source(home, read_catalog().entities)


def test_an_unknown_source_lists_those_there_are() -> None:
    with pytest.raises(SettingsError, match="marketplace, olist, pet_retail, synthetic"):
        find_source("nowhere")


@pytest.mark.parametrize("name", builtin_sources())
def test_the_built_in_sources_compile(name: str) -> None:
    catalog = read_catalog()
    built_in = read_source(find_source(name), catalog.entities)
    compiled = compile_source(built_in, {e: catalog.contract(f"silver.{e}") for e in catalog.entities})
    used = {m.raw_table for found in compiled.values() for m in found}
    assert used == set(built_in.file.tables), "every raw table feeds an entity"


SOURCE_WITH = """description: A shop that somebody describes.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders: {files: ["orders*.csv"], description: Orders., delivery: delta}
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("start_date:", "churn_window: 3\nstart_date:"),
            ["source.yml:4", "there is no field 'churn_window'", "did you mean churn_window_days?", "currency, time_zone"],
        ),
        (
            ("delivery: delta", "delivry: delta"),
            ["tables.orders: there is no field 'delivry'", "did you mean delivery?", "files, description, delivery, format"],
        ),
        (("files: [", "zzz: ["), ["tables.orders: there is no field 'zzz'", "The fields here are files"]),
        (("delta", "dleta"), ["tables.orders.delivery: it should be 'delta' or 'full', not 'dleta'", "your-own-shop.md"]),
        (("2024-01-01", "soon"), ["start_date: it should be a day, YYYY-MM-DD, not 'soon'"]),
        (("tables:", "brand_rules: [{brand: X, wrods: [x]}]\ntables:"), ["brand_rules.0: there is no field 'wrods'", "did you mean words?"]),
        (("tables:", "expresions: {a: b}\ntables:"), ["there is no field 'expresions'", "did you mean expressions?"]),
        (("tables:", "units: [a]\ntables:"), ["units: it should be a mapping of names to values"]),
    ],
)  # fmt: skip
def test_a_mistake_in_source_yml_says_what_may_stand_there(
    tmp_path: Path, change: tuple[str, str], says: list[str]
) -> None:
    assert change[0] in SOURCE_WITH
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "source.yml").write_text(SOURCE_WITH.replace(*change, 1))
    _, problems = examine_source(tmp_path / "mine", ["orders"])
    said = "\n".join(map(str, problems))
    for part in says:
        assert part.lower() in said.lower()
    assert "docs/your-own-shop.md" in said
    # What is filled in for the file is nothing that the file could say.
    assert "path" not in said.replace(str(tmp_path), "")


def test_the_page_that_errors_in_source_yml_point_to_names_every_field() -> None:
    page = (ROOT / "docs" / "your-own-shop.md").read_text()
    section = page[page.index("## source.yml in full") : page.index("## When a guess is wrong")]
    models = {SourceFile: {"name", "path"}, RawTable: set()}
    missing = [f for model, own in models.items() for f in model.model_fields if f not in own and f not in section]
    assert missing == []
