"""`make bench` on a shop of a few hundred orders: it runs, and platform and bare script make the same tables."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from benchmarks import first_minutes, nested, spark
from benchmarks.__main__ import main
from benchmarks.build import APART, COMPARED
from benchmarks.equal import differences
from ecommerce_platform.engines.spark import missing_for_spark
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.leftout import leave_out


def test_the_bare_script_makes_the_platforms_tables_and_each_part_of_a_build_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--orders", "300", "--days", "20", "--runs", "1", "--work", str(tmp_path), "--results", str(tmp_path)])
    assert " tables are equal" in capsys.readouterr().out
    report = (tmp_path / "build.md").read_text()
    titles = [line.split(" | ") for line in report.splitlines() if line.startswith("| orders")]
    assert {*COMPARED, *APART} < {title for titles_of_one in titles for title in titles_of_one}
    ((_, loading, *_, ratio, _),) = [
        line.strip("| ").split(" | ") for line in report.splitlines() if " ÷ " in line and line.startswith("| 300")
    ]
    ours, bare = map(float, loading.split(" ÷ "))
    assert ours > 0 and bare > 0 and float(ratio.strip("*")) > 0  # noqa: PT018


def test_tables_that_differ_are_told_by_column(tmp_path: Path) -> None:
    columns = {"number": "BIGINT", "amount": "DECIMAL(18,4)", "share": "DOUBLE", "name": "VARCHAR"}
    files = [tmp_path / name for name in ("ours", "same", "other")]
    contents = ("(1, 2.5, 0.1, 'a'), (2, null, 0.2, 'b')", "(2, null, 0.2, 'b'), (1, 2.5, 0.1, 'a')",
                "(1, 2.5, 0.1, 'a'), (2, 0, 0.20001, 'c'), (2, null, 0.2, 'b')")  # fmt: skip
    for file, rows in zip(files, contents, strict=True):
        with duckdb.connect(str(file)) as con:
            typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            con.execute(f"create table t ({typed})")
            con.execute(f"insert into t values {rows}")
    ours, same, other = files
    assert differences(ours, same, {"t": columns}) == []
    told = [line.split(": ")[1] for line in differences(ours, other, {"t": columns})]
    assert told == [
        "rows", "filled number", "sum of number", "filled amount", "filled share", "sum of share", "filled name", "sum of name",
    ]  # fmt: skip


@pytest.mark.long
def test_what_a_newcomer_waits_for_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--orders", "300", "--days", "20", "--runs", "1", "--work", str(tmp_path), "--results", str(tmp_path)]
    first_minutes.main(words)
    lines = (tmp_path / "first-minutes.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    figures = {name: float(value.replace(",", "")) for name, value in rows if name != "what" and "---" not in name}
    assert len(figures) == 14
    assert min(figures.values()) > 0
    assert figures["its tables (s)"] + figures["its bookkeeping (s)"] == pytest.approx(
        figures["a build from nothing (s)"], abs=0.02
    )


@pytest.mark.long
@pytest.mark.parametrize("more", [["0.2"], ["0.2", "--layout", "array"], ["40.3", "--record", "40"]])
def test_nested_orders_become_the_same_rows_both_ways_and_time_and_memory_are_told(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    nested.main(["--mb", *more])
    *_, row = capsys.readouterr().out.strip().splitlines()
    assert "rows differ" not in row
    _, layout, largest, ours, bare, ratio, *peaks = row.strip("| ").split(" | ")
    assert layout == ("array" if "array" in more else "lines")
    assert (float(largest) > 39) is ("--record" in more)
    assert all(float(figure.replace(",", "")) > 0 for figure in (ours, bare, ratio, *peaks))


@pytest.mark.long
def test_both_engines_are_timed_on_the_same_tables(shop: Shop, tmp_path: Path) -> None:
    if missing := missing_for_spark():
        leave_out(*missing)
    shop.ok("generate", "--orders", "300", "--days", "20", "--dirty", "0")
    shop.ok("build")
    before = shop.query("select max(version) from changes.versions")
    spark.main([str(shop.data), "--results", str(tmp_path)])
    lines = (tmp_path / "spark.md").read_text().splitlines()
    (row,) = (line.strip("| ").split(" | ") for line in lines if line.startswith("| 300 "))
    assert row[1] == f"{shop.query('select count(*) from gold.fct_order_items')[0][0]:,}"
    assert all(float(figure.replace(",", "")) > 0 for figure in row)
    assert shop.query("select max(version) from changes.versions") == before
    assert not (shop.data / "spark-benchmark").exists()


def test_growth_on_spark_is_told_beside_that_of_rows(tmp_path: Path) -> None:
    def measured(lines: int, duck: float, other: float) -> tuple[dict, dict]:
        names = [f"gold.t{n}" for n in range(12)]
        of_spark = {"start": 5.0, "copied": 1.0, "bytes": 1e6, "mib": 300.0, "java_mib": 900.0}
        return (
            {"tables": dict.fromkeys(names, duck), "lines": lines, "orders": lines // 2},
            {"tables": {name: other + n for n, name in enumerate(names)}, **of_spark},
        )

    spark.report([measured(1_000_000, 1.0, 2.0), measured(3_000_000, 2.0, 10.0)], tmp_path)
    said = (tmp_path / "spark.md").read_text()
    # 12 + … + 21 s of 12 tables, 90 s and 186 s in all: 2.07 times as long for three times the rows.
    assert "Time ratio ÷ row ratio (3.00 × the lines): Spark 0.69, DuckDB 0.67" in said
    assert "Of each further million order lines Spark takes 48.00 s, DuckDB 6.00 s." in said
    dear = [line.split("`")[1] for line in said.splitlines() if line.startswith("| `")]
    assert dear == [f"gold.t{n}" for n in range(11, 1, -1)]
