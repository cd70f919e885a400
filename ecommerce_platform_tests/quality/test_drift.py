"""Drift: loads judged by those before them; how often wrongly, and how soon planted changes are found.

Loads are drawn here, bin by bin; `integration/test_drift.py` does the same with generated shops, from their files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random

import dagster as dg
import duckdb
import numpy as np
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.source import AnomalyRules, DriftRules, KnownDays, check_ignored, read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.orchestration.assembly import build_definitions, watched_tables
from ecommerce_platform.orchestration.assets.profiles import profile_checks
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.orchestration.resources import open_warehouse, warehouse_resource
from ecommerce_platform.quality.drift import Loads, Series, judge_columns, judge_rows, refresh_drift
from ecommerce_platform.quality.drift_report import read_reports
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.warehouse.shop import SOURCE_YML, write_source

START = date(2024, 1, 1)
WEEK = np.array([1.2, 1.0, 0.9, 0.9, 1.0, 0.7, 1.3])
RULES = DriftRules()
BORDERS = 10 ** (np.arange(-20, 80) / 20)
CHANNELS = {"web": 0.45, "app": 0.3, "store": 0.15, "phone": 0.08, "fax": 0.02}
AGES = {"18-24": 0.15, "25-34": 0.3, "35-44": 0.25, "45-54": 0.2, "55+": 0.1}

Rows = dict[str, np.ndarray]
Change = Callable[[Rows, np.random.Generator], Rows]


def draw(rng: np.random.Generator, weekday: int, size: int) -> Rows:
    """A load's rows: a price, a quantity, two categories, and days since the order; a price in ten is missing."""
    price = rng.lognormal(3.5, 0.7, size)
    price[rng.random(size) < 0.1] = np.nan
    return {
        "price": price,
        "quantity": rng.geometric(0.6, size).astype(float),
        # Parcels wait over the weekend.
        "age_days": rng.geometric(0.5, size) - 1.0 + (2.0 if weekday == 0 else 0.0),
        "channel": rng.choice(list(CHANNELS), size, p=list(CHANNELS.values())),
        "age_group": rng.choice(list(AGES), size, p=list(AGES.values())),
    }


def make_loads(
    days: int, seed: int, mean: float = 150, changes: Mapping[int, Change] | None = None, scale: float = 0.05
) -> Loads:
    """So many daily loads of a shop that grows and has weekdays; `changes` makes others of some."""
    rng = np.random.default_rng(seed)
    dates = [START + timedelta(n) for n in range(days)]
    usual = mean * WEEK[np.arange(days) % 7] * (1 + np.arange(days) / 400) * rng.lognormal(0, scale, days)
    loads = []
    for number, size in enumerate(rng.poisson(usual).tolist()):
        rows = draw(rng, dates[number].weekday(), size)
        loads.append((changes or {}).get(number, lambda r, _: r)(rows, rng))
    series = []
    for name in loads[0]:
        figures = loads[0][name].dtype.kind == "f"
        empty = [int(np.isnan(load[name]).sum()) if figures else int((load[name] == "").sum()) for load in loads]
        sizes = [len(load[name]) for load in loads]
        counts = np.array([[e, s - e] for e, s in zip(empty, sizes, strict=True)], dtype=float)
        series.append(Series(name, "nulls", ["null", "filled"], counts))
        if figures:
            bins = ["0.0", *(f"{b:.3g}" for b in BORDERS)]
            edges = [-np.inf, *BORDERS, np.inf]
            spread = np.array(
                [np.histogram(load[name][~np.isnan(load[name])], edges)[0] for load in loads], dtype=float
            )
            series.append(Series(name, "figures", bins, spread))
        else:
            values = sorted({str(v) for load in loads for v in np.unique(load[name]) if v})
            taken = np.array([[(load[name] == v).sum() for v in values] for load in loads], dtype=float)
            series.append(Series(name, "values", values, taken))
    sizes = np.array([len(load["price"]) for load in loads], dtype=float)
    return Loads("orders", "orders", dates, sizes, sizes, series, [f"{seed}/{n}" for n in range(days)])


def alarms(loads: Loads, rules: DriftRules = RULES, known: AnomalyRules | None = None) -> dict[str, np.ndarray]:
    """Check → for each load whether it warns."""
    (told,) = judge_columns([loads], rules, known)
    drifted = np.array([v.drifted == 1 for v in told.values()]).any(axis=0)
    return {"drift": drifted, "load_size": judge_rows(loads.days, loads.rows, rules, known).drifted == 1}


def _with(**changed: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Change:
    return lambda rows, rng: rows | {name: change(rows[name], rng) for name, change in changed.items()}


def _some(share: float, value: object) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def change(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        values = values.astype("<U8") if values.dtype.kind == "U" else values.copy()
        values[rng.random(len(values)) < share] = value
        return values

    return change


def _keep(share: float) -> Change:
    def change(rows: Rows, rng: np.random.Generator) -> Rows:
        kept = rng.random(len(rows["price"])) < share
        return {name: values[kept] for name, values in rows.items()}

    return change


#: What is planted → the check that has to find it, and how.
PLANTED: dict[str, tuple[str, Change]] = {
    "prices in cents": ("drift", _with(price=lambda x, _: x * 100)),
    "prices in another currency": ("drift", _with(price=lambda x, _: x * 1.6)),
    "dozens instead of pieces": ("drift", _with(quantity=lambda x, _: x * 12)),
    "a third of the prices missing": ("drift", _with(price=_some(0.33, np.nan))),
    "a new channel": ("drift", _with(channel=_some(0.06, "kiosk"))),
    "more orders by telephone": ("drift", _with(channel=_some(0.25, "phone"))),
    "older customers": ("drift", _with(age_group=_some(0.4, "55+"))),
    "channel missing in a fifth": ("drift", _with(channel=_some(0.2, ""))),
    "columns swapped": ("drift", lambda rows, _: rows | {"price": rows["quantity"], "quantity": rows["price"]}),
    "last month once more": ("drift", _with(age_days=lambda x, _: x + 30)),
    "half of the rows": ("load_size", _keep(0.5)),
    "everything twice": (
        "load_size", lambda rows, _: {name: np.concatenate([x, x]) for name, x in rows.items()}
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_change_is_found_within_three_loads(planted: str) -> None:
    check, change = PLANTED[planted]
    for seed in (901, 902):
        loads = make_loads(83, seed, changes={80: change, 81: change, 82: change})
        found = alarms(loads)
        assert found[check][80:].any(), f"seed {seed}"
        assert not found[check][60:80].any(), f"seed {seed}"


def test_loads_without_drift_hardly_ever_warn(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 1 % of 200 loads per check: shops that grow and have weekdays, but whose loads are drawn alike."""
    warned = {"drift": 0, "load_size": 0}
    shops = [(seed, mean) for seed in (911, 912) for mean in (40, 150, 400)]
    for seed, mean in shops:
        for check, found in alarms(make_loads(230, seed, mean)).items():
            warned[check] += int(found[30:].sum())
    with capsys.disabled():
        told = ", ".join(f"{check} {count} ({count / 200 / len(shops):.2%})" for check, count in warned.items())
        print(f"\nwarnings on {200 * len(shops)} loads without drift: {told}")
    assert all(count <= 0.01 * 200 * len(shops) for count in warned.values())


def test_what_is_said_of_a_load_does_not_change_when_more_come() -> None:
    change = PLANTED["prices in cents"][1]
    loads = make_loads(90, 1, changes=dict.fromkeys(range(60, 75), change))
    (whole,) = judge_columns([loads], RULES)
    part = replace(
        loads, days=loads.days[:65], rows=loads.rows[:65], profiled=loads.profiled[:65],
        series=[replace(s, counts=s.counts[:65]) for s in loads.series],
    )  # fmt: skip
    (told,) = judge_columns([part], RULES)
    for key, verdicts in told.items():
        for name in ("value", "high", "noise", "differs", "drifted", "begins_anew"):
            assert np.array_equal(
                getattr(verdicts, name), getattr(whole[key], name)[:65], equal_nan=name not in ("begins_anew",)
            ), key


def test_a_change_that_lasts_becomes_what_is_usual() -> None:
    change = PLANTED["prices in cents"][1]
    (told,) = judge_columns([make_loads(130, 2, changes=dict.fromkeys(range(60, 130), change))], RULES)
    price = told["price", "psi"]
    assert price.drifted[60:70].tolist() == [1] * 10
    assert price.begins_anew[69]
    assert not (price.drifted[70:] == 1).any()
    # And back again is a change, too.
    back = dict.fromkeys(range(60, 100), change)
    (told,) = judge_columns([make_loads(130, 2, changes=back)], RULES)
    assert (told["price", "psi"].drifted[100:103] == 1).any()


def test_a_single_odd_load_does_not_spoil_what_later_ones_are_compared_with() -> None:
    (told,) = judge_columns([make_loads(120, 3, mean=400, changes={60: PLANTED["prices in cents"][1]})], RULES)
    assert np.flatnonzero(told["price", "psi"].drifted == 1).tolist() == [60]


def _drifted(changes: Mapping[int, Change], days: int = 130) -> tuple[list[int], dict[int, str]]:
    (told,) = judge_columns([make_loads(days, 12, mean=400, changes=changes)], RULES)
    return np.flatnonzero(told["price", "psi"].drifted == 1).tolist(), told["price", "psi"].explanation


def test_a_change_like_one_that_passed_is_told_once() -> None:
    cheap, cents = _with(price=lambda x, _: x * 0.5), PLANTED["prices in cents"][1]
    sales = dict.fromkeys([*range(60, 65), *range(100, 106)], cheap)
    warned, said = _drifted(sales)
    assert warned == [60, 61, 62, 63, 64, 100]
    assert all(
        said[n].endswith("; told already, and like 2024-03-01 to 2024-03-05, which passed") for n in range(101, 106)
    )
    # Another change warns as long as it lasts, also when it falls among loads that are known.
    assert _drifted(sales | dict.fromkeys(range(103, 106), cents))[0] == [60, 61, 62, 63, 64, 100, 103, 104, 105]
    assert _drifted(dict.fromkeys(range(60, 65), cheap) | dict.fromkeys(range(100, 103), cents))[0][5:] == [
        100,
        101,
        102,
    ]


def test_a_change_has_passed_after_three_loads_and_is_remembered_for_four_hundred() -> None:
    cheap = _with(price=lambda x, _: x * 0.5)
    # Two loads between: the change goes on, and was never seen to pass.
    assert _drifted(dict.fromkeys([60, 61, 64, 65], cheap))[0] == [60, 61, 64, 65]
    assert _drifted(dict.fromkeys([60, 61, 65, 66], cheap))[0] == [60, 61, 65]
    assert _drifted(dict.fromkeys([60, 61, 459, 460], cheap), 470)[0] == [60, 61, 459]
    assert _drifted(dict.fromkeys([60, 61, 462, 463], cheap), 470)[0] == [60, 61, 462, 463]


def test_mondays_are_compared_with_mondays() -> None:
    (told,) = judge_columns([make_loads(120, 4, mean=400)], RULES)
    waiting = told["age_days", "psi"]
    mondays = np.arange(120) % 7 == 0
    assert np.nanmean(waiting.value[mondays]) > 0.5 > 0.1 > np.nanmean(waiting.value[~mondays])
    assert not (waiting.drifted == 1).any()


def test_a_slight_change_needs_a_second_load_before_it_warns() -> None:
    once = {80: _with(price=lambda x, _: x * 1.3)}
    (told,) = judge_columns([make_loads(100, 5, mean=400, changes=once)], RULES)
    price = told["price", "psi"]
    assert (price.differs[80], (price.drifted == 1).any()) == (1, False)
    assert "values are spread differently" in price.explanation[80]
    (told,) = judge_columns([make_loads(100, 5, mean=400, changes=once | {82: once[80]})], RULES)
    assert np.flatnonzero(told["price", "psi"].drifted == 1).tolist() == [82]


def test_too_few_loads_or_values_give_no_verdict_and_say_so() -> None:
    (told,) = judge_columns([make_loads(25, 6, mean=400)], RULES)
    price = told["price", "psi"]
    assert set(price.drifted[:21].tolist()) == {-1}
    assert price.drifted[21:].tolist() == [0] * 4, "the very first load counts"
    assert price.explanation[5] == "no verdict: 5 loads to compare with, 21 are needed"
    (told,) = judge_columns([make_loads(60, 6, mean=10)], RULES)
    assert set(told["price", "psi"].drifted.tolist()) == {-1}
    assert "fewer than 50 values" in told["price", "psi"].explanation[59]


def test_one_value_is_judged_with_the_loads_it_is_put_together_with_and_none_is_not() -> None:
    loads = make_loads(60, 27, mean=60)
    (price,) = (s for s in loads.series if (s.column, s.kind) == ("price", "figures"))
    usual = price.counts[:50].sum(axis=0).argmax()
    price.counts[50:52] = 0
    price.counts[50, usual] = 1
    (told,) = judge_columns([loads], RULES)
    assert told["price", "psi"].differs[50:52].tolist() == [0, -1]


def test_columns_that_take_new_values_all_the_time_do_not_warn() -> None:
    def campaign(number: int) -> Change:
        return _with(channel=_some(0.2, f"ad-{number // 14}"))

    (told,) = judge_columns([make_loads(120, 7, changes={n: campaign(n) for n in range(120)})], RULES)
    new = told["channel", "new_values"]
    assert not (new.drifted[45:] == 1).any()
    assert "new values are usual" in new.explanation[98]
    (told,) = judge_columns([make_loads(120, 7, changes={90: PLANTED["a new channel"][1]})], RULES)
    new = told["channel", "new_values"]
    assert np.flatnonzero(new.drifted == 1).tolist() == [90]
    assert "values never seen before: 'kiosk'" in new.explanation[90]


@pytest.mark.parametrize(("new", "says"), [(3, "'kiosk0', 'kiosk1', 'kiosk2'"), (4, "'kiosk0', 'kiosk1', 'kiosk2' …")])
def test_three_new_values_are_named(new: int, says: str) -> None:
    def kiosks(rows: Rows, _: np.random.Generator) -> Rows:
        channel = rows["channel"].astype("<U8")
        channel[: 10 * new] = np.repeat([f"kiosk{n}" for n in range(new)], 10)
        return rows | {"channel": channel}

    (told,) = judge_columns([make_loads(91, 7, changes={90: kiosks})], RULES)
    assert told["channel", "new_values"].explanation[90].endswith(f": {says}")


def test_known_days_are_told_but_warn_nobody() -> None:
    known = AnomalyRules(known_days=(KnownDays(name="stocktaking", first="03-21", last="03-21"),))
    changes = {80: _keep(0.3)}
    loads = make_loads(85, 8, changes=changes)
    assert loads.days[80] == date(2024, 3, 21)
    rows = judge_rows(loads.days, loads.rows, RULES, known)
    assert (rows.differs[80], rows.drifted[80]) == (1, 0)
    assert rows.explanation[80].endswith("the day is known as stocktaking")
    changes = {80: PLANTED["prices in cents"][1]}
    (told,) = judge_columns([make_loads(85, 8, changes=changes)], RULES, known)
    assert (told["price", "psi"].differs[80], told["price", "psi"].drifted[80]) == (1, 0)


def test_half_of_a_load_is_found_at_once_where_chance_makes_no_such_thing(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for mean in (40, 100, 200):
        first = within = wrong = 0
        for seed in range(50):
            rng = np.random.default_rng(7000 + seed)
            days = [START + timedelta(n) for n in range(120)]
            rows = rng.poisson(mean * WEEK[np.arange(120) % 7] * rng.lognormal(0, 0.05, 120)).astype(float)
            rows[117:] = rng.binomial(rows[117:].astype(int), 0.5)
            drifted = judge_rows(days, rows, RULES).drifted == 1
            first, within, wrong = first + drifted[117], within + drifted[117:].any(), wrong + drifted[30:117].sum()
        told[mean] = (first / 50, within / 50, wrong / 50 / 87)
    with capsys.disabled():
        print("\nhalf of the rows, found with the first load, within three, false alarms: ", told)
    assert told[200][0] >= 0.95
    assert told[100][1] >= 0.9
    assert max(false for *_, false in told.values()) <= 0.01


def test_weekdays_and_growth_are_expected_of_the_number_of_rows() -> None:
    loads = make_loads(200, 9, mean=300)
    told = judge_rows(loads.days, loads.rows, RULES)
    late, weekday = slice(100, 200), np.arange(200)[slice(100, 200)] % 7
    ratio = told.expected[late][weekday == 6].mean() / told.expected[late][weekday == 5].mean()
    assert ratio == pytest.approx(1.3 / 0.7, rel=0.15)
    assert told.expected[190:].mean() / told.expected[30:40].mean() == pytest.approx(1.475 / 1.09, rel=0.15)


# -- the table ---------------------------------------------------------------------------------------------------

CATALOG = read_catalog()
DRIFT = CATALOG.contract("gold.profile_drift")


def warehouse() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema gold")
    con.execute(create_table_sql(CATALOG.contract("gold.table_profiles")))
    return con


def put(con: duckdb.DuckDBPyConnection, loads: Loads, chosen: list[int]) -> None:
    """Writes the profiles of some of the loads."""
    rows = []
    columns = sorted({s.column for s in loads.series})
    by = {(s.column, s.kind): s for s in loads.series}
    for t in chosen:
        for column in columns:
            figures, values = by.get((column, "figures")), by.get((column, "values"))
            spread = figures or values
            assert spread is not None
            text = json.dumps({b: int(c) for b, c in zip(spread.bins, spread.counts[t], strict=True) if c})
            rows.append(
                (loads.entity, loads.raw_table, loads.days[t], column, "number" if figures else "text",
                 int(loads.rows[t]), int(loads.profiled[t]), int(by[column, "nulls"].counts[t, 0]), 0,
                 None if figures else text, text if figures else None, loads.versions[t])
            )  # fmt: skip
    names = "entity, _raw_table, _load_date, column_name, kind, rows_count, rows_profiled, nulls, distinct_values, top_values, histogram, version"
    marks = ", ".join("?" * 12)
    con.execute("begin")
    con.executemany(f"insert into gold.table_profiles ({names}) values ({marks})", rows)
    con.execute("commit")


def refreshed(con: duckdb.DuckDBPyConnection, rules: DriftRules = RULES):
    return refresh_drift(con, DRIFT, rules, AnomalyRules())


def test_loads_in_any_order_are_judged_alike() -> None:
    loads = make_loads(130, 21, changes=dict.fromkeys(range(95, 120), PLANTED["prices in another currency"][1]))
    at_once = warehouse()
    put(at_once, loads, list(range(130)))
    refreshed(at_once)
    wanted = at_once.execute("from gold.profile_drift order by all").fetchall()
    assert any(row[10] for row in wanted)
    for seed in (1, 2):
        random, con = Random(seed), warehouse()
        order = list(range(130))
        late = random.sample(order, 6)
        batches = [
            [n for n in order[:100] if n not in late],
            [n for n in order[100:] if n not in late],
            late[:3],
            late[3:],
        ]
        for batch in batches:
            put(con, loads, batch)
            refreshed(con)
        assert con.execute("from gold.profile_drift order by all").fetchall() == wanted


def test_a_load_that_comes_alone_remembers_changes_of_last_year() -> None:
    """More loads ago than what else verdicts look back to: only what differed is read of these."""
    cheap = _with(price=lambda x, _: x * 0.5)
    loads = make_loads(330, 26, mean=400, changes=dict.fromkeys([*range(60, 64), *range(322, 328)], cheap))
    at_once, alone = warehouse(), warehouse()
    put(at_once, loads, list(range(330)))
    refreshed(at_once)
    wanted = at_once.execute("from gold.profile_drift order by all").fetchall()
    put(alone, loads, list(range(321)))
    refreshed(alone)
    for load in range(321, 330):
        put(alone, loads, [load])
        refreshed(alone)
    assert alone.execute("from gold.profile_drift order by all").fetchall() == wanted
    assert alone.execute(
        "select count(*) filter (where drifted), count(*) from gold.profile_drift "
        "where differs and column_name = 'price' and measure = 'psi' and _load_date > ?", [loads.days[300]]
    ).fetchall() == [(1, 6)]  # fmt: skip


def test_only_what_a_load_can_reach_is_judged_again() -> None:
    loads, con = make_loads(120, 22), warehouse()
    put(con, loads, list(range(119)))
    refreshed(con)
    put(con, loads, [119])
    written = refreshed(con)
    # The number of rows; nulls of five columns; PSI and KS of three; shares and new values of two.
    assert (written.inserted, written.deleted) == (1 + 5 + 6 + 4, 0)
    assert not refreshed(con).changed
    assert refreshed(con, DriftRules(psi=0.2)).inserted == written.rows
    con.execute("delete from gold.table_profiles where _load_date >= ?", [loads.days[100]])
    assert refreshed(con, DriftRules(psi=0.2)).rows == 16 * 100


def test_columns_that_source_yml_names_are_not_compared() -> None:
    loads, con = make_loads(40, 23), warehouse()
    put(con, loads, list(range(40)))
    refreshed(con, DriftRules(ignore=("orders.price",)))
    columns = {c for (c,) in con.execute("select distinct column_name from gold.profile_drift").fetchall()}
    assert columns == {"*", "quantity", "age_days", "channel", "age_group"}


def test_an_ignored_column_that_is_none_is_answered_with_its_line(tmp_path: Path) -> None:
    text = SOURCE_YML + "drift:\n  ignore: [orders.colour]\n"
    source = read_source(write_source(tmp_path, source_yml=text), CATALOG.entities)
    contracts = {entity: CATALOG.contract(f"silver.{entity}") for entity in CATALOG.entities}
    with pytest.raises(DefinitionError, match=r"source\.yml:\d+: .*'orders.colour' is no column") as found:
        check_ignored(source.file, contracts)
    assert "order_id" in str(found.value)


def test_the_checks_tell_of_the_last_days_only() -> None:
    loads = make_loads(90, 24, mean=400, changes={70: _keep(0.4), 86: PLANTED["prices in cents"][1]})
    con = warehouse()
    put(con, loads, list(range(90)))
    refreshed(con)
    reports = read_reports(con, 7)
    (first, *_) = reports["orders", "drift"].alarms
    assert (first.day, first.column) == (loads.days[86], "price")
    assert reports["orders", "load_size"].alarms == []
    assert "1 measures judged" in reports["orders", "load_size"].state
    (half,) = read_reports(con, 30)["orders", "load_size"].alarms
    assert half.day == loads.days[70]
    assert "rows where" in half.text


# -- the checks --------------------------------------------------------------------------------------------------


def test_a_half_empty_load_fails_its_entitys_check_and_alerts_know_it(tmp_path: Path) -> None:
    project = read_project(read_settings(source="synthetic", data_dir=tmp_path))
    keys = {dg.AssetKey(name.split(".")) for name in project.contracts}
    (checks,) = profile_checks(project, keys)
    assert {(key.asset_key.path[-1], key.name) for key in checks.check_keys} >= {
        ("orders", "load_size"),
        ("orders", "drift"),
    }
    definitions = build_definitions(project.settings)
    assert ("silver.orders", "load_size") in watched_tables(project, definitions.asset_checks or ()).checks
    with open_warehouse(project.settings).connect() as con:
        con.execute("create schema if not exists gold")
        con.execute(create_table_sql(CATALOG.contract("gold.table_profiles")))
        put(con, make_loads(60, 25, mean=300, changes={58: _keep(0.5)}), list(range(60)))
        refreshed(con)
    alone = dg.Definitions(asset_checks=[checks], resources={"warehouse": warehouse_resource(project.settings)})
    job = alone.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
    found = {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}
    half = found["orders", "load_size"]
    assert (half.passed, half.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert half.description is not None
    assert half.description.startswith("2024-02-28: ")
    assert "were expected" in half.description
    assert found["orders", "drift"].passed
    assert found["payments", "drift"].passed
    assert "no load yet" in str(found["payments", "drift"].metadata["newest_loads"])


@pytest.mark.parametrize(("rows", "differs"), [(7_020, 0), (6_980, 1), (14_260, 0), (14_310, 1)])
def test_a_load_differs_from_thirty_percent_fewer_or_forty_three_percent_more_rows_on(rows: int, differs: int) -> None:
    """Of loads that are always the same, the least difference that counts decides: 1 − 0.3, and 1 / (1 − 0.3)."""
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(60)]
    loads = np.full(60, 10_000.0)
    loads[-1] = rows
    assert judge_rows(days, loads, RULES).differs[-1] == differs
