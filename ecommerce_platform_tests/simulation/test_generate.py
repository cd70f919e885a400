"""What is written: the same bytes for the same arguments, one folder per day, every format as promised."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import find_source, read_source
from ecommerce_platform.errors import InputError
from ecommerce_platform.simulation import Truth, generate_shop, read_truth


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("clean")
    return folder, generate_shop(folder, orders=1500, days=75, seed=3, dirty_share=0)


def _content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _drops(folder: Path, file_name: str) -> dict[date, Path]:
    return {date.fromisoformat(p.parent.name): p for p in sorted((folder / "raw").glob(f"*/{file_name}"))}


def _query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()


def _order_records(folder: Path, *more: str) -> list[tuple[Any, ...]]:
    """Day, placed, paid, sent, received, then `more` columns and the state of each delivered order."""
    columns = ", ".join(("placed", "paid", "sent", "received", *more, "state"))
    orders = f"read_csv('{folder}/raw/*/orders.csv', filename=true, all_varchar=true)"
    query = f"select split_part(filename, '/', -2) as day, {columns} from {orders} order by day"
    return _query(query)


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    first = generate_shop(tmp_path / "a", orders=200, days=20, seed=5, dirty_share=0.05)
    second = generate_shop(tmp_path / "b", orders=200, days=20, seed=5, dirty_share=0.05)
    assert first == second
    assert _content(tmp_path / "a") == _content(tmp_path / "b")


def test_another_seed_is_another_shop(tmp_path: Path) -> None:
    generate_shop(tmp_path / "a", orders=200, days=20, seed=5)
    generate_shop(tmp_path / "b", orders=200, days=20, seed=6)
    assert _content(tmp_path / "a") != _content(tmp_path / "b")


@pytest.mark.parametrize(("orders", "days"), [(1, 1), (7, 3), (999, 31), (1200, 200)])
def test_there_are_exactly_as_many_orders_as_asked_for(tmp_path: Path, orders: int, days: int) -> None:
    truth = generate_shop(tmp_path, orders=orders, days=days, dirty_share=0)
    assert truth.orders == orders
    assert truth.expected_rows["orders"] == orders


def test_the_truth_can_be_read_again(clean: tuple[Path, Truth]) -> None:
    folder, truth = clean
    assert read_truth(folder) == truth
    with pytest.raises(InputError, match="ecommerce generate"):
        read_truth(folder / "raw")


def test_a_clean_shop_has_no_faults(clean: tuple[Path, Truth]) -> None:
    _, truth = clean
    for table in truth.tables.values():
        assert (table.unparsable, table.rejected, table.duplicates) == (0, 0, 0)
        assert table.rejected_by_reason == {}


def test_about_the_asked_share_of_records_is_faulty(tmp_path: Path) -> None:
    truth = generate_shop(tmp_path, orders=2000, days=50, dirty_share=0.05)
    tables = truth.tables.values()
    faults = sum(t.unparsable + t.rejected + t.duplicates for t in tables)
    assert 0.04 < faults / sum(t.delivered + t.unparsable for t in tables) < 0.06
    assert sum(t.unparsable for t in tables) > 0


def test_drops_of_another_shop_are_never_mixed_in(clean: tuple[Path, Truth]) -> None:
    folder, _ = clean
    before = _content(folder)
    with pytest.raises(InputError, match="drops already"):
        generate_shop(folder, orders=10, days=2)
    assert _content(folder) == before


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / "raw.partial" / "2024-01-01" / "orders.csv"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    generate_shop(tmp_path, orders=10, days=2)
    assert not left.parent.parent.exists()
    assert (tmp_path / "raw" / "2024-01-01" / "orders.csv").read_text().startswith("order_no,")


@pytest.mark.parametrize("wrong", [{"orders": 0}, {"days": 0}, {"seed": -1}, {"dirty_share": 0.5}, {"lost_share": 1.5}])
def test_impossible_arguments_are_refused_by_name(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        generate_shop(tmp_path, **wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    generate_shop(tmp_path, orders=50, days=5, progress=lambda *step: told.append(step))
    assert all(0 <= done <= total for _, done, total in told)
    last = [step for step in told if step[0] == "drops"][-1]
    assert last[1] == last[2] > 0


def test_every_drop_is_a_day_of_the_shop_and_every_file_belongs_to_a_table(clean: tuple[Path, Truth]) -> None:
    folder, truth = clean
    days = sorted(p.name for p in (folder / "raw").iterdir())
    assert days[0] == "2024-01-01"
    assert days[-1] <= "2024-03-15"
    source = read_source(find_source("synthetic"), read_catalog().entities)
    for path in (folder / "raw").glob("*/*"):
        plain = Path(path.name.removesuffix(".gz"))
        tables = [n for n, t in source.file.tables.items() if any(plain.match(f) for f in t.files)]
        assert len(tables) == 1, path.name
    assert set(truth.tables) == set(source.file.tables)
    assert {m.raw_table for m in source.mappings} == set(source.file.tables)


def test_a_drop_holds_only_what_was_known_on_its_day(clean: tuple[Path, Truth]) -> None:
    folder, _ = clean
    for day, placed, *later, state in _order_records(folder):
        times = [placed, *(t for t in later if t)]
        assert times == sorted(times)
        assert times[-1][:10] <= day
        # An order comes on the day it is placed; later only with news.
        assert placed[:10] == day or state in {"sent", "delivered", "cancelled", "not_available"}
    for day, path in _drops(folder, "web_customers.jsonl").items():
        for line in path.read_text(encoding="utf-8").splitlines():
            assert json.loads(line)["registered"][:10] <= day.isoformat()
    reviews = f"read_csv('{folder}/raw/*/reviews.csv', filename=true, all_varchar=true)"
    query = f"select count(*), count_if(written[:10] = split_part(filename, '/', -2)) from {reviews}"
    ((written, on_their_day),) = _query(query)
    assert written == on_their_day > 0


def test_an_order_that_ends_comes_again_in_its_newer_state(clean: tuple[Path, Truth]) -> None:
    folder, truth = clean
    seen: dict[str, list[tuple[str, str]]] = {}
    for day, *_, number, state in _order_records(folder, "order_no"):
        seen.setdefault(number, []).append((day, state))
    assert len(seen) == truth.orders
    assert max(len(versions) for versions in seen.values()) == 2
    twice = [versions for versions in seen.values() if len(versions) == 2]
    assert len(twice) > truth.orders / 2
    assert all(first[0] < second[0] and first[1] in {"new", "in_progress", "sent"} for first, second in twice)
    final = [versions[-1][1] for versions in seen.values()]
    assert 0.005 < sum(s in {"cancelled", "not_available"} for s in final) / len(final) < 0.04


def test_the_catalogue_comes_whole_on_each_first_of_a_month(clean: tuple[Path, Truth]) -> None:
    folder, truth = clean
    catalogues = {d: json.loads(p.read_text(encoding="utf-8")) for d, p in _drops(folder, "products.json").items()}
    assert list(catalogues) == [date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)]
    listed = [{p["sku"]: p["price"] for p in products} for products in catalogues.values()]
    assert set(listed[0]) <= set(listed[1]) <= set(listed[2])
    assert len(listed[2]) == truth.expected_rows["products"] >= 600
    assert any(listed[0][sku] != listed[2][sku] for sku in listed[0])
    assert any(p["cost"] is None for p in catalogues[date(2024, 1, 1)])


def test_each_table_is_in_the_format_its_system_writes(clean: tuple[Path, Truth]) -> None:
    folder, _ = clean
    first = folder / "raw" / "2024-01-01"
    assert (first / "labels.csv").read_bytes().startswith(b"\xef\xbb\xbfkind,code,name")
    assert "München" in (first / "postal_codes.csv").read_bytes().decode("latin-1")
    parcels = [gzip.decompress(p.read_bytes()).decode() for p in _drops(folder, "shipments.csv.gz").values()]
    record = dict(zip(parcels[0].splitlines()[0].split(","), parcels[0].splitlines()[1].split(","), strict=True))
    assert datetime.strptime(record["handed_over"], "%d.%m.%Y %H:%M").year == 2024
    payments = b"".join(p.read_bytes() for p in _drops(folder, "payments.csv").values()).decode()
    assert payments.startswith("order_no;seq;method;instalments;amount;paid_on\n")
    assert any("." in line.split(";")[4] for line in payments.splitlines()[1:] if not line.startswith("order_no"))
    reviews = b"".join(p.read_bytes() for p in _drops(folder, "reviews.csv").values()).decode()
    assert '""' in reviews
    customers = [
        json.loads(line)
        for p in _drops(folder, "web_customers.jsonl").values()
        for line in p.read_text(encoding="utf-8").splitlines()
    ]
    assert {len(customer) for customer in customers} > {14}
    lines = first / "order_items.parquet"
    types = dict(_query(f"select column_name, column_type from (describe from '{lines}')"))
    assert types["qty"] == "INTEGER"
    assert types["unit_price"] == "DECIMAL(12,2)"


def test_payments_add_up_to_what_the_lines_cost(clean: tuple[Path, Truth]) -> None:
    folder, _ = clean
    both = _query(
        f"""
        with paid as (
            select order_no, sum(replace(replace(amount, '.', ''), ',', '.')::decimal(12, 2)) as amount
            from read_csv('{folder}/raw/*/payments.csv', delim=';', all_varchar=true)
            group by all
        ), due as (
            select order_no, sum(qty * unit_price - rebate + shipping + vat) as amount
            from '{folder}/raw/*/order_items.parquet'
            group by all
        )
        select count(*), count(paid.amount), count(due.amount)
        from paid full join due using (order_no, amount)
        """
    )
    assert both == [(1500, 1500, 1500)]
