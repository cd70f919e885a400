"""From three systems' files to persons, as a user sees it: the command, the tables, a move and training of one's own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ecommerce_platform.persons import identity
from ecommerce_platform.simulation.records import make_records
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.persons.three_systems import FIRST_DAY, deliver, write_source

pytestmark = pytest.mark.shops

RECORDS = make_records(6, 1500)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("three")
    shop = Shop(folder, str(write_source(folder)))
    first = RECORDS.filter(pl.col("system") != "newsletter")
    deliver(shop.data / "raw", FIRST_DAY, first)
    deliver(shop.data / "raw", FIRST_DAY + timedelta(days=1), RECORDS.filter(system="newsletter"))
    shop.ok("build")
    return shop


def test_persons_are_counted_not_records(built: Shop) -> None:
    ((records, persons),) = built.query("select count(*), count(distinct person_id) from silver.customer_identities")
    assert records == RECORDS.height
    assert abs(persons / RECORDS["person"].n_unique() - 1) < 0.03
    assert built.query("select count(*), sum(records) from gold.dim_customer") == [(persons, records)]


def test_every_link_says_why_and_by_which_parameters(built: Shop) -> None:
    version = identity.default_identity().parameters.version
    assert built.query("select distinct parameters_version from silver.customer_links") == [(version,)]
    assert built.query("select count(*) from silver.customer_links where agrees_on = ''") == [(0,)]
    assert built.query("select promoted, sha256 is not null from ml.models where model = 'identity'") == [(True, True)]
    assert (built.data / "models" / "identity" / version / "model.json").is_file()


@pytest.mark.long
def test_a_later_drop_moves_a_person_and_says_so(built: Shop) -> None:
    before = dict(built.query("select customer_id, person_id from silver.customer_identities"))
    linked = next(c for c, p in sorted(before.items()) if c.startswith("W") and p != c)
    changed = RECORDS.filter(customer_no=linked).with_columns(
        full_name=pl.lit("Someone Else"), email=pl.lit("someone.else@example.com"), phone=None, birth_date=None
    )
    deliver(
        built.data / "raw",
        FIRST_DAY + timedelta(days=2),
        changed.with_columns(pl.col("phone").cast(pl.String), pl.col("birth_date").cast(pl.Date)),
    )
    built.ok("build")
    trail = "select old_person_id, new_person_id, reason from silver.identity_changes where reason <> 'new'"
    assert built.query(trail) == [(before[linked], linked, "split")]


@pytest.mark.long
def test_training_of_ones_own_replaces_the_links(built: Shop) -> None:
    said = built.ok("train", "identity")
    assert "trained identity" in said
    built.ok("build")
    ((version,),) = built.query("select max(version) from ml.models where model = 'identity'")
    assert built.query("select distinct parameters_version from silver.customer_links") == [(version,)]
    ((persons,),) = built.query("select count(distinct person_id) from silver.customer_identities")
    assert abs(persons / RECORDS["person"].n_unique() - 1) < 0.03


@pytest.mark.long
def test_a_source_that_does_not_link_keeps_every_record_apart(tmp_path: Path) -> None:
    shop = Shop(tmp_path, str(write_source(tmp_path, link=False)))
    deliver(shop.data / "raw", FIRST_DAY, RECORDS, keys={"W1000000": "k", "W1000001": "k"})
    shop.ok("build", "--select", '+key:"silver/customer_identities"')
    ((records, persons),) = shop.query("select count(*), count(distinct person_id) from silver.customer_identities")
    assert (records, persons) == (RECORDS.height, RECORDS.height - 1)
    assert shop.query("select count(*) from silver.customer_links") == [(0,)]
    assert not (shop.data / "models" / "identity").exists()
