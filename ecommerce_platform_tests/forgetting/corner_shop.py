"""A corner shop whose systems write files of every kind, with a customer who is in all of them in many ways.

Anna Müller has an account in the web shop and an entry in the CRM; another Anna Müller is somebody else. Columns that no
mapping names (streets, notes, bank accounts) are in most files.
"""

from __future__ import annotations

import gzip
import io
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIRST, SECOND, THIRD = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)
#: All that tells who Anna is; the name alone does not.
ANNAS = (
    "anna.mueller@post.example", "Anna.M@work.example", "+49 170 5550001", "0170/5550001", "1980-03-04", "04.03.1980",
    "Lindenweg 17", "Neue Gasse 3", "DE44500105175407324931", "calls after six", "my neighbour Eva", "for aunt Olga",
    "Anna Mueller-Weber", "1980-02-31",
)  # fmt: skip
NAME = "Anna Müller"
ANNA_IDS = ("crm-C200001", "web-W100001")

SOURCE_YML = """
description: A corner shop with a web shop.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  web: {files: ["web*.jsonl"], description: Accounts., delivery: delta, max_unparsable_share: 0.9}
  crm: {files: ["crm*.csv"], description: The whole CRM., delivery: full, delimiter: ";", encoding: cp1252,
        max_unparsable_share: 0.9}
  orders: {files: ["orders*.csv"], description: Orders., delivery: delta, max_unparsable_share: 0.9}
  items: {files: ["items*.parquet"], description: Lines., delivery: delta}
  payments: {files: ["payments*.tsv"], description: Payments., delivery: delta, encoding: utf-16}
  reviews: {files: ["reviews*.csv"], description: Reviews., delivery: delta, max_unparsable_share: 0.9}
  products: {files: ["products*.json"], description: Products., delivery: full}
  letters: {files: ["letters*.csv"], description: Letters that nobody reads yet., delivery: delta}
"""
MAPPINGS = {
    "customers.web": """select 'web-' || as_text(no) as customer_id, as_text(person) as person_key,
        as_timestamp(since) as registered_at, as_text(name) as full_name, as_text(mail) as email,
        as_text(tel) as phone, as_date(born) as birth_date, as_text(zip) as postal_code, as_text(town) as city,
        as_double(lat) as latitude, as_double(lon) as longitude""",
    "customers.crm": """select 'crm-' || as_text("Nr") as customer_id, as_text("Person") as person_key,
        as_text("Name") as full_name, as_text("E-Mail") as email, as_text("Telefon") as phone,
        as_date_format("Geboren", '%d.%m.%Y') as birth_date, as_text("PLZ") as postal_code""",
    "orders.orders": """select as_text(order_no) as order_id, as_text(customer) as customer_id,
        as_timestamp(placed) as ordered_at, as_text(state) as status, true as is_valid""",
    "order_items.items": """select as_text(order_no) as order_id, as_integer(pos) as line_number,
        as_text(sku) as product_id, as_integer(qty) as quantity, as_decimal(price) as unit_price""",
    "payments.payments": """select as_text(order_no) as order_id, 1 as payment_number, as_text(method) as method,
        as_decimal_comma(amount) as amount""",
    "reviews.reviews": """select as_text(review_no) as review_id, as_text(order_no) as order_id,
        as_integer(stars) as score, as_text(headline) as title, as_text("text") as message""",
    # A table of nobody: who wrote a letter, no mapping says.
    "labels.letters": "select 'letter' as domain, as_text(letter) as code, as_text(letter) as label",
    "products.products": "select as_text(sku) as product_id, as_text(title) as name",
}


def write_source(folder: Path) -> Path:
    """The source folder below `folder`."""
    home = folder / "corner"
    home.mkdir(parents=True)
    (home / "source.yml").write_text(SOURCE_YML)
    for name, select in MAPPINGS.items():
        (home / f"{name}.sql").write_text(f"{select}\nfrom bronze.corner__{name.split('.')[1]}\n")
    return home


def _web(*records: dict[str, object] | str) -> bytes:
    return "".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in records).encode()


_ANNA = {
    "no": "W100001", "person": "P1", "since": "2023-05-01 10:00:00", "name": "Anna Müller",
    "mail": "anna.mueller@post.example", "tel": "+49 170 5550001", "born": "1980-03-04", "street": "Lindenweg 17",
    "zip": "50667", "town": "Köln", "lat": 50.9412, "lon": 6.9583,
}  # fmt: skip
_BOB = {
    "no": "W100002", "person": "P2", "since": "2023-06-01 10:00:00", "name": "Bob Öztürk", "mail": "bob@post.example",
    "tel": "+49 170 5550002", "born": "1990-01-01", "street": "Am Markt 2", "zip": "53111", "town": "Bonn",
    "lat": 50.7, "lon": 7.1,
}  # fmt: skip
_CRM_HEAD = "Nr;Person;Name;E-Mail;Telefon;Geboren;Straße;PLZ;Notiz\n"
_CRM_ANNA = (
    'C200001;P1;"Müller; Anna";anna.mueller@post.example;0170/5550001;04.03.1980;"Lindenweg 17\nHinterhaus";50667;'
    '"calls after six,\nsays ""please"""\n'
)
_CRM_OTHERS = (
    "C200002;P3;Eve Groß;eve@post.example;0170/5550003;05.05.1975;Am Dom 5;50667;\n"
    'C200003;P4;Anna Müller;another.anna@else.example;0221/777888;06.06.1966;"Ring 6";53111;"says ""no"""\n'
)


def _crm(*lines: str) -> bytes:
    return (_CRM_HEAD + "".join(lines)).encode("cp1252")


def _items(*rows: tuple[str, int, str, int, str, str | None]) -> bytes:
    names = ("order_no", "pos", "sku", "qty", "price", "gift_note")
    out = io.BytesIO()
    pq.write_table(pa.table({n: [r[i] for r in rows] for i, n in enumerate(names)}), out)
    return out.getvalue()


def _payments(*lines: str) -> bytes:
    return ("order_no\tmethod\tamount\tiban\r\n" + "".join(f"{line}\r\n" for line in lines)).encode("utf-16")


_PRODUCTS = json.dumps([{"sku": "S1", "title": "Soap"}, {"sku": "S2", "title": "Tea"}], indent=1).encode()
_ORDERS_HEAD = "order_no,customer,placed,state,ship_to,ship_street\n"

DROPS: dict[date, dict[str, bytes]] = {
    FIRST: {
        "web.jsonl": _web(
            _ANNA, _BOB, {**_ANNA, "no": None, "person": None},
            {**_ANNA, "born": "1980-02-31", "name": "Anna Mueller-Weber"},
        ),
        "crm.csv": _crm(_CRM_ANNA, _CRM_OTHERS, "C200001;P1;Müller, Anna;0170/5550001\n"),
        "orders.csv.gz": gzip.compress(
            (
                _ORDERS_HEAD
                + "O900001,web-W100001,2024-01-01 09:00:00,created,Anna Müller,Lindenweg 17\n"
                + "O900002,web-W100002,2024-01-01 10:00:00,delivered,Bob Öztürk,Am Markt 2\n"
                + "O900003,crm-C200003,2024-01-01 11:00:00,delivered,Anna Müller,Ring 6\n"
            ).encode()
        ),
        "items.parquet": _items(
            ("O900001", 1, "S1", 2, "3.50", "for aunt Olga"), ("O900002", 1, "S2", 1, "4.20", "for me"),
            ("O900003", 1, "S2", 3, "4.20", None),
        ),
        "payments.tsv": _payments("O900001\tcard\t7,00\tDE44500105175407324931", "O900002\tcash\t4,20\tDE02120300000000202051"),
        "products.json": _PRODUCTS,
        "letters.csv": b"letter,sender,body\n1,anna.mueller@post.example,hello\n2,bob@post.example,bye\n",
    },
    SECOND: {
        "web.jsonl": _web(
            {**_ANNA, "mail": "Anna.M@work.example", "street": "Neue Gasse 3", "zip": "53111", "town": "Bonn"},
            '{"no": "W100001", "name": "Anna Mül',
        ),
        "crm.csv": _crm(_CRM_OTHERS, _CRM_ANNA),
        "orders.csv": (
            _ORDERS_HEAD + "O900001,web-W100001,2024-01-01 09:00:00,delivered,Anna Müller,Neue Gasse 3\n"
            "O900004,crm-C200001,2024-01-02 12:00:00,lost?,Anna Müller,Lindenweg 17\n"
            "O900005,crm-C200002,2024-01-02 12:30:00,delivered,Eve Groß,Am Dom 5\n"
        ).encode(),
        "items.parquet": _items(("O900004", 1, "S1", 1, "3.50", None), ("O900005", 1, "S1", 1, "3.50", "for Eve")),
        "reviews.csv": (
            b'review_no,order_no,stars,headline,text\n'
            b'1,O900001,5,"Good, says my neighbour Eva","She ""loves"" it\nand so do I"\n'
            b'2,O900002,4,Fine,"Nice\n\n""tea"""\n'
            b'3,O900001,many,my neighbour Eva,again\n'
        ),
    },
}  # fmt: skip


def deliver(raw: Path, *days: date) -> None:
    """Writes the drops of these days."""
    for day in days:
        (raw / day.isoformat()).mkdir(parents=True)
        for name, content in DROPS[day].items():
            (raw / day.isoformat() / name).write_bytes(content)
