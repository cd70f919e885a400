"""The synthetic shop from arguments to files: simulate, export, count the truth.

This is the only module others need; it decides nothing about the shop's behaviour itself.
"""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.simulation import truth as truths
from ecommerce_platform.simulation.drops import Feed, write_feeds
from ecommerce_platform.simulation.feeds import make_feeds
from ecommerce_platform.simulation.people import AGE_BANDS, SYSTEM_NAMES, SYSTEM_PREFIXES, WEB_SHOP
from ecommerce_platform.simulation.planted import planted_effects
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Progress, Shop, simulate
from ecommerce_platform.simulation.truth import Truth

if TYPE_CHECKING:
    import polars as pl

#: Threads that write files; more would only compete with those that polars starts by itself.
_WRITERS = 2
_LAST_DAY = date(2199, 12, 31)


def generate_shop(
    out_dir: Path,
    *,
    orders: int = 100_000,
    days: int = 730,
    seed: int = 1,
    dirty_share: float = 0.002,
    start: date = date(2024, 1, 1),
    lost_share: float = 0.0,
    vary_ads: bool = False,
    uplift: bool = True,
    outside: float = 0.0,
    progress: Progress | None = None,
) -> Truth:
    """Writes a synthetic shop's drops to `<out_dir>/raw/<day>/` and the truth to `<out_dir>/truth/`.

    The same arguments always write the same bytes. The drops appear only when all of them are written.

    Args:
        out_dir: folder to write to; its `raw` must not hold anything yet.
        orders: orders placed, exactly that many, but for those that lost sales leave without a line.
        days: days from `start` on that deliver drops.
        seed: not negative; another seed is another shop.
        dirty_share: share of the delivered records with one fault each, 0 to 0.2.
        start: first day.
        lost_share: share of what is wanted of a product while its shelf is empty that is not bought, 0 to 1.
        vary_ads: whether each flight of advertising costs something else, over a factor of eight, whatever the demand.
        uplift: false makes a shop whose experiments do nothing.
        outside: percent of a product's lines that go to other shops with each percent that it is dearer; 0 for none.
        progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
        What was written and what a correct platform must make of it.

    Raises:
        InputError: an argument out of range, or `out_dir/raw` already holds something.
    """
    _check(orders, days, seed, start)
    _check_shares(dirty_share, lost_share, outside)
    raw = out_dir / "raw"
    if raw.exists() and any(p for p in raw.iterdir() if not p.name.startswith(".")):
        raise InputError("there are drops already", where=raw, fix="remove them or generate into another folder")
    tell = progress or (lambda what, done, total: None)

    shop = simulate(
        orders=orders, days=days, seed=seed, start=start, progress=tell, lost_share=lost_share, vary_ads=vary_ads,
        uplift=uplift, outside=outside,
    )  # fmt: skip
    feeds = make_feeds(shop, dirty_share)
    _write_drops(out_dir, raw, start, feeds, tell)
    truth = _count(shop, {feed.table: feed for feed in feeds}, dirty_share)
    _write_persons(out_dir, shop)
    truths.write_truth(out_dir, truth)
    return truth


def _write_drops(out_dir: Path, raw: Path, start: date, feeds: list[Feed], tell: Progress) -> None:
    """Writes beside `raw` and moves there what is complete."""
    staging = out_dir / "raw.partial"
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    write_feeds(staging, start, feeds, _WRITERS, tell)
    raw.mkdir(exist_ok=True)
    for folder in sorted(staging.iterdir()):
        folder.rename(raw / folder.name)
    staging.rmdir()


def _check(orders: int, days: int, seed: int, start: date) -> None:
    if orders < 1:
        raise InputError(f"a shop without orders cannot be generated: {orders}", where="orders", fix="give 1 or more")
    if days < 1 or start + timedelta(days=min(days, 10**5)) > _LAST_DAY:
        raise InputError(f"{days} days from {start} cannot be generated", where="days", fix="give 1 or more, to 2199")
    if seed < 0:
        raise InputError(f"a seed is not negative: {seed}", where="seed", fix="give 0 or more")


def _check_shares(dirty_share: float, lost_share: float, outside: float) -> None:
    if not 0 <= dirty_share <= 0.2:
        raise InputError(f"not a share from 0 to 0.2: {dirty_share}", where="dirty_share", fix="give 0 for none")
    if not 0 <= lost_share <= 1:
        raise InputError(f"not a share from 0 to 1: {lost_share}", where="lost_share", fix="give 0 for none")
    if not 0 <= outside <= 10:
        raise InputError(f"not from 0 to 10: {outside}", where="outside", fix="give 0 for no other shops")


def _count(shop: Shop, feeds: dict[str, Feed], dirty_share: float) -> Truth:
    """The truth of a shop and of what its feeds wrote."""
    newest = {name: truths.newest_usable(name, feed.key, feed.fault, feed.keys) for name, feed in feeds.items()}
    used = {name: int((positions >= 0).sum()) for name, positions in newest.items()}
    expected: dict[str, int] = {}
    for name, feed in feeds.items():
        expected[feed.entity] = expected.get(feed.entity, 0) + used[name]

    # Valid lines: accepted, of an order whose newest accepted version is neither canceled nor given up.
    order_day = feeds["orders"].day[newest["orders"]]
    ended = shop.orders.ended < (order_day + 1) * SECONDS
    valid_order = (newest["orders"] >= 0) & ~ended
    lines = shop.lines
    valid = np.flatnonzero((newest["order_items"] >= 0) & valid_order[lines.order])
    order, product = lines.order[valid], lines.product[valid]
    quantity, price, discount = lines.quantity[valid], lines.price[valid], lines.discount[valid]

    # Costs are those of the newest catalogue in which the product's row was accepted.
    position = newest["products"][product]
    catalogue_month = np.searchsorted(shop.seasons.catalogue_days, feeds["products"].day)
    cost = np.where(position >= 0, shop.catalogue.cost[catalogue_month[position], product], -1)
    totals = truths.money_totals(
        order=order,
        quantity=quantity,
        price=price,
        discount=discount,
        unit_cost=cost,
        person=shop.orders.person[order],
        refund=int(shop.returns.refund[newest["returns"] >= 0].sum()),
    )
    totals["customers_unlinked"] = _distinct(_accounts(shop)[order][shop.orders.person[order] >= 0])
    month = shop.seasons.month_of_day[shop.orders.day[order]]
    return Truth(
        seed=shop.seed,
        start=shop.seasons.start.isoformat(),
        days=shop.seasons.days,
        dirty_share=dirty_share,
        orders=len(shop.orders),
        customer_records=sum(len(records) for records in shop.records),
        persons=_distinct(np.concatenate([records.sign_ups.person for records in shop.records])),
        tables={
            name: truths.table_truth(name, feed.entity, feed.fault, feed.files, used[name])
            for name, feed in sorted(feeds.items())
        },
        expected_rows=dict(sorted(expected.items())),
        totals=totals,
        by_month=truths.month_totals(month, order, quantity, quantity * price - discount, shop.seasons.start),
        planted=planted_effects(shop),
    )


def _distinct(numbers: np.ndarray) -> int:
    """How many different numbers there are; none is negative."""
    return int((np.bincount(numbers) > 0).sum())


def _accounts(shop: Shop) -> np.ndarray:
    """A number per order for the account it was placed under: all that is known of the person without linking records."""
    web, orders = shop.records[WEB_SHOP], shop.orders
    under = np.where(web.account >= 0, web.account, np.arange(len(web)))
    online = under[orders.record] if len(web) else orders.record
    return np.where(orders.system == WEB_SHOP, online, len(web) + orders.record)


def _write_persons(out_dir: Path, shop: Shop) -> None:
    """Which person is behind each customer record, by the record's canonical id."""
    import polars as pl

    from ecommerce_platform.simulation.feeds.common import customer_numbers

    frames = [
        pl.DataFrame(
            {
                "customer_id": SYSTEM_PREFIXES[system] + customer_numbers(system, np.arange(len(records))),
                "system": pl.Series([name], dtype=pl.String).new_from_index(0, len(records)),
                "person": pl.Series(records.sign_ups.person),
            }
        )
        for system, (name, records) in enumerate(zip(SYSTEM_NAMES, shop.records, strict=True))
    ]
    truths.write_persons(out_dir, pl.concat(frames), _behaviour(shop))


def _behaviour(shop: Shop) -> pl.DataFrame:
    """What each person does and would do, as `read_behaviour` says."""
    import polars as pl

    customers, days = shop.customers, shop.seasons.days
    first = np.datetime64(shop.seasons.start, "D")
    leaves = pl.Series(first + np.minimum(customers.leaves, days).astype("timedelta64[D]"))
    return pl.DataFrame(
        {
            "person": np.arange(len(customers)),
            "age_group": np.array(AGE_BANDS)[customers.age_band],
            "order_rate": customers.rate,
            "leaves_on": leaves.set(pl.Series(customers.leaves >= days), None),
            **{
                f"{trial.experiment.code}/{arm}": np.array(uplift)[customers.age_band]
                for trial in shop.trials
                for arm, uplift in zip(trial.experiment.arms, trial.experiment.uplift, strict=True)
            },
        }
    )
