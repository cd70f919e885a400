"""Two invented shops that deliver orders as documents, as WooCommerce's and Shopify's interfaces write them, with a person
who stands in them everywhere: in objects, in arrays, in arrays of arrays, in what no mapping names."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

FIRST, SECOND = date(2024, 1, 1), date(2024, 1, 2)
#: All that tells who Zoe is.
ZOES = (
    "zoe.quist@post.example", "zoe@work.example", "Quist", "+46 70 5550101", "0705550101", "Björkgatan 7", "Ringvägen 9",
    "ring the upper bell", "for Zoe from Olle", "198.51.100.77", "1990-02-31",
)  # fmt: skip

_HEAD = "description: An invented shop.\ncurrency: SEK\ntime_zone: Europe/Stockholm\nstart_date: 2024-01-01\n"
WOO_YML = (
    _HEAD
    + """units:
  order_items.lines: [order_id]
  returns.refunds: [order_id]
tables:
  lines: {explode: orders.line_items, parent: {order_id: id}, description: Lines of an order.}
  refunds: {explode: orders.refunds, parent: {order_id: id}, description: Refunds of an order.}
  orders: {files: ["orders*.json"], description: One document per order.}
  customers: {files: ["customers*.json"], description: Accounts.}
  products: {files: ["products*.json"], description: The range., delivery: full}
"""
)
WOO = {
    "customers.customers": """select as_text(id) as customer_id, as_timestamp(date_created) as registered_at,
        as_text(first_name) as given_name, as_text(last_name) as family_name, as_text(email) as email,
        as_text(billing->>'$.phone') as phone, as_text(billing->>'$.address_1') as street,
        as_date(meta->>'$.born') as birth_date, as_text(billing->>'$.city') as city""",
    "orders.orders": """select as_text(id) as order_id, as_text(customer_id) as customer_id,
        as_timestamp(date_created) as ordered_at, case as_text(status) when 'refunded' then 'canceled' else 'delivered' end as status, true as is_valid,
        as_text(shipping->>'$.city') as region""",
    "order_items.lines": """select as_text(order_id) as order_id, as_integer(id) as line_number,
        as_text(product_id) as product_id, as_integer(quantity) as quantity, as_decimal(price) as unit_price""",
    "returns.refunds": """select as_text(id) as return_id, as_text(order_id) as order_id,
        -as_decimal(total) as refund_amount""",
    "products.products": "select as_text(id) as product_id, as_text(name) as name",
}
SHOPIFY_YML = (
    _HEAD
    + """units:
  order_items.lines: [order_id]
  returns.refund_lines: [order_id]
tables:
  pages: {files: ["orders*.jsonl"], description: "Pages of orders, a document each."}
  orders: {explode: pages.orders, description: Orders of a page.}
  lines: {explode: orders.line_items, parent: {order_id: id}, description: Lines of an order.}
  refund_lines:
    explode: "orders.refunds[].refund_line_items"
    parent: {order_id: id, refunded: refunds.created_at}
    description: Lines of a refund.
"""
)
SHOPIFY = {
    "customers.orders": """select as_text(customer->>'$.email') as customer_id, as_text(customer->>'$.email') as email,
        as_text(customer->>'$.first_name') as given_name, as_text(customer->>'$.last_name') as family_name,
        as_text(customer->>'$.phone') as phone, as_text(customer->>'$.default_address.city') as city
        {from} where customer->>'$.email' is not null""",
    "orders.orders": """select as_text(id) as order_id, as_text(customer->>'$.email') as customer_id,
        as_timestamp(created_at) as ordered_at, case as_text(financial_status) when 'paid' then 'delivered' else 'created' end as status, true as is_valid""",
    "order_items.lines": """select as_text(order_id) as order_id, as_integer(id) as line_number,
        as_text(sku) as product_id, as_integer(quantity) as quantity, as_decimal(price) as unit_price""",
    "returns.refund_lines": """select as_text(id) as return_id, as_text(order_id) as order_id,
        as_integer(quantity) as quantity, as_decimal(subtotal) as refund_amount, as_timestamp(refunded) as returned_at""",
}


def write_source(folder: Path, name: str, yml: str, mappings: dict[str, str]) -> Path:
    """The folder of a source."""
    home = folder / name
    home.mkdir(parents=True)
    (home / "source.yml").write_text(yml)
    for file, select in mappings.items():
        table = f"from bronze.{name}__{file.split('.')[1]}"
        whole = select.replace("{from}", table) if "{from}" in select else f"{select}\n{table}"
        (home / f"{file}.sql").write_text(whole + "\n")
    return home


# -- WooCommerce -------------------------------------------------------------------------------------------------


def _address(name: str, family: str, street: str, city: str, **more: str) -> dict[str, str]:
    return {"first_name": name, "last_name": family, "address_1": street, "city": city, "country": "SE", **more}


_ZOE = _address("Zoe", "Quist", "Björkgatan 7", "Umeå", email="zoe.quist@post.example", phone="+46 70 5550101")
_ADA = _address("Ada", "Berg", "Storgatan 1", "Lund", email="ada@post.example", phone="+46 70 5550202")


def _woo_order(number: int, customer: int, billing: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "id": number, "order_key": f"wc_order_{number}", "status": "completed", "date_created": "2024-01-01T10:00:00",
        "total": "15.50", "customer_id": customer, "customer_ip_address": "198.51.100.77" if customer == 7100001 else "",
        "customer_note": "", "billing": billing, "shipping": {**billing, "company": ""},
        "meta_data": [{"id": 1, "key": "_gift", "value": {"to": billing["last_name"]}}],
        "line_items": [
            {"id": number * 10, "name": "Tea", "product_id": 5, "quantity": 2, "price": 7.75,
             "meta_data": [{"key": "engraving", "value": f"for {billing['first_name']} from Olle"}]}
        ],
        "refunds": [], **more,
    }  # fmt: skip


WOO_DROPS: dict[date, dict[str, str]] = {
    FIRST: {
        "customers.json": json.dumps(
            [
                {"id": 7100001, "date_created": "2023-05-01T08:00:00", "email": "zoe.quist@post.example",
                 "first_name": "Zoe", "last_name": "Quist", "billing": _ZOE, "meta": {"born": "1990-02-03", "vip": True}},
                {"id": 7100002, "date_created": "2023-06-01T08:00:00", "email": "ada@post.example", "first_name": "Ada",
                 "last_name": "Berg", "billing": _ADA, "meta": {"born": "1985-01-01"}},
                {"id": 7100001, "date_created": "2023-05-01T08:00:00", "email": "zoe@work.example", "first_name": "Zoe",
                 "last_name": "Quist", "billing": _ZOE, "meta": {"born": "1990-02-31"}},
            ],
            indent=2, ensure_ascii=False,
        ),
        "orders.json": json.dumps(
            [
                _woo_order(8001, 7100001, _ZOE, customer_note="ring the upper bell", line_items=[
                    {"id": 80010, "name": "Tea", "product_id": 5, "quantity": 2, "price": 7.75, "meta_data": [
                        {"key": "engraving", "value": "for Zoe from Olle"}, {"key": "_json", "value": "{\"tel\": \"0705550101\"}"}]},
                    {"id": 80011, "name": "Cup", "product_id": 6, "quantity": "two", "price": 1,
                     "note": "zoe.quist@post.example"},
                    "ring the upper bell", None, ["Quist"], 705550101,
                ], refunds=[{"id": 91, "reason": "Quist changed her mind", "total": "-7.75"}]),
                _woo_order(8002, 7100002, _ADA),
                _woo_order(8003, 7100001, {**_ZOE, "address_1": "Ringvägen 9"}, line_items={"0": {"note": "Quist"}},
                           refunds="see Quist"),
            ],
            indent=1, ensure_ascii=False,
        ),
        "products.json": json.dumps(
            [{"id": 5, "name": "Tea", "meta": {"contact": ["Zoe.Quist@post.example", "shop@post.example"]}},
             {"id": 6, "name": "Cup", "meta": None}]
        ),
    },
    SECOND: {
        "orders.json": json.dumps([_woo_order(8001, 7100001, _ZOE, status="refunded", refunds=[{"id": 91, "total": "-7.75"}]), _woo_order(8004, 7100002, _ADA)])
    },
}  # fmt: skip

# -- Shopify -----------------------------------------------------------------------------------------------------


def _shopify_order(number: int, mail: str, name: str, family: str, street: str, city: str) -> dict[str, Any]:
    address = {"name": f"{name} {family}", "address1": street, "city": city, "phone": "+46 70 5550101"}
    ours = address if family == "Quist" else {**address, "phone": None}
    return {
        "id": number, "email": mail, "created_at": "2024-01-01T10:00:00", "financial_status": "paid",
        "customer": {"id": number % 10, "email": mail, "first_name": name, "last_name": family, "phone": ours["phone"],
                     "default_address": ours},
        "billing_address": ours, "note_attributes": [{"name": "door", "value": f"ask for {family}"}],
        "line_items": [
            {"id": number * 100, "sku": "T5", "quantity": 2, "price": "7.75",
             "properties": [{"name": "card", "value": f"for {name} from Olle"}]},
            {"id": number * 100 + 1, "sku": "C6", "quantity": 1, "price": "3", "properties": []},
        ],
        "refunds": [
            {"id": number + 5, "created_at": "2024-01-01T12:00:00", "note": f"{family} sent it back", "refund_line_items": [
                {"id": number + 6, "quantity": 1, "subtotal": 7.75, "line_item": {"sku": "T5", "properties": [
                    {"name": "card", "value": f"for {name} from Olle"}]}}]}
        ],
    }  # fmt: skip


_ZOES_ORDER = _shopify_order(900001, "zoe.quist@post.example", "Zoe", "Quist", "Björkgatan 7", "Umeå")
_ADAS_ORDER = _shopify_order(900002, "ada@post.example", "Ada", "Berg", "Storgatan 1", "Lund")

SHOPIFY_DROPS: dict[date, dict[str, str]] = {
    FIRST: {
        "orders_1.jsonl": "".join(
            json.dumps(page, ensure_ascii=False) + "\n"
            for page in (
                {"page": 1, "orders": [_ADAS_ORDER, _ZOES_ORDER]},
                {"page": 2, "orders": [{**_ADAS_ORDER, "id": 900003}, {**_ADAS_ORDER, "id": 900004}]},
            )
        )
    },
    SECOND: {
        "orders_1.jsonl": json.dumps(
            {"page": 1, "orders": [{**_ZOES_ORDER, "refunds": [], "line_items": _ZOES_ORDER["line_items"][:1]}]}
        )
        + "\n"
    },
}


def deliver(raw: Path, drops: dict[date, dict[str, str]]) -> None:
    """Writes the drops."""
    for day, files in drops.items():
        (raw / day.isoformat()).mkdir(parents=True)
        for name, content in files.items():
            (raw / day.isoformat() / name).write_text(content, encoding="utf-8")
