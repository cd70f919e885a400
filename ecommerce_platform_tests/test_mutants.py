"""The tool that asks whether tests notice faults, on a module small enough to know every answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ecommerce_platform_tests.mutants import __main__ as command
from ecommerce_platform_tests.mutants.changes import Change, file_changes, python_changes, sql_changes

TOY = '''"""A toy: 1 < 2."""
from __future__ import annotations

LIMIT = 3


def small(n: int) -> bool:
    """Whether n < 3."""
    return n < LIMIT


def never(n: int | None) -> None:
    if n == 1:
        raise ValueError(f"{n + 1} is no good", n + 1)
'''


def faults(changes: list[Change], text: str) -> list[str]:
    return [f"{c.line}: {text[c.start : c.end]} → {c.after}" for c in changes]


def test_faults_are_of_code_and_of_no_text_annotation_or_message() -> None:
    assert faults(python_changes(TOY), TOY) == [
        "4: 3 → 4",
        "4: 3 → (2)",
        "9: return n < LIMIT → return None",
        "9: n < LIMIT → (n <= LIMIT)",
        "13: n == 1 → (n != 1)",
        "13: 1 → 2",
        "13: 1 → (0)",
        '14: raise ValueError(f"{n + 1} is no good", n + 1) → pass',
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a and b", ["(a or b)"]),
        ("not a", ["(a)"]),
        ("a + b", ["(a - b)"]),
        ("y = any(x)", ["(all(x))"]),
        ("z = max(x, y)", ["(min(x, y))"]),
        ("'é' + b", []),
        ("x = True", ["False"]),
        ("a.b = c", ["pass"]),
        ("f(c)", ["pass"]),
        ("a += b", ["a -= b", "pass"]),
    ],
)
def test_each_kind_of_fault(before: str, after: list[str]) -> None:
    assert [c.after for c in python_changes(f"é = '…'; {before}\n") if c.line == 1] == after
    for change in python_changes(f"é = '…'; {before}\n"):
        assert change.apply(f"é = '…'; {before}\n").startswith("é = '…'; ")


def test_sql_is_changed_as_text_where_a_string_is_sql() -> None:
    text = 'SQL = f"""\nselect distinct a from t\nleft join u on t.a = u.a where b < {x} order by a"""\nSAID = "rows where 3 were expected"\n'
    assert faults(sql_changes(text), text) == [
        "3: < → <=",
        "3: = → <>",
        "3: left join → inner join",
        "2: distinct  → ",
        "3: where  → where true or ",
        "3: order by a → order by a desc",
    ]
    assert faults(
        file_changes("update t set a = 1 where b = 2 -- c = d\n"), "update t set a = 1 where b = 2 -- c = d\n"
    ) == [
        "1: = → <>",
        "1: where  → where true or ",
    ]


def test_the_interval_is_wilsons() -> None:
    assert command.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert command.wilson(0, 0) == (0.0, 1.0)


def test_the_command_tells_found_from_survived_and_not_covered_and_leaves_the_tree_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # half of the seconds
    root = tmp_path / "tree"
    module, tests = root / command.PACKAGE / "warehouse" / "toy.py", root / f"{command.PACKAGE}_tests"
    module.parent.mkdir(parents=True)
    module.write_text(TOY)
    for package in (module.parent, module.parent.parent):
        (package / "__init__.py").touch()
    shutil.copytree(Path(command.__file__).parent, tests / "mutants", ignore=shutil.ignore_patterns("__pycache__"))
    (tests / "__init__.py").touch()
    (tests / "test_toy.py").write_text(
        "from ecommerce_platform.warehouse.toy import small\n\n\n"
        "def test_small():\n    assert small(1)\n    assert not small(9)\n"
    )
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    command.main(["--work", str(tmp_path / "work"), "--seed", "1", "--only", "warehouse/toy.py"], root)
    said = capsys.readouterr().out
    assert "8 of 8 faults, seed 1" in said
    assert "found 1 of 4 that were run by a test: 25.0% (95 % interval 4.6% to 69.9%)" in said
    assert "survived: warehouse/toy.py:4: 3 → 4" in said
    assert "survived: warehouse/toy.py:9: n < LIMIT → (n <= LIMIT)" in said
    assert "not covered: warehouse/toy.py:13: n == 1 → (n != 1)" in said
    assert module.read_text() == TOY


def test_seconds_of_what_a_file_shares_are_paid_once_by_the_first_test_taken_from_it() -> None:
    seconds = {"a.py": 30.0, "a.py::one": 1.0, "a.py::two": 2.0, "b.py": 40.0, "b.py::one": 1.0, "c.py::one": 5.0}
    every = {name for name in seconds if "::" in name}
    assert command.chosen(every, seconds, "", 40) == ["c.py::one", "a.py::one", "a.py::two"]
    assert command.named({"a.py"}, seconds) == {"a.py::one", "a.py::two"}
