"""What lies in a landing zone, and which days are asked for: the pure part, and the listing of all kinds of stores."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.watch import (
    GONE,
    Day,
    DayState,
    Limits,
    Listing,
    Looked,
    Version,
    WatchState,
    decide,
    list_landing,
)
from ecommerce_platform.ingestion.zone import list_files
from ecommerce_platform_tests.automation.harness import make_source

TODAY = date(2024, 6, 30)
LIMITS = Limits(date(2024, 1, 1))
SOURCE = make_source()


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


def listing(**fingerprints: str) -> Listing:
    """`d0="a"` is day 0 in version a; `"a!"` is marked as complete."""
    return Listing({day(int(name[1:])): Day(f.rstrip("!"), 1, 1, f.endswith("!")) for name, f in fingerprints.items()})


class Watch:
    """The state between ticks goes through its text, as in the cursor."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.text, self.limits = WatchState("first").to_json(), limits

    def tick(self, found: Listing, in_flight: dict[date, Version] | None = None, today: date = TODAY):
        decision = decide(WatchState.from_json(self.text), found, today, self.limits, in_flight)
        self.text = decision.state.to_json()
        return decision

    def asked(self, found: Listing) -> list[tuple[int, int]]:
        return [((r.first - day(0)).days, (r.last - day(0)).days) for r in self.tick(found).requests]


# ---------------------------------------------------------------------------------------------------- decisions


def test_a_day_is_asked_for_once_it_looks_the_same_twice():
    watch = Watch()
    assert watch.asked(listing(d0="a")) == []
    assert watch.asked(listing(d0="ab")) == []
    assert watch.asked(listing(d0="ab")) == [(0, 0)]
    assert watch.asked(listing(d0="ab")) == []


def test_a_marked_day_is_asked_for_at_once_and_the_marker_alone_changes_nothing():
    watch = Watch()
    assert watch.asked(listing(d0="a!", d1="b")) == [(0, 0)]
    assert watch.asked(listing(d0="a!", d1="b")) == [(1, 1)]
    assert watch.asked(listing(d0="a!", d1="b!")) == []


def test_a_corrected_day_is_asked_for_again_and_so_is_one_that_is_corrected_back():
    watch = Watch()
    keys = [watch.tick(listing(d0=version)).requests[0].key for version in ("a!", "b!", "a!")]
    assert len(set(keys)) == 3


def test_a_removed_day_is_asked_for_when_it_is_gone_twice_and_again_when_it_is_back():
    watch = Watch()
    assert watch.asked(listing(d0="a!", d1="b!")) == [(0, 1)]
    assert watch.asked(listing(d1="b")) == []
    assert watch.asked(listing(d1="b")) == [(0, 0)]
    assert watch.asked(listing(d1="b")) == []
    assert watch.asked(listing(d0="a!", d1="b")) == [(0, 0)]


def test_a_day_that_is_away_for_one_tick_was_being_replaced():
    watch = Watch()
    watch.asked(listing(d0="a!", d1="b!"))
    assert watch.asked(listing(d1="b")) == []
    assert watch.asked(listing(d0="a", d1="b")) == []


def test_a_day_that_went_before_it_was_complete_is_forgotten():
    watch = Watch()
    watch.asked(listing(d0="a", d1="b!"))
    assert watch.asked(listing(d1="b")) == []
    assert day(0) not in WatchState.from_json(watch.text).days


def test_an_unmounted_disk_takes_nothing_back():
    watch = Watch()
    watch.asked(listing(d0="a!", d1="b!"))
    for _ in range(3):
        decision = watch.tick(listing())
        assert decision.requests == ()
        assert "vanished at once" in decision.problems[0]
    assert watch.asked(listing(d0="a", d1="b")) == []


def test_neighbouring_days_share_a_run_and_an_incomplete_day_divides_them():
    watch = Watch()
    assert watch.asked(listing(d0="a!", d1="a!", d2="a", d3="a!", d5="a!")) == [(0, 1), (3, 3), (5, 5)]


def test_ranges_and_requests_are_bounded_and_the_rest_waits():
    watch = Watch(Limits(day(0), max_days_per_run=3, max_requests_per_tick=2))
    everything = listing(**{f"d{n}": "a!" for n in range(10)})
    assert watch.asked(everything) == [(0, 2), (3, 5)]
    assert watch.asked(everything) == [(6, 8), (9, 9)]
    assert watch.asked(everything) == []


def test_what_waits_longest_comes_first_even_when_older_days_keep_changing():
    watch = Watch(Limits(day(0), max_requests_per_tick=1))
    asked = [watch.asked(listing(d0=f"{n}!", d2=f"{n}!", d4="a!")) for n in range(6)]
    assert [(4, 4)] in asked[:3]
    assert {(0, 0), (2, 2)} <= {r for tick in asked for r in tick}


def test_a_range_waits_as_long_as_its_longest_waiting_day():
    watch = Watch(Limits(day(0), max_requests_per_tick=1))
    assert watch.asked(listing(d0="a!", d2="a!", d4="a!")) == [(0, 0)]
    assert watch.asked(listing(d0="a!", d2="a!", d4="a!", d8="a!")) == [(2, 2)]
    assert watch.asked(listing(d0="a!", d2="a!", d4="a!", d5="a!", d8="a!")) == [(4, 5)]  # day 5 is newer than day 8


def test_days_whose_bytes_are_those_that_were_loaded_are_not_asked_for_and_not_looked_into_again():
    watch = Watch()
    watch.asked(listing(d0="a!", d1="a!", d2="a!"))
    looked: list[list[date]] = []

    def tick(**fingerprints: str):
        def look(days):
            looked.append(list(days))
            return Looked(frozenset({day(0)} & {*days}), frozenset({day(2)} & {*days}))

        decision = decide(WatchState.from_json(watch.text), listing(**fingerprints), TODAY, LIMITS, {}, look)
        watch.text = decision.state.to_json()
        return [request.days for request in decision.requests], decision.same, decision.waiting

    # A new day is no question; of the three that were asked for before, one is the same and one is not come to yet.
    assert tick(d0="b!", d1="b!", d2="b!", d3="a!") == ([(day(1),), (day(3),)], (day(0),), (day(2),))
    assert looked == [[day(0), day(1), day(2)]]
    assert tick(d0="b!", d1="b!", d2="b!", d3="a!") == ([], (), (day(2),))
    assert looked[1] == [day(2)]
    # A day that went and came back is asked for.
    assert [[(r.first, r.last) for r in watch.tick(found).requests] for found in (listing(d1="b!"), listing(d1="b!"))] == [
        [], [(day(0), day(0)), (day(2), day(3))]
    ]  # fmt: skip


def test_days_without_partition_are_reported_with_what_to_do():
    decision = Watch().tick(listing(**{"d-400": "a!", "d-399": "a!", "d0": "a!", "d182": "a!"}))
    assert [r.first for r in decision.requests] == [day(0)]
    early, late = decision.problems
    assert "start_date: 2022-11-27" in early
    assert "2024-07-01" in late
    assert "rename" in late
    following = Watch()
    following.tick(listing(d182="a"))
    following.tick(listing(d182="a"), today=date(2024, 7, 1))
    assert following.tick(listing(d182="a"), today=date(2024, 7, 1)).requests


def test_a_day_in_flight_is_left_to_its_run_when_the_memory_was_lost():
    decision = Watch().tick(listing(d0="a!", d1="b!"), {day(0): Version("a", 3)})
    assert [r.first for r in decision.requests] == [day(1)]
    assert decision.in_flight == (day(0),)
    assert decision.state.days[day(0)] == DayState("a", "a", 3)


def test_an_earlier_version_in_flight_does_not_stand_for_a_return_to_it():
    watch = Watch()
    watch.asked(listing(d0="a!"))
    watch.asked(listing(d0="b!"))
    assert watch.tick(listing(d0="a!"), {day(0): Version("a", 1)}).requests


def test_the_same_tick_twice_asks_for_the_same_and_another_memory_for_something_else():
    found = listing(d0="a!", d2="b!")
    first, again, other = (decide(WatchState(e), found, TODAY, LIMITS) for e in ("x", "x", "y"))
    assert first == again
    assert {r.key for r in first.requests}.isdisjoint(r.key for r in other.requests)


def test_unusable_days_wait_until_somebody_puts_them_right():
    watch = Watch()
    found = Listing(listing(d0="a!", d1="b!").days, ("two tables", "x"), frozenset({day(0)}))
    decision = watch.tick(found)
    assert [r.first for r in decision.requests] == [day(1)]
    assert decision.problems == ("two tables", "x")
    assert watch.asked(listing(d0="a!", d1="b!")) == [(0, 0)]


# ------------------------------------------------------------------------------------------------------- state


@given(
    st.dictionaries(
        st.dates(),
        st.builds(
            DayState,
            st.sampled_from([GONE, "abcdefgh"]),
            st.sampled_from(["", GONE, "abcdefgh", "xxxxxxxx"]),
            st.integers(0, 99),
            st.integers(0, 10**6),
        ),
    )
)
def test_the_state_survives_its_text(days: dict[date, DayState]):
    state = WatchState("first", 7, days)
    got = WatchState.from_json(state.to_json())
    assert (got.epoch, got.tick) == ("first", 7)
    # What waits for nothing and was asked for once is written short.
    assert got.days == {
        d: DayState(s.seen, s.requested, 1, 0) if s.seen == s.requested and s.number == 1 else s
        for d, s in days.items()
    }


def test_ten_thousand_days_fit_into_half_a_megabyte():
    fingerprint, other = "abcdefgh", "ABCDEFGH"
    quiet = {date(1990, 1, 1) + timedelta(days=n): DayState(fingerprint, fingerprint, 1) for n in range(10_000)}
    busy = {d: DayState(fingerprint, other, 12, 123_456) for d in quiet}
    sizes = [len(WatchState("first", 1, days).to_json()) for days in (quiet, busy)]
    print(f"cursor for 10,000 days: {sizes[0]:,} bytes quiet, {sizes[1]:,} at worst")
    assert max(sizes) < 500_000


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", "null", "1", '{"v":99}', '{"v":1,"epoch":"x","tick":1,"days":[]}',
     '{"v":1,"epoch":"x","tick":1,"days":{"2024-13-01":"a"}}', '{"v":1,"epoch":"x","tick":1,"days":{"2024-01-01":7}}',
     '{"v":1,"epoch":"x","tick":1,"days":{"2024-01-01":"a/b/c"}}', "[" * 100_000],
)  # fmt: skip
def test_an_unreadable_state_is_one_kind_of_error(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the text
        WatchState.from_json(text)


# ----------------------------------------------------------------------------------------------------- listings


class EtagFileSystem(MemoryFileSystem):
    """An object store: no folders, etags that follow the content, listings kept until they are invalidated."""

    protocol = "etags"

    def __init__(self) -> None:
        super().__init__(global_store=False)
        self.kept: dict[str, dict] = {}

    def invalidate_cache(self, path: str | None = None) -> None:
        self.kept.clear()

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **kwargs):
        if path not in self.kept:
            infos = super().find(path, detail=True)
            for name, info in infos.items():
                info["ETag"] = hashlib.md5(self.store[name].getvalue()).hexdigest()
                info.pop("created")
            self.kept[path] = infos
        return self.kept[path] if detail else sorted(self.kept[path])


@pytest.fixture(params=["local", "etags", "memory"])
def zone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple]:
    if request.param == "local":
        (tmp_path / "raw").mkdir()
        yield url_to_fs(str(tmp_path / "raw"))
    else:
        kind = EtagFileSystem if request.param == "etags" else MemoryFileSystem
        fs = kind(skip_instance_cache=True) if kind is EtagFileSystem else kind(global_store=False, skip_instance_cache=True)  # fmt: skip
        fs.pipe_file("/bucket/raw/.keep", b"")
        yield fs, "/bucket/raw"


def put(zone: tuple, path: str, content: bytes = b"x") -> None:
    fs, root = zone
    fs.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
    fs.pipe_file(f"{root}/{path}", content)


def test_only_files_that_raw_tables_name_count(zone: tuple):
    for name in ("orders.csv", "orders_2.csv.gz", "notes.txt", ".orders.csv.part", "deeper/orders.csv"):
        put(zone, f"2024-01-01/{name}")
    put(zone, "2024-01-02/items.csv", b"12345")
    put(zone, "2024-01-02/_SUCCESS")
    put(zone, ".replaced/2024-01-03/orders.csv")
    put(zone, "stray.csv")
    found = list_landing(*zone, SOURCE)
    assert {d: (x.files, x.size, x.marked) for d, x in found.days.items()} == {
        day(0): (2, 2, False),
        day(1): (1, 5, True),
    }
    assert found.problems == ()


def test_a_change_shows_and_no_change_does_not(zone: tuple):
    put(zone, "2024-01-01/orders.csv", b"1")
    put(zone, "2024-01-01/notes.txt", b"1")
    first = list_landing(*zone, SOURCE).days[day(0)].fingerprint
    put(zone, "2024-01-01/notes.txt", b"22")
    put(zone, "2024-01-01/_SUCCESS", b"")
    assert list_landing(*zone, SOURCE).days[day(0)].fingerprint == first
    time.sleep(0.02)
    put(zone, "2024-01-01/orders.csv", b"2")
    second = list_landing(*zone, SOURCE).days[day(0)].fingerprint
    assert second != first
    put(zone, "2024-01-01/items.csv", b"")
    assert list_landing(*zone, SOURCE).days[day(0)].fingerprint not in (first, second)


def test_folders_that_are_not_days_are_reported_and_stop_nothing(zone: tuple):
    for folder in ("2024-01-01", "2024-02-30", "backup", "2024-1-1"):
        put(zone, f"{folder}/orders.csv")
    put(zone, "archive/deep/orders.csv")
    found = list_landing(*zone, SOURCE)
    assert list(found.days) == [day(0)]
    assert len(found.problems) == 4
    assert all("is not a day" in p and "→ name the folder" in p for p in found.problems)


def test_a_file_that_two_tables_name_holds_its_own_day_back(zone: tuple):
    source = make_source(orders="orders*.csv", items="*_items.csv")
    put(zone, "2024-01-01/orders_items.csv")
    put(zone, "2024-01-02/orders.csv")
    found = list_landing(*zone, source)
    assert found.unusable == {day(0)}
    assert "both name this file" in found.problems[0]
    assert decide(WatchState("x", 0, {}), found, TODAY, LIMITS).incomplete == (day(1),)


def test_a_folder_without_files_of_raw_tables_is_no_drop(zone: tuple):
    put(zone, "2024-01-01/notes.txt")
    put(zone, "2024-01-02/orders.csv")
    assert list_landing(*zone, SOURCE).days[day(0)].fingerprint == GONE


def test_a_missing_landing_zone_says_so(zone: tuple):
    fs, root = zone
    with pytest.raises(InputError, match="no such landing zone"):
        list_landing(fs, root + "/nowhere", SOURCE)


def test_etags_tell_content_and_not_time():
    fs = EtagFileSystem(skip_instance_cache=True)
    zone = (fs, "/bucket/raw")
    put(zone, "2024-01-01/orders.csv", b"1")
    first = list_landing(*zone, SOURCE)
    time.sleep(0.01)
    put(zone, "2024-01-01/orders.csv", b"1")
    assert list_landing(*zone, SOURCE) == first
    put(zone, "2024-01-01/orders.csv", b"2")
    assert list_landing(*zone, SOURCE) != first


def test_links_count_as_what_they_point_to_where_they_may_lead_out(tmp_path: Path):
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    (raw / "2024-01-01").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "orders.csv").write_text("1")
    (raw / "2024-01-01/orders.csv").symlink_to(elsewhere / "orders.csv")
    (raw / "2024-01-01/items.csv").symlink_to(elsewhere / "nowhere.csv")
    (raw / "2024-01-02").symlink_to(elsewhere)
    found = list_landing(*url_to_fs(str(raw)), SOURCE, follow_links=True)
    assert {d: (x.files, x.size) for d, x in found.days.items()} == {day(0): (2, 1), day(1): (1, 1)}
    os.utime(elsewhere / "orders.csv", (1, 1))
    assert list_landing(*url_to_fs(str(raw)), SOURCE, follow_links=True).days[day(0)] != found.days[day(0)]
    # Else nothing of what they lead to is looked at; the build that names them is asked for all the same.
    closed = list_landing(*url_to_fs(str(raw)), SOURCE)
    assert {d: (x.files, x.size) for d, x in closed.days.items()} == {day(0): (2, 0), day(1): (1, 0)}


def test_a_days_fingerprint_is_the_one_that_cursors_hold_from_before(tmp_path: Path):
    (tmp_path / "2024-01-01").mkdir()
    (tmp_path / "2024-01-01/orders.csv").write_text("1")
    for moment in (1714514400_123456789, 1714514400_999999999, 1_000_000_001):
        os.utime(tmp_path / "2024-01-01/orders.csv", ns=(moment, moment))
        info = url_to_fs(str(tmp_path))[0].info(str(tmp_path / "2024-01-01/orders.csv"))
        ((_, _, _), (_, _, entry)) = list_files(*url_to_fs(str(tmp_path)))
        assert entry.version == str(info["mtime"])


def test_what_loops_or_never_ends_is_counted_and_not_opened(tmp_path: Path):
    (tmp_path / "2024-01-01").mkdir()
    (tmp_path / "2024-01-01/orders.csv").symlink_to("orders.csv")
    os.mkfifo(tmp_path / "2024-01-01/items.csv")
    (tmp_path / "2024-01-02").symlink_to("2024-01-02")
    found = list_landing(*url_to_fs(str(tmp_path)), SOURCE)
    assert {d: (x.files, x.size) for d, x in found.days.items()} == {day(0): (2, 0)}


def test_each_folder_is_listed_once_and_no_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    raw = tmp_path / "raw"
    for n in range(100):
        folder = raw / (date(2021, 1, 1) + timedelta(days=n)).isoformat()
        folder.mkdir(parents=True)
        for m in range(10):
            (folder / f"orders_{m}.csv").touch()
    scandir, listed = os.scandir, Counter[str]()

    def counted(folder: str) -> Any:
        listed[str(folder)] += 1
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counted)
    monkeypatch.setattr("builtins.open", None)
    found = list_landing(*url_to_fs(str(raw)), SOURCE)
    decision = decide(WatchState("x"), found, TODAY, LIMITS)
    text = decision.state.to_json()
    monkeypatch.undo()
    assert len(listed) == 101
    assert set(listed.values()) == {1}
    assert sum(d.files for d in found.days.values()) == 1_000
    assert json.loads(text)["tick"] == 1
