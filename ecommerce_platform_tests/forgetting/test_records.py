"""Which lines and values are a person's: asked of bronze tables that were written by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.source import builtin_sources, read_source
from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.ledger import Journal
from ecommerce_platform.forgetting.records import RawPlan, Search, edits, plan_tables, refuse_objects
from ecommerce_platform.ingestion.rejects import RAW_CHARACTERS
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform.warehouse.connection import MACROS

DAY = date(2024, 1, 1)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog()


def plans_of(folder: Path, catalog: Catalog, mappings: Mapping[str, str]) -> dict[str, RawPlan]:
    """The plans of an invented shop `s`: `<entity>.<raw table>` → SELECT."""
    folder.mkdir()
    tables = sorted({name.split(".")[1] for name in mappings})
    (folder / "source.yml").write_text(
        "description: An invented shop.\ncurrency: EUR\ntime_zone: Europe/Berlin\nstart_date: 2024-01-01\ntables:\n"
        + "".join(
            f"  {t}: {{files: ['{t}*.csv'], description: Its rows as delivered., delivery: delta}}\n" for t in tables
        )
    )
    for name, select in mappings.items():
        (folder / f"{name}.sql").write_text(f"{select}\nfrom bronze.s__{name.split('.')[1]}\n")
    return plans(catalog, folder)


def plans(catalog: Catalog, folder: Path) -> dict[str, RawPlan]:
    source = read_source(folder, catalog.entities)
    return plan_tables(source, compile_source(source, {e: catalog.contract(f"silver.{e}") for e in catalog.entities}))


class Bronze:
    """Bronze tables with the rows and unparsable lines that a test gives, all of one file per raw table."""

    def __init__(self, plans: Mapping[str, RawPlan]) -> None:
        self.plans, self.con = plans, duckdb.connect(config={"threads": 1})
        self.con.execute("create schema bronze; create schema silver")
        self.con.execute(MACROS.read_text(encoding="utf-8"))
        self.con.execute(
            "create table bronze.rejects (raw_table varchar, _load_date date, _source_file varchar, line bigint, raw_text varchar)"
        )

    def fill(self, raw: str, columns: str, *rows: Sequence[str | None], lines: Sequence[str] = ()) -> None:
        names = columns.split()
        self.con.execute(
            f"create table {self.plans[raw].bronze} (_load_date date, _source_file varchar, _source_row bigint, "
            f"_row_hash ubigint{''.join(f', {n} varchar' for n in names)})"
        )
        for number, row in enumerate(rows, start=1):
            marks = ", ".join("?" for _ in row)
            self.con.execute(
                f"insert into {self.plans[raw].bronze} values (?, 'f.csv', ?, 0, {marks})", [DAY, number, *row]
            )
        for number, line in enumerate(lines, start=1):
            self.con.execute("insert into bronze.rejects values (?, ?, 'f.csv', ?, ?)", [raw, DAY, number, line])

    def search(self, journal: Journal) -> Search:
        return Search(self.con, self.plans, journal, {raw: {(DAY, "f.csv")} for raw in self.plans})

    def lines(self, journal: Journal) -> dict[str, set[int]]:
        """Raw table → the lines that speak of the person."""
        search = self.search(journal)
        search.learn(lambda orders: set())
        return {
            raw: numbers for (raw, _, _), numbers in search.lines((), search.tokens(), lambda key, lines: {}).items()
        }


PEOPLE = (
    "select as_text(system) || '-' || as_text(no) as customer_id, as_text(name) as full_name, as_text(mail) as email"
)


def test_the_system_that_a_number_is_from_tells_nobody(tmp_path: Path, catalog: Catalog) -> None:
    bronze = Bronze(plans_of(tmp_path / "s", catalog, {"customers.people": PEOPLE}))
    bronze.fill(
        "people", "system no name mail",
        ("MARKETPLACE", "1000001", "Anna", None), ("MARKETPLACE", "1000002", "Bob", None),
        lines=["MARKETPLACE,1000002,Bob,too,many", "MARKETPLACE,1000001,Anna,too,many", "WEB,1000001,Zoe,too,many"],
    )  # fmt: skip
    assert bronze.lines(Journal(customer_ids={"MARKETPLACE-1000001"})) == {"people": {2}}


def test_a_part_of_a_key_that_others_have_and_a_short_one_tell_nobody(tmp_path: Path, catalog: Catalog) -> None:
    bronze = Bronze(plans_of(tmp_path / "s", catalog, {"customers.people": PEOPLE}))
    bronze.fill(
        "people", "system no name mail",
        ("MARKETPLACE", "12", "Anna", None), ("MARKETPLACE", "13", "Bob", None),
        lines=["MARKETPLACE,13,Bob,2024-01-12,x"],
    )  # fmt: skip
    assert bronze.lines(Journal(customer_ids={"MARKETPLACE-12"})) == {}


def test_what_was_bought_tells_nobody_where_sales_have_numbers(catalog: Catalog) -> None:
    retail = plans(catalog, builtin_sources()["pet_retail"])
    bronze = Bronze({"sale": retail["sale"]})
    bronze.fill(
        "sale", "invoice_no customer_id transaction_date stock_code description quantity unit_price sale remarks",
        ("536365", "17850000", "12/1/2010 08:26", "85123A", "Cat basket large", "6", "2.55", "15.30", None),
        lines=[
            "536366,17850001,12/1/2010 08:26,85123A,Cat basket large,6,2.55,15.30",
            "536365,,12/1/2010 08:26,999,Dog lead,1",
            "536399,17850000,12/2/2010 08:26,999,Dog lead,1",
        ],
    )  # fmt: skip
    assert bronze.lines(Journal(customer_ids={"17850000"})) == {"sale": {2, 3}}


def test_a_number_tells_in_its_own_table_alone_and_where_only_a_broken_line_has_it(
    tmp_path: Path, catalog: Catalog
) -> None:
    bronze = Bronze(
        plans_of(
            tmp_path / "s", catalog,
            {
                "customers.web": "select 'web-' || as_text(no) as customer_id, as_text(name) as full_name",
                "customers.crm": "select 'crm-' || as_text(no) as customer_id, as_text(name) as full_name",
                "orders.orders": "select as_text(no) as order_id, as_text(customer) as customer_id, "
                "as_timestamp(placed) as ordered_at, 'created' as status, true as is_valid",
            },
        )
    )  # fmt: skip
    bronze.fill("web", "no name", ("2000001", "Anna"), lines=["2000001,An"])
    bronze.fill("crm", "no name", ("2000001", "Bob"), lines=["2000001,Bo"])
    bronze.fill("orders", "no customer placed note", lines=["7,web-2000001,x", "8,crm-2000001,x"])
    assert bronze.lines(Journal(customer_ids={"web-2000001"})) == {"web": {1}, "orders": {1}}


def test_of_a_long_line_the_file_is_asked(tmp_path: Path, catalog: Catalog) -> None:
    bronze = Bronze(plans_of(tmp_path / "s", catalog, {"customers.people": PEOPLE}))
    long = "y" * RAW_CHARACTERS
    bronze.fill(
        "people",
        "system no name mail",
        ("WEB", "1000001", "Anna", "anna@post.example"),
        lines=["Anna", long, long, "y"],
    )
    search = bronze.search(Journal(customer_ids={"WEB-1000001"}))
    search.learn(lambda orders: set())
    asked = []

    def whole(key: tuple[str, date, str], lines: Collection[int]) -> dict[int, str]:
        asked.append((key, lines))
        return {2: f"{long},Anna@post.example", 3: f"{long},bob@post.example"}

    assert search.lines((), search.tokens(), whole) == {("people", DAY, "f.csv"): {2}}
    assert asked == [(("people", DAY, "f.csv"), {2, 3})]


def test_another_ones_key_in_the_persons_records_stays_though_it_is_an_address(
    tmp_path: Path, catalog: Catalog
) -> None:
    found = plans_of(
        tmp_path / "s", catalog,
        {
            "customers.people": "select as_text(mail) as customer_id, as_text(mail) as email",
            "orders.sales": "select as_text(no) as order_id, as_text(buyer) as customer_id, "
            "as_timestamp(placed) as ordered_at, 'created' as status, true as is_valid",
            "order_items.sales": "select as_text(no) as order_id, as_integer(line) as line_number, "
            "as_text(sku) as product_id, as_text(seller) as seller_id, 1 as quantity, as_decimal(price) as unit_price",
        },
    )  # fmt: skip
    bronze = Bronze(found)
    bronze.fill("people", "mail", ("anna@post.example",))
    bronze.fill(
        "sales", "no line buyer placed sku seller price",
        ("O1", "1", "Anna@old.example", "2024-01-01", "S", "shop@else.example", "1.00"),
        ("O2", "1", "Anna@old.example", "2024-01-01", "S", "anna@post.example", "1.00"),
    )  # fmt: skip
    journal = Journal(customer_ids={"anna@post.example", "Anna@old.example"})
    search = bronze.search(journal)
    search.learn(lambda orders: set())
    changes = edits(search.rows(), found, journal, lambda key: f"forgotten-{len(key)}")
    assert changes["sales", DAY, "f.csv"].cells == {
        1: {"buyer": "forgotten-16"},
        2: {"buyer": "forgotten-16", "seller": "forgotten-17"},
    }


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        ("as_text(json(buyer)) as customer_id", ["buyer"]),
        ("as_text(buyer->>no) as customer_id", ["buyer"]),
        ("as_text(buyer) as customer_id, as_text(place->>'$.states[#-1]') as status", ["place"]),
        ("as_text(place) as customer_id, as_text(place->>'$.state') as status", ["place"]),
        ("as_text(buyer->>'$.id') as customer_id, as_text(place->>'$.state') as status", []),
        ("as_text(buyer) as customer_id", []),
    ],
)
def test_an_object_of_which_nobody_can_say_what_stays_is_refused(
    tmp_path: Path, catalog: Catalog, column: str, refused: list[str]
) -> None:
    status = "" if "status" in column else ", 'created' as status"
    select = f"select as_text(no) as order_id, {column}{status}, as_timestamp(placed) as ordered_at, true as is_valid"
    found = plans_of(tmp_path / "s", catalog, {"orders.orders": select})
    assert sorted(found["orders"].objects) == refused
    if not refused:
        refuse_objects(found.values())
        return
    with pytest.raises(InputError, match=f"column '{refused[0]}' of raw table 'orders'"):
        refuse_objects(found.values())


def test_an_object_that_goes_as_a_whole_and_one_that_is_nobodys_are_no_problem(
    tmp_path: Path, catalog: Catalog
) -> None:
    found = plans_of(
        tmp_path / "s", catalog,
        {
            "customers.people": "select as_text(no) as customer_id, as_text(who->>'$.name') as full_name, "
            "as_text(who->>'$.town') as city",
            "products.goods": "select as_text(it->>'$.sku') as product_id, as_text(it->>'$.name') as name",
        },
    )  # fmt: skip
    refuse_objects(found.values())
    assert "who" not in found["people"].kept


@pytest.mark.parametrize("source", sorted(builtin_sources()))
def test_the_sources_that_come_along_read_no_objects(catalog: Catalog, source: str) -> None:
    refuse_objects(plans(catalog, builtin_sources()[source]).values())
