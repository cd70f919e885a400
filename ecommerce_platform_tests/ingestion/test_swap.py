"""A drop takes its place in one step, for whoever looks and whenever the process is killed."""

from __future__ import annotations

import os
import threading
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.ingestion import swap
from ecommerce_platform.ingestion.landing import land, list_drops
from ecommerce_platform_tests.ingestion.conftest import make_source

DAY = date(2024, 5, 1)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def shop() -> Source:
    return make_source(orders={}, items={})


def incoming(raw: Path, **files: str) -> Path:
    folder = raw / ".incoming-x"
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return folder


def content(raw: Path, shop: Source) -> dict[str, str]:
    return {f.name: f.path.read_text() for files in list_drops(raw, shop).tables.values() for f in files}


def killed_after(renames: int, work) -> None:
    """Runs `work` in a process of its own that dies right before so many renames and one are done."""
    child = os.fork()
    if child == 0:
        rename, count = Path.rename, [0]

        def counted(self: Path, target: Path) -> Path:
            if count[0] == renames:
                os._exit(9)
            count[0] += 1
            return rename(self, target)

        Path.rename = counted
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (9 if renames < 3 else 0)


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["place", "extend"])
def test_a_kill_leaves_the_old_drop_or_the_new_one(raw: Path, shop: Source, renames: int, how: str):
    swap.place(incoming(raw, orders="old", items="old"), DAY, raw)
    new = incoming(raw, orders="new") if how == "place" else incoming(raw, orders_2="new")
    if how == "place":
        killed_after(renames, lambda: swap.place(new, DAY, raw))
        expected = {"orders.csv": "new"}
    else:
        killed_after(renames, lambda: swap.extend(new, DAY, raw, lambda name: name == "items.csv"))
        expected = {"orders.csv": "old", "orders_2.csv": "new"}
    old = {"orders.csv": "old", "items.csv": "old"}
    # From the first rename on the new drop counts, and the listing brings it to its place.
    assert content(raw, shop) == (old if renames == 0 else expected)
    kept = {p.name for p in (raw / ".replaced").rglob("*.csv")} if (raw / ".replaced").exists() else set()
    assert kept >= (set() if renames == 0 else {"items.csv"})
    assert not [name for name in os.listdir(raw) if name.startswith(".ready-")]


def test_a_drop_that_is_half_in_place_goes_first_when_the_day_is_landed_again(raw: Path, shop: Source, tmp_path: Path):
    swap.place(incoming(raw, orders="first"), DAY, raw)
    new = incoming(raw, orders="second")
    killed_after(2, lambda: swap.place(new, DAY, raw))
    assert not (raw / "2024-05-01").exists()
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "orders.csv").write_text("third")
    land(tmp_path / "export", shop, raw, DAY, DAY)
    assert content(raw, shop) == {"orders.csv": "third"}
    assert sorted(p.read_text() for p in (raw / ".replaced").rglob("*.csv")) == ["first", "second"]


def test_where_nothing_may_be_written_a_drop_half_in_place_counts_all_the_same(
    raw: Path, shop: Source, monkeypatch: pytest.MonkeyPatch
):
    swap.place(incoming(raw, orders="old"), DAY, raw)
    new = incoming(raw, orders="new")
    killed_after(2, lambda: swap.place(new, DAY, raw))

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    assert content(raw, shop) == {"orders.csv": "new"}
    monkeypatch.undo()
    assert content(raw, shop) == {"orders.csv": "new"}
    assert (raw / "2024-05-01").is_dir()


def test_listings_never_see_a_day_without_its_drop(raw: Path, shop: Source):
    swap.place(incoming(raw, orders="0"), DAY, raw)
    done = threading.Event()

    def replace() -> None:
        for number in range(200):
            swap.place(incoming(raw, orders=str(number)), DAY, raw)
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    listings = 0
    while not done.is_set():
        assert list_drops(raw, shop).days == (DAY,)
        listings += 1
    writer.join()
    assert listings > 20


def test_extending_shares_the_files_and_leaves_nothing_aside_but_what_was_left_out(raw: Path, shop: Source):
    swap.place(incoming(raw, orders="a", items="b"), DAY, raw)
    (raw / "2024-05-01" / "deeper").mkdir()
    (raw / "2024-05-01" / "deeper" / "note").write_text("n")
    (raw / "2024-05-01" / "link").symlink_to("deeper/note")
    before = (raw / "2024-05-01" / "orders.csv").stat()
    assert swap.extend(incoming(raw, orders_2="c"), DAY, raw, lambda name: False) is None
    assert not list((raw / ".replaced").iterdir())
    after = (raw / "2024-05-01" / "orders.csv").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)
    assert (raw / "2024-05-01" / "link").read_text() == "n"
    aside = swap.extend(incoming(raw, items_2="d"), DAY, raw, lambda name: name.startswith("items."))
    assert aside is not None
    assert [p.name for p in aside.iterdir()] == ["items.csv"]
    assert content(raw, shop) == {"orders.csv": "a", "orders_2.csv": "c", "items_2.csv": "d"}


def test_without_hard_links_files_are_copied_with_their_times(raw: Path, shop: Source, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **options: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    swap.place(incoming(raw, orders="a"), DAY, raw)
    before = list_drops(raw, shop).tables["orders"]
    assert swap.extend(incoming(raw, orders_2="b"), DAY, raw, lambda name: False) is None
    assert list_drops(raw, shop).tables["orders"][:1] == before
    assert content(raw, shop) == {"orders.csv": "a", "orders_2.csv": "b"}


def test_what_a_kill_left_aside_twice_is_removed_and_the_only_copies_stay(raw: Path, shop: Source):
    swap.place(incoming(raw, orders="a", items="b"), DAY, raw)
    aside = raw / ".replaced" / "2024-05-01-20240501T000000000000"
    aside.mkdir(parents=True)
    os.link(raw / "2024-05-01" / "orders.csv", aside / "orders.csv")
    (aside / "items.csv").write_text("another")
    assert swap.tidy(raw, lambda file: None, 0) == []
    assert [p.name for p in aside.iterdir()] == ["items.csv"]
    assert content(raw, shop) == {"orders.csv": "a", "items.csv": "b"}


def linked(link: Path, target: Path) -> tuple[int, int]:
    """Makes a link to a file with an old content; its size and time."""
    link.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"old")
    link.symlink_to(target)
    stat = link.stat()
    return stat.st_size, stat.st_mtime_ns


def test_the_file_that_a_link_leads_to_is_exchanged_and_the_link_stays(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    link, target = raw / "2024-01-01" / "t.csv", raw / "2024-01-02" / "real.csv"
    seen = linked(link, target)
    assert swap.leads_out(link, raw) is None
    assert swap.exchange(link, raw, b"new!", *seen)
    assert link.is_symlink()
    assert target.read_bytes() == b"new!"
    assert not swap.exchange(link, raw, b"newer", *seen), "it is another file by now"
    assert [f.name for f in target.parent.iterdir()] == ["real.csv"]


def test_a_link_out_of_the_drops_becomes_a_file_and_says_where_the_old_one_stays(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    link, target = raw / "2024-01-01" / "t.csv", tmp_path / "elsewhere" / "t.csv"
    seen = linked(link, target)
    assert swap.leads_out(link, raw) == target
    assert swap.exchange(link, raw, b"new", *seen)
    assert (link.is_symlink(), link.read_bytes(), target.read_bytes()) == (False, b"new", b"old")
    assert swap.leads_out(link, raw) is None
