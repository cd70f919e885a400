"""The generated shop's customers, from its three systems' files to persons, held against the truth beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.ml.evaluation import b_cubed, pair_scores
from ecommerce_platform.simulation import generate_shop, read_truth
from ecommerce_platform.simulation.truth import read_persons
from ecommerce_platform_tests.driver import Asked, Driver
from ecommerce_platform_tests.persons.test_quality import numbered

#: What customers are made of; the shop's other tables stay in their files.
NEEDED = (
    "bronze.synthetic__web_customers", "bronze.synthetic__crm_customers", "bronze.synthetic__newsletter_subscribers",
    "silver.customers", "silver.customer_links", "silver.customer_clusters", "silver.customer_identities",
)  # fmt: skip


def _judged(folder: Path, orders: int, seed: int) -> tuple[int, dict[str, float]]:
    """How many records there are, and how right their persons are."""
    generate_shop(folder, orders=orders, seed=seed)
    driver = Driver.of("synthetic", folder)
    with driver.connect() as con:
        asked = Asked(con)
        for table in sorted(NEEDED, key=list(driver.steps).index):
            driver.steps[table](asked)
        found = con.sql("select customer_id, person_id from silver.customer_identities").pl()
    both = found.join(read_persons(folder), on="customer_id")
    assert both.height == found.height
    person, true = numbered(both["person_id"]), numbered(both["person"])
    precision, recall = pair_scores(person, true)
    b_precision, b_recall, b_f = b_cubed(person, true)
    names = ("precision", "recall", "b3_precision", "b3_recall", "b3_f")
    return both.height, dict(zip(names, (precision, recall, b_precision, b_recall, b_f), strict=True))


def test_the_shops_persons_are_found_from_its_files(tmp_path: Path) -> None:
    records, found = _judged(tmp_path, 15_000, seed=51)
    assert records >= read_truth(tmp_path).customer_records * 0.99
    assert found["precision"] >= 0.999, found
    assert found["recall"] >= 0.97, found
    assert found["b3_f"] >= 0.99, found


@pytest.mark.long
@pytest.mark.parametrize("seed", [52, 53, 54])
def test_the_persons_of_larger_shops_are_found(tmp_path: Path, seed: int) -> None:
    _, found = _judged(tmp_path, 100_000, seed)
    assert found["precision"] >= 0.999, found
    assert found["recall"] >= 0.97, found
