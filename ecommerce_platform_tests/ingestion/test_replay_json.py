"""An export of JSON becomes drops: every record in its own bytes, in the file's layout, at the date within it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform_tests.ingestion.test_replay import Export

SOURCE_YML = """
description: An invented shop that delivers documents.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders: {files: ["orders*.json", "orders*.jsonl"], description: Orders., max_unparsable_share: 0.4}
  lines: {explode: orders.lines, parent: {order_id: id}, description: Lines of orders.}
  refunds: {files: ["refunds*.json"], description: Refunds.}
  payments: {files: ["payments*.json"], description: Payments.}
replay:
  orders: {created: placed}
  refunds: {follows: orders.id, by: order.id}
  payments: {created: times.paid}
"""
#: Written in several ways, on purpose.
RECORDS = (
    '{"id": 1, "placed":"2024-01-05T10:00:00", "lines": [ {"sku": "a\\u00e9é" , "n": 1.50} ], "note": "} ,\\\\ ] ["}',
    '{"id":2,"Placed":"2024-01-05 11:00:00","placed" : "2024-01-07 11:00:00", "lines": []}',
    '{\n  "id": "3",\n  "placed": "2024-01-05"\n}',
    '{"id": 4, "placed": null}',
)


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path, SOURCE_YML)


def _flat(record: str) -> str:
    return record.replace("\n", "")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "drops"),
    [
        (
            "orders.json", "\n[\n" + " ,\n".join(RECORDS) + "\n]\n",
            ["[" + ",\n".join((RECORDS[0], RECORDS[2], RECORDS[3])) + "]\n", "[" + RECORDS[1] + "]\n"],
        ),
        (
            "orders.jsonl", "\n".join(map(_flat, RECORDS)),
            ["\n".join(map(_flat, (RECORDS[0], RECORDS[2], RECORDS[3]))) + "\n", RECORDS[1] + "\n"],
        ),
        (
            "orders.json", "\n\n".join(RECORDS[::-1][1:] + RECORDS[3:]),
            ["\n".join((RECORDS[2], RECORDS[0], RECORDS[3])) + "\n", RECORDS[1] + "\n"],
        ),
    ],
    ids=["array", "lines", "objects"],
)  # fmt: skip
def test_records_come_on_the_day_within_them_byte_for_byte(
    name: str, content: str, drops: list[str], packed: bool, export: Export
) -> None:
    file = f"{name}.gz" if packed else name
    export.write("orders", gzip.compress(content.encode()) if packed else content, file)
    done = export.replay()
    found = {day: gzip.decompress(data) if packed else data for day, data in export.drops(file).items()}
    assert found == {"2024-01-05": drops[0].encode(), "2024-01-07": drops[1].encode()}
    assert [(t.name, t.rows, t.states) for t in done.tables] == [("orders", 4, 4)]
    assert "1 rows have no placed" in done.notes[0]
    again = export.replay()
    assert (again.already, again.replaced) == (2, ())


def test_what_follows_comes_with_its_order_and_a_way_into_an_object_is_a_column(export: Export) -> None:
    export.write("orders", "[" + ",".join(RECORDS) + "]", "orders.json")
    refunds = [{"id": n, "order": {"id": order}} for n, order in enumerate(("2", 1, 9))]
    export.write("refunds", json.dumps(refunds), "refunds.json")
    export.write("payments", json.dumps([{"times": {"paid": "2024-01-07"}}, {"times": None}]), "payments.json")
    done = export.replay()
    drops = {day: [r["id"] for r in json.loads(data)] for day, data in export.drops("refunds.json").items()}
    assert drops == {"2024-01-05": [1, 2], "2024-01-07": [0]}
    assert {day: len(json.loads(d)) for day, d in export.drops("payments.json").items()} == {
        "2024-01-05": 1, "2024-01-07": 1
    }  # fmt: skip
    assert any("1 rows belong to no row of orders" in note for note in done.notes)


def test_lines_that_are_no_records_stand_in_the_first_drop(export: Export) -> None:
    export.write("orders", f'{_flat(RECORDS[1])}\n["x"]\n{_flat(RECORDS[0])}\n', "orders.jsonl")
    done = export.replay()
    assert export.drops("orders.jsonl") == {
        "2024-01-05": f'["x"]\n{_flat(RECORDS[0])}\n'.encode(), "2024-01-07": f"{RECORDS[1]}\n".encode()
    }  # fmt: skip
    assert "1 lines are no records" in done.notes[0]


LIFE = SOURCE_YML.replace(
    "{created: placed}", "{created: placed, status: State, events: {placed: created, sent: shipped}}"
)


def test_earlier_states_lack_what_had_not_come_and_nothing_else_changes(tmp_path: Path) -> None:
    export = Export(tmp_path, LIFE)
    record = (
        '{"id": 1, "State" : "shipped","placed":"2024-01-05" ,  "café": "é\\u00e9", "sent":"2024-01-09", "lines": [ ]}'
    )
    export.write("orders", f"[{record}]", "orders.json")
    export.replay()
    first = record.replace('"shipped"', '"created"').replace('"2024-01-09"', "null")
    assert export.drops("orders.json") == {
        "2024-01-05": f"[{first}]\n".encode(), "2024-01-09": f"[{record}]\n".encode()
    }  # fmt: skip


def test_states_within_an_object_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    export = Export(tmp_path, LIFE.replace("sent:", "times.sent:"))
    export.write("orders", '[{"State": "x", "placed": "2024-01-05", "times": {"sent": "2024-01-09"}}]', "orders.json")
    with pytest.raises(InputError, match=r"times\.sent lies within an object"):
        export.replay()
    assert not export.raw.exists()
