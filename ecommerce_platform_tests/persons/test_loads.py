"""Drops of three systems in any order, one by one or at once: the same persons, and everything made of them."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from ecommerce_platform.simulation.records import make_records
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.persons.three_systems import FIRST_DAY, deliver, write_source

RECORDS = make_records(9, 700)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(3)]


def _drop(raw: Path, day: date) -> None:
    """A day's drop: a third of the records, some of the day before once more with what they say mixed up, and keys."""
    number = DAYS.index(day)
    new = RECORDS.filter(pl.col("person") % 3 == number)
    again = RECORDS.filter((pl.col("person") % 3 == number - 1) & (pl.col("record") % 9 == 0))
    mixed = again.with_columns(pl.col("email").shift(1), pl.col("full_name").shift(2))
    keys = {no: f"k{i // 2}" for i, no in enumerate(new["customer_no"].gather_every(17).to_list())}
    deliver(raw, day, pl.concat([new, mixed]), keys)


# In the default run test_purity.py has the persons, and test_convergence.py in any order what is made of them.
@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_drops_in_any_order_end_in_the_same_persons(tmp_path: Path, seed: int) -> None:
    source = str(write_source(tmp_path))
    at_once = Driver.of(source, tmp_path / "once")
    for day in DAYS:
        _drop(at_once.settings.raw, day)
    at_once.build()

    random = Random(seed)
    one_by_one = at_once.at(tmp_path / "steps")
    order = random.sample(DAYS, len(DAYS))
    for day in order:
        shutil.copytree(at_once.settings.raw / day.isoformat(), one_by_one.settings.raw / day.isoformat())
        # A run may be killed between any two tables; the next takes up what it left.
        one_by_one.build(only_first=random.randrange(3, 12))
        one_by_one.build()
    with one_by_one.connect() as con:
        assert differences(con, at_once.settings.warehouse) == []
        ((linked,),) = con.execute("select count(*) from silver.customer_identities where rule = 'linked'").fetchall()
        assert linked > 300
        ((moved,),) = con.execute("select count(*) from silver.identity_changes where reason <> 'new'").fetchall()
        assert moved > 20
