"""Columns of deliveries: what a load brings that the one before did not, and files that are not as agreed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.errors import DefinitionError, InputError
from ecommerce_platform.ingestion.bronze import BronzeLoad, load_bronze, pending_days
from ecommerce_platform.ingestion.landing import list_drops
from ecommerce_platform.ingestion.schema import drift

DAYS = [date(2024, 1, n) for n in range(1, 9)]
_SOURCE = """
description: A shop to test columns with.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  t:
    files: ["t*.csv", "t*.jsonl"]
    description: Anything.
{more}
"""


class Zone:
    """Drops of one raw table, and a warehouse in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.con = folder, duckdb.connect()
        self.con.execute("set preserve_insertion_order = true")
        self.agree("")

    def agree(self, more: str) -> None:
        home = self.folder / "shop"
        home.mkdir(exist_ok=True)
        text = "\n".join(f"    {line}" for line in more.splitlines())
        (home / "source.yml").write_text(_SOURCE.format(more=text))
        self.source = read_source(home, ["orders"])

    def deliver(self, day: date, header: str, *lines: str, name: str = "t.csv") -> None:
        folder = self.folder / "raw" / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join([*([header] if header else []), *lines]) + "\n")

    def load(self) -> BronzeLoad:
        files = list_drops(self.folder / "raw", self.source).tables["t"]
        days = pending_days(self.con, self.source, "t", files)
        return load_bronze(
            self.con, self.source, "t", files, days, expected=[], required={}, scratch=self.folder / "scratch"
        )

    def drift(self, *days: date, optional: bool = False) -> list[str]:
        found = drift(self.con, "t", days or DAYS, optional=optional)
        return [f"{day.day}: {d}" for day, differences in found.items() for d in differences]


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


def _lines(*values: str, times: int = 6) -> list[str]:
    return [";".join(values)] * times


def test_the_same_columns_in_another_order_are_no_drift(zone: Zone) -> None:
    zone.deliver(DAYS[0], "id;amount", *_lines("1", "2.50"))
    zone.deliver(DAYS[1], "Amount;id", *_lines("2", "7"))
    zone.load()
    assert zone.drift() == []


@pytest.mark.parametrize(
    ("header", "values", "says"),
    [
        ("id;amount;channel", ("1", "2.50", "web"), "column channel is new"),
        ("id", ("1",), "column amount is missing"),
        ("id;amount_eur", ("1", "2.50"), "column amount seems to be called amount_eur now"),
        ("id;betrag", ("1", "2.50"), "column amount seems to be called betrag now"),
        (
            "id;amount",
            ("1", "2,50"),
            "column amount holds numbers with a decimal comma instead of numbers with a decimal point",
        ),
        ("id;amount", ("A1", "2.50"), "column id holds text instead of whole numbers"),
    ],
)
def test_a_load_that_differs_from_the_one_before_is_told(
    zone: Zone, header: str, values: tuple[str, ...], says: str
) -> None:
    zone.deliver(DAYS[0], "id;amount", *_lines("1", "2.50"))
    zone.deliver(DAYS[2], header, *_lines(*values))
    zone.deliver(DAYS[3], header, *_lines(*values))
    zone.load()
    assert zone.drift() == [f"3: {says}"]


def test_a_column_of_codes_that_are_numbers_on_some_days_is_told_once(zone: Zone) -> None:
    for day, code in zip(DAYS, ("1", "A1", "2", "B2", "3", "C3"), strict=False):
        zone.deliver(day, "id;amount", *_lines(code, "2.50"))
    zone.load()
    assert zone.drift() == ["2: column id holds text instead of whole numbers"]


def test_drift_does_not_depend_on_what_is_loaded_together(zone: Zone, tmp_path: Path) -> None:
    headers = ["id;amount", "id;amount;x", "id;amount;x", "id;x"]
    for day, header in zip(DAYS, headers, strict=False):
        zone.deliver(day, header, *_lines(*["1"] * (header.count(";") + 1)))
        zone.load()
    other = Zone(tmp_path)
    other.load()
    assert zone.drift() == other.drift() == ["2: column x is new", "4: column amount is missing"]
    everything = "select * from bronze.columns order by all"
    assert zone.con.execute(everything).fetchall() == other.con.execute(everything).fetchall()


def test_a_corrected_drop_corrects_what_was_noted(zone: Zone) -> None:
    zone.deliver(DAYS[0], "id;amount", *_lines("1", "2.50"))
    zone.deliver(DAYS[1], "id", *_lines("1"))
    zone.load()
    zone.deliver(DAYS[1], "id;amount", *_lines("1", "3.50"))
    zone.load()
    assert zone.drift() == []


def test_json_records_that_leave_out_what_is_empty_are_no_drift(zone: Zone) -> None:
    full, sparse = ['{"id": "1", "mail": "a"}'], ['{"id": "1"}']
    zone.deliver(DAYS[0], "", *(full * 20 + sparse * 5), name="t.jsonl")
    zone.deliver(DAYS[1], "", *(sparse * 25), name="t.jsonl")
    zone.load()
    assert zone.drift(optional=True) == []
    zone.deliver(DAYS[0], "", *(full * 25), name="t.jsonl")
    zone.load()
    assert zone.drift(optional=True) == ["2: column mail is missing"]


def test_a_file_that_is_not_as_agreed_is_left_out_and_noted(zone: Zone) -> None:
    zone.agree("columns: {id: null, amount: decimal}\non_drift: {new: reject, missing: reject, retyped: reject}")
    zone.deliver(DAYS[0], "id;amount", *_lines("1", "2.50"))
    zone.deliver(DAYS[1], "id;amount", *_lines("1", "2,50"))
    zone.deliver(DAYS[2], "id;amount;note", *_lines("1", "2.50", "x"))
    zone.deliver(DAYS[2], "id;amount", *_lines("2", "3"), name="t2.csv")
    zone.deliver(DAYS[3], "id", *_lines("1"))
    loaded = zone.load()
    assert zone.con.execute(
        "select _load_date, _source_file, count(*) from bronze.shop__t group by all order by all"
    ).fetchall() == [
        (DAYS[0], "t.csv", 6),
        (DAYS[2], "t2.csv", 6),
    ]
    found = zone.con.execute("select _load_date, reason_code, reason from bronze.rejects order by 1").fetchall()
    assert [(day, code) for day, code, _ in found] == [(day, "schema_drift") for day in DAYS[1:4]]
    assert "column amount holds numbers with a decimal comma instead of numbers with a decimal point" in found[0][2]
    assert "column note is new" in found[1][2]
    assert [name for name, _ in loaded.problems] == [f"{day}/t.csv" for day in DAYS[1:4]]
    assert [(f.name, f.rows) for f in loaded.files] == [
        ("t.csv", 6),
        ("t.csv", 0),
        ("t.csv", 0),
        ("t2.csv", 6),
        ("t.csv", 0),
    ]


def test_a_load_that_must_be_as_agreed_fails_and_writes_nothing(zone: Zone) -> None:
    zone.deliver(DAYS[0], "id;amount", *_lines("1", "2.50"))
    zone.agree("columns: [id, amount]\non_drift: {missing: fail}")
    zone.load()
    zone.deliver(DAYS[1], "id", *_lines("1"))
    with pytest.raises(InputError, match=r"column amount is missing; source\.yml says that such a load fails"):
        zone.load()
    assert zone.con.execute("select distinct _load_date from bronze.shop__t").fetchall() == [(DAYS[0],)]


def test_a_file_that_is_to_be_left_out_for_one_thing_and_to_fail_for_another_fails(zone: Zone) -> None:
    zone.agree("columns: [id, amount]\non_drift: {new: reject, missing: fail}")
    zone.deliver(DAYS[0], "id;note", *_lines("1", "x"))
    with pytest.raises(InputError, match=r"column amount is missing; source\.yml says that such a load fails"):
        zone.load()


def test_a_changed_agreement_has_files_read_again(zone: Zone) -> None:
    zone.deliver(DAYS[0], "id;amount;note", *_lines("1", "2.50", "x"))
    assert zone.load().rows_inserted == 6
    assert zone.load().rows_inserted == 0
    zone.agree("columns: [id, amount]\non_drift: {new: reject}")
    assert zone.load().rows_deleted == 6
    zone.agree("")
    assert zone.load().rows_inserted == 6


def test_a_warehouse_from_before_is_kept_and_its_files_are_not_read_again(zone: Zone) -> None:
    zone.deliver(DAYS[0], "id", *_lines("1"))
    zone.load()
    zone.con.execute("alter table bronze.files drop column read_as; drop table bronze.columns")
    assert zone.load().rows_inserted == 0
    zone.deliver(DAYS[1], "id", *_lines("1"))
    assert zone.load().rows_inserted == 6


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("on_drift: {new: reject}", "needs `columns`"),
        ("columns: [id]\non_drift: {retyped: fail}", "needs the kinds of columns"),
        ("columns: {id: number}", "unknown kind 'number'"),
        ("on_drift: {new: ignore}", "on_drift"),
    ],
)
def test_an_agreement_that_cannot_be_kept_is_refused(zone: Zone, more: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        zone.agree(more)


def test_of_a_load_without_its_header_the_record_that_stands_there_is_not_shown(tmp_path: Path) -> None:
    zone = Zone(tmp_path)
    zone.deliver(DAYS[0], "id,name,amount", "1,Bo Berg,3")
    zone.deliver(DAYS[1], "77,Anna Schmidt,12.50", "78,Bo Berg,3")
    zone.load()
    said = "none of the columns there were before is left; is the header missing?"
    assert zone.drift() == [f"2: {said}"]
    zone.agree("columns: {id: integer, name: text, amount: decimal}\non_drift: {new: reject}")
    (tmp_path / "raw" / DAYS[1].isoformat() / "t.csv").write_text("77,Anna Schmidt,12.50\n")
    assert [said in str(file.problem) for file in zone.load().files] == [False, True]
