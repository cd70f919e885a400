"""A shop whose customers come from three systems, without orders: its source folder, and drops of generated records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl

from ecommerce_platform.simulation.records import SYSTEMS

FIRST_DAY = date(2024, 1, 1)
SOURCE_YML = """
description: Customers of a web shop, a CRM and a newsletter.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
identity: {link: true}
tables:
  web_shop: {files: ["web_shop*.csv"], description: Accounts of the web shop., delivery: delta}
  crm: {files: ["crm*.csv"], description: The whole CRM., delivery: full, delimiter: ";"}
  newsletter: {files: ["newsletter*.csv"], description: Subscribers., delivery: delta}
"""
_MAPPING = """
select
    as_text(no) as customer_id,
    as_text(customer_key) as person_key,
    as_text(name) as full_name,
    as_text(mail) as email,
    as_text(phone) as phone,
    as_date_format(born, '{date_format}') as birth_date,
    as_text(zip) as postal_code,
    as_text(town) as city
from bronze.three_systems__{system}
"""


def write_source(folder: Path, *, link: bool = True) -> Path:
    """The source folder below `folder`."""
    home = folder / "three_systems"
    home.mkdir(parents=True)
    (home / "source.yml").write_text(SOURCE_YML if link else SOURCE_YML.replace("identity: {link: true}\n", ""))
    for system in SYSTEMS.values():
        sql = _MAPPING.format(system=system.name, date_format=system.date_format)
        (home / f"customers.{system.name}.sql").write_text(sql)
    return home


def deliver(raw: Path, day: date, records: pl.DataFrame, keys: Mapping[str, str] | None = None) -> None:
    """Writes the drop of a day; `keys` gives records (by customer_no) the shop's own key of their person."""
    folder = raw / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    for system in SYSTEMS.values():
        rows = records.filter(system=system.name)
        if not rows.height:
            continue
        rows.select(
            no="customer_no",
            customer_key=pl.col("customer_no").replace_strict(dict(keys or {}), default=None, return_dtype=pl.String),
            name="full_name",
            mail="email",
            phone="phone",
            born=pl.col("birth_date").dt.strftime(system.date_format),
            zip="postal_code",
            town="city",
        ).write_csv(folder / f"{system.name}.csv", separator=";" if system.name == "crm" else ",")
