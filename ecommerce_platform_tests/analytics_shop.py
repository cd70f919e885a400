"""A small shop's SQLite file, invented: two tables as people keep them for analysis, with the faults they grow.

`write_shop` writes the file, always the same for the same seed; `export_shop` writes its tables as CSV, as a tool
that dumps SQLite would. What the figures must come to is for the tests to ask SQLite itself.
"""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from random import Random

CATEGORIES = ("Electronics", "Home & Garden", "Büro", "Toys", "Sports")
CHANNELS = ("web", "app", "store")
METHODS = ("card", "paypal", "bank transfer")
SEGMENTS = ("premium", "regular", "new")
REGIONS = ("North", "South", "East", "West")
AGES = ("18-24", "25-34", "35-54", "55+")
FIRST_DAY = date(2023, 1, 1)

_TABLES = """
create table customers (
    customer_id integer primary key, acquisition_date text, last_purchase_date text, segment text, region text,
    age_group text, lifetime_value real
);
create table transactions (
    transaction_id text primary key, customer_id integer, date text not null, revenue real, category text, channel text,
    payment_method text, delivery_days integer, satisfaction_score real, segment text, region text, age_group text
);
"""


def write_shop(path: Path, *, customers: int = 120, transactions: int = 900, days: int = 500, seed: int = 1) -> Path:
    """Writes the SQLite file.

    Its quirks: transactions without customer, category, method of payment, delivery or satisfaction, one without
    revenue; money paid back as a revenue below 0; customers that the customers table lacks; customers acquired after
    their first purchase; customers without purchases; last purchases that are out of date or missing.
    """
    random = Random(seed)
    path.unlink(missing_ok=True)
    people = {
        n: (random.choice(SEGMENTS), random.choice(REGIONS), random.choice(AGES)) for n in range(1, customers + 1)
    }
    last: dict[int, date] = {}
    rows = []
    for number in range(1, transactions + 1):
        # The last tenth of the customers never buys; the first ones buy most.
        customer = 1 + int(customers * 0.9 * random.random() ** 2)
        day = FIRST_DAY + timedelta(days=random.randrange(days))
        is_known = random.random() > 0.05
        if is_known:
            last[customer] = max(day, last.get(customer, day))
        revenue = None if number == 100 else round(random.lognormvariate(3.5, 0.8), 2)
        if revenue is not None and random.random() < 0.03:
            revenue = -revenue
        segment, region, age = people[customer]
        rows.append(
            (
                f"T{number:05}",
                customer if is_known else None,
                day.isoformat(),
                revenue,
                random.choice(CATEGORIES) if random.random() > 0.02 else None,
                random.choice(CHANNELS),
                random.choice(METHODS) if random.random() > 0.04 else None,
                random.randint(0, 12) if random.random() > 0.1 else None,
                random.randint(1, 5) if random.random() > 0.3 else None,
                segment,
                # Some buy for an address elsewhere.
                region if random.random() > 0.1 else random.choice(REGIONS),
                age,
            )
        )
    records = []
    for number, (segment, region, age) in people.items():
        if number % 17 == 0:
            continue  # bought, but never made it into the customers table
        newest = last.get(number)
        stated = newest - timedelta(days=30) if newest and number % 10 == 0 else newest
        acquired = FIRST_DAY + timedelta(days=random.randrange(days) if number % 4 == 0 else 0)
        records.append(
            (
                number,
                acquired.isoformat(),
                stated.isoformat() if stated and number % 13 else None,
                segment,
                region,
                age,
                round(random.random() * 900, 2),
            )
        )
    with closing(sqlite3.connect(path)) as con:
        con.executescript(_TABLES)
        con.executemany(f"insert into customers values ({', '.join('?' * 7)})", records)
        con.executemany(f"insert into transactions values ({', '.join('?' * 12)})", rows)
        con.commit()
    return path


def export_shop(database: Path, folder: Path) -> Path:
    """Writes each table of the SQLite file as `<table>.csv` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as con:
        for table in ("customers", "transactions"):
            found = con.execute(f"select * from {table} order by 1")
            with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow([name for name, *_ in found.description])
                writer.writerows(found)
    return folder
