"""`ecommerce check-source`: every fault is found before anything is loaded, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.scaffold.check import Finding, Report, check_source
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.scaffold.conftest import TODAY, Bench, tree

YML = """description: A shop made for a test.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders:
    files: ["orders*.csv"]
    description: One row per order.
"""
MAPPING = """select
    as_text(id) as order_id,
    as_timestamp(placed) as ordered_at,
    as_text(state) as status,
    as_text(state) not in ('canceled') as is_valid
from bronze.mine__orders
"""
ORDERS = "id,placed,state\n1,2024-01-01,delivered\n2,2024-01-02,shipped\n"


def one(report: Report, level: str, part: str) -> Finding:
    found = [f for f in report.findings if f.level == level and part in f.what]
    assert len(found) == 1, report.findings
    return found[0]


def test_a_source_that_fits_has_no_findings_and_its_rows_are_accounted_for(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("orders_1.csv", ORDERS)
    before = tree(bench.folder)
    report = bench.check()
    assert report.findings == []
    assert report.tables == [("orders", 1, 2, 0)]
    assert report.entities == [("orders", "orders", 2, 2, 0)]
    assert report.accounting == [("orders", 2, 2, 0, 0)]
    assert tree(bench.folder) == before, "nothing is written"


def test_all_definition_errors_are_found_at_once_with_their_lines(bench: Bench) -> None:
    sql = MAPPING.replace("as_timestamp(placed)", "cast(placed as timestamp)").replace(
        "as_text(state) as", "as_word(state) as"
    )
    bench.write(
        source_yml=YML + "  loose:\n    files: [loose.csv]\n    description: Nobody reads it.\n",
        orders__orders=sql.replace("as order_id", "as order_number"),
        orders__nowhere="select 1",
        ordres__orders="select 1",
        payments__orders="selec 1",
    )
    bench.file("orders.csv", ORDERS)
    where = {(Path(f.where.rpartition(":")[0]).name, int(f.where.rpartition(":")[2])) for f in bench.check().findings}
    assert where == {
        ("source.yml", 9), ("orders.orders.sql", 2), ("orders.orders.sql", 3), ("orders.orders.sql", 4),
        ("orders.nowhere.sql", 1), ("ordres.orders.sql", 1), ("payments.orders.sql", 1),
    }  # fmt: skip
    assert all(f.level == "definition" for f in bench.check(definitions_only=True).findings)


def test_a_raw_column_that_a_named_expression_lacks_is_told_with_the_expressions_line(bench: Bench) -> None:
    bench.write(
        source_yml=YML + "expressions:\n  order_key: as_text(idd)\n",
        orders__orders=MAPPING.replace("as_text(id) as", "order_key as"),
    )
    bench.file("orders.csv", ORDERS)
    found = one(bench.check(), "data", "no file has the raw column 'idd'")
    assert (found.where.rpartition("/")[2], found.fix) == ("source.yml:10", "did you mean id?")
    assert "required for order_id" in found.what


def test_a_misspelt_name_of_an_expression_is_told_from_both_sides(bench: Bench) -> None:
    bench.write(
        source_yml=YML + "expressions:\n  order_key: as_text(id)\n",
        orders__orders=MAPPING.replace("as_text(id) as", "as_text(order_kye) as"),
    )
    bench.file("orders.csv", ORDERS)
    report = bench.check()
    assert one(report, "data", "no file has the raw column 'order_kye'").fix == "did you mean order_key?"
    assert one(report, "definition", "order_key: no mapping names it").where.endswith("source.yml:10")


def test_every_wrong_field_of_source_yml_is_named(bench: Bench) -> None:
    bench.write(source_yml=YML.replace("EUR", '"?"').replace("Europe/Berlin", "Berlin").replace("files:", "file:"))
    findings = {f.where.rpartition(":")[2]: f for f in bench.check().findings}
    assert findings["2"].what == "currency is left open"
    assert "unknown time zone" in findings["3"].what
    assert {"6", "7"} & findings.keys()


def test_a_text_for_a_number_and_sql_that_does_not_run_are_definition_errors(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING.replace("as_timestamp(placed)", "as_text(placed)"))
    bench.file("orders.csv", ORDERS)
    assert one(bench.check(), "definition", "ordered_at is TIMESTAMP").where.endswith("orders.orders.sql:3")
    bench.write(orders__orders=MAPPING.replace("as_text(id)", "upside_down(id)"))
    assert "upside_down" in one(bench.check(), "definition", "DuckDB cannot run it").what


#: SQL that fails only when it runs, in a column or a condition: (what stands there, where, line, what is said).
RUNS_NOT = [
    ("unnest(id)", "order_id", 2, "UNNEST() can only be applied to lists"),
    ("unnest(id)", "where", 7, "WHERE: Binder Error: UNNEST"),
    (
        "json_extract_string(state, '$.x')",
        "order_id",
        2,
        "first 2024-05-01/orders.csv record 2, where state is 'ship('",
    ),
    ("json_extract_string(state, '$.x')", "where", 7, "first 2024-05-01/orders.csv record 2, where state is 'ship('"),
    ("regexp_extract(id, state)", "is_valid", 5, "record 2, where id is '2', state is 'ship('"),
    ("error('no ' || state)", "status", 4, "record 1, where state is '{}'"),
    ("date_trunc(id, as_timestamp(placed))", "ordered_at", 3, "specifier"),
    ("upside_down(id)", "where", 7, "upside_down"),
]


@pytest.mark.parametrize(("sql", "place", "line", "said"), RUNS_NOT)
def test_sql_that_fails_only_when_it_runs_is_answered_with_line_record_and_value(
    bench: Bench, sql: str, place: str, line: int, said: str
) -> None:
    lines = MAPPING.splitlines()
    if place == "where":
        lines.append(f"where {sql} is not null")
    elif place == "is_valid":
        lines[line - 1] = f"    {sql} = '1' as is_valid"
    else:
        lines[line - 1] = f"    {sql} as {place},"
    bench.write(source_yml=YML, orders__orders="\n".join(lines))
    bench.file("orders.csv", "id,placed,state\n1,2024-01-01,{}\n2,2024-01-02,ship(\n3,2024-01-02,{}\n")
    finding = one(bench.check(), "definition", "DuckDB cannot run it")
    assert finding.where.endswith(f"orders.orders.sql:{line}")
    assert said in finding.what


def test_values_of_persons_are_not_repeated_where_sql_fails(bench: Bench) -> None:
    bench.write(
        source_yml=YML,
        orders__orders=MAPPING,
        customers__orders="select as_text(id) as customer_id, error(state) as email from bronze.mine__orders",
    )
    bench.file("orders.csv", ORDERS)
    what = one(bench.check(), "definition", "DuckDB cannot run it").what
    assert "where state is •••" in what


@pytest.mark.parametrize(
    ("name", "level", "fix"),
    [("plaecd", "data", "did you mean placed?"), ("frobnicated", "data", "the file has: id, placed, state")],
)
def test_a_raw_column_that_no_file_has_is_named_with_the_one_that_is_meant(
    bench: Bench, name: str, level: str, fix: str
) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING.replace("placed", name))
    bench.file("orders.csv", ORDERS)
    finding = one(bench.check(), level, "raw column")
    assert "required for ordered_at" in finding.what
    assert finding.where.endswith("orders.orders.sql:3")
    assert finding.fix == fix


def test_a_column_that_some_files_lack_is_a_note_unless_it_is_required(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING.replace("from", ", as_text(via) as channel\nfrom"))
    bench.file("orders_1.csv", ORDERS)
    bench.file("orders_2.csv", "id,placed,state,via\n3,2024-01-03,shipped,web\n")
    finding = one(bench.check(), "note", "raw column 'via'")
    assert "1 of 2 files lack" in finding.what
    assert "orders_1.csv" in finding.what


@pytest.mark.parametrize(
    ("values", "call", "fix"),
    [
        (["31/12/2024", "30/12/2024"], "as_timestamp(placed)", "write as_timestamp_format(placed, '%d/%m/%Y')"),
        (["31.12.2024 10:05"], "as_timestamp_format(placed, '%Y-%m-%d')", "write as_timestamp_format(placed, '%d.%m.%Y %H:%M')"),
        (["2024-01-01", "2024-01-02", "soon"], "as_timestamp(placed)", "these rows would stand in silver.rejects"),
    ],
)  # fmt: skip
def test_values_that_do_not_convert_are_counted_with_place_and_the_macro_that_would(
    bench: Bench, values: list[str], call: str, fix: str
) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING.replace("as_timestamp(placed)", call))
    bench.file("orders.csv", "id,placed,state\n" + "".join(f"{n},{v},shipped\n" for n, v in enumerate(values)))
    failing = [v for v in values if not v.startswith("2024")]
    finding = one(bench.check(), "data", "does not convert")
    assert f"{call} does not convert {len(failing)} rows, first orders.csv record" in finding.what
    assert repr(failing[0]) in finding.what
    assert finding.fix is not None
    assert finding.fix.startswith(fix)


def test_states_that_are_not_accepted_are_listed_with_what_they_may_mean(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("orders.csv", ORDERS + "3,2024-01-03,Enviado\n4,2024-01-03,zzz\n5,2024-01-03,zzz\n")
    finding = one(bench.check(), "data", "3 rows are rejected because status is one of")
    assert "'zzz' (2 rows), 'Enviado' (1 rows)" in finding.what
    assert finding.fix == (
        "say what they mean: case as_text(state) when 'zzz' then '…' when 'Enviado' then 'shipped' else as_text(state) end"
    )


def test_a_key_that_is_not_unique_says_how_many_rows_it_would_cost_and_what_to_do(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("orders.csv", ORDERS + "2,2024-01-02,delivered\n1,2024-01-01,delivered\n")
    report = bench.check()
    finding = one(report, "data", "only the last would be kept")
    assert (
        "1 keys (order_id) stand in several rows of a file, e.g. order_id=2 in records 2 and 3 of orders.csv"
        in finding.what
    )
    assert "1 rows would be lost" in finding.what
    assert finding.fix is not None
    assert "group by _load_date, _source_file, as_text(id)" in finding.fix
    assert "say the same, so one of each is kept" in one(report, "note", "order_id=1").what


def test_lines_without_a_number_are_told_to_count_within_a_unit(bench: Bench) -> None:
    bench.write(
        source_yml=YML,
        order_items__orders="select as_text(id) as order_id, 1 as line_number, as_text(sku) as product_id, 1 as quantity, "
        "as_decimal(price) as unit_price from bronze.mine__orders",
    )
    bench.file("orders.csv", "id,sku,price\n1,a,1\n1,b,2\n")
    fix = one(bench.check(), "data", "only the last would be kept").fix
    assert fix is not None
    assert "row_number() over (partition by _load_date, _source_file, as_text(id)" in fix
    assert "units: {order_items.orders: [order_id]}" in fix


PRODUCTS = "select as_text(sku) as product_id, {} as name, {} as category from bronze.mine__orders{}"


def test_what_every_line_says_of_a_product_is_told_to_be_gathered(bench: Bench) -> None:
    bench.write(source_yml=YML, products__orders=PRODUCTS.format("as_text(name)", "as_text(kind)", ""))
    bench.file("orders.csv", "sku,name,kind,sold\na,A,x,2024-01-01\na,B,x,2024-01-02\n")
    fix = one(bench.check(), "data", "only the last would be kept").fix
    assert fix is not None
    assert "gathered: {products.orders: {name: as_timestamp(…), category: as_timestamp(…)}}" in fix
    bench.write(source_yml=YML + "gathered: {products.orders: {name: as_date(sold), category: as_date(sold)}}\n")
    report = bench.check()
    assert report.of("definition") == report.of("data") == []
    assert report.accounting == [("orders", 2, 2, 0, 0)], "both rows have their part in what the product is"


def test_a_name_that_is_aggregated_load_by_load_is_a_fault_and_the_cure_is_to_gather_it(bench: Bench) -> None:
    grouped = PRODUCTS.format("max(as_text(name))", "max(as_text(kind))", "\ngroup by _load_date, as_text(sku)")
    bench.write(source_yml=YML, products__orders=grouped)
    finding = one(bench.check(definitions_only=True), "definition", "worked out from the rows of one load")
    assert finding.what.startswith("name, category are")
    assert finding.fix is not None
    assert "gathered: {products.orders: {name: as_timestamp(…)}}" in finding.fix
    for cure in (
        YML + "units: {products.orders: [product_id]}\n",
        YML.replace("  orders:\n", "  orders:\n    delivery: full\n"),
    ):
        bench.write(source_yml=cure)
        assert bench.check(definitions_only=True).of("definition") == []


def test_groups_that_lack_a_required_value_are_named_like_rows_that_do(bench: Bench) -> None:
    mapping = MAPPING.replace("as_timestamp(placed)", "min(as_timestamp(placed))").replace(
        "as_text(state) as status,\n    as_text(state) not in ('canceled')", "'created' as status,\n    true"
    )
    yml = YML + "units: {orders.orders: [order_id]}\n"
    bench.write(source_yml=yml, orders__orders=mapping + "group by _load_date, as_text(id)\n")
    bench.file("orders.csv", ORDERS + "2,,shipped\n3,,shipped\n3,,shipped\n")
    finding = one(bench.check(), "data", "because ordered_at is required")
    assert finding.what.startswith("2 rows are rejected")
    assert finding.where.endswith("orders.orders.sql:3")


def test_the_same_key_in_a_later_file_is_a_newer_version_and_no_fault(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("orders_1.csv", ORDERS)
    bench.file("orders_2.csv", "id,placed,state\n2,2024-01-02,delivered\n")
    report = bench.check()
    assert report.findings == []
    assert report.accounting == [("orders", 3, 2, 1, 0)]


LINES_YML = YML + "  lines:\n    files: [lines.csv]\n    description: One row per line.\n"
LINES = """select
    as_text(order_no) as order_id,
    as_integer(pos) as line_number,
    as_text(sku) as product_id,
    1 as quantity,
    as_decimal(price) as unit_price
from bronze.mine__lines
"""


@pytest.mark.parametrize(
    ("orders", "says"),
    [(["1", "9"], "may come with another delivery"), (["0001", "0002"], "are they written in the same way")],
)
def test_orphans_are_noted_and_ids_that_are_written_differently_suspected(
    bench: Bench, orders: list[str], says: str
) -> None:
    bench.write(source_yml=LINES_YML, orders__orders=MAPPING, order_items__lines=LINES)
    bench.file("orders.csv", ORDERS)
    bench.file("lines.csv", "order_no,pos,sku,price\n" + "".join(f"{o},1,a,2.5\n" for o in orders))
    finding = one(bench.check(), "note", "order_items.order_id are not in orders")
    assert finding.fix is not None
    assert says in finding.fix


def test_headers_and_totals_within_a_file_are_noted_once_and_no_fault(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("orders.csv", ORDERS + "id,placed,state\n3,2024-01-03,shipped\nTOTAL,,\n")
    report = bench.check()
    assert [f.level for f in report.findings] == ["note", "note"]
    assert "1 rows of orders repeat the header" in report.findings[0].what
    assert report.findings[1].where == "orders.csv record 5"
    assert report.accounting == [("orders", 5, 3, 0, 2)]


def test_a_header_that_would_pass_for_a_product_is_a_fault(bench: Bench) -> None:
    bench.write(
        source_yml=YML,
        products__orders="select as_text(sku) as product_id, max(as_text(name)) as name from bronze.mine__orders "
        "group by _load_date, as_text(sku)",
    )
    bench.file("orders.csv", "sku,name\na,A\nsku,name\nb,B\n")
    assert "1 rows that are headers or totals would become products" in one(bench.check(), "data", "headers").what


def test_conditions_with_or_are_held_together(bench: Bench) -> None:
    bench.write(
        source_yml=YML + "left_out: {products.orders: only what is on sale is asked for}\n",
        products__orders="select as_text(sku) as product_id, as_decimal(price) as list_price from bronze.mine__orders "
        "where as_text(kind) = 'a' or as_text(kind) = 'b'",
    )
    bench.file("orders.csv", "sku,kind,price\n1,a,1.00\n2,b,2.00\n3,c,none\n")
    assert not [f for f in bench.check().findings if "does not convert" in f.what], (
        "two rows convert, the third is left out"
    )


def test_rows_that_a_where_drops_are_unaccounted_for(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING + "where as_text(state) <> 'shipped'\n")
    bench.file("orders.csv", ORDERS)
    assert "stops the build" in one(bench.check(), "data", "its WHERE drops rows").what


def test_a_money_line_that_a_where_leaves_out_is_named_though_another_mapping_takes_the_row(bench: Bench) -> None:
    mappings = {
        "orders__orders": MAPPING,
        "payments__orders": "select as_text(id) as order_id, 1 as payment_number, 'card' as method, as_decimal(id) as amount "
        "from bronze.mine__orders where as_text(state) <> 'shipped'",
    }
    bench.write(source_yml=YML, **mappings)
    bench.file("orders.csv", ORDERS)
    found = one(bench.check(), "data", "its WHERE leaves out 1 of 2 rows")
    assert found.where.endswith("payments.orders.sql")
    assert found.what.endswith("orders.csv record 2")
    assert "left_out: {payments.orders: …}" in (found.fix or "")
    assert report_of(bench, mappings).of("data") == []


def report_of(bench: Bench, mappings: dict[str, str]) -> Report:
    """The same with a reason in source.yml; a note says it."""
    bench.write(source_yml=YML + "left_out: {payments.orders: what is shipped is paid elsewhere}\n", **mappings)
    report = bench.check()
    assert "source.yml says why: what is shipped is paid elsewhere" in one(report, "note", "its WHERE leaves out").what
    return report


def test_keys_that_two_tables_share_are_a_fault(bench: Bench) -> None:
    customers = "select as_text(id) as customer_id from bronze.mine__{}"
    bench.write(
        source_yml=YML.replace("orders", "crm") + "  web:\n    files: [web.csv]\n    description: Web customers.\n",
        customers__crm=customers.format("crm"),
        customers__web=customers.format("web"),
    )
    bench.file("crm.csv", "id,x\n1,a\n")
    bench.file("web.csv", "id,x\n1,a\n")
    finding = one(bench.check(), "data", "unique key")
    assert finding.fix is not None
    assert "a prefix of its own" in finding.fix


def test_files_that_cannot_be_read_or_parsed_are_named(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("orders_1.csv", ORDERS * 1 + "".join(f"{n},2024-01-03,shipped\n" for n in range(10, 300)) + "x,y\n")
    bench.file("orders_2.csv", b"\x89PNG\r\n\x1a\n")
    bench.file("orders_3.csv", "id,placed,state\n")
    bench.file("notes.txt", "left alone")
    report = bench.check()
    assert one(report, "data", "1 lines cannot be parsed").where == "orders_1.csv:294"
    assert one(report, "data", "binary").where == "orders_2.csv"
    assert one(report, "note", "a header and no records").where == "orders_3.csv"
    assert report.left == ("notes.txt",)
    assert report.tables == [("orders", 3, 292, 2)]


def test_what_is_not_filled_says_what_it_leaves_empty(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    report = bench.check(definitions_only=True)
    unfilled = dict(report.unfilled)
    assert "gold.fct_payments" in unfilled["payments"]
    assert "without it there is no gold.kpi_payment_methods_yearly" in unfilled["payments"]
    assert "orders" not in unfilled
    assert "delivered_at" in dict(report.empty)["orders"]


def test_a_column_without_any_value_is_noted(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING.replace("from", ", as_text(via) as channel\nfrom"))
    bench.file("orders.csv", "id,placed,state,via\n1,2024-01-01,shipped,\n")
    assert "no row has a value for channel" in one(bench.check(), "note", "no row").what


def test_drops_are_looked_at_day_by_day(bench: Bench) -> None:
    bench.write(source_yml=YML, orders__orders=MAPPING)
    bench.file("2024-01-01/orders.csv", ORDERS)
    bench.file("2024-01-02/orders.csv", "id,placed,state\n2,2024-01-02,delivered\n")
    report = bench.check()
    assert report.findings == []
    assert report.accounting == [("orders", 3, 2, 1, 0)]
    bench.file("2024-01-03/orders.csv", "id,placed,state\n3,soon,delivered\n")
    assert "first 2024-01-03/orders.csv record 1" in one(bench.check(), "data", "does not convert").what


def test_no_source_and_no_files_are_said(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"holds no source\.yml"):
        bench.check()
    bench.write(source_yml=YML, orders__orders=MAPPING)
    with pytest.raises(InputError, match="holds no file of th"):
        bench.check()
    with pytest.raises(InputError, match="no such folder"):
        check_source(bench.source, bench.catalog, bench.folder / "nowhere", TODAY)


@pytest.mark.parametrize(
    ("mapping", "orders", "code", "says"),
    [
        (MAPPING, ORDERS, 0, "every row of data would be used; whether the figures are right could not be told"),
        (MAPPING.replace("as_timestamp", "as_moment"), ORDERS, 2, "wrong: mine/orders.orders.sql:3: there is no macro"),
        (MAPPING, ORDERS + "3,31.12.2024,shipped\n", 3, "input: mine/orders.orders.sql:3: as_timestamp(placed)"),
    ],
)
def test_the_command_ends_with_the_code_that_readme_names(
    shop: Shop, mapping: str, orders: str, code: int, says: str
) -> None:
    (shop.folder / "mine").mkdir()
    (shop.folder / "mine" / "source.yml").write_text(YML)
    (shop.folder / "mine" / "orders.orders.sql").write_text(mapping)
    drop = shop.data / "raw" / "2024-01-02"
    drop.mkdir(parents=True)
    (drop / "orders.csv").write_text(orders)
    before = tree(shop.folder)
    # Without --sample: the drops of this source.
    done = shop.run("check-source", "mine")
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout
    assert tree(shop.folder) == before, "nothing is written"
