"""The shop's daily exports: which record becomes known on which day, and the file it stands in.

A feed is one raw table. Its records are numbered in the order of delivery; what they say is looked up in the
simulated shop only when their file is written, so that a large shop never stands in memory as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.simulation import formats
from ecommerce_platform.simulation.catalogue import CATEGORIES, Catalogue
from ecommerce_platform.simulation.faults import (
    CLEAN,
    FAULTS,
    choose_faults,
    is_kind,
)
from ecommerce_platform.simulation.orders import (
    CANCELED,
    CARRIERS,
    DEVICES,
    METHODS,
    NEVER,
    UNAVAILABLE,
    Lines,
    Orders,
    Payments,
    Reviews,
)
from ecommerce_platform.simulation.people import AGE_BANDS, CHANNELS, SEGMENTS, Customers
from ecommerce_platform.simulation.places import REGIONS, Places
from ecommerce_platform.simulation.randomness import stream
from ecommerce_platform.simulation.seasons import SECONDS, Seasons
from ecommerce_platform.simulation.words import (
    FIRST_NAMES,
    HEADLINES,
    HEADLINES_PER_MOOD,
    LAST_NAMES,
    PER_MOOD,
    REVIEW_TEXTS,
)

if TYPE_CHECKING:
    import polars as pl

_RECORDS_AT_ONCE = 250_000
_STATES = ("new", "in_progress", "sent", "delivered", "cancelled", "not_available")


@dataclass(frozen=True)
class Shop:
    """Everything simulated, before it is exported."""

    seed: int
    seasons: Seasons
    places: Places
    catalogue: Catalogue
    customers: Customers
    orders: Orders
    lines: Lines
    payments: Payments
    reviews: Reviews


@dataclass(frozen=True)
class Feed:
    """One raw table's records in the order of delivery."""

    table: str
    file_name: str
    #: Day of delivery of each record, ascending; the records of one day make one file.
    day: np.ndarray
    #: Number of the thing each record is about (customer, order, line …), from 0.
    key: np.ndarray
    #: Fault code of each record (see `faults`).
    fault: np.ndarray
    #: How many things there are.
    keys: int
    #: The records at the given positions as columns of text, in the order given.
    rows: Callable[[np.ndarray], pl.DataFrame]
    #: The bytes of a file: its rows, and the positions among them of lines that cannot be parsed.
    encode: Callable[[pl.DataFrame, np.ndarray], bytes]

    @property
    def files(self) -> int:
        """How many files the feed makes."""
        return len(np.unique(self.day))


def make_feeds(shop: Shop, dirty_share: float) -> list[Feed]:
    """The nine raw tables of the shop, with their faults chosen."""
    return [
        _labels(shop),
        _postal_codes(shop, dirty_share),
        _products(shop, dirty_share),
        _customers(shop, dirty_share),
        _orders(shop, dirty_share),
        _order_items(shop, dirty_share),
        _payments(shop, dirty_share),
        _shipments(shop, dirty_share),
        _reviews(shop, dirty_share),
    ]


def write_feeds(
    raw: Path, start: date, feeds: list[Feed], threads: int, progress: Callable[[str, int, int], None]
) -> None:
    """Writes every feed's files below `raw`, one folder per day.

    Files are written by a few threads while the next rows are made; which thread writes what changes no byte.
    """
    total, done = sum(len(feed.day) for feed in feeds), 0
    with ThreadPoolExecutor(threads) as pool:
        for feed in feeds:
            for begin, end in _chunks(feed.day):
                files = _files(raw, start, feed, begin, end)
                for _ in pool.map(_write, files):
                    pass
                done += end - begin
                progress("drops", done, total)


def drop_folder(raw: Path, start: date, day: int) -> Path:
    """Folder of the drop of a day counted from `start`."""
    return raw / (start + timedelta(days=day)).isoformat()


def _chunks(day: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of whole days with about `_RECORDS_AT_ONCE` records each, as begin and end."""
    begin = 0
    while begin < len(day):
        end = min(begin + _RECORDS_AT_ONCE, len(day))
        end = int(np.searchsorted(day, day[end - 1], side="right"))
        yield begin, end
        begin = end


_File = tuple[Path, Callable[["pl.DataFrame", np.ndarray], bytes], "pl.DataFrame", np.ndarray]


def _files(raw: Path, start: date, feed: Feed, begin: int, end: int) -> list[_File]:
    """The files of the records begin … end-1, their faults put in; duplicates stand behind their original."""
    position = np.arange(begin, end)
    position = np.repeat(position, 1 + is_kind(feed.table, feed.fault[begin:end], "duplicate"))
    day, fault = feed.day[position], feed.fault[position]
    frame = _with_faults(feed.table, feed.rows(position), fault)
    broken = np.flatnonzero(is_kind(feed.table, fault, "unparsable"))
    files = []
    for one in np.unique(day).tolist():
        first, last = np.searchsorted(day, one), np.searchsorted(day, one, side="right")
        lines = broken[(broken >= first) & (broken < last)] - first
        path = drop_folder(raw, start, one) / feed.file_name
        files.append((path, feed.encode, frame[int(first) : int(last)], lines))
    return files


def _write(file: _File) -> None:
    path, encode, frame, broken = file
    content = encode(frame, broken)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _with_faults(table: str, frame: pl.DataFrame, fault: np.ndarray) -> pl.DataFrame:
    """The rows with the values of their rejecting faults."""
    import polars as pl

    if not (fault != CLEAN).any():
        return frame
    codes = pl.Series(fault)
    for code, kind in enumerate(FAULTS[table], start=1):
        if kind.column:
            dtype = frame.schema[kind.column]
            wrong = pl.lit(kind.value, dtype=dtype)
            column = pl.when(codes == code).then(wrong).otherwise(pl.col(kind.column))
            frame = frame.with_columns(column.alias(kind.column))
        elif kind.kind == "unparsable" and "text" in frame.columns:
            # A line that is broken on purpose is one line: its multi-line text goes.
            frame = frame.with_columns(pl.when(codes == code).then(None).otherwise(pl.col("text")).alias("text"))
    return frame


def _by_day(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several (day, key) runs as one, by day; within a day in the order given."""
    day = np.concatenate([part[0] for part in parts])
    key = np.concatenate([part[1] for part in parts])
    order = np.argsort(day, kind="stable")
    return day[order], key[order]


def _faults(shop: Shop, table: str, day: np.ndarray, dirty_share: float) -> np.ndarray:
    return choose_faults(stream(shop.seed, f"faults {table}"), table, day, dirty_share)


def _labels(shop: Shop) -> Feed:
    import polars as pl

    rows = [("CAT", c.code, c.label) for c in CATEGORIES] + [("PAY", m[0], m[1]) for m in METHODS]
    frame = pl.DataFrame(rows, schema=["kind", "code", "name"], orient="row")
    size = len(rows)

    def encode(part: pl.DataFrame, broken: np.ndarray) -> bytes:
        return b"\xef\xbb\xbf" + formats.csv_bytes(part, broken)

    return Feed(
        table="labels",
        file_name="labels.csv",
        day=np.zeros(size, dtype=int),
        key=np.arange(size),
        fault=np.zeros(size, dtype=np.uint8),
        keys=size,
        rows=lambda position: frame[position],
        encode=encode,
    )


def _postal_codes(shop: Shop, dirty_share: float) -> Feed:
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
        file_name="postal_codes.csv",
        day=day,
        key=np.arange(len(places)),
        fault=_faults(shop, "postal_codes", day, dirty_share),
        keys=len(places),
        rows=lambda position: frame[position],
        encode=lambda part, broken: formats.csv_bytes(part, broken, delimiter=";", encoding="latin-1"),
    )


def _products(shop: Shop, dirty_share: float) -> Feed:
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
        file_name="products.json",
        day=day,
        key=key,
        fault=_faults(shop, "products", day, dirty_share),
        keys=len(catalogue),
        rows=rows,
        encode=lambda part, broken: formats.json_array_bytes(part.to_dicts()),
    )


def _customers(shop: Shop, dirty_share: float) -> Feed:
    import polars as pl

    customers, places, start = shop.customers, shop.places, shop.seasons.start
    size = len(customers)
    movers = np.flatnonzero(customers.moved >= 0)
    # A record and its key: key below `size` is the first version, key + size the one after moving.
    day, code = _by_day(
        (np.maximum(customers.registered // SECONDS, 0), np.arange(size)),
        (customers.moved[movers], movers + size),
    )
    fault = _faults(shop, "customers", day, dirty_share)
    # In JSON a missing value is a missing field. A file must not lose a whole column by that, so it happens
    # only to copies, which stand beside their original.
    nameless = [i for i, f in enumerate(FAULTS["customers"], start=1) if f.column == "customer_no"]
    fault[(code >= size) & np.isin(fault, nameless)] = 1
    # Nobody's first record is lost (the person behind an order would be unknown): the good one stands before
    # the faulty copy.
    copied = (code < size) & (fault != CLEAN) & ~is_kind("customers", fault, "duplicate")
    repeat = np.repeat(np.arange(len(day)), 1 + copied)
    original = np.append(repeat[1:] == repeat[:-1], False)
    day, code, fault = day[repeat], code[repeat], np.where(original, CLEAN, fault[repeat]).astype(np.uint8)

    def rows(position: np.ndarray) -> pl.DataFrame:
        after_move = code[position] >= size
        i = code[position] - after_move * size
        place = np.where(after_move, customers.new_place[i], customers.place[i])
        person = customers.person[i]
        # Small hashes of the person's number stand for attributes that nothing depends on.
        first, last = person * 7919 % len(FIRST_NAMES), person * 104_729 // 7 % len(LAST_NAMES)
        names = formats.chosen(FIRST_NAMES, first), formats.chosen(LAST_NAMES, last)
        born = np.array(customers.birth_year[i] - 1970).astype("datetime64[Y]").astype("datetime64[D]")
        born_days = (born + customers.birth_day[i]).astype(np.int64)
        return pl.DataFrame(
            {
                "customer_no": formats.numbered("K", 1_000_000 + i),
                "person": formats.where(formats.numbered("P", 5_000_000 + person), customers.has_key[i]),
                "registered": formats.timestamps(
                    customers.registered[i], np.ones(len(i), dtype=bool), start, formats.ISO_T
                ),
                "name": names[0] + " " + names[1],
                "mail": formats.where(
                    formats.numbered("mail", 1_000_000 + i)
                    + "@example."
                    + formats.chosen(("com", "net", "org"), i % 3),
                    i % 41 != 0,
                ),
                "phone": formats.where(formats.numbered("+49 1555 ", 1_000_000 + person), person % 3 != 0),
                "born": formats.where(
                    pl.Series(born_days.astype(np.int32)).cast(pl.Date).dt.strftime("%Y-%m-%d"),
                    person % 4 != 1,
                ),
                "age_band": formats.where(formats.chosen(AGE_BANDS, customers.age_band[i]), person % 20 != 3),
                "segment": formats.chosen(SEGMENTS, customers.segment[i]),
                "zip": formats.chosen(places.postal_code, place),
                "town": formats.chosen(places.city, place),
                "state": formats.chosen(places.state, place),
                "area": formats.chosen(REGIONS, places.region[place]),
                "newsletter": pl.Series(person % 5 < 2),
                "country": formats.chosen(("DE",), np.zeros(len(i), dtype=int)),
            }
        )

    return Feed(
        table="customers",
        file_name="customers.jsonl",
        day=day,
        key=code % size,
        fault=fault,
        keys=size,
        rows=rows,
        encode=formats.json_lines_bytes,
    )


def order_versions(orders: Orders, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Days of the first and the second export of each order; the second is -1 where there is none.

    The second comes with the end (delivered, canceled, given up), or with the parcel's leaving when the end
    lies beyond the last day.
    """
    first = orders.day
    end = np.minimum(orders.received, orders.ended)
    news = np.where(end < days * SECONDS, end, orders.shipped) // SECONDS
    return first, np.where((news > first) & (news < days), news, -1)


def _orders(shop: Shop, dirty_share: float) -> Feed:
    import polars as pl

    orders, places, seasons = shop.orders, shop.places, shop.seasons
    first, second = order_versions(orders, seasons.days)
    newer = np.flatnonzero(second >= 0)
    day, key = _by_day((first, np.arange(len(orders))), (second[newer], newer))

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = key[position]
        horizon = (day[position] + 1) * SECONDS

        def moment(name: str) -> pl.Series:
            seconds = getattr(orders, name)[i]
            return formats.timestamps(seconds, seconds < horizon, seasons.start, formats.ISO)

        promised, campaign = orders.promised[i], seasons.campaign_of_day[orders.placed[i] // SECONDS]
        return pl.DataFrame(
            {
                "order_no": formats.numbered("W", 20_000_000 + i),
                "customer_no": formats.where(
                    formats.numbered("K", 1_000_000 + orders.customer[i]), orders.customer[i] >= 0
                ),
                "placed": moment("placed"),
                "paid": moment("approved"),
                "sent": moment("shipped"),
                "received": moment("received"),
                "due": formats.timestamps(promised, promised < NEVER, seasons.start, "%Y-%m-%d"),
                "state": formats.chosen(_STATES, order_state(orders, i, horizon)),
                "channel": formats.chosen(CHANNELS, orders.channel[i]),
                "device": formats.chosen(DEVICES, orders.device[i]),
                "promo": formats.chosen([c.code for c in seasons.campaigns], campaign),
                "ship_zip": formats.chosen(places.postal_code, orders.ship_to[i]),
            }
        )

    return Feed(
        table="orders",
        file_name="orders.csv",
        day=day,
        key=key,
        fault=_faults(shop, "orders", day, dirty_share),
        keys=len(orders),
        rows=rows,
        encode=formats.csv_bytes,
    )


def order_state(orders: Orders, index: np.ndarray, horizon: np.ndarray) -> np.ndarray:
    """State (index into `_STATES`) of the orders at `index` as known before `horizon` (seconds)."""
    fate = orders.fate[index]
    state = (orders.approved[index] < horizon).astype(int)
    state = np.where(orders.shipped[index] < horizon, 2, state)
    state = np.where(orders.received[index] < horizon, 3, state)
    ended = orders.ended[index] < horizon
    state = np.where(ended & (fate == CANCELED), 4, state)
    return np.where(ended & (fate == UNAVAILABLE), 5, state)


def _order_items(shop: Shop, dirty_share: float) -> Feed:
    import polars as pl

    lines, skus = shop.lines, pl.Series(shop.catalogue.sku)
    day = shop.orders.day[lines.order]

    def rows(position: np.ndarray) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "order_no": formats.numbered("W", 20_000_000 + lines.order[position]),
                "pos": lines.number[position].astype(np.int32),
                "sku": skus.gather(lines.product[position]),
                "qty": lines.quantity[position].astype(np.int32),
                # Still cents: `encode` makes typed decimals of them.
                "unit_price": lines.price[position],
                "rebate": lines.discount[position],
                "shipping": lines.shipping[position],
                "vat": lines.tax[position],
            }
        )

    def encode(part: pl.DataFrame, broken: np.ndarray) -> bytes:
        import pyarrow as pa

        arrays: dict[str, Any] = {name: pa.array(part[name].to_list(), pa.string()) for name in ("order_no", "sku")}
        arrays |= {name: pa.array(part[name].to_numpy()) for name in ("pos", "qty")}
        money = ("unit_price", "rebate", "shipping", "vat")
        arrays |= {name: formats.decimal_array(part[name].to_numpy()) for name in money}
        return formats.parquet_bytes(pa.table({name: arrays[name] for name in part.columns}))

    return Feed(
        table="order_items",
        file_name="order_items.parquet",
        day=day,
        key=np.arange(len(day)),
        fault=_faults(shop, "order_items", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=encode,
    )


def _payments(shop: Shop, dirty_share: float) -> Feed:
    import polars as pl

    payments, orders, start = shop.payments, shop.orders, shop.seasons.start
    day = orders.day[payments.order]

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = payments.order[position]
        approved = orders.approved[i]
        return pl.DataFrame(
            {
                "order_no": formats.numbered("W", 20_000_000 + i),
                "seq": pl.Series(payments.number[position]).cast(pl.String),
                "method": formats.chosen([m[0] for m in METHODS], payments.method[position]),
                "instalments": pl.Series(payments.installments[position]).cast(pl.String),
                "amount": formats.money(payments.amount[position], comma=True),
                # Payments are exported once, with their order: later approvals are not seen here.
                "paid_on": formats.timestamps(approved, approved < (day[position] + 1) * SECONDS, start, formats.ISO),
            }
        )

    return Feed(
        table="payments",
        file_name="payments.csv",
        day=day,
        key=np.arange(len(day)),
        fault=_faults(shop, "payments", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=lambda part, broken: formats.csv_bytes(part, broken, delimiter=";"),
    )


def _shipments(shop: Shop, dirty_share: float) -> Feed:
    import polars as pl

    orders, seasons = shop.orders, shop.seasons
    end = seasons.days * SECONDS
    parcels = np.flatnonzero(orders.shipped < end)
    left, arrived = orders.shipped[parcels] // SECONDS, orders.received[parcels] // SECONDS
    # By the time they left, so that the first export of parcels is in order within a day, too.
    sequence = np.argsort(orders.shipped[parcels], kind="stable")
    parcels, left, arrived = parcels[sequence], left[sequence], arrived[sequence]
    later = np.flatnonzero((arrived > left) & (arrived < seasons.days))
    day, key = _by_day((left, np.arange(len(parcels))), (arrived[later], later))
    rng = stream(shop.seed, "parcel costs")
    base = np.array([390, 345, 310, 265])[orders.carrier[parcels]]
    cost = base + rng.integers(0, 180, len(parcels))

    def rows(position: np.ndarray) -> pl.DataFrame:
        parcel = key[position]
        i = parcels[parcel]
        horizon = (day[position] + 1) * SECONDS
        received = orders.received[i]
        known = np.ones(len(i), dtype=bool)
        return pl.DataFrame(
            {
                "parcel_no": formats.numbered("0034", 70_000_000 + parcel),
                "order_no": formats.numbered("W", 20_000_000 + i),
                "carrier": formats.chosen(CARRIERS, orders.carrier[i]),
                "handed_over": formats.timestamps(orders.shipped[i], known, seasons.start, formats.GERMAN),
                "due": formats.timestamps(orders.promised[i], known, seasons.start, formats.GERMAN_DAY),
                "arrived": formats.timestamps(received, received < horizon, seasons.start, formats.GERMAN),
                "freight_cost": formats.money(cost[parcel]),
                "state": formats.chosen(("in transit", "delivered"), (received < horizon).astype(int)),
            }
        )

    return Feed(
        table="shipments",
        file_name="shipments.csv.gz",
        day=day,
        key=key,
        fault=_faults(shop, "shipments", day, dirty_share),
        keys=len(parcels),
        rows=rows,
        encode=lambda part, broken: formats.csv_bytes(part, broken, compressed=True),
    )


def _reviews(shop: Shop, dirty_share: float) -> Feed:
    import polars as pl

    reviews, start = shop.reviews, shop.seasons.start
    day = reviews.written // SECONDS

    def rows(position: np.ndarray) -> pl.DataFrame:
        score, words = reviews.score[position], reviews.words[position]
        mood = (score >= 3).astype(int) + (score >= 4)
        text = np.where(words >= 0, mood * PER_MOOD + words % PER_MOOD, -1)
        headline = np.where(words % 4 > 0, mood * HEADLINES_PER_MOOD + words // 7 % HEADLINES_PER_MOOD, -1)
        return pl.DataFrame(
            {
                "review_no": formats.numbered("R", 3_000_000 + position),
                "order_no": formats.numbered("W", 20_000_000 + reviews.order[position]),
                "stars": pl.Series(score).cast(pl.String),
                "headline": formats.chosen(HEADLINES, np.where(words >= 0, headline, -1)),
                "text": formats.chosen(REVIEW_TEXTS, text),
                "written": formats.timestamps(
                    reviews.written[position], np.ones(len(position), dtype=bool), start, formats.ISO_T
                ),
            }
        )

    return Feed(
        table="reviews",
        file_name="reviews.csv",
        day=day,
        key=np.arange(len(day)),
        fault=_faults(shop, "reviews", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.csv_bytes,
    )
