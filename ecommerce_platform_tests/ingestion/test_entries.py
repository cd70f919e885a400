"""What is named like a file and is none: named, never opened, and never in the way of the rest."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.ingestion.landing import land, list_drops
from ecommerce_platform.ingestion.zone import LocalZone
from ecommerce_platform_tests.ingestion.conftest import DAY, Bench

NEXT = DAY + timedelta(1)


@pytest.fixture
def strange(bench: Bench) -> Bench:
    """A drop with one good file and everything that is none."""
    bench.drop("id\n1\n", "t.csv")
    folder = bench.raw / DAY.isoformat()
    (folder / "t_loop.csv").symlink_to("t_loop.csv")
    (folder / "t_nowhere.csv").symlink_to("nothing")
    (folder / "t_through.csv").symlink_to("t.csv/file")
    (folder / "t_folder.csv").mkdir()
    (folder / "t_linked.csv").symlink_to("t_folder.csv")
    os.mkfifo(folder / "t_pipe.csv")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(folder / "t_socket.csv"))
    return bench


def test_what_is_no_file_is_a_finding_and_the_rest_is_loaded(strange: Bench):
    load = strange.load()
    assert {name.partition("/")[2]: problem.split(";")[0] for name, problem in load.problems} == {
        "t_loop.csv": "is a link that leads back to itself",
        "t_nowhere.csv": "is a link that leads nowhere",
        "t_through.csv": "is a link that leads nowhere",
        "t_folder.csv": "is a folder, not a file",
        "t_linked.csv": "is a link to a folder, not a file",
        "t_pipe.csv": "is a named pipe, not a file",
        "t_socket.csv": "is a socket, not a file",
    }
    assert strange.rows("id") == [("1",)]
    assert {code for (code,) in strange.rejects("reason_code")} == {"unreadable_file"}
    assert strange.pending == set()


def test_a_file_in_the_place_of_what_was_none_is_loaded(strange: Bench):
    strange.load()
    (strange.raw / DAY.isoformat() / "nothing").write_text("id\n2\n")
    assert strange.pending == {DAY}
    strange.load()
    assert strange.rows("id, _source_file") == [("1", "t.csv"), ("2", "t_nowhere.csv")]


def test_a_link_out_of_the_landing_zone_is_followed_only_when_a_setting_says_so(bench: Bench, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "t.csv").write_text("id\n1\n")
    bench.drop("id\n2\n", "t2.csv")
    (bench.raw / DAY.isoformat() / "t.csv").symlink_to(elsewhere / "t.csv")
    (bench.raw / NEXT.isoformat()).symlink_to(elsewhere)
    # One that leads to another place within is as good as a file.
    (bench.raw / DAY.isoformat() / "t3.csv").symlink_to("../" + DAY.isoformat() + "/t2.csv")
    found = list_drops(bench.raw, bench.source).tables["t"]
    assert [(f.day, f.name, f.size, f.fault) for f in found if not f.fault] == [
        (DAY, "t2.csv", 5, None), (DAY, "t3.csv", 5, None)
    ]  # fmt: skip
    first, second = (f.fault for f in found if f.fault)
    assert "is a link that leads out of the landing zone" in first
    assert "ECOMMERCE_FOLLOW_LINKS=true" in first
    assert "lies in a folder that leads out" in second
    followed = LocalZone(bench.raw, follow_links=True).drops(bench.source).tables["t"]
    assert [(f.day, f.name, f.fault) for f in followed] == [
        (DAY, "t.csv", None), (DAY, "t2.csv", None), (DAY, "t3.csv", None), (NEXT, "t.csv", None)
    ]  # fmt: skip


def test_a_landing_zone_that_is_itself_a_link_is_one_like_any_other(bench: Bench, tmp_path: Path):
    bench.drop("id\n1\n")
    (tmp_path / "linked").symlink_to(bench.raw)
    (file,) = list_drops(tmp_path / "linked", bench.source).tables["t"]
    assert file.fault is None


def test_a_link_named_like_a_day_that_leads_to_itself_is_no_folder(bench: Bench):
    bench.drop("id\n1\n")
    (bench.raw / NEXT.isoformat()).symlink_to(NEXT.isoformat())
    drops = list_drops(bench.raw, bench.source)
    assert drops.days == (DAY,)
    assert drops.left == (bench.raw / NEXT.isoformat(),)


def test_landing_leaves_what_is_no_file_and_says_so(shop: Source, tmp_path: Path):
    export, raw = tmp_path / "export", tmp_path / "raw"
    export.mkdir()
    (tmp_path / "orders.csv").write_text("id\n1\n")
    (export / "orders.csv").symlink_to(tmp_path / "orders.csv")  # who lands names the folder: links are theirs
    (export / "orders_loop.csv").symlink_to("orders_loop.csv")
    os.mkfifo(export / "orders_pipe.csv")
    landed = land(export, shop, raw, DAY, DAY)
    assert (landed.landed, landed.left) == (("orders.csv",), ("orders_loop.csv", "orders_pipe.csv"))
    assert not (raw / DAY.isoformat() / "orders.csv").is_symlink()
    (raw / DAY.isoformat() / "orders.csv").unlink()
    os.mkfifo(raw / DAY.isoformat() / "orders.csv")
    assert not land(export, shop, raw, DAY, DAY).already  # it neither hangs nor takes a pipe for the file
