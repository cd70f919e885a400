"""Which entity a table is and what fills its columns, on small exports of many shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform_tests.scaffold.conftest import Bench


def rows(header: str, *lines: str) -> str:
    return "\n".join([header, *lines]) + "\n"


def compiles(bench: Bench) -> None:
    """A draft is a source: it compiles as it is, but for what was left open."""
    source = read_source(bench.source, bench.catalog.entities)
    compile_source(source, {e: bench.catalog.contract(f"silver.{e}") for e in bench.catalog.entities})


FLAT = rows(
    "Auftragsnr.;Bestelldatum;Kundennr.;E-Mail;Status;Zahlungsart;Artikelnr.;Bezeichnung;Warengruppe;Menge;Einzelpreis;Versand",
    *(
        f"A{n // 2};{n % 28 + 1:02d}.05.2024 10:{n % 60:02d};{n % 7};k{n % 7}@post.de;{('Geliefert', 'Storniert')[n // 2 % 2]};PayPal;"
        f"{100 + n % 5};Ding {n % 5};G{n % 2};{n % 3 + 1};1.0{n % 5}9,50;{4 + n // 2 % 3},90"
        for n in range(60)
    ),
)


def test_an_export_of_lines_fills_orders_lines_payments_customers_and_products(bench: Bench) -> None:
    bench.file("auftraege_2024.csv", FLAT)
    new = bench.draft()
    assert {d.entity for d in new.guesses.drafts} == {"orders", "order_items", "payments", "customers", "products"}
    assert bench.sql("orders.auftraege") == (
        'select as_text("Auftragsnr.") as order_id, '
        "min(as_timestamp_format(Bestelldatum, '%d.%m.%Y %H:%M')) as ordered_at, "
        "max(case lower(as_text(Status)) when 'geliefert' then 'delivered' when 'storniert' then 'canceled' "
        "else lower(as_text(Status)) end) as status, "
        "bool_or(lower(as_text(Status)) not in ('canceled', 'storniert', 'unavailable')) as is_valid, "
        'max(as_text("Kundennr.")) as customer_id '
        'from bronze.mine__auftraege group by _load_date, _source_file, as_text("Auftragsnr.")'
    )
    lines = bench.sql("order_items.auftraege")
    within = 'partition by _load_date, _source_file, as_text("Auftragsnr.") order by _source_row'
    assert f"row_number() over ({within}) as line_number" in lines
    assert "as_decimal_comma(Einzelpreis) as unit_price" in lines
    assert "shipping_amount" not in lines, "it is the order's, repeated on each line"
    said = yaml.safe_load((bench.source / "source.yml").read_text())
    assert said["units"] == {f"{e}.auftraege": ["order_id"] for e in ("order_items", "orders", "payments")}
    assert "sum(as_integer(Menge) * as_decimal_comma(Einzelpreis)) as amount" in bench.sql("payments.auftraege")
    # What a customer or product is, every line says: the newest value counts, in whatever load it came.
    newest = "as_timestamp_format(Bestelldatum, '%d.%m.%Y %H:%M')"
    assert said["gathered"] == {
        "customers.auftraege": {"email": newest},
        "products.auftraege": {"name": newest, "category": newest},
    }
    assert bench.sql("customers.auftraege") == (
        'select as_text("Kundennr.") as customer_id, as_text("E-Mail") as email from bronze.mine__auftraege'
    )
    assert "as_text(Warengruppe) as category" in bench.sql("products.auftraege")


def test_a_postal_codes_city_and_state_are_the_most_frequent(bench: Bench) -> None:
    """And not the last in the alphabet: a few points of a place lie elsewhere, or are spelt in another way."""
    bench.file(
        "geolocation.csv",
        rows(
            "zip_code_prefix,lat,lng,city,state",
            *(
                f"{10_000 + n // 5},-{n % 40}.5,-{n % 60}.25,{'São Paulo' if n % 5 == 4 else 'Sao Paulo'},{'TO' if n % 5 == 4 else 'SP'}"
                for n in range(200)
            ),
        ),
    )
    new = bench.draft()
    (draft,) = new.guesses.drafts
    assert draft.entity == "postal_codes"
    written = bench.sql("postal_codes.geolocation")
    assert "mode(as_text(city) order by as_text(city)) as city" in written
    assert "mode(as_text(state) order by as_text(state)) as state" in written
    assert "max(" not in written


LINES = "invoice;date;sku;title;quantity;price;customer;country"


def test_lines_are_counted_across_files_that_were_cut_in_the_middle_of_an_order(bench: Bench) -> None:
    lines = [
        f"{n // 4};2024-01-{n // 4 + 1:02d} 10:00;s{n % 4};Thing {n % 4};1;{n % 4 + 1}.50;c{n // 4};DE"
        for n in range(80)
    ]
    bench.file("lines_1.csv", rows(LINES, *lines[:42]))
    bench.file("lines_2.csv", rows(LINES, *lines[42:]))
    bench.draft()
    assert "partition by _load_date, as_text(invoice) order by _source_file, _source_row" in bench.sql(
        "order_items.lines"
    )


def test_lines_are_counted_within_a_file_where_files_overlap(bench: Bench) -> None:
    lines = [
        f"{n // 4};2024-01-{n // 4 + 1:02d} 10:00;s{n % 4};Thing {n % 4};1;{n % 4 + 1}.50;c{n // 4};DE"
        for n in range(80)
    ]
    bench.file("lines_1.csv", rows(LINES, *lines[:48]))
    bench.file("lines_2.csv", rows(LINES, *lines[40:]))
    bench.draft()
    assert "partition by _load_date, _source_file, as_text(invoice)" in bench.sql("order_items.lines")


def test_a_draft_says_it_is_one_until_what_only_the_owner_knows_is_filled_in(bench: Bench) -> None:
    bench.file("orders.csv", rows("order_id,order_date,status", "1,2024-01-01,delivered"))
    assert bench.draft().open == (("source.yml", "currency"), ("source.yml", "time_zone"))
    with pytest.raises(DefinitionError, match="time_zone"):
        compiles(bench)
    path = bench.source / "source.yml"
    path.write_text(path.read_text().replace('currency: "?"', "currency: USD").replace('zone: "?"', "zone: UTC"))
    compiles(bench)
    assert bench.check().findings == []


@pytest.mark.parametrize(
    ("header", "line", "mapping", "sql"),
    [
        ("order_id,order_date,total", "1,2024-01-01,12.5", "orders.t", "'delivered' as status, true as is_valid"),
        ("order_id,order_date,cancelled", "1,2024-01-01,1", "orders.t",
         "case when as_boolean(cancelled) then 'canceled' else 'delivered' end as status"),
        ("order_id,order_date,is_valid", "1,2024-01-01,1", "orders.t", "as_boolean(is_valid) as is_valid"),
        ("order_id,order_date,Status", "1,2024-01-01,delivered", "orders.t", "as_text(Status) as status"),
        ("order_id,Created at,status", "1,2024-01-01T10:00:00+01:00,new", "orders.t",
         'as_local_timestamp("Created at") as ordered_at'),
        ("order_id,order_date,email", "1,2024-01-01,a@b.de", "orders.t", "md5(lower(as_text(email))) as customer_id"),
        ("order_id,order_date,customer_id", "1,2024-01-01,17850.0", "orders.t",
         "as_id(customer_id) as customer_id"),
        ("order_id,sku,qty,amount", "1,a,2,12.5", "order_items.t",
         "as_decimal(amount) / nullif(as_integer(qty), 0) as unit_price"),
        ("order_id,sku,qty,price,discount %", "1,a,2,12.5,10", "order_items.t",
         'as_integer(qty) * as_decimal(price) * as_decimal("discount %") * 0.01 as discount_amount'),
        ("order_id,sku,qty,price,amount", "1,a,2,12.5,20", "order_items.t",
         "as_integer(qty) * as_decimal(price) - as_decimal(amount) as discount_amount"),
        ("order_id,sku,qty,price,discount", "1,a,2,12.5,0.2", "order_items.t",
         "as_integer(qty) * as_decimal(price) * as_decimal(discount) as discount_amount"),
        ("order_id,sku,price", "1,a,12.5", "order_items.t", "1 as quantity"),
        ("order_id,line_no,sku,price", "1,1,a,12.5", "order_items.t", "as_integer(line_no) as line_number"),
        ("sku,name,price,cost", "a,b,12.5,3", "products.t", "as_decimal(cost) as unit_cost"),
        ("customer_id,first_name,last_name,city", "1,a,b,c", "customers.t",
         "concat_ws(' ', as_text(first_name), as_text(last_name)) as full_name"),
        ("customer_id,first_name,last_name,city", "1,a,b,c", "customers.t", "as_text(first_name) as given_name"),
        ("customer_id,first_name,last_name,city", "1,a,b,c", "customers.t", "as_text(last_name) as family_name"),
        ("customer_id,name,street,house_number,zip", "1,a,Elm Lane,7,12345", "customers.t", "as_text(street) as street"),
        ("customer_id,name,street,house_number,zip", "1,a,Elm Lane,7,12345", "customers.t",
         "as_text(house_number) as house_number"),
        ("Kundennr,Vorname,Nachname,Straße,Hausnr,PLZ", "1,a,b,Ulmenweg,7,12345", "customers.t",
         'as_text("Straße") as street'),
        ("Kundennr,Vorname,Nachname,Straße,Hausnr,PLZ", "1,a,b,Ulmenweg,7,12345", "customers.t",
         'as_text(Hausnr) as house_number'),
        ("customer_id,name,email address,address", "1,a,a@b.example,Elm Lane 7", "customers.t",
         "as_text(address) as street"),
        ("order_id,payment_type,payment_value", "1,card,12.5", "payments.t", "as_decimal(payment_value) as amount"),
        ("category_code,category_name", "ELC,Electronics", "labels.t", "'category' as domain"),
    ],
)  # fmt: skip
def test_what_a_table_says_becomes_sql(bench: Bench, header: str, line: str, mapping: str, sql: str) -> None:
    bench.file("t.csv", rows(header, line))
    bench.draft()
    assert sql in bench.sql(mapping)


@pytest.mark.parametrize(
    ("name", "grows", "sql"),
    [
        ("price", False, "as_decimal(price) as unit_price"),
        ("price", True, "as_decimal(price) / nullif(as_integer(qty), 0) as unit_price"),
        ("amount", True, "as_decimal(amount) / nullif(as_integer(qty), 0) as unit_price"),
        ("amount", False, "as_decimal(amount) as unit_price"),
        ("net price", False, 'as_decimal("net price") as unit_price'),
    ],
)
def test_whether_money_is_a_units_or_the_lines_is_told_by_the_quantities(
    bench: Bench, name: str, grows: bool, sql: str
) -> None:
    lines = [f"{p}{q},{p},{q},{(10.5 + n) * (q if grows else 1):.2f}" for n, p in enumerate("abcd") for q in (1, 2, 3)]
    bench.file("lines.csv", rows(f"order_id,sku,qty,{name}", *lines))
    bench.draft()
    assert sql in bench.sql("order_items.lines")


def test_an_order_without_lines_is_one_line_of_its_category(bench: Bench) -> None:
    lines = [f"T{n},C{n % 3},2024-01-{n + 1:02d},{n}.50,{('Books', 'Toys')[n % 2]},card" for n in range(20)]
    bench.file("transactions.csv", rows("transaction_id,customer_id,date,revenue,category,payment_method", *lines))
    new = bench.draft()
    assert {d.entity for d in new.guesses.drafts} == {"orders", "order_items", "payments", "products"}
    assert bench.sql("order_items.transactions") == (
        "select as_text(transaction_id) as order_id, 1 as line_number, as_text(category) as product_id, 1 as quantity, "
        "as_decimal(revenue) as unit_price from bronze.mine__transactions"
    )
    assert bench.sql("products.transactions") == (
        "select as_text(category) as product_id, as_text(category) as category from bronze.mine__transactions"
    )


def test_a_table_of_lines_beside_one_of_orders_leaves_the_orders_to_that(bench: Bench) -> None:
    bench.file("orders.csv", rows("order_id,order_date,status,customer_id", "1,2024-01-01,shipped,7"))
    bench.file("order_lines.csv", rows("order_id,line_no,order_date,sku,qty,price", "1,1,2024-01-01,a,2,3.5"))
    assert {(d.entity, d.table) for d in bench.draft().guesses.drafts} == {
        ("orders", "orders"),
        ("order_items", "order_lines"),
    }


def test_date_and_time_of_day_in_two_columns_are_put_together(bench: Bench) -> None:
    bench.file("pedidos.csv", rows("Pedido;Fecha;Hora;Estado", "1;31/12/2024;23:05;Enviado"))
    bench.draft()
    assert "as_timestamp_format(Fecha || ' ' || Hora, '%d/%m/%Y %H:%M') as ordered_at" in bench.sql("orders.pedidos")


def test_states_that_are_not_understood_are_listed_for_the_owner(bench: Bench) -> None:
    bench.file("orders.csv", rows("order_id,order_date,status", "1,2024-01-01,shipped", "2,2024-01-02,zzz"))
    bench.draft()
    assert "which canonical status each is: 'zzz'" in (bench.source / "orders.orders.sql").read_text()


def test_a_table_that_is_nothing_known_is_commented_out_with_its_columns(bench: Bench) -> None:
    bench.file("orders.csv", rows("order_id,order_date,status", "1,2024-01-01,shipped"))
    bench.file("sensors.csv", rows("probe,celsius,humidity", "p1,20.5,40", "p1,21.5,41"))
    new = bench.draft()
    assert new.guesses.left == ("sensors",)
    text = (bench.source / "source.yml").read_text()
    assert "  # sensors seems to fill no entity" in text
    assert "  # sensors:\n  #   files:" in text
    assert "celsius" in text


def test_lists_delivered_whole_each_time_are_full_deliveries(bench: Bench) -> None:
    bench.file("products_2024-01.csv", rows("sku,name", "a,A", "b,B"))
    bench.file("products_2024-02.csv", rows("sku,name", "a,A", "b,B", "c,C"))
    bench.file("clients_2024-01.csv", rows("client_id,email", "1,a@b.de"))
    bench.file("clients_2024-02.csv", rows("client_id,email", "2,b@b.de"))
    bench.draft()
    text = (bench.source / "source.yml").read_text()
    assert text.count("    delivery: full  # guess") == 1
    assert text.index("products:") < text.index("    delivery: full  # guess")


def test_json_and_parquet_are_read_as_well(bench: Bench) -> None:
    import duckdb

    bench.file("orders.jsonl", '{"orderId": 1, "orderDate": "2024-01-01", "status": "shipped"}\n')
    duckdb.sql("select 'a' as sku, 'A' as name, 1.5 as price").write_parquet(str(bench.export / "products.parquet"))
    assert {d.entity for d in bench.draft().guesses.drafts} == {"orders", "products"}
    assert "as_text(orderId) as order_id" in bench.sql("orders.orders")


def test_column_names_that_sql_would_trip_over_are_quoted(bench: Bench) -> None:
    bench.file("orders.csv", 'order,"Date, ""placed""",group,status\nA1,2024-01-01,x,shipped\n')
    bench.draft()
    sql = bench.sql("orders.orders")
    assert 'as_text("order") as order_id' in sql
    assert 'as_timestamp("Date, ""placed""") as ordered_at' in sql


def test_several_tables_of_customers_are_said_to_need_keys_of_their_own(bench: Bench) -> None:
    bench.file("crm_customers.csv", rows("customer_id,email", "1,a@b.de"))
    bench.file("web_customers.csv", rows("customer_id,email,city", "1,c@d.de,X"))
    bench.draft()
    assert "web_customers seem to be customers as well" in (bench.source / "customers.crm_customers.sql").read_text()


def test_the_same_files_give_the_same_draft(bench: Bench, tmp_path: Path) -> None:
    bench.file("auftraege_2024.csv", FLAT)
    bench.draft(str(tmp_path / "a" / "mine"))
    bench.draft(str(tmp_path / "b" / "mine"))
    first, second = (
        {p.name: p.read_text().replace("/a/", "/b/") for p in (tmp_path / f / "mine").iterdir()} for f in "ab"
    )
    assert first == second
