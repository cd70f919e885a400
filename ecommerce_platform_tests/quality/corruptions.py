"""The catalogue of what can be wrong with deliveries, each with what must find it.

Each entry spoils the newest drops of a clean generated shop (`spoiling.py`) in one way. `corrupted.py` tries it;
`test_corruptions.py` asserts that exactly this is found. docs/quality.md shows the catalogue as a table, written by
`python -m ecommerce_platform_tests.quality.corruptions`.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ecommerce_platform_tests.quality.spoiling import (
    Drops,
    Row,
    Spoil,
    change,
    columns,
    every,
    gone,
    instead,
    lately,
    moved,
    packed,
    put,
    rows,
    text,
)

#: As many as were spoilt.
ALL = -1
#: Checks that know no rule but what came before.
COMPARING = {"load_size", "drift", "no_strange_days_lately"}


@dataclass(frozen=True)
class Check:
    """A check that must fail: `rows` of its `rule` (of an expectation, a contract or a reference) where there is one."""

    table: str
    check: str
    rule: str = ""
    rows: int | None = ALL
    says: str = ""


def expects(table: str, rule: str, rows: int | None = ALL) -> Check:
    """A broken business expectation."""
    return Check(table, "expectations", rule, rows)


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption and what must find it.

    `rejects` and `unreadable` are rows of silver.rejects and bronze.rejects by (raw table, reason): these and no others.
    """

    kind: str
    table: str
    spoil: Spoil
    caught: tuple[Check, ...] = ()
    rejects: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unreadable: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def statistical(self) -> bool:
        """Whether it is found only by comparing the load with those before it: by `load_size`, `drift` or anomalies."""
        found = {check.check for check in self.caught}
        return bool(found) and found <= COMPARING and not (self.rejects or self.unreadable)


CATALOGUE: list[Corruption] = []


def add(
    kind: str,
    table: str,
    spoil: Spoil,
    *caught: Check,
    rejects: Mapping[str, int] | None = None,
    unreadable: Mapping[str, int] | None = None,
) -> None:
    """Adds an entry; reasons are those of its own raw table."""
    CATALOGUE.append(
        Corruption(
            kind, table, spoil, caught,
            {(table, reason): n for reason, n in (rejects or {}).items()},
            {(table, reason): n for reason, n in (unreadable or {}).items()},
        )
    )  # fmt: skip


def _new(row: Row) -> bool:
    """An order placed on the newest day, by a customer of the web shop."""
    return row["placed"] >= "2024-04-01" and row["customer_system"] == "SHOP"


def _brought(row: Row) -> bool:
    """An order that a carrier has delivered."""
    return row["state"] == "delivered" and bool(row["sent"])


def _times(factor: int) -> Callable[[Any], Any]:
    return lambda value: value * factor


def _comma(value: str, factor: int) -> str:
    return f"{float(value.replace('.', '').replace(',', '.')) * factor:.2f}".replace(".", ",")


def _german(day: str) -> str:
    """01.04.2024 … of an ISO moment."""
    return f"{day[8:10]}.{day[5:7]}.{day[:4]}{day[10:]}"


def _half(found: list[Row]) -> list[Row]:
    return found[: len(found) // 2]


def _absurd_prices(drops: Drops) -> int:
    """A thousand times the price, of products that are sold often enough to have a usual one."""
    sold = Counter(row["sku"] for row in drops.all_records("order_items"))

    def known(row: Row) -> bool:
        return sold[row["sku"]] >= 8

    return put("order_items", "unit_price", lambda v: v * 1000, where=known)(drops)


def _twice(found: list[Row]) -> list[Row]:
    return [*found, *found]


def _cut(content: bytes) -> bytes:
    """Two thirds of a text, cut in the middle of a line."""
    at = content.rfind(b"\n", 0, len(content) * 2 // 3)
    return content[: at + 12]


def _at_line(content: bytes) -> bytes:
    at = content.rfind(b"\n", 0, len(content) // 2)
    return content[: at + 1]


def _retype(drops: Drops, column: str, to: Callable[[Any], str]) -> int:
    """Writes a Parquet file with a column of text."""
    import polars as pl

    file = drops.file("order_items")
    frame = pl.read_parquet(file)
    frame.with_columns(pl.Series(column, [to(v) for v in frame[column]], dtype=pl.String)).write_parquet(file)
    return frame.height


def _again(drops: Drops, table: str, end: bytes = b"") -> int:
    """Delivers the newest file a second time under another name, with `end` behind it."""
    file = drops.file(table)
    (file.parent / file.name.replace(".", "_new.", 1)).write_bytes(file.read_bytes() + end)
    return len(drops.records(table)[1])


def _repeat_header(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[:50], lines[0], *lines[50:]])


def _new_column(drops: Drops) -> int:
    records, found = drops.records("orders")
    drops.save("orders", records, [{**row, "gift": "yes"} for row in found], [*records.columns, "gift"])
    return len(found)


def _half_day(drops: Drops) -> int:
    """The newest day as all systems would tell it had they stopped at noon."""
    records, found = drops.records("orders")
    new = [row for row in found if row["placed"] >= "2024-04-01"]
    lost = {row["order_no"] for row in new[len(new) // 3 :]}
    drops.save("orders", records, [row for row in found if row["order_no"] not in lost])
    for table in ("order_items", "payments"):
        records, found = drops.records(table)
        drops.save(table, records, [row for row in found if row["order_no"] not in lost])
    return len(lost)


def _later_lines_in_latin_1(content: bytes) -> bytes:
    """A first line that is no UTF-8 would make the file unreadable as a whole."""
    first, end, others = content.partition(b"\n")
    return first + end + others.decode().encode("latin-1", "replace")


HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body></html>\n"

# -- types and ways of writing ---------------------------------------------------------------------------------------

add("text where a number belongs", "reviews", put("reviews", "stars", "four"), rejects={"not_convertible": 3})
add(
    "fraction where a whole number belongs",
    "stock_counts",
    put("stock_counts", "BESTAND", "12,5"),
    rejects={"not_convertible": 3},
)
add("number with a unit", "returns", put("returns", "Erstattung", lambda v: v + " EUR"), rejects={"not_convertible": 3})
add(
    "decimal point where the system writes a comma",
    "payments",
    put("payments", "amount", lambda v: v.replace(".", "").replace(",", ".")),
    rejects={"not_convertible": 3},
)
add(
    "decimal comma where the system writes a point",
    "shipments",
    put("shipments", "freight_cost", lambda v: v.replace(".", ",")),
    rejects={"not_convertible": 3},
)
add("thousands separated by commas", "products", put("products", "price", "1,234.56"), rejects={"not_convertible": 3})
add(
    "day first where the system writes ISO dates",
    "orders",
    put("orders", "placed", _german),
    rejects={"not_convertible": 3},
)
add(
    "ISO dates where the system writes the day first",
    "crm_customers",
    put("crm_customers", "Angelegt", "2024-04-01 10:30"),
    rejects={"not_convertible": 3},
)
add(
    "two-digit years",
    "returns",
    put("returns", "Eingang", lambda v: v.replace(".2024", ".24")),
    rejects={"out_of_range": 3},
)
add(
    "day and month swapped",
    "shipments",
    put("shipments", "handed_over", lambda v: f"{v[3:5]}.{v[:2]}{v[5:]}", 3, lambda r: r["handed_over"][:2] == "01"),
    expects("silver.shipments", "sent_after_the_order"),
)
add("time with an offset", "reviews", put("reviews", "written", lambda v: v + "+02:00"), rejects={"not_convertible": 3})
add(
    "time as seconds since 1970",
    "experiments",
    put("experiments", "assigned_at", "1711929600"),
    rejects={"not_convertible": 3},
)
add(
    "day that the calendar lacks",
    "newsletter_subscribers",
    put("newsletter_subscribers", "birthday", "02/30/1980"),
    rejects={"not_convertible": 3},
)
add("NaN for a measure", "products", put("products", "grams", "NaN"), rejects={"not_convertible": 3})
add("letter O for a zero", "payments", put("payments", "amount", lambda v: "1O" + v), rejects={"not_convertible": 3})
add("formula error of a spreadsheet", "economy", put("economy", "Wert", "#WERT!"), rejects={"not_convertible": 3})
add(
    "word for an empty value",
    "crm_customers",
    put("crm_customers", "Geburtsdatum", "NULL"),
    rejects={"not_convertible": 3},
)
add(
    "object where JSON has a value",
    "campaigns",
    put("campaigns", "budget", {"amount": 100}, 1),
    rejects={"not_convertible": 1},
)
add(
    "column of a Parquet file with another type",
    "order_items",
    lambda drops: _retype(drops, "qty", lambda v: f"{v} pcs"),
    Check("bronze.synthetic__order_items", "schema", rows=None, says="qty"),
    Check("silver.order_items", "rejects_within_limits", rows=None, says="order_items of 2024-04-01"),
    rejects={"not_convertible": ALL},
)

# -- ids and codes -----------------------------------------------------------------------------------------------------

add(
    "ids as decimals",
    "orders",
    put("orders", "customer_no", lambda v: v + ".0", 3, _new),
    Check("gold.dim_customer", "every_customer_who_ordered_has_a_record"),
)
add(
    "ids in scientific notation",
    "shipments",
    put("shipments", "parcel_no", "3.47E+09", 5),
    Check("silver.shipments", "one_version_per_load", rows=None),
)
add(
    "leading zeros of ids lost",
    "shipments",
    put("shipments", "parcel_no", lambda v: v.lstrip("0"), 5, lambda r: r["arrived"] and r["handed_over"][:2] != "01"),
    expects("silver.shipments", "parcels_differ"),
)
add(
    "leading zeros of postal codes lost",
    "web_customers",
    put("web_customers", "zip", lambda v: v[1:], 1, lambda r: r.get("zip", "").startswith("0")),
    Check("gold.dim_customer", "foreign_keys", "postal_code → gold.dim_geography.postal_code"),
)
add("unknown code", "orders", put("orders", "state", "lost"), rejects={"not_accepted": 3})
add("code in another case", "web_events", put("web_events", "event", str.upper), rejects={"not_accepted": 3})
add(
    "unknown code of a means of payment",
    "payments",
    put("payments", "method", "XX"),
    expects("gold.fct_payments", "means_of_payment_is_listed"),
)
add(
    "unknown system of a customer number",
    "orders",
    put("orders", "customer_system", "POS", 3, _new),
    Check("gold.dim_customer", "every_customer_who_ordered_has_a_record"),
)
add("unknown category", "products", put("products", "cat", "ZZZ"), expects("gold.dim_product", "category_is_listed"))

# -- values that cannot be ----------------------------------------------------------------------------------------------

add("negative price", "order_items", put("order_items", "unit_price", _times(-1)), rejects={"out_of_range": 3})
add("negative amounts of money", "shipments", put("shipments", "freight_cost", "-4.90"), rejects={"out_of_range": 3})
add("negative count", "ad_reports", put("ad_reports", "Clicks", "-7"), rejects={"out_of_range": 3})
add("score out of range", "reviews", put("reviews", "stars", "6"), rejects={"out_of_range": 3})
add(
    "tone in per cent",
    "social",
    put("social", "tone", 75.0, 3, lambda r: r.get("tone") is not None),
    rejects={"out_of_range": 3},
)
add("position outside the world", "postal_codes", put("postal_codes", "lat", "5252013"), rejects={"out_of_range": 3})
add(
    "negative quantity without a return",
    "order_items",
    put("order_items", "qty", lambda v: -v, 3, lambda r: r["pos"] == 1),
    expects("gold.fct_payments", "not_overpaid"),
)
add(
    "quantity of nought",
    "order_items",
    put("order_items", "qty", 0),
    expects("gold.fct_order_items", "lines_sell_something"),
)
add(
    "absurd quantity",
    "order_items",
    put("order_items", "qty", 100_000),
    expects("gold.fct_orders", "worth_is_plausible", rows=None),  # the lines may be of one order,
)
add(
    "absurd price",
    "order_items",
    _absurd_prices,
    expects("gold.fct_order_items", "price_fits_the_product"),
)
add(
    "discount above the price",
    "order_items",
    put("order_items", "rebate", lambda v: v + 10_000),
    expects("gold.fct_order_items", "discount_within_the_price"),
)
add(
    "instalments without end",
    "payments",
    put("payments", "instalments", "360"),
    expects("gold.fct_payments", "instalments_are_usual"),
)
add(
    "payment of nothing",
    "payments",
    put("payments", "amount", "0,00"),
    expects("gold.fct_payments", "something_is_paid"),
)
add(
    "refund above what was paid",
    "returns",
    put("returns", "Erstattung", lambda v: _comma(v, 50), 3),
    expects("silver.returns", "refunded_within_the_order"),
)
add(
    "more returned than bought",
    "returns",
    put("returns", "Menge", "50", 3, lambda r: r["Position"]),
    expects("silver.returns", "returned_within_the_line"),
)
add(
    "more clicks than impressions",
    "ad_reports",
    put("ad_reports", "Clicks", "99999999"),
    expects("silver.ad_spend", "clicked_no_more_than_seen"),
)
add(
    "newborn customers",
    "web_customers",
    lately(put("web_customers", "born", "2024-03-20", None, lambda r: r.get("born")), "web_customers", 5),
    expects("silver.customers", "ages_are_plausible", None),
)
add(
    "e-mail addresses that are none",
    "web_customers",
    put("web_customers", "mail", lambda v: v.replace("@", " at "), 3, lambda r: r.get("mail")),
    expects("silver.customers", "email_can_be_written_to"),
)

# -- times ----------------------------------------------------------------------------------------------------------------

add(
    "orders in the future",
    "orders",
    put("orders", "placed", lambda v: "2042" + v[4:], 3, _new),
    rejects={"out_of_range": 3},
)
add("orders of 1970", "orders", put("orders", "placed", "1970-01-01 00:00:00", 3, _new), rejects={"out_of_range": 3})
add(
    "orders of the year 1",
    "orders",
    put("orders", "placed", "0001-01-01 00:00:00", 3, _new),
    rejects={"out_of_range": 3},
)
add(
    "reviews in the future",
    "reviews",
    put("reviews", "written", lambda v: "2031" + v[4:]),
    rejects={"out_of_range": 3},
)
add(
    "visits of another year",
    "web_events",
    change("web_events", lambda r, _: {"ts": r["ts"].replace(year=2030)}),
    rejects={"out_of_range": 3},
)
add(
    "counts dated in the future",
    "stock_counts",
    put("stock_counts", "STICHTAG", "20250101"),
    rejects={"out_of_range": 3},
)
add(
    "placeholder for an unknown day",
    "shipments",
    put("shipments", "arrived", "01.01.1900 00:00", 3, lambda r: r["arrived"]),
    rejects={"out_of_range": 3},
)
add(
    "delivered before it was ordered",
    "orders",
    put("orders", "received", lambda v: moved(v, -60), 3, _brought),
    expects("gold.fct_orders", "delivered_after_it_was_placed"),
)
add(
    "approved before it was ordered",
    "orders",
    put("orders", "paid", lambda v: moved(v, -30), 3, _new),
    expects("gold.fct_orders", "approved_after_it_was_placed"),
)
add(
    "sent before it was ordered",
    "orders",
    put("orders", "sent", lambda v: moved(v, -60), 3, _brought),
    expects("gold.fct_orders", "shipped_after_it_was_placed"),
)
add(
    "promised before it was ordered",
    "orders",
    put("orders", "due", "2024-01-01", 3, lambda r: _new(r) and r["due"]),
    expects("gold.fct_orders", "promised_after_it_was_placed"),
)
add(
    "delivered without a day",
    "orders",
    put("orders", "received", "", 3, lambda r: r["state"] == "delivered" and not r["sent"]),
    expects("gold.fct_orders", "delivered_orders_have_a_date"),
)
add(
    "paid before it was ordered",
    "payments",
    put("payments", "paid_on", lambda v: moved(v, -5), 3, lambda r: r["paid_on"]),
    expects("gold.fct_payments", "paid_after_it_was_placed"),
)
add(
    "reviewed before it was ordered",
    "reviews",
    put("reviews", "written", lambda v: moved(v, -85)),
    expects("silver.reviews", "written_after_the_order"),
)
add(
    "sent back before it was ordered",
    "returns",
    put("returns", "Eingang", "02.01.2024 10:00"),
    expects("silver.returns", "returned_after_the_order"),
)
add(
    "campaign that ends before it begins",
    "campaigns",
    change("campaigns", lambda r, _: {"from": r["until"], "until": r["from"]}, 1),
    Check("silver.campaigns", "ends_after_it_begins"),
)

# -- keys, orphans, repetitions ---------------------------------------------------------------------------------------------

add("key that is missing", "orders", put("orders", "order_no", ""), rejects={"missing_required": 3})
add("key of blanks", "web_events", put("web_events", "event_id", "   "), rejects={"missing_required": 3})
add("keys that are missing in JSON", "social", put("social", "id", None), rejects={"missing_required": 3})
add(
    "record twice in a file",
    "payments",
    rows("payments", lambda found: [*found, *found[:3]]),
    Check("bronze.synthetic__payments", "delivered_once", rows=None, says=": 3 records"),
)
add(
    "every record twice in a file",
    "order_items",
    rows("order_items", _twice),
    Check("bronze.synthetic__order_items", "delivered_once", rows=None, says=": {spoilt} records"),
)
add(
    "one key with two contents",
    "reviews",
    rows(
        "reviews", lambda found: [*found, *({**row, "stars": "1" if row["stars"] != "1" else "5"} for row in found[:3])]
    ),
    Check("silver.reviews", "one_version_per_load", rows=None, says="3 rows"),
)
add(
    "file delivered under two names",
    "web_customers",
    lambda drops: _again(drops, "web_customers"),
    Check("bronze.synthetic__web_customers", "readable", rows=None, says="the same bytes as"),
)
add(
    "file delivered under two names, its end otherwise written",
    "web_customers",
    lambda drops: _again(drops, "web_customers", b"\n"),
    Check("bronze.synthetic__web_customers", "not_delivered_before", rows=None),
)
add(
    "yesterday's file again instead of today's",
    "orders",
    instead("orders", "orders", 1),
    Check("bronze.synthetic__orders", "not_delivered_before", rows=None),
    Check("gold.fct_order_items", "every_line_finds_its_order", rows=None),
)
add(
    "yesterday's whole drop again under today's date",
    "reviews",
    every(
        *(instead(t, t, 1) for t in ("reviews", "orders", "order_items", "payments", "web_customers", "crm_customers"))
    ),
    Check("bronze.synthetic__reviews", "not_delivered_before", rows=None),
)
add(
    "lines of unknown orders",
    "order_items",
    put("order_items", "order_no", lambda v: "W9" + v[1:]),
    Check("gold.fct_order_items", "every_line_finds_its_order"),
)
add(
    "lines of unknown products",
    "order_items",
    put("order_items", "sku", lambda v: v + "9"),
    Check("gold.fct_order_items", "foreign_keys", "product_id → gold.dim_product.product_id"),
)
add(
    "payments of unknown orders",
    "payments",
    put("payments", "order_no", lambda v: "W9" + v[1:]),
    Check("gold.fct_payments", "every_payment_finds_its_order"),
)
add(
    "reviews of unknown orders",
    "reviews",
    put("reviews", "order_no", lambda v: "W9" + v[1:]),
    expects("silver.reviews", "belongs_to_an_order"),
)
add(
    "orders of unknown customers",
    "orders",
    put("orders", "customer_no", lambda v: "9" + v, 3, _new),
    Check("gold.dim_customer", "every_customer_who_ordered_has_a_record"),
)
add(
    "parcels of unknown orders",
    "shipments",
    put("shipments", "order_no", lambda v: "W9" + v[1:]),
    expects("silver.shipments", "belongs_to_an_order"),
)
add(
    "returns of unknown orders",
    "returns",
    put("returns", "Bestellung", lambda v: "W9" + v[1:]),
    expects("silver.returns", "belongs_to_an_order"),
)
add(
    "returns of lines that were not bought",
    "returns",
    put("returns", "Position", "77", 3, lambda r: r["Position"]),
    expects("silver.returns", "belongs_to_a_line"),
)
add(
    "counts of unknown products",
    "stock_counts",
    put("stock_counts", "ARTNR", lambda v: v + "9"),
    expects("silver.inventory_snapshots", "counts_known_products"),
)
add(
    "costs of unknown campaigns",
    "ad_reports",
    put("ad_reports", "Campaign ID", "SEA-1999-99"),
    expects("silver.ad_spend", "belongs_to_a_campaign"),
)
add(
    "visits of unknown customers",
    "web_events",
    put("web_events", "login", lambda v: "9" + v, 3, lambda r: r["login"]),
    expects("silver.web_events", "logged_in_customers_are_known"),
)
add(
    "purchases without a known order",
    "web_events",
    put("web_events", "order_no", lambda v: "W9" + v[1:], 3, lambda r: r["order_no"]),
    expects("silver.web_events", "purchases_belong_to_orders"),
)
add(
    "experiments on unknown customers",
    "experiments",
    put("experiments", "customer", lambda v: "9" + v),
    expects("silver.experiment_assignments", "takes_known_customers"),
)
add(
    "talk about unknown products",
    "social",
    put("social", "sku", lambda v: v + "9", 3, lambda r: r.get("sku")),
    expects("silver.social_interactions", "is_about_known_products"),
)

# -- money that does not fit ---------------------------------------------------------------------------------------------------

add(
    "amounts in cents",
    "payments",
    put(
        "payments",
        "amount",
        lambda v: v.replace(".", "").replace(",", ""),
        5,
        lambda r: r["method"] in ("EW", "IV", "BT"),
    ),
    expects("gold.fct_payments", "not_overpaid"),
)
add(
    "prices in cents",
    "order_items",
    put("order_items", "unit_price", _times(100)),
    expects("gold.fct_order_items", "price_fits_the_product", None),
)
add(
    "another currency in some payments",
    "payments",
    put("payments", "amount", lambda v: _comma(v, 7), 5, lambda r: r["method"] in ("EW", "IV", "BT")),
    expects("gold.fct_payments", "not_overpaid"),
)
add(
    "catalogue in another currency",
    "products",
    change("products", lambda r, _: {"price": round(r["price"] * 25, 2)}, None),
    expects("silver.products", "prices_move_little", None),
)
add(
    "price and cost swapped",
    "products",
    change("products", lambda r, _: {"price": r["cost"], "cost": r["price"]}, None, lambda r: r["cost"]),
    expects("silver.products", "most_cost_less_than_their_price", 1),
)
add(
    "refunds in cents",
    "returns",
    put("returns", "Erstattung", lambda v: v.replace(".", "").replace(",", "")),
    expects("silver.returns", "refunded_within_the_order"),
)
add(
    "weights in kilograms",
    "products",
    change("products", lambda r, _: {"grams": r["grams"] / 1000}, None),
    expects("silver.products", "weights_move_little", None),
)
add("half of the payments missing", "payments", rows("payments", _half), expects("gold.fct_orders", "days_are_paid", 1))
add(
    "half of the lines missing",
    "order_items",
    rows("order_items", _half),
    expects("gold.fct_orders", "orders_have_lines", None),
)
add(
    "orders without their lines",
    "order_items",
    gone("order_items"),
    Check("silver.row_accounting", "expected_files_came", rows=1),
)

# -- files -----------------------------------------------------------------------------------------------------------------------

add(
    "empty file",
    "payments",
    packed("payments", lambda _: b""),
    Check("bronze.synthetic__payments", "readable", rows=None, says="empty"),
)
add(
    "file of zero bytes",
    "orders",
    packed("orders", lambda content: b"\0" * len(content)),
    Check("bronze.synthetic__orders", "readable", rows=None),
    unreadable={"unreadable_file": 1},
)
add(
    "header and no records",
    "reviews",
    text("reviews", lambda content: content.split(b"\n")[0] + b"\n"),
    Check("bronze.synthetic__reviews", "readable", rows=None, says="a header and no records"),
)
add(
    "error page of a web server",
    "payments",
    packed("payments", lambda _: HTML),
    Check("bronze.synthetic__payments", "readable", rows=None),
    unreadable={"unreadable_file": 1},
)
add(
    "another table's file under the name",
    "reviews",
    instead("reviews", "payments"),
    Check("bronze.synthetic__reviews", "readable", rows=None),
    unreadable={"column_count": ALL},
)
add(
    "picture under the name of a table",
    "orders",
    packed("orders", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40),
    Check("bronze.synthetic__orders", "readable", rows=None, says="binary"),
    unreadable={"unreadable_file": 1},
)
add(
    "file cut off in the middle of a record",
    "payments",
    text("payments", _cut),
    expects("gold.fct_orders", "days_are_paid", 1),
    unreadable={"column_count": 1},
)
add(
    "gzip cut off",
    "shipments",
    packed("shipments", lambda content: content[: len(content) // 2]),
    Check("bronze.synthetic__shipments", "readable", rows=None),
    unreadable={"truncated_file": 2},
)
add(
    "Parquet cut off",
    "order_items",
    packed("order_items", lambda content: content[:-200]),
    Check("bronze.synthetic__order_items", "readable", rows=None),
    unreadable={"unreadable_file": 1},
)
add(
    "JSON array cut off",
    "products",
    text("products", _cut),
    Check("bronze.synthetic__products", "readable", rows=None),
    unreadable={"truncated_file": 2},
)
add("JSON lines cut off", "web_customers", text("web_customers", _cut), rejects={}, unreadable={"not_json": 1})
add(
    "file cut off between two records",
    "web_events",
    rows("web_events", lambda found: found[: len(found) // 5]),
    Check("silver.web_events", "load_size", rows=None),
)
add("missing file", "web_events", gone("web_events"), Check("silver.row_accounting", "expected_files_came", rows=1))
add(
    "line that swallows others with an open quote",
    "orders",
    text("orders", lambda c: c.replace(b",SHOP,", b',"SHOP,', 1)),
    unreadable={"bad_quote": 1},
)
add(
    "too many fields",
    "orders",
    text("orders", lambda c: c.replace(b",SHOP,", b",SHOP,,", 1)),
    rejects={"not_convertible": 1},
)
add("header again in the middle", "orders", text("orders", lambda c: _repeat_header(c)), rejects={"not_convertible": 1})
add(
    "line with totals at the end",
    "payments",
    text("payments", lambda c: c + b"Summe;;;;12.345,67;\n"),
    rejects={"missing_required": 1},
)
add(
    "comment in place of the header",
    "stock_counts",
    text("stock_counts", lambda c: b"Bestandsliste Lager Nord\n" + c.partition(b"\n")[2]),
    Check("bronze.synthetic__stock_counts", "readable", rows=None),
    unreadable={"column_count": ALL},
)
add(
    "full delivery of a few rows",
    "products",
    rows("products", lambda found: found[:5]),
    Check("silver.products", "deliveries_whole", rows=None),
)
add(
    "full delivery of an earlier day",
    "products",
    instead("products", "products", 3),
    Check("bronze.synthetic__products", "not_delivered_before", rows=None),
)
add(
    "full delivery of nothing",
    "labels",
    text("labels", lambda c: c.split(b"\n")[0] + b"\n"),
    Check("bronze.synthetic__labels", "readable", rows=None),
)

# -- encodings --------------------------------------------------------------------------------------------------------------------

add(
    "Latin-1 in a file of UTF-8",
    "web_customers",
    text("web_customers", _later_lines_in_latin_1, lambda line: not line.isascii()),
    unreadable={"bad_encoding": ALL},
)
add(
    "UTF-8 in a file of Windows-1252",
    "crm_customers",
    text("crm_customers", lambda c: c.decode("cp1252").encode()),
    expects("silver.customers", "names_are_readable", None),
)
add(
    "UTF-8 taken for Latin-1 and written again",
    "web_customers",
    text("web_customers", lambda c: c.decode().encode().decode("latin-1").encode()),
    expects("silver.customers", "names_are_readable", None),
)
add(
    "letters replaced by question marks",
    "newsletter_subscribers",
    text(
        "newsletter_subscribers",
        lambda c: c.decode().encode("ascii", "replace").decode().replace("?", "\ufffd").encode(),
    ),
    expects("silver.customers", "names_are_readable", None),
)
add(
    "UTF-8 instead of UTF-16",
    "ad_reports",
    packed("ad_reports", lambda c: c.decode("utf-16").encode()),
    Check("bronze.synthetic__ad_reports", "readable", rows=None),
    unreadable={"unreadable_file": 1},
)
add(
    "NUL characters in names",
    "web_customers",
    put("web_customers", "name", lambda v: v[:3] + "\0" + v[3:]),
    expects("silver.customers", "names_are_readable"),
)
add(
    "control characters in names",
    "crm_customers",
    put("crm_customers", "Name", lambda v: v[:3] + "\x07" + v[3:]),
    expects("silver.customers", "names_are_readable"),
)
add(
    "names of thousands of letters",
    "web_customers",
    put("web_customers", "name", lambda v: v * 2000),
    expects("silver.customers", "names_are_readable"),
)

# -- columns ----------------------------------------------------------------------------------------------------------------------

add(
    "missing column",
    "payments",
    columns("payments", lambda names: [n for n in names if n != "instalments"]),
    Check("bronze.synthetic__payments", "schema", rows=None, says="column instalments is missing"),
)
add(
    "missing column that is needed",
    "payments",
    columns("payments", lambda names: [n for n in names if n != "amount"]),
    Check("bronze.synthetic__payments", "readable", rows=None, says="amount is missing"),
    Check("silver.payments", "rejects_within_limits", rows=None),
    rejects={"missing_required": ALL},
)
add(
    "renamed column",
    "reviews",
    columns("reviews", lambda names: names, {"headline": "subject"}),
    Check(
        "bronze.synthetic__reviews",
        "schema",
        rows=None,
        says="subject",
    ),
)
add(
    "new column",
    "orders",
    lambda drops: _new_column(drops),
    Check("bronze.synthetic__orders", "schema", rows=None, says="column gift is new"),
)
add(
    "values one column further",
    "payments",
    change("payments", lambda r, _: {"method": r["instalments"], "instalments": r["amount"], "amount": r["method"]}),
    rejects={"not_convertible": 3},
)
add(
    "two columns of times swapped",
    "orders",
    change("orders", lambda r, _: {"sent": r["received"], "received": r["sent"]}, 5, _brought),
    expects("gold.fct_orders", "delivered_after_it_was_shipped"),
)
add(
    "name and address for mail swapped",
    "web_customers",
    change("web_customers", lambda r, _: {"name": r["mail"], "mail": r["name"]}, 5, lambda r: r.get("mail")),
    expects("silver.customers", "email_can_be_written_to"),
)
add(
    "latitude and longitude swapped",
    "postal_codes",
    change("postal_codes", lambda r, _: {"lat": r["lng"], "lng": r["lat"]}, 5),
    expects("silver.postal_codes", "lies_near_its_state"),
)
add(
    "clicks and impressions swapped",
    "ad_reports",
    change("ad_reports", lambda r, _: {"Clicks": r["Impr."], "Impr.": r["Clicks"]}, None),
    expects("silver.ad_spend", "clicked_no_more_than_seen"),
)
add(
    "number of parcel and order swapped",
    "shipments",
    change("shipments", lambda r, _: {"parcel_no": r["order_no"], "order_no": r["parcel_no"]}, 5),
    expects("silver.shipments", "belongs_to_an_order"),
)
add(
    "two columns of amounts swapped",
    "order_items",
    change("order_items", lambda r, _: {"shipping": r["vat"], "vat": r["shipping"]}, None),
    expects("gold.fct_order_items", "taxes_are_usual", 1),
)
add(
    "separator changed",
    "payments",
    text("payments", lambda c: c.replace(b";", b"|")),
    Check("bronze.synthetic__payments", "readable", rows=None),
    rejects={"missing_required": ALL},
)

# -- whole loads that are not like others -------------------------------------------------------------------------------------------

add(
    "half-empty day of visits",
    "web_events",
    rows("web_events", lambda found: found[: len(found) // 3]),
    Check("silver.web_events", "load_size", rows=None),
)
add(
    "half-empty day in all systems",
    "orders",
    lambda drops: _half_day(drops),
    Check("silver.payments", "load_size", rows=None),
)
add(
    "all scores the form's default",
    "reviews",
    lately(change("reviews", lambda r, _: {"stars": "5"}, None), "reviews", 3),
    Check("silver.reviews", "drift", rows=None),
)
add(
    "optional column emptied",
    "orders",
    change("orders", lambda r, _: {"channel": "", "device": ""}, None),
    Check("silver.orders", "drift", rows=None),
)
add(
    "new value in a column of few",
    "web_events",
    change("web_events", lambda r, _: {"device": "unknown"}, None),
    Check("silver.web_events", "drift", rows=None),
)
add(
    "costs of advertising in cents",
    "ad_reports",
    change("ad_reports", lambda r, _: {"Cost": f"{float(r['Cost']) * 100:.2f}"}, None),
    expects("silver.ad_spend", "within_the_budget", None),
)
add(
    "costs of freight in cents",
    "shipments",
    change("shipments", lambda r, _: {"freight_cost": r["freight_cost"].replace(".", "")}, None),
    expects("silver.shipments", "freight_is_plausible"),
)
add(
    "figures without their comma",
    "economy",
    put("economy", "Wert", lambda v: _comma(v, 100), 3),
    expects("silver.economic_indicators", "moves_little"),
)


# -- what is no corruption -----------------------------------------------------------------------------------------------


def _redeliver(content: bytes) -> bytes:
    return content


CONTROLS = [
    Corruption("the same file again", "orders", packed("orders", _redeliver)),
    Corruption("records in another order", "payments", rows("payments", lambda found: found[::-1])),
    Corruption("columns in another order", "orders", columns("orders", lambda names: names[::-1])),
    Corruption("blanks around values", "reviews", put("reviews", "stars", lambda v: f" {v} ")),
    Corruption("byte order mark", "payments", text("payments", lambda c: b"\xef\xbb\xbf" + c)),
    Corruption("Windows' line ends", "payments", text("payments", lambda c: c.replace(b"\n", b"\r\n"))),
    Corruption("no line end at the end", "payments", text("payments", lambda c: c.rstrip(b"\n"))),
    Corruption("blank lines at the end", "stock_counts", text("stock_counts", lambda c: c + b"\n\n")),
    Corruption("every value quoted", "payments", text("payments", lambda c: _quoted(c))),
    Corruption(
        "packed by another tool", "shipments", packed("shipments", lambda c: gzip.compress(gzip.decompress(c), 9))
    ),
]


def _quoted(content: bytes) -> bytes:
    lines = content.decode().splitlines()
    return "".join(";".join(f'"{value}"' for value in line.split(";")) + "\n" for line in lines).encode()


# -- as a table ------------------------------------------------------------------------------------------------------------

BEGIN, END = "<!-- catalogue of corruptions -->", "<!-- end of the catalogue -->"


def as_table() -> str:
    """The catalogue as the Markdown table of docs/quality.md."""
    lines = [BEGIN, "", "| corruption | raw table | found by |", "| --- | --- | --- |"]
    for c in CATALOGUE:
        found = [
            f"`{check.table}` {check.rule if check.check == 'expectations' else check.check}" for check in c.caught
        ]
        found += [f"silver.rejects: {reason}" for _, reason in c.rejects]
        found += [f"bronze.rejects: {reason}" for _, reason in c.unreadable]
        lines.append(f"| {c.kind} | {c.table} | {'; '.join(found)} |")
    return "\n".join([*lines, "", END])


def main() -> None:
    """Writes the table into docs/quality.md."""
    from ecommerce_platform_tests.conftest import ROOT

    document = ROOT / "docs" / "quality.md"
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    document.write_text(f"{before}{as_table()}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
