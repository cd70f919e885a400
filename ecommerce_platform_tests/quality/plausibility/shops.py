"""One small shop, written down as three shops would: in other files, columns, forms of numbers, and mappings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

Row = dict[str, Any]

YML = """description: A shop made for a test.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
"""


@dataclass
class Model:
    """What the shop did; a fault changes it. Amounts are decimals, `at` is text."""

    orders: list[Row] = field(default_factory=list)
    lines: list[Row] = field(default_factory=list)
    payments: list[Row] = field(default_factory=list)
    products: list[Row] = field(default_factory=list)

    def of(self, order: Row) -> list[Row]:
        """The lines of an order."""
        return [line for line in self.lines if line["order"] == order["id"]]


def good() -> Model:
    """Sixty orders of one to three products whose lines come to their totals, which are paid."""
    model = Model(products=[{"sku": f"P{n}", "name": f"Lamp {'abcdefghij'[n]}"} for n in range(10)])
    for n in range(60):
        order = {"id": f"Ä-{1000 + n}", "at": f"2024-01-{1 + n % 28:02} 1{n % 10}:00:00", "currency": "EUR"}
        order["status"] = "canceled" if n % 20 == 0 else "delivered"
        shipping = Decimal(3 + n % 4)
        for position in range(1 + n % 3):
            product = (n * 3 + position * (1 + n % 4)) % 10
            model.lines.append({
                "order": order["id"], "pos": position + 1, "id": f"L{n}-{position}", "parent": "", "sku": f"P{product}",
                "name": f"Lamp {'abcdefghij'[product]}", "qty": 1 + (n + position) % 4, "price": Decimal(f"{10 + product}.95"),
                "discount": Decimal(position), "shipping": shipping if position == 0 else Decimal(0),
            })  # fmt: skip
        order["total"] = sum(li["qty"] * li["price"] - li["discount"] + li["shipping"] for li in model.of(order))
        model.orders.append(order)
        model.payments.append({"order": order["id"], "seq": 1, "amount": order["total"]})
    return model


def csv(rows: list[Row], names: dict[str, str], *, comma: bool = False) -> str:
    """Rows as a file with a column for each of `names` (field → header)."""

    def text(value: Any) -> str:
        shown = str(value)
        shown = shown.replace(".", ",") if comma and isinstance(value, Decimal) else shown
        return '"' + shown.replace('"', '""') + '"'

    lines = [";".join(names.values())] + [";".join(text(row.get(name, "")) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def _yml(*tables: str) -> str:
    return YML + "".join(f"  {t}:\n    files: ['{t}*.csv']\n    description: Rows.\n" for t in tables)


def tidy(model: Model) -> tuple[dict[str, str], dict[str, str]]:
    """A file per thing, as a database keeps it."""
    files = {
        "orders": csv(model.orders, {"id": "id", "at": "placed", "status": "state", "currency": "cur", "total": "grand_total"}),
        "lines": csv(
            model.lines,
            {"order": "order_id", "pos": "pos", "id": "line_id", "parent": "parent_id", "sku": "sku", "qty": "qty",
             "price": "price", "discount": "rebate", "shipping": "postage"},
        ),
        "payments": csv(model.payments, {"order": "order_id", "seq": "seq", "amount": "amount"}),
        "products": csv([*model.products], {"sku": "sku", "name": "title"}),
    }  # fmt: skip
    sql = {
        "source_yml": _yml("orders", "lines", "payments", "products"),
        "orders__orders": """select as_text(id) as order_id, as_timestamp(left(placed, 19)) as ordered_at,
            case as_text(state) when 'canceled' then 'canceled' else 'delivered' end as status,
            as_text(state) <> 'canceled' as is_valid from bronze.mine__orders""",
        "order_items__lines": """select as_text(order_id) as order_id, as_integer(pos) as line_number, as_text(sku) as product_id,
            as_integer(qty) as quantity, as_decimal(price) as unit_price, as_decimal(rebate) as discount_amount,
            as_decimal(postage) as shipping_amount from bronze.mine__lines""",
        "payments__payments": """select as_text(order_id) as order_id, as_integer(seq) as payment_number, 'card' as method,
            as_decimal(amount) as amount from bronze.mine__payments""",
        "products__products": "select as_text(sku) as product_id, as_text(title) as name from bronze.mine__products",
    }
    return files, sql


def retailer(model: Model) -> tuple[dict[str, str], dict[str, str]]:
    """One file of sales: decimal commas, what is the order's only on its first row, products named on every row."""
    orders = {order["id"]: order for order in model.orders}
    paid: dict[str, Decimal] = {}
    for payment in model.payments:
        paid[payment["order"]] = paid.get(payment["order"], Decimal(0)) + payment["amount"]
    names: dict[str, list[str]] = {}
    for product in model.products:
        names.setdefault(product["sku"], []).append(product["name"])
    rows, seen = [], set()
    for n, line in enumerate(model.lines):
        order = orders.get(line["order"]) or next(o for o in model.orders if _same(o["id"], line["order"]))
        name = names.get(line["sku"], [line["name"]])
        row = {**line, **{k: order[k] for k in ("at", "status", "currency")}, "name": name[n % len(name)]}
        if order["id"] not in seen:
            row |= {"total": order["total"], "paid": paid.get(order["id"], "")}
        seen.add(order["id"])
        rows.append(row)
    files = {"sale": csv(rows, {
        "order": "Invoice No", "at": "Invoice Date", "status": "Status", "currency": "Currency Code", "total": "Invoice Total",
        "paid": "Received", "pos": "Item", "id": "Item Id", "parent": "Parent Item Id", "sku": "Stock Code", "name": "Description",
        "qty": "Quantity", "price": "Unit Price", "discount": "Discount", "shipping": "Freight",
    }, comma=True)}  # fmt: skip
    return files, _RETAILER


def _same(one: str, other: str) -> bool:
    import unicodedata

    return (
        unicodedata.normalize("NFC", "".join(one.split())).lower()
        == unicodedata.normalize("NFC", "".join(other.split())).lower()
    )


_RETAILER = {
    "source_yml": _yml("sale"),
    "orders__sale": """select as_text("Invoice No") as order_id, min(as_timestamp(left("Invoice Date", 19))) as ordered_at,
        max(case when as_text("Status") = 'canceled' then 'canceled' else 'delivered' end) as status,
        max(as_text("Status")) <> 'canceled' as is_valid
        from bronze.mine__sale group by _load_date, as_text("Invoice No")""",
    "order_items__sale": """select as_text("Invoice No") as order_id,
        row_number() over (partition by _load_date, as_text("Invoice No") order by _source_row) as line_number,
        as_text("Stock Code") as product_id, as_integer("Quantity") as quantity, as_decimal_comma("Unit Price") as unit_price,
        as_decimal_comma("Discount") as discount_amount, as_decimal_comma("Freight") as shipping_amount
        from bronze.mine__sale""",
    "payments__sale": """select as_text("Invoice No") as order_id, 1 as payment_number, 'card' as method,
        coalesce(max(as_decimal_comma("Received")), 0) as amount
        from bronze.mine__sale group by _load_date, as_text("Invoice No")""",
    "products__sale": """select as_text("Stock Code") as product_id, max(as_text("Description")) as name
        from bronze.mine__sale group by _load_date, as_text("Stock Code")""",
}
_RETAILER["source_yml"] += (
    "units:\n  order_items.sale: [order_id]\n  orders.sale: [order_id]\n  payments.sale: [order_id]\n  products.sale: [product_id]\n"
)


def marketplace(model: Model) -> tuple[dict[str, str], dict[str, str]]:
    """Names in camel case, an identifier per line, and the state in two columns."""
    files, sql = tidy(model)
    headers = {
        "orders": "orderId;createdAt;orderStatus;currencyCode;totalAmount",
        "lines": "orderId;lineNo;itemId;parentItemId;sellerSku;units;pricePerUnit;discountGiven;deliveryFee",
        "payments": "orderId;paymentNo;value",
        "products": "sellerSku;productName",
    }
    old = {name: text.partition("\n")[0].split(";") for name, text in files.items()}
    made = {f"mp_{name}": headers[name] + "\n" + text.partition("\n")[2] for name, text in files.items()}
    mappings = {"source_yml": _yml(*made)}
    for name, text in sql.items():
        if name == "source_yml":
            continue
        entity, table = name.split("__")
        for before, after in zip(old[table], headers[table].split(";"), strict=True):
            text = _renamed(text, before, after)
        mappings[f"{entity}__mp_{table}"] = text.replace(f"mine__{table}", f"mine__mp_{table}")
    return made, mappings


def _renamed(sql: str, before: str, after: str) -> str:
    import re

    # Not what stands behind `as`: that is the canonical column.
    return re.sub(rf"(?<!as )(?<![\w.]){before}(?!\w)", after, sql)


Writer = Callable[[Model], tuple[dict[str, str], dict[str, str]]]
SHOPS: dict[str, Writer] = {"tidy": tidy, "retailer": retailer, "marketplace": marketplace}


def write(folder: Path, writer: Writer, model: Model) -> tuple[Path, Path]:
    """Writes the shop's files and its source; (folder of the source, folder of the files)."""
    source, export = folder / "mine", folder / "export"
    files, sql = writer(model)
    for directory in (source, export):
        directory.mkdir()
    for name, text in files.items():
        (export / f"{name}.csv").write_text(text, encoding="utf-8")
    for name, text in sql.items():
        path = "source.yml" if name == "source_yml" else name.replace("__", ".") + ".sql"
        (source / path).write_text(text, encoding="utf-8")
    return source, export
