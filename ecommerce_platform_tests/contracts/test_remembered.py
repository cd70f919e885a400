"""What texts have shown is remembered by text, code and version; errors and what JSON cannot hold are not."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.contracts import remembered as module
from ecommerce_platform.contracts.remembered import remembered
from ecommerce_platform.contracts.select import NotAllowedError, tables_read
from ecommerce_platform.contracts.yaml_file import read_yaml


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(module, "_known", None)
    monkeypatch.setattr(module, "_new", {})
    module.file().parent.mkdir(parents=True)
    return tmp_path


def next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    module._keep()
    monkeypatch.setattr(module, "_known", None)
    monkeypatch.setattr(module, "_new", {})


def test_another_process_does_not_work_out_again_what_is_known(monkeypatch):
    assert remembered("a text", "length", __file__, lambda: 6) == 6
    next_process(monkeypatch)
    assert remembered("a text", "length", __file__, lambda: pytest.fail("worked out again")) == 6


def test_another_text_question_or_code_is_worked_out_anew(tmp_path):
    code = tmp_path / "code.py"
    code.write_text("one")
    assert remembered("text", "what", str(code), lambda: 1) == 1
    assert remembered("text!", "what", str(code), lambda: 2) == 2
    assert remembered("text", "what else", str(code), lambda: 3) == 3
    code.write_text("two")
    module._digest.cache_clear()
    assert remembered("text", "what", str(code), lambda: 4) == 4


def test_a_select_that_is_refused_is_refused_each_time(monkeypatch):
    for _ in range(2):
        tables_read.cache_clear()
        with pytest.raises(NotAllowedError, match="read_text"):
            tables_read("select * from read_text('/etc/passwd')")
        next_process(monkeypatch)


@pytest.mark.parametrize("kept", ["", "{", "[1]", "\x00\xff"])
def test_a_file_that_is_broken_is_as_good_as_none(kept, monkeypatch):
    module.file().write_text(kept, encoding="latin-1")
    assert remembered("text", "what", __file__, lambda: [1]) == [1]
    next_process(monkeypatch)
    assert list(json.loads(module.file().read_text()).values()) == [[1]]


def test_a_day_in_yaml_stays_a_day(tmp_path, monkeypatch):
    path = tmp_path / "days.yml"
    path.write_text("a: 2026-01-31\n1: x\n")
    for _ in range(2):
        assert read_yaml(path) == {"a": date(2026, 1, 31), 1: "x"}
        next_process(monkeypatch)


def test_yaml_read_twice_is_not_the_same_object(tmp_path):
    path = tmp_path / "list.yml"
    path.write_text("a: [1, 2.0, null, true]\n")
    read_yaml(path)["a"].append(3)
    assert read_yaml(path) == {"a": [1, 2.0, None, True]}


def test_no_more_texts_are_kept_than_the_last_ones(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    for text in "abcde":
        remembered(text, "what", __file__, lambda text=text: text)
    module._keep()
    assert list(json.loads(module.file().read_text()).values()) == ["c", "d", "e"]


def test_nothing_is_written_where_python_is_told_to_write_no_bytecode(folder):
    code = "from ecommerce_platform.contracts.select import tables_read; tables_read('select * from gold.x')"
    elsewhere = folder / "elsewhere"
    for flag, files in (("-B", 0), ("-E", 1)):
        subprocess.run([sys.executable, flag, "-X", f"pycache_prefix={elsewhere}", "-c", code], check=True)
        assert len(list(elsewhere.rglob("remembered*.json"))) == files
