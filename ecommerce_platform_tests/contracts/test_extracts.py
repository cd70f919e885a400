"""A mistake in `database` or `extract` of a source.yml is answered with file, line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import Source, read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, SOURCE_YML, TinyShop, write_source

EXTRACTS = """description: A shop that keeps its tables in a database.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
database: {kind: postgresql, url: TINY_DATABASE}
tables:
  products:
    files: ["products*"]
    description: The catalogue.
    delivery: full
    extract: {table: public.products}
  orders:
    files: ["orders_*.parquet", "orders.csv"]
    description: Orders.
    extract: {table: orders, watermark: changed, id: id, lag_minutes: 5}
"""


def extracts(tmp_path: Path, yml: str) -> Source:
    return read_source(write_source(tmp_path, {}, yml), read_catalog().entities)


def test_a_database_and_extracts_are_read(tmp_path: Path) -> None:
    file = extracts(tmp_path, EXTRACTS).file
    assert file.database is not None
    assert (file.database.kind, file.database.url) == ("postgresql", "TINY_DATABASE")
    assert [(n, e.table, e.watermark, e.id, e.lag_minutes) for n, e in file.extracts.items()] == [
        ("products", "public.products", None, None, None),
        ("orders", "orders", "changed", "id", 5),
    ]
    lite = EXTRACTS.replace("kind: postgresql, url: TINY_DATABASE", "kind: sqlite, path: shop.db")
    assert extracts(tmp_path, lite).file.database_file == tmp_path / "tiny" / "shop.db"


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("kind: postgresql", "kind: oracle"), 5, "it should be 'postgresql', 'mysql' or 'sqlite'"),
        (("url: TINY_DATABASE", "url: postgresql://me:s3cret@host/db"), 5, "never the URL itself"),
        ((", url: TINY_DATABASE", ""), 5, "needs `url`"),
        (("kind: postgresql", "kind: sqlite, path: x.db"), 5, "sqlite needs `path`, the file, or `url`"),
        (("database: {kind: postgresql, url: TINY_DATABASE}\n", ""), 10, "the source has no database"),
        (("    delivery: full\n", ""), 10, "without a watermark is the whole table"),
        (("description: Orders.\n", "description: Orders.\n    delivery: full\n"), 16, "a watermark is a part of the table"),
        (("watermark: changed, ", ""), 15, "belong to a `watermark`"),
        (("lag_minutes: 5", "lag_minutes: -5"), 15, "greater than or equal to 0"),
        (("lag_minutes: 5", "lag: 5"), 15, "there is no field"),
        (("public.products", "db.public.products"), 11, "it should match"),
        (('["products*"]', '["products*.csv"]'), 8, "which is in the files of no table"),
        (('["products*"]', '["*"]'), 13, "which is in the files of products and orders"),
        (("description: Orders.\n", "description: Orders.\n    format: csv\n"), 15, "an extract is a Parquet file"),
        (("tables:\n", "units: {order_items.orders: [order_id]}\ntables:\n"), 16, "has to be delivered whole"),
    ],
)  # fmt: skip
def test_a_mistake_in_extracts_names_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    assert change[0] in EXTRACTS
    with pytest.raises(DefinitionError) as error:
        extracts(tmp_path, EXTRACTS.replace(*change, 1))
    assert f"source.yml:{line}" in str(error.value)
    assert says in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_database_that_no_table_is_read_from_is_refused(tmp_path: Path) -> None:
    yml = EXTRACTS[: EXTRACTS.index("    extract:")]
    with pytest.raises(DefinitionError, match=r"source.yml:5: database: no table is read from it"):
        extracts(tmp_path, yml)


def test_gathering_rows_of_which_only_the_changed_ones_come_is_refused(tmp_path: Path) -> None:
    yml = SOURCE_YML.replace(
        "delivery: full}\n  crm", "delivery: delta, extract: {table: places, watermark: at}}\n  crm"
    )
    yml = yml.replace('["places*.csv"]', '["places*"]') + "database: {kind: mysql, url: X}\n"
    with pytest.raises(
        DefinitionError, match=r"postal_codes.places.sql:\d+: GROUP BY gathers rows.*\n.*delivery: full"
    ):
        TinyShop(tmp_path, MAPPINGS, yml)
