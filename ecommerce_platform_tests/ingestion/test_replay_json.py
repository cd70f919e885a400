"""An export of JSON becomes drops: every record in its own bytes, in the file's layout, at the date within it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given as given_values
from hypothesis import settings
from hypothesis import strategies as st

from ecommerce_platform.contracts.source import ReplayTable
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.landing import Given
from ecommerce_platform.ingestion.sniff import Shape
from ecommerce_platform.ingestion.split_json import split_json
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


# -- pages -------------------------------------------------------------------------------------------------------

PAGES = """
description: A shop whose orders come in pages.
currency: USD
time_zone: America/New_York
start_date: 2024-01-01
tables:
  pages: {files: ["page*.json"], description: Pages of orders.}
  orders: {explode: pages.data.orders, description: Orders., max_unparsable_share: 0.5}
  lines: {explode: orders.lines, parent: {order_id: id}, description: Lines of orders.}
  refunds: {files: ["refunds*.json"], description: Refunds.}
replay:
  orders: {created: placed}
  refunds: {follows: orders.id, by: order.id}
"""
BEFORE, AFTER = (
    '\ufeff{"meta": {"orders": [0]},\n "data":{ "total":3, "orders" : [',
    '], "more": {"orders": []}},\n "next": null }\n\n',
)
#: 23:30 in New York on the 5th twice, and 00:30 on the 6th; the last place in the array is no order.
PAGED = (
    '{"id": 1, "placed":"2024-01-05T23:30:00-05:00", "lines": [ {"sku": "a\\u00e9é" , "n": 1.50} ], "note": "} ,\\\\ ] ["}',
    '{"id":2,"placed" : "2024-01-06T05:30:00Z",\n "lines": []}',
    '{ "placed": "2024-01-06 04:30:00 UTC", "id": "3"}',
    "17",
)


@pytest.fixture
def pages(tmp_path: Path) -> Export:
    return Export(tmp_path, PAGES)


@pytest.mark.parametrize("packed", [False, True])
def test_pages_are_cut_by_their_records_byte_for_byte_and_each_drops_file_is_a_page(
    packed: bool, pages: Export
) -> None:
    name = "page_1.json.gz" if packed else "page_1.json"
    content = (BEFORE + "\n" + " ,\n".join(PAGED) + " \n" + AFTER).encode()
    pages.write("pages", gzip.compress(content) if packed else content, name)
    pages.write("refunds", json.dumps([{"order": {"id": 2}}, {"order": {"id": 3}}]), "refunds.json")
    done = pages.replay()
    found = {day: gzip.decompress(data) if packed else data for day, data in pages.drops(name).items()}
    first, second = ",\n".join((PAGED[0], PAGED[2], PAGED[3])), PAGED[1]
    assert found == {"2024-01-05": (BEFORE + first + AFTER).encode(), "2024-01-06": (BEFORE + second + AFTER).encode()}
    assert all(json.loads(page.decode("utf-8-sig"))["next"] is None for page in found.values())
    assert [(t.name, t.rows, t.states) for t in done.tables] == [("orders", 4, 4), ("refunds", 2, 2)]
    assert "1 lines are no records (the first in line 7)" in done.notes[0]
    assert {day: json.loads(data) for day, data in pages.drops("refunds.json").items()} == {
        "2024-01-05": [{"order": {"id": 3}}], "2024-01-06": [{"order": {"id": 2}}]
    }  # fmt: skip
    again = pages.replay()
    assert (again.already, again.replaced) == (2, ())


def test_a_page_without_records_comes_whole_in_the_first_drop(pages: Export) -> None:
    pages.write("pages", BEFORE + PAGED[1] + AFTER, "page_1.json")
    empty = ['{"data": {"orders": []}}', '{"data": {"orders": null}}', '{"data": {}}', '{"errors": "no"}']
    for number, content in enumerate(empty, start=2):
        pages.write("pages", content, f"page_{number}.json")
    done = pages.replay()
    assert done.whole == ("page_2.json", "page_3.json", "page_4.json", "page_5.json")
    assert pages.drops("page_*.json").keys() == {"2024-01-06"}
    assert pages.drops("page_5.json") == {"2024-01-06": empty[3].encode()}


@pytest.mark.parametrize(
    "content",
    [
        BEFORE + PAGED[0], BEFORE + PAGED[0] + "]", BEFORE + PAGED[0] + "," + AFTER, f"[{BEFORE[1:]}]",
        BEFORE + PAGED[0] + AFTER + BEFORE[1:] + AFTER, f"[{json.dumps({'data': {'orders': [{'id': 1}]}})}]",
        '{"errors": 1}\n{"errors": 2}',
    ],
    ids=["cut off", "no end", "comma", "no array", "two", "list of pages", "lines"],
)  # fmt: skip
def test_what_is_not_one_page_is_refused_before_anything_is_written(content: str, pages: Export) -> None:
    pages.write("pages", content, "page_1.json")
    with pytest.raises(
        InputError, match=r"page_1\.json: is not one page, an object with the records of orders in data\.orders"
    ):
        pages.replay()
    assert not pages.raw.exists()


def test_csv_where_pages_belong_is_refused_and_by_names_the_records_table(pages: Export) -> None:
    pages.write("pages", "id,placed\n1,2024-01-05\n", "page_1.json")
    with pytest.raises(InputError, match=r"page_1\.json: is CSV, which holds no records of orders"):
        pages.replay()
    with pytest.raises(InputError, match=r"'pages' has no dates of its own(?s:.)*use one of orders\.placed"):
        pages.replay(by="pages.placed")


def test_states_of_records_in_pages_are_written_within_them(tmp_path: Path) -> None:
    life = "{created: placed, status: state, events: {placed: open, sent: done}}"
    export = Export(tmp_path, PAGES.replace("{created: placed}", life))
    record = '{"placed": "2024-01-05T12:00:00-05:00", "state":"done" , "sent" :"2024-01-09T01:00:00Z", "id": 1}'
    export.write("pages", BEFORE + record + AFTER, "page_1.json")
    export.replay()
    first = record.replace('"done"', '"open"').replace('"2024-01-09T01:00:00Z"', "null")
    assert export.drops("page_1.json") == {
        "2024-01-05": (BEFORE + first + AFTER).encode(), "2024-01-08": (BEFORE + record + AFTER).encode()
    }  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\[]{},: \n\u00e9\U0001f600'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{[", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given_values(
    records=st.lists(st.dictionaries(st.sampled_from(["id", "x", "orders"]), VALUES, max_size=3), max_size=5),
    around=st.dictionaries(st.sampled_from(["a", "data2", "orders"]), VALUES, max_size=3),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    first=st.booleans(),
)
def test_a_page_is_cut_into_its_records_and_made_of_them_again(
    records: list[dict], around: dict, indent: int | None, ascii_only: bool, first: bool
) -> None:
    inner = {"orders": records, "more": around}
    page = {"data": inner, **around} if first else {**around, "data": inner}
    data = json.dumps(page, indent=indent, ensure_ascii=ascii_only).encode()
    given = Given("page.json", "orders", Path("page.json"), len(data), lambda: iter((data,)))
    split, _ = split_json(given, Shape("json", layout="objects"), data, ReplayTable(created="id"), ("data", "orders"))
    pieces = [data[start:stop] for start, stop in split.spans]
    assert [json.loads(piece) for piece in pieces] == records
    assert json.loads(split.joined(pieces)) == page
    assert json.loads(split.joined(pieces[:1])) == {**page, "data": {**inner, "orders": records[:1]}}
