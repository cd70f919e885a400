"""SQL that comes with definitions is one SELECT over named tables, in every place where it may stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest
import yaml

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.contract import SqlCheck
from ecommerce_platform.contracts.select import _NOSY, NotAllowedError, check_condition, tables_read
from ecommerce_platform.contracts.source import Mapping, read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.quality.suites import Rule, read_suites
from ecommerce_platform.silver.mapping import compile_mapping
from ecommerce_platform_tests.reading.hostile import HOSTILE, SECRET, everything
from ecommerce_platform_tests.warehouse.shop import TinyShop

CATALOG = read_catalog()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file that must not be read and a database that must not be opened."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "secret").write_text(SECRET)
    duckdb.connect(str(folder / "other.duckdb")).close()
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("shop"))


def filled_in(sql: str, place: Path) -> str:
    return sql.format(secret=place / "secret", folder=place, database=place / "other.duckdb", out=place / "out")


@pytest.mark.parametrize("sql", HOSTILE)
def test_nothing_hostile_is_a_definition(place: Path, shop: TinyShop, sql: str, tmp_path: Path) -> None:
    """Mappings, contracts' rules, expectations and alerts: refused when definitions load, before anything is run."""
    before, text = everything(place), filled_in(sql, place)
    with pytest.raises(NotAllowedError):
        tables_read(text)
    with pytest.raises(ValueError, match="sql"):
        SqlCheck.model_validate({"name": "a", "description": "What it says.", "sql": text})
    mapping = shop.source.mappings[0]
    stolen = Mapping(mapping.entity, mapping.raw_table, mapping.path, text)
    with pytest.raises(DefinitionError, match=re.escape(mapping.path.name)):
        compile_mapping(stolen, shop.catalog.contract(f"silver.{mapping.entity}"), shop.source)
    (tmp_path / "suites").mkdir()
    rule = {"name": "a", "rule": "Nothing is taken from here.", "severity": "warn", "rows": text}
    (tmp_path / "suites" / "gold.fct_orders.yml").write_text(
        yaml.safe_dump({"description": "What a stranger wrote.", "expectations": [rule]})
    )
    with pytest.raises(DefinitionError, match=r"gold\.fct_orders\.yml:\d"):
        read_suites(CATALOG, CATALOG.tables, CATALOG.entities, folder=tmp_path / "suites")
    alert = {"name": "abc", "description": "Odd.", "sql": text}
    file = Path(shutil.copytree(shop.source.file.path.parent, tmp_path / "tiny")) / "source.yml"
    file.write_text(file.read_text() + yaml.safe_dump({"alerts": [alert]}))
    with pytest.raises(DefinitionError, match=r"source\.yml:\d"):
        read_source(file.parent, CATALOG.entities)
    assert everything(place) == before


@pytest.mark.parametrize(
    "hidden", ["(select max(content) from read_text('{secret}'))", "1 from range(1)) ; drop table gold.x --"]
)
def test_a_mapping_hides_nothing_in_an_expression(place: Path, hidden: str, tmp_path: Path) -> None:
    shop = TinyShop(tmp_path)
    mapping = shop.source.mappings[0]
    first = re.search(r"select\s+(.+?) as ", mapping.sql, re.DOTALL)
    assert first
    text = mapping.sql.replace(first.group(1), filled_in(hidden, place), 1)
    with pytest.raises(DefinitionError):
        compile_mapping(
            Mapping(mapping.entity, mapping.raw_table, mapping.path, text),
            shop.catalog.contract(f"silver.{mapping.entity}"),
            shop.source,
        )


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("copy (select 1) to 'x'", "only a SELECT"),
        ("select 1; select 2", "not 2"),
        ("select", "not valid SQL"),
        ("select * from read_text('x')", r"read_text\(…\) in FROM"),
        ("select * from 'orders.csv'", "'orders.csv' is not a table"),
        ('select * from "/tmp/orders".csv', "'/tmp/orders.csv' is not a table"),
        ("select * from other.gold.orders", "'other.gold.orders' is not a table"),
        ('select * from gold."a/b"', "'gold.a/b' is not a table"),
        ("select * from query_table('gold.orders')", r"query_table\(…\) in FROM"),
        ("with x as (insert into gold.a values (1) returning *) select * from x", "insert: only reading"),
        ("select getenv('HOME')", r"getenv\(…\) is not allowed"),
        ("describe gold.orders", "DESCRIBE"),
    ],
)
def test_the_refusal_says_what_it_is(sql: str, says: str) -> None:
    with pytest.raises(NotAllowedError, match=says):
        tables_read(sql)


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("select 1", set()),
        ("select * from Gold.Fct_Orders as o inner join \"silver\".\"orders\" using (order_id);", {"gold.fct_orders", "silver.orders"}),
        ("with a as (select 1 as x), b as (select * from a) select * from b, gold.rfm", {"gold.rfm"}),
        ("select (select count(*) from ml.models) from range(3), unnest([1])", {"ml.models"}),
        ("with recursive r as (select 1 as i union all select i + 1 from r where i < 3) select * from r", set()),
        ("select '-- from gold.a' as text, 'x; y' as more from gold.b -- gold.c", {"gold.b"}),
        ("select * from changed", set()),
    ],
)  # fmt: skip
def test_the_tables_of_a_select_are_named(sql: str, tables: set[str]) -> None:
    assert tables_read(sql, frozenset({"changed"})) == tables


def test_a_condition_ends_where_it_ends() -> None:
    check_condition("order_id in (select order_id from touched) -- only these", ("touched",))
    for hostile in (
        "true) union all (select content from read_text('x')",
        "true); drop table x; --",
        "(select 1 from y)",
    ):
        with pytest.raises(NotAllowedError):
            check_condition(hostile, ("touched",))


def test_an_expectation_brings_no_sql_of_its_own() -> None:
    about = {"name": "a", "rule": "Nothing is taken from here.", "severity": "warn"}
    with pytest.raises(ValueError, match="takes SQL of its own"):
        Rule.model_validate(
            {**about, "expect": "expect_query_results_to_match_comparison", "with": {"base_query": "select 1"}}
        )


def test_no_function_of_duckdb_outside_from_reaches_files() -> None:
    """What `tables_read` relies upon: files are reached in FROM only. A release that changes that fails here."""
    with duckdb.connect() as con:
        names = con.execute(
            "select distinct function_name from duckdb_functions() where function_type in ('scalar', 'aggregate', 'macro')"
        ).fetchall()
    reaching = re.compile(
        r"read|file|path|copy|load|attach|install|glob|http|url|env|exec|system|query|write|import|export"
    )
    known = {
        "__internal_json_copy_to_geojson", "__internal_json_copy_to_json", "current_query", "current_query_id",
        "in_search_path", "json_copy_strftime_if_date", "json_copy_strftime_if_timestamp", "json_extract_path",
        "json_extract_path_text", "parse_dirpath", "parse_filename", "parse_path", "path_join", "pg_conf_load_time",
        "url_decode", "url_encode", "write_log",
    }  # fmt: skip
    found = {name for (name,) in names if reaching.search(name)}
    assert found - known == set()
    assert "write_log" in found & _NOSY
