"""Faults that convert and are wrong all the same, planted into three shops: each is found, with the lines it is in."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.source import builtin_sources
from ecommerce_platform.scaffold.check import Report, check_source
from ecommerce_platform_tests.quality.plausibility.shops import SHOPS, Model, Row, good, write

TODAY = date(2024, 5, 1)
#: What a fault returns: the orders, products or values that it is in.
Planted = Collection[str]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog()


def _ids(orders: list[Row]) -> set[str]:
    return {order["id"] for order in orders}


def _several(model: Model) -> list[Row]:
    return [order for order in model.orders if len(model.of(order)) > 1]


def lines_missing(model: Model) -> Planted:
    hit = _several(model)[:10]
    for order in hit:
        model.lines.remove(model.of(order)[-1])
    return _ids(hit)


def discounts_of_another_shop(model: Model) -> Planted:
    hit = [o for o in model.orders if any(li["discount"] for li in model.of(o))][:9]
    for order in hit:
        model.of(order)[-1]["discount"] += 7
    return _ids(hit)


def prices_in_cents(model: Model) -> Planted:
    hit = model.orders[5:12]
    for line in (li for order in hit for li in model.of(order)):
        line["price"] *= 100
    return _ids(hit)


def line_totals(model: Model) -> Planted:
    for line in model.lines:
        line["price"] *= line["qty"]
    return _ids(model.orders)


def lines_twice(model: Model) -> Planted:
    model.lines += [{**li, "pos": li["pos"] + 10, "id": li["id"] + "b"} for li in model.lines]
    return _ids(model.orders)


def payments_halved(model: Model) -> Planted:
    for payment in model.payments[:10]:
        payment["amount"] = (payment["amount"] / 2).quantize(Decimal("0.01"))
    return {payment["order"] for payment in model.payments[:10]}


def failed_payments_counted(model: Model) -> Planted:
    hit = model.payments[20:28]
    model.payments += [{**payment, "seq": 2} for payment in hit]
    return {payment["order"] for payment in hit}


def several_currencies(model: Model) -> Planted:
    for order in model.orders[3:8]:
        order["currency"] = "USD"
    return {"USD"}


def another_currency(model: Model) -> Planted:
    for order in model.orders:
        order["currency"] = "gbp"
    return {"GBP"}


def _repeat(column: str) -> Callable[[Model], Planted]:
    def plant(model: Model) -> Planted:
        for n, order in enumerate(model.orders):
            for line in model.of(order):
                line[column] = Decimal(2 + n % 5)
        return _ids(_several(model))

    return plant


def children_counted(model: Model) -> Planted:
    hit = model.orders[10:18]
    for order in hit:
        parent = model.of(order)[0]
        model.lines.append({**parent, "pos": 9, "id": parent["id"] + "c", "parent": parent["id"], "price": Decimal(0),
                            "discount": Decimal(0), "shipping": Decimal(0)})  # fmt: skip
    return _ids(hit)


def _times(end: str) -> Callable[[Model], Planted]:
    def plant(model: Model) -> Planted:
        for order in model.orders:
            order["at"] = order["at"].replace(" ", "T" if end != " UTC" else " ") + end
        return {order["at"] for order in model.orders}

    return plant


def _spell(change: Callable[[str], str], several: Callable[[Model], list[Row]]) -> Callable[[Model], Planted]:
    """Other spellings of some orders' ids on their lines (the last alone: the first stays as it is)."""

    def plant(model: Model) -> Planted:
        hit = several(model)[:6]
        for order in hit:
            model.of(order)[-1]["order"] = change(order["id"])
        return _ids(hit)

    return plant


def scientific(model: Model) -> Planted:
    hit = model.orders[:2]
    for n, order in enumerate(hit):
        new = f"{4 + n}.71234E+12"
        for row in [*model.of(order), *[p for p in model.payments if p["order"] == order["id"]]]:
            row["order"] = new
        order["id"] = new
    return _ids(hit)


def json_key(model: Model) -> Planted:
    values = set()
    for line in model.lines[::9]:
        line["sku"] = f'[{{"sku": "{line["sku"]}", "n": {line["qty"]}}}]'
        values.add(line["sku"])
    return values


def taken_back(model: Model) -> Planted:
    hit = [o for o in _several(model) if o["status"] != "canceled"][:4]
    for order in hit:
        line = model.of(order)[-1]
        order["total"] -= 2 * line["qty"] * line["price"]
        line["qty"] = -line["qty"]
    return _ids(hit)


def credit_notes(model: Model) -> Planted:
    hit = [o for o in model.orders if o["status"] != "canceled"][:5]
    for order in hit:
        for line in model.of(order):
            line["qty"] = -line["qty"]
    return _ids(hit)


def notes(model: Model) -> Planted:
    model.products[3]["name"], model.products[7]["name"] = "damaged", "wrongly found in stock?"
    return {"P3", "P7"}


def unmapped_words(model: Model) -> Planted:
    for n, order in enumerate(model.orders):
        order["status"] = {1: "refused", 2: "on hold"}.get(n % 7, order["status"])
    return {"refused", "on hold"}


def many_names(model: Model) -> Planted:
    model.products += [{"sku": "P4", "name": f"Lamp number {n}"} for n in range(4)]
    return {"P4"}


FAULTS: dict[str, tuple[Callable[[Model], Planted], str]] = {
    "a line in six is missing": (lines_missing, "lines_against_total"),
    "discounts of another shop": (discounts_of_another_shop, "lines_against_total"),
    "prices in cents for a week": (prices_in_cents, "lines_against_total"),
    "line totals as unit prices": (line_totals, "line_total_as_unit_price"),
    "every line twice": (lines_twice, "lines_against_total"),
    "payments in halves": (payments_halved, "payments_against_orders"),
    "failed payments counted": (failed_payments_counted, "payments_against_orders"),
    "several currencies": (several_currencies, "several_currencies"),
    "another currency than the shop's": (another_currency, "several_currencies"),
    "the order's shipping on every line": (_repeat("shipping"), "order_amount_on_lines"),
    "the order's discount on every line": (_repeat("discount"), "order_amount_on_lines"),
    "the order's price on every line": (_repeat("price"), "order_amount_on_lines"),
    "parent and child lines": (children_counted, "parent_and_child_lines"),
    "times in Z": (_times("Z"), "times_elsewhere"),
    "times with an offset": (_times("-05:00"), "times_elsewhere"),
    "times in UTC": (_times(" UTC"), "times_elsewhere"),
    "ids in scientific notation": (scientific, "scientific_ids"),
    "ids in another case": (_spell(str.lower, _several), "ids_alike"),
    "ids with blanks": (_spell(lambda i: i.replace("-", "- "), _several), "ids_alike"),
    "ids in another form of Unicode": (_spell(lambda i: unicodedata.normalize("NFD", i), _several), "ids_alike"),
    "a key that holds JSON": (json_key, "json_as_key"),
    "goods taken back": (taken_back, "negative_quantities"),
    "credit notes": (credit_notes, "negative_quantities"),
    "names that are notes": (notes, "names_are_notes"),
    "states never mapped": (unmapped_words, "status_never_mapped"),
    "a product of many names": (many_names, "many_names"),
}
CASES = [(fault, shop) for fault in FAULTS for shop in SHOPS]


def check(folder: Path, shop: str, model: Model, catalog: Catalog) -> Report:
    source, export = write(folder, SHOPS[shop], model)
    return check_source(source, catalog, export, TODAY, threads=2)


@pytest.mark.parametrize("shop", SHOPS)
def test_a_shop_whose_figures_agree_is_doubted_in_nothing_and_says_what_was_compared(
    shop: str, tmp_path: Path, catalog: Catalog
) -> None:
    report = check(tmp_path, shop, good(), catalog)
    assert report.of("definition") == []
    assert report.plausibility.doubts == []
    assert [(c.orders, c.off) for c in report.plausibility.compared] == [(60, 0), (60, 0)]
    assert all("lines - discount + shipping =" in c.what for c in report.plausibility.compared)


@pytest.mark.long
@pytest.mark.parametrize(("fault", "shop"), CASES)
def test_a_planted_fault_is_found_with_its_lines(fault: str, shop: str, tmp_path: Path, catalog: Catalog) -> None:
    plant, name = FAULTS[fault]
    model = good()
    planted = plant(model)
    report = check(tmp_path, shop, model, catalog)
    assert report.of("definition") == []
    found = [doubt for doubt in report.plausibility.doubts if doubt.name == name]
    assert found, report.plausibility
    assert any(
        doubt.examples == () or all(any(value in example for value in planted) for example in doubt.examples)
        for doubt in found
    ), found
    if name in ("lines_against_total", "payments_against_orders", "parent_and_child_lines", "negative_quantities"):
        assert {doubt.count for doubt in found} == {len(planted)}
    assert [f for f in report.of("doubt") if name in {d.name for d in found}], "said, not only counted"


@pytest.mark.parametrize("export", ["marketplace", "pet_retail", pytest.param("olist", marks=pytest.mark.long)])
def test_the_real_exports_are_doubted_in_nothing_that_is_not_known_of_them(
    export: str, catalog: Catalog, test_data: Path
) -> None:
    report = check_source(builtin_sources()[export], catalog, test_data / export, TODAY, threads=2)
    assert report.plausibility.doubts == []
