"""Feeds of the three systems that know customers, each with what it knows of the same people and how it writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation import formats
from ecommerce_platform.simulation.drops import Feed, by_day
from ecommerce_platform.simulation.faults import CLEAN, FAULTS, is_kind
from ecommerce_platform.simulation.feeds.common import customer_numbers, faults_of
from ecommerce_platform.simulation.people import AGE_BANDS, CRM, NEWSLETTER, SEGMENTS, SYSTEM_NAMES, WEB_SHOP
from ecommerce_platform.simulation.places import REGIONS
from ecommerce_platform.simulation.randomness import stream
from ecommerce_platform.simulation.records import SYSTEMS, write_records
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Shop

if TYPE_CHECKING:
    import polars as pl

    from ecommerce_platform.simulation.formats import Encoder

_SEGMENTS_GERMAN = ("Privat", "Gewerbe", "Großkunde")
#: Customers who tell the CRM that they moved; all tell the web shop, none the newsletter.
_TELL_CRM_SHARE = 0.5


def web_customers(shop: Shop, dirty_share: float) -> Feed:
    """The web shop's accounts on the day they are made and again after a move; unknown fields are left out."""
    import polars as pl

    start, account = shop.seasons.start, shop.records[WEB_SHOP].account

    def write(frame: pl.DataFrame, person: np.ndarray) -> pl.DataFrame:
        number = frame["record"].to_numpy()
        known = np.ones(len(number), dtype=bool)
        return frame.select(
            customer_numbers(WEB_SHOP, number).alias("customer_no"),
            formats.where(formats.numbered("A", 5_000_000 + account[number]), account[number] >= 0).alias("account"),
            formats.timestamps(frame["registered"].to_numpy(), known, start, formats.ISO_T).alias("registered"),
            pl.col("full_name").alias("name"),
            pl.col("email").alias("mail"),
            "phone",
            pl.col("birth_date").dt.strftime("%Y-%m-%d").alias("born"),
            formats.where(formats.chosen(AGE_BANDS, shop.customers.age_band[person]), person % 20 != 3).alias(
                "age_band"
            ),
            formats.chosen(SEGMENTS, shop.customers.segment[person]).alias("segment"),
            pl.col("postal_code").alias("zip"),
            pl.col("city").alias("town"),
            "state",
            _region_of(shop, frame).alias("area"),
            pl.lit("DE").alias("country"),
        )

    return _feed(
        shop, WEB_SHOP, "web_customers", "web_customers.jsonl", 1.0, dirty_share, write, formats.json_lines_files()
    )


def crm_customers(shop: Shop, dirty_share: float) -> Feed:
    """The CRM's records, as a spreadsheet saved them: German headings, Windows' encoding, postal codes without zeros."""
    import polars as pl

    start = shop.seasons.start

    def write(frame: pl.DataFrame, person: np.ndarray) -> pl.DataFrame:
        known = np.ones(len(person), dtype=bool)
        return frame.select(
            customer_numbers(CRM, frame["record"].to_numpy()).alias("Kundennummer"),
            pl.col("full_name").alias("Name"),
            pl.col("email").alias("E-Mail"),
            pl.col("phone").alias("Telefon"),
            pl.col("birth_date").dt.strftime("%d.%m.%Y").alias("Geburtsdatum"),
            formats.chosen(_SEGMENTS_GERMAN, shop.customers.segment[person]).alias("Kundengruppe"),
            pl.col("postal_code").str.strip_chars_start("0").alias("PLZ"),
            pl.col("city").alias("Ort"),
            pl.col("state").alias("Bundesland"),
            formats.timestamps(frame["registered"].to_numpy(), known, start, formats.GERMAN).alias("Angelegt"),
        )

    encode = formats.csv_files(delimiter=";", encoding="cp1252")
    return _feed(shop, CRM, "crm_customers", "crm_customers.csv", _TELL_CRM_SHARE, dirty_share, write, encode)


def newsletter_subscribers(shop: Shop, dirty_share: float) -> Feed:
    """Subscribers on the day they subscribe, as an American provider writes them; never brought up to date."""
    import polars as pl

    start = shop.seasons.start

    def write(frame: pl.DataFrame, person: np.ndarray) -> pl.DataFrame:
        known = np.ones(len(person), dtype=bool)
        return frame.select(
            customer_numbers(NEWSLETTER, frame["record"].to_numpy()).alias("subscriber_id"),
            pl.col("email").alias("email_address"),
            pl.col("full_name").alias("display_name"),
            pl.col("phone").alias("mobile"),
            pl.col("birth_date").dt.strftime(formats.AMERICAN_DAY).alias("birthday"),
            pl.col("postal_code").alias("zip_code"),
            pl.col("city"),
            formats.timestamps(frame["registered"].to_numpy(), known, start, formats.AMERICAN).alias("opt_in_at"),
            pl.lit("de").alias("language"),
        )

    return _feed(shop, NEWSLETTER, "newsletter_subscribers", "newsletter_subscribers.jsonl", 0.0, dirty_share, write,
                 formats.json_lines_files())  # fmt: skip


def _feed(
    shop: Shop,
    system: int,
    table: str,
    file_name: str,
    told: float,
    dirty_share: float,
    write: Callable[[pl.DataFrame, np.ndarray], pl.DataFrame],
    encode: Encoder,
) -> Feed:
    """The records of a system when they are made, and again when a share `told` of those who move say so."""
    import polars as pl

    persons, sign_ups = shop.customers.persons, shop.records[system].sign_ups
    person, registered = sign_ups.person, sign_ups.registered
    size = len(person)
    rng = stream(shop.seed, f"moves told to {SYSTEM_NAMES[system]}")
    moved = persons.moved[person]
    news = (moved > np.maximum(registered, 0)) & (moved < shop.seasons.days * SECONDS) & (rng.random(size) < told)
    movers = np.flatnonzero(news)
    arguments = shop.seed, SYSTEMS[SYSTEM_NAMES[system]], persons, shop.places, sign_ups
    first = write_records(*arguments)
    again = write_records(*arguments, np.where(news, moved, registered))[movers] if len(movers) else first[movers]
    # Written at once: which of the two versions of a record a position means is its place in this frame.
    frame = write(pl.concat([first, again]), np.concatenate([person, person[movers]]))
    del first, again

    day, place = by_day(
        (np.maximum(registered // SECONDS, 0), np.arange(size)),
        (moved[movers] // SECONDS, size + np.arange(len(movers))),
    )
    is_first = place < size
    fault = faults_of(shop, table, day, dirty_share)
    # In JSON a missing value is a missing field. A file must not lose a whole column by that, so it happens
    # only to copies, which stand beside their original.
    nameless = [i for i, f in enumerate(FAULTS[table], start=1) if f.column == frame.columns[0]]
    fault[~is_first & np.isin(fault, nameless)] = 1
    # Nobody's first record is lost (the person behind an order would be unknown): the good one stands before
    # the faulty copy.
    copied = is_first & (fault != CLEAN) & ~is_kind(table, fault, "duplicate")
    repeat = np.repeat(np.arange(len(day)), 1 + copied)
    original = np.append(repeat[1:] == repeat[:-1], False)[: len(repeat)]
    day, place = day[repeat], place[repeat]
    fault = np.where(original, CLEAN, fault[repeat]).astype(np.uint8)
    key = np.where(place < size, place, movers[np.maximum(place - size, 0)] if len(movers) else place)
    return Feed(
        table=table,
        entity="customers",
        file_name=file_name,
        day=day,
        key=key,
        fault=fault,
        keys=size,
        rows=lambda position: frame[place[position]],
        encode=encode,
    )


def _region_of(shop: Shop, frame: pl.DataFrame) -> pl.Series:
    """The sales region of each record's state."""
    states = {state: REGIONS[region] for state, region in zip(shop.places.state, shop.places.region, strict=True)}
    return frame["state"].replace_strict(states, default=None)
