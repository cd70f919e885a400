"""Which files make up a raw table, how they are read, and what is said of those that cannot be."""

from __future__ import annotations

import gzip

import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.scaffold.sample import Sample, read_sample
from ecommerce_platform_tests.scaffold.conftest import TODAY, Bench

ORDERS = "order_id,placed,status\n1,2024-01-01,delivered\n"


def tables(bench: Bench) -> dict[str, tuple[str, ...]]:
    return {name: table.raw.files for name, table in sample(bench).tables.items()}


def sample(bench: Bench) -> Sample:
    return read_sample(bench.export, TODAY)


@pytest.mark.parametrize(
    ("names", "table", "pattern"),
    [
        (["orders_2024-01.csv", "orders_2024-02.csv"], "orders", "orders_[0-9]*.csv"),
        (["orders-20240101.csv"], "orders", "orders-[0-9]*.csv"),
        (["2024_orders.csv", "2025_orders.csv"], "orders", "[0-9]*_orders.csv"),
        (["Pedidos enero.csv", "Pedidos febrero.csv"], "pedidos", "Pedidos *.csv"),
        (["orders_1.csv", "orders_2.csv"], "orders", "orders_[0-9]*.csv"),
        (["orders.csv"], "orders", "orders.csv"),
        (["orders_v2.csv"], "orders_v2", "orders_v2.csv"),
        (["orders_2024-01.csv.gz"], "orders", "orders_[0-9]*.csv"),
    ],
)
def test_files_that_differ_in_a_date_are_one_table(bench: Bench, names: list[str], table: str, pattern: str) -> None:
    for name in names:
        bench.file(name, gzip.compress(ORDERS.encode()) if name.endswith("gz") else ORDERS)
    assert tables(bench) == {table: (pattern,)}


def test_files_with_other_columns_are_tables_of_their_own(bench: Bench) -> None:
    bench.file("table1.csv", ORDERS)
    bench.file("table2.csv", "sku;name\n1;a\n")
    assert tables(bench) == {"table1": ("table1.csv",), "table2": ("table2.csv",)}


def test_a_column_more_in_a_later_file_is_still_the_same_table(bench: Bench) -> None:
    bench.file("orders_2024-01.csv", ORDERS)
    bench.file("orders_2024-02.csv", "order_id,placed,status,channel\n2,2024-02-01,delivered,web\n")
    assert list(tables(bench)) == ["orders"]


def test_patterns_find_the_files_of_their_own_table_only(bench: Bench) -> None:
    bench.file("sales_2024.csv", ORDERS)
    bench.file("sales_2024_items.csv", "order_id,sku,qty\n1,a,1\n")
    found = tables(bench)
    assert found["sales"] == ("sales_[0-9][0-9][0-9][0-9].csv",)
    bench.draft()
    assert bench.check().left == ()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_encoding_is_one_in_which_the_whole_file_is_valid(bench: Bench, encoding: str) -> None:
    # The header alone would be valid in any.
    bench.file("clients.csv", "id;name\n" + "1;a\n" * 50_000 + "2;Muñoz – €\n", encoding)
    (table,) = sample(bench).tables.values()
    assert table.raw.encoding == encoding


def test_a_file_of_plain_letters_gets_the_encoding_of_the_others(bench: Bench) -> None:
    bench.file("orders.csv", ORDERS)
    bench.file("clients.csv", "id;name\n1;Peña\n", "cp1252")
    assert {t.raw.encoding for t in sample(bench).tables.values()} == {"cp1252"}


def test_utf16_without_a_mark_is_recognised(bench: Bench) -> None:
    bench.file("clients.csv", "id;name\n1;Peña\n".encode("utf-16-le"))
    (table,) = sample(bench).tables.values()
    assert table.raw.encoding == "utf-16-le"


def test_files_of_one_name_in_two_encodings_are_not_read_as_one(bench: Bench) -> None:
    bench.file("clients_2024-01.csv", "id;name\n1;Peña\n", "cp1252")
    bench.file("clients_2024-02.csv", "id;name\n2;Peña\n", "utf-8")
    found = sample(bench).tables
    assert {t.raw.encoding for t in found.values()} == {"cp1252", "utf-8"}
    assert all("*" not in f for t in found.values() for f in t.raw.files)


def test_drops_are_looked_into(bench: Bench) -> None:
    bench.file("2024-01-01/orders.csv", ORDERS)
    bench.file("2024-01-02/orders.csv", ORDERS)
    (table,) = sample(bench).tables.values()
    assert [f.file.day.day for f in table.files] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(200), "PNG picture"),
        ("a.xlsx", b"PK\x03\x04" + bytes(200), "Excel workbook"),
        ("a.csv", b"\x01\x02\x03\x04" * 100, "binary"),
        ("a.csv", b"just some words\nand more of them\n", "a single column"),
        ("a.csv", b"id^name\n1^a\n", "a single column"),
        ("README.md", b"# Export\n\na, b, c\n", "is no table"),
    ],
)
def test_a_file_that_is_no_table_is_left_with_the_reason(bench: Bench, name: str, content: bytes, says: str) -> None:
    bench.file(name, content)
    bench.file("orders.csv", ORDERS)
    found = sample(bench)
    assert list(found.tables) == ["orders"]
    ((left, why),) = found.skipped
    assert left == name
    assert says in why


def test_a_file_without_rights_is_left_with_the_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.file("orders.csv", ORDERS)
    bench.file("secret.csv", ORDERS)
    from ecommerce_platform.scaffold import sample as module

    read = module.read_head

    def refuse(path: object) -> object:
        if str(path).endswith("secret.csv"):
            raise PermissionError(13, "Permission denied")
        return read(path)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_head", refuse)
    assert sample(bench).skipped == (("secret.csv", "cannot be read (Permission denied); check its rights"),)


@pytest.mark.parametrize(
    ("content", "says"),
    [({}, "holds no files"), ({"a.png": b"\x89PNG\r\n\x1a\n"}, "holds no file that could be used (a.png")],
)
def test_a_folder_without_tables_is_refused(bench: Bench, content: dict[str, bytes], says: str) -> None:
    for name, data in content.items():
        bench.file(name, data)
    with pytest.raises(InputError) as error:
        sample(bench)
    assert says in str(error.value)


def test_a_folder_that_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        read_sample(bench.folder / "nowhere", TODAY)


def test_a_header_without_records_still_gives_a_table(bench: Bench) -> None:
    bench.file("orders.csv", "order_id,placed,status\n")
    new = bench.draft()
    assert new.sample.tables["orders"].rows == 0
    assert any("a header and no records" in note for note in new.sample.tables["orders"].notes)


def test_of_several_possible_delimiters_the_one_the_records_agree_with_is_taken(bench: Bench) -> None:
    bench.file("orders.csv", "id;customer;total,net\n1;5;12,50\n2;6;8,00\n")
    bench.file("either.csv", "id;total,net\n1;12,50\n2;8,00\n")
    bench.file("prices_2024.csv", "sku;price\na;1,5\n")
    bench.file("prices_2025.csv", "sku,price\na,1.5\n")
    found = sample(bench).tables
    assert found["orders"].shape.delimiter == ";"
    assert "could be separated by ';' as well" in found["either"].notes[0]
    assert found["orders"].notes == []
    assert found["prices"].notes == ["its files are separated by ',' and ';', each by one"]
