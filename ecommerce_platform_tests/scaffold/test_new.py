"""`ecommerce new-source`: where it writes, what it refuses, and what of the sample may stand in its files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import ecommerce_platform
from ecommerce_platform.errors import InputError
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.scaffold.conftest import Bench, tree

ORDERS = "order_id,order_date,status\n1,2024-01-01,delivered\n"


@pytest.mark.parametrize(
    ("name", "says", "fix"),
    [
        ("My-Shop", "'My-Shop' cannot be a source's name", "such as my_shop"),
        ("2024shop", "cannot be a source's name", "such as shop"),
        ("ñ!", "cannot be a source's name", "such as n"),
        ("olist", "the name of a built-in source", "such as my_olist"),
        ("synthetic", "the name of a built-in source", "such as my_synthetic"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_one_that_can(bench: Bench, name: str, says: str, fix: str) -> None:
    bench.file("orders.csv", ORDERS)
    before = tree(bench.folder)
    with pytest.raises(InputError) as error:
        bench.draft(str(bench.folder / name))
    assert says in str(error.value)
    assert fix in str(error.value)
    assert tree(bench.folder) == before


def test_nothing_that_exists_is_overwritten(bench: Bench) -> None:
    bench.file("orders.csv", ORDERS)
    bench.write(source_yml="mine")
    with pytest.raises(InputError, match="nothing is overwritten"):
        bench.draft()
    assert tree(bench.source) == {"source.yml": b"mine"}
    bench.file("taken", "a file")
    with pytest.raises(InputError, match="nothing is overwritten"):
        bench.draft(str(bench.export / "taken"))


def test_an_empty_folder_may_be_filled_and_parents_are_made(bench: Bench) -> None:
    bench.file("orders.csv", ORDERS)
    bench.source.mkdir()
    bench.draft()
    bench.draft(str(bench.folder / "shops" / "other"))
    assert (bench.folder / "shops" / "other" / "source.yml").is_file()


def test_the_package_is_no_place_for_it(bench: Bench) -> None:
    bench.file("orders.csv", ORDERS)
    inside = Path(ecommerce_platform.__file__).parent / "sources" / "mine"
    with pytest.raises(InputError, match="inside the package"):
        bench.draft(str(inside))
    assert not inside.exists()


def test_the_sample_is_only_read_and_a_failure_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.file("orders.csv", ORDERS)
    before = tree(bench.folder)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="disk is full"):
        bench.draft()
    assert tree(bench.folder) == before


def test_no_value_of_a_person_stands_in_the_files(bench: Bench) -> None:
    people = [
        ("1", "Ana García", "ana@correo.es", "+34 600 111 222", "Calle Mayor 1", "03.04.1980", "Madrid", "VIP"),
        ("2", "Jörg von Ahn", "jorg@post.de", "0171 5551234", "Am Markt 2", "05.06.1990", "León", "new"),
    ]
    header = "customer_id;name;email;phone;street;birth_date;city;segment;account manager;remark"
    lines = [";".join((*p, f"{p[1]} Senior", f"Please call {p[1]} back on Monday about the order")) for p in people]
    bench.file("customers.csv", "\n".join([header, *lines]) + "\n")
    bench.file("orders.csv", "order;placed;status;comment_by\n" + "".join(
        f"{n};2024-01-0{n};shipped;{people[n % 2][1]}\n" for n in range(1, 9)
    ))  # fmt: skip
    bench.draft()
    written = b"\n".join(tree(bench.source).values()).decode()
    for person in people:
        for value in person[1:6]:
            assert value not in written, value
    for part in ("García", "Ahn", "jorg", "correo", "5551234", "Markt", "1980"):
        assert part not in written, part
    assert "Xxx Xxxxxx" in written, "the shape is shown"
    assert "VIP" in written, "what is nobody's is shown"
    assert "Madrid" in written


def test_comments_name_every_raw_column_with_type_and_what_it_fills(bench: Bench) -> None:
    bench.file("orders.csv", "order_id,order_date,status,noise\n1,2024-01-01,delivered,\n2,2024-01-02,shipped,\n")
    bench.draft()
    text = (bench.source / "orders.orders.sql").read_text()
    for line in (
        "-- order_id    whole number  2          order_id          1, 2",
        "-- order_date  date          2          ordered_at        2024-01-01, 2024-01-02",
        "-- status      text          2          status, is_valid  delivered, shipped",
        "-- noise       empty         0          -",
        "as_text(order_id) as order_id,  -- guess",
        "    -- , as_text(?) as channel  -- Sales channel, such as web, app or store.",
    ):
        assert line in text, text


def test_a_required_column_that_is_not_found_is_left_for_the_owner(bench: Bench) -> None:
    bench.file("order_lines.csv", "order_id,sku,qty\n1,a,2\n")
    new = bench.draft()
    assert ("order_items.order_lines.sql", "unit_price") in new.open
    text = (bench.source / "order_items.order_lines.sql").read_text()
    assert "-- Required, and not found" in text
    assert "-- , as_decimal(?) as unit_price  -- Price of one unit before discount." in text
    for name, value in (("currency", "EUR"), ("time_zone", "UTC")):
        path = bench.source / "source.yml"
        path.write_text(path.read_text().replace(f'{name}: "?"', f"{name}: {value}"))
    (finding,) = bench.check().of("definition")
    assert finding.where.endswith("order_items.order_lines.sql:10")
    assert finding.what == "required column 'unit_price' of silver.order_items is not filled"


@pytest.mark.parametrize(
    ("header", "line", "currency", "zone"),
    [
        ("Nº Pedido;Fecha;Estado;Importe", "1;31/12/2024;Enviado;3,50", "EUR", "Europe/Madrid"),
        ("codPedido;dataPedido;situacao;valor", "1;31/12/2024;Entregue;3,50", "BRL", "America/Sao_Paulo"),
        ("order_id;order_date;status;total", "1;2024-12-31;shipped;£3.50", "GBP", "?"),
        ("order_id;order_date;status;currency", "1;2024-12-31;shipped;CHF", "CHF", "?"),
        ("order_id;order_date;status;total", "1;2024-12-31;shipped;3.50", "?", "?"),
    ],
)
def test_currency_and_zone_are_guessed_from_signs_and_language_or_left_open(
    bench: Bench, header: str, line: str, currency: str, zone: str
) -> None:
    bench.file("orders.csv", f"{header}\n{line}\n")
    bench.draft()
    text = (bench.source / "source.yml").read_text()
    assert f"currency: {currency}  # guess" in text or (currency == "?" and 'currency: "?"  # left open' in text)
    assert f"time_zone: {zone}  # guess" in text or (zone == "?" and 'time_zone: "?"  # left open' in text)
    assert "start_date: 2024-12-31  # the earliest order" in text


def test_the_command_writes_where_the_user_stands_and_says_what_is_left_to_do(shop: Shop) -> None:
    (shop.folder / "export").mkdir()
    (shop.folder / "export" / "orders.csv").write_text(ORDERS)
    (shop.folder / "export" / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = shop.ok("new-source", "mine", "--from", "export")
    assert (shop.folder / "mine" / "source.yml").is_file()
    assert "to do: mine/source.yml: currency could not be guessed" in said
    assert "left: logo.png" in said
    assert "ecommerce check-source mine --sample export" in said
    assert not shop.data.exists()
    again: subprocess.CompletedProcess[str] = shop.run("new-source", "mine", "--from", "export")
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
    assert "Traceback" not in again.stderr
