"""Feeds about goods: labels, postal codes, the catalogue and what lies in stock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation import formats
from ecommerce_platform.simulation.catalogue import CATEGORIES
from ecommerce_platform.simulation.drops import Feed
from ecommerce_platform.simulation.feeds.common import faults_of
from ecommerce_platform.simulation.orders import METHODS
from ecommerce_platform.simulation.places import REGIONS
from ecommerce_platform.simulation.simulate import Shop
from ecommerce_platform.simulation.stock import LOCATIONS

if TYPE_CHECKING:
    import polars as pl


def labels(shop: Shop) -> Feed:
    """What codes mean: once, with a UTF-8 mark."""
    import polars as pl

    rows = [("CAT", c.code, c.label) for c in CATEGORIES] + [("PAY", m[0], m[1]) for m in METHODS]
    frame = pl.DataFrame(rows, schema=["kind", "code", "name"], orient="row")
    size = len(rows)

    return Feed(
        table="labels",
        entity="labels",
        file_name="labels.csv",
        day=np.zeros(size, dtype=int),
        key=np.arange(size),
        fault=np.zeros(size, dtype=np.uint8),
        keys=size,
        rows=lambda position: frame[position],
        encode=formats.csv_files(encoding="utf-8-sig"),
    )


def postal_codes(shop: Shop, dirty_share: float) -> Feed:
    """Postal codes and where they are: once, in Latin-1."""
    import polars as pl

    places = shop.places
    frame = pl.DataFrame(
        {
            "zip": places.postal_code,
            "town": places.city,
            "state": places.state,
            "area": formats.chosen(REGIONS, places.region),
            "lat": pl.Series(places.latitude).cast(pl.String),
            "lng": pl.Series(places.longitude).cast(pl.String),
        }
    )
    day = np.zeros(len(places), dtype=int)
    return Feed(
        table="postal_codes",
        entity="postal_codes",
        file_name="postal_codes.csv",
        day=day,
        key=np.arange(len(places)),
        fault=faults_of(shop, "postal_codes", day, dirty_share),
        keys=len(places),
        rows=lambda position: frame[position],
        encode=formats.csv_files(delimiter=";", encoding="latin-1"),
    )


def products(shop: Shop, dirty_share: float) -> Feed:
    """The whole catalogue on each first of a month, as one JSON array."""
    import polars as pl

    catalogue, seasons = shop.catalogue, shop.seasons
    listed = catalogue.first_month[None, :] <= np.arange(seasons.months)[:, None]
    month, key = np.nonzero(listed)
    day = seasons.catalogue_days[month]

    def rows(position: np.ndarray) -> pl.DataFrame:
        m, p = month[position], key[position]
        # Values stay Python objects: JSON has numbers and texts in one column once a price is wrong.
        cost = [None if c < 0 else c / 100 for c in catalogue.cost[m, p].tolist()]
        return pl.DataFrame(
            {
                "sku": [catalogue.sku[i] for i in p],
                "title": [catalogue.title[i] for i in p],
                "cat": [CATEGORIES[c].code for c in catalogue.category[p]],
                "maker": [catalogue.brand[i] for i in p],
                "price": pl.Series([c / 100 for c in catalogue.price[m, p].tolist()], dtype=pl.Object),
                "cost": cost,
                "grams": catalogue.grams[p],
                "listed_on": [(seasons.start + timedelta(days=int(d))).isoformat() for d in catalogue.launched[p]],
            }
        )

    return Feed(
        table="products",
        entity="products",
        file_name="products.json",
        day=day,
        key=key,
        fault=faults_of(shop, "products", day, dirty_share),
        keys=len(catalogue),
        rows=rows,
        encode=formats.json_array_files(),
    )


def inventory(shop: Shop, dirty_share: float) -> Feed:
    """Counts of both warehouses each Sunday, as the warehouse's system writes them: capitals, days without dashes."""
    import polars as pl

    stock, skus, start = shop.stock, pl.Series(shop.catalogue.sku), shop.seasons.start

    def rows(position: np.ndarray) -> pl.DataFrame:
        day = stock.day[position]
        # A few counts were made without looking up the supplier.
        known = position % 23 != 0
        return pl.DataFrame(
            {
                "STICHTAG": formats.days(day, start, "%Y%m%d"),
                "LAGER": formats.chosen(LOCATIONS, stock.location[position]),
                "ARTNR": skus.gather(stock.product[position]),
                "BESTAND": pl.Series(stock.on_hand[position]).cast(pl.String),
                "MELDEBESTAND": pl.Series(stock.reorder_point[position]).cast(pl.String),
                "WBZ_TAGE": formats.where(pl.Series(stock.lead_time_days[position]).cast(pl.String), known),
            }
        )

    return Feed(
        table="stock_counts",
        entity="inventory_snapshots",
        file_name="stock_counts.csv",
        day=stock.day,
        key=np.arange(len(stock.day)),
        fault=faults_of(shop, "stock_counts", stock.day, dirty_share),
        keys=len(stock.day),
        rows=rows,
        encode=formats.csv_files(delimiter=";"),
    )
