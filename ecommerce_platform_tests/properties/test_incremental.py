"""Tables kept up to date by keys hold what a build from scratch gives, whatever has changed and whoever lags behind."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random

import pytest
import sqlglot
from hypothesis import HealthCheck, currently_in_test_context, given, note, settings
from hypothesis import strategies as st
from sqlglot import exp

from ecommerce_platform.contracts.contract import SqlCheck
from ecommerce_platform.warehouse.contract_checks import BlockedError
from ecommerce_platform.warehouse.incremental import Incremental
from ecommerce_platform_tests.properties.changing import (
    CONTRACTS,
    DECLARED,
    ENTITIES,
    KINDS,
    MODELS,
    ORDER,
    Change,
    Platform,
    Rows,
    Warehouse,
    base_rows,
    needed,
    settled,
    value,
)

#: How many different shops the changes begin with.
BASES = 3


@dataclass(frozen=True)
class Group:
    """Changes that come together, and which tables are brought up to date after them."""

    changes: Sequence[Change]
    refreshed: Sequence[str] = ORDER
    #: Entities that are filled anew instead of changed row by row.
    whole: frozenset[str] = frozenset()


CHANGES = st.builds(Change, st.sampled_from(ENTITIES), st.sampled_from(KINDS), st.integers(0, 2**16))
SOME = st.lists(st.sampled_from(ORDER), max_size=6).map(lambda names: tuple(n for n in ORDER if n in names))
WHOLE = st.sets(st.sampled_from(ENTITIES), min_size=1, max_size=1).map(frozenset)
GROUPS = st.builds(
    Group,
    st.lists(CHANGES, min_size=1, max_size=5),
    st.one_of(st.just(ORDER), st.just(()), SOME),
    st.integers(0, 9).flatmap(lambda n: WHOLE if n == 9 else st.just(frozenset())),
)
HISTORIES = st.tuples(st.integers(0, BASES - 1), st.lists(GROUPS, min_size=1, max_size=4))

Open = Callable[..., Warehouse]


@pytest.fixture(scope="module")
def open_base(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens a warehouse of its own in which one of the shops has been built."""
    folder = tmp_path_factory.mktemp("bases")

    def build(base: int) -> Path:
        path = folder / f"{base}.duckdb"
        if not path.exists():
            warehouse = Warehouse(path)
            with closing(warehouse.con):
                warehouse.hold(settled(base_rows(base), ENTITIES))
                for name in ORDER:
                    warehouse.refresh(name)
        return path

    def copy(base: int, platform: Platform = DECLARED) -> Warehouse:
        return Warehouse(Path(shutil.copy(build(base), folder / "copy.duckdb")), platform)

    return copy


def say(what: str) -> None:
    """Shown with the example that fails."""
    if currently_in_test_context():
        note(what)


def run_groups(
    warehouse: Warehouse, base: int, groups: Sequence[Group], order: Sequence[str] = ORDER
) -> dict[str, Rows]:
    """Applies group by group to what was built from the base; in the end everything is brought up to date."""
    rows = base_rows(base)
    for group in groups:
        for change in group.changes:
            say(change.apply(rows[change.entity]))
        touched = {*group.whole, *(change.entity for change in group.changes)}
        warehouse.hold(settled(rows, touched), whole=group.whole)
        say(f"filled anew: {', '.join(group.whole)}; up to date: {', '.join(group.refreshed)}")
        for name in group.refreshed:
            try:
                warehouse.refresh(name)
            except BlockedError:
                # It was compared with tables that are not yet as new as it is; then it catches up later.
                if group.refreshed == ORDER:
                    raise
    for name in order:
        warehouse.refresh(name)
    return settled(rows, ENTITIES)


def compare_with_a_build_from_scratch(open_base: Open, base: int, groups: Sequence[Group]) -> Counter[str]:
    kept, fresh = open_base(base), Warehouse()
    with closing(kept.con), closing(fresh.con):
        fresh.hold(run_groups(kept, base, groups))
        for name in ORDER:
            fresh.refresh(name)
        assert fresh.ways == {"whole": len(DECLARED.incrementals)}
        for name in ORDER:
            assert kept.content(name) == fresh.content(name), name
        kept.check(ORDER)
        # So small a table is written by keys however much of it changes.
        assert any(group.whole for group in groups) or not kept.ways["whole"]
        return kept.ways


def check_many(open_base: Open, examples: int, *, same_each_time: bool = False) -> None:
    ways = Counter[str]()

    @settings(max_examples=examples, derandomize=same_each_time, deadline=None, suppress_health_check=list(HealthCheck))
    @given(HISTORIES)
    def check(history: tuple[int, list[Group]]) -> None:
        ways.update(compare_with_a_build_from_scratch(open_base, *history))

    check()
    print(f"\n{examples} histories: {dict(ways)}")
    assert ways["by keys"] > ways["whole"], ways


def test_whatever_changes_the_tables_are_those_of_a_build_from_scratch(open_base: Open) -> None:
    # Of a handful drawn at random, most may by chance be of tables filled anew.
    check_many(open_base, 5, same_each_time=True)


@pytest.mark.long
def test_many_more_changes_leave_the_tables_of_a_build_from_scratch(open_base: Open) -> None:
    check_many(open_base, 120)


# -- every declaration is needed: without it, some change leaves a wrong table -------------------------------------


@dataclass(frozen=True)
class Spoilt(Incremental):
    """An incremental table with other declarations than its contract's."""

    other_touches: Mapping[str, str] = field(default_factory=dict)
    other_keeps: Mapping[str, str] = field(default_factory=dict)

    def touches(self, table: str) -> str:
        return self.other_touches.get(table) or super().touches(table)

    @cached_property
    def keeps(self) -> dict[str, str]:
        return {**Incremental.keeps.func(self), **self.other_keeps}  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Mutant:
    """One declaration of one table taken away."""

    table: str
    follows: str
    what: str
    touches: str | None = None
    keep: str | None = None
    check: SqlCheck | None = None

    def __str__(self) -> str:
        return f"{self.table} follows {self.follows}: {self.what}"

    @property
    def platform(self) -> Platform:
        model = MODELS[self.table]
        if self.check:
            checks = tuple(self.check if c.name == self.check.name else c for c in model.contract.checks)
            contract = model.contract.model_copy(update={"checks": checks})
            model = replace(model, table=replace(model.table, contract=contract))
        spoilt = Spoilt(
            model,
            CONTRACTS,
            {self.follows: self.touches} if self.touches else {},
            {self.follows: self.keep} if self.keep else {},
        )
        return Platform({**DECLARED.incrementals, self.table: spoilt}, DECLARED.logs)


def fewer(sql: str, kind: type[exp.Expr]) -> Iterator[str]:
    """The SQL with one side of one of its `union all` or `or` taken away, for each."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for number, found in enumerate(list(tree.find_all(kind))):
        for side in ("this", "expression"):
            copy = tree.copy()
            there = list(copy.find_all(kind))[number]
            if there.parent is None:
                yield found.args[side].sql(dialect="duckdb")
            else:
                there.replace(there.args[side])
                yield copy.sql(dialect="duckdb")


#: silver.shop is written whole when source.yml says something else, and then its followers are, too.
FOLLOWED = {follows for table in DECLARED.incrementals.values() for follows in table.contract.follows} - {"silver.shop"}


def mutants() -> Iterator[Mutant]:
    for name, table in DECLARED.incrementals.items():
        for follows, follow in table.contract.follows.items():
            if follows not in FOLLOWED:
                continue
            touches = table.touches(follows)
            nothing = f"select * from ({touches}) as touched_keys where false"
            yield Mutant(name, follows, "touches nothing", touches=nothing)
            for number, part in enumerate(fewer(touches, exp.Union), 1):
                yield Mutant(name, follows, f"touches, only part {number}", touches=part)
            if follow.by or follow.keep:
                keep = table.keeps[follows]
                yield Mutant(name, follows, "keeps nothing", keep="false")
                for kind in (exp.Or, exp.Union):
                    for number, part in enumerate(fewer(keep, kind), 1):
                        yield Mutant(name, follows, f"keep, only {kind.__name__.lower()} {number}", keep=part)
        for check in table.contract.checks:
            for follows in check.keep:
                nothing_kept = check.model_copy(update={"keep": {**check.keep, follows: "false"}})
                yield Mutant(name, follows, f"check {check.name} keeps nothing", check=nothing_kept)
                all_kept = check.model_copy(update={"keep": {k: v for k, v in check.keep.items() if k != follows}})
                yield Mutant(name, follows, f"check {check.name} keeps all", check=all_kept)


MUTANTS = list(mutants())


def feeds(table: str) -> set[str]:
    """The entities that a table is made of, however far up."""
    if table.startswith("silver.") and table not in MODELS:
        return {table.removeprefix("silver.")} & set(ENTITIES)
    return set().union(*(feeds(parent) for parent in MODELS[table].reads))


def walk(warehouse: Warehouse, table: str, follows: str, seed: int, steps: int) -> tuple[int, str] | None:
    """Changes the shop step by step, above all what feeds `follows`; the first step that leaves a wrong table."""
    random, rows = Random(seed), base_rows(seed % BASES)
    near, far, order = sorted(feeds(follows)), sorted(feeds(table)), needed(table)
    with closing(warehouse.con):
        for step in range(steps):
            done = []
            for _ in range(random.choice((1, 1, 2, 3))):
                entity = random.choice(near if random.random() < 0.7 else far)
                change = Change(entity, random.choice(KINDS[:-1]), random.randrange(2**16))
                done.append(change.apply(rows[entity]))
                warehouse.hold({entity: rows[entity]})
            try:
                for name in order:
                    warehouse.refresh(name)
            except BlockedError as error:
                return step, f"{done} blocks: {error}"
            if warehouse.wrong(order):
                return step, f"{done}"
    return None


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_without_one_of_its_declarations_a_table_goes_wrong(open_base: Open, mutant: Mutant) -> None:
    for seed in range(20):
        if walk(open_base(seed % BASES, mutant.platform), mutant.table, mutant.follows, seed, 25):
            return
    pytest.fail("no change made the table go wrong: the declaration is not needed, or the changes miss it")


#: Upstream of incremental tables without ever changing a row there: a seller's state is among gold.state_spellings,
#: which customers are read through, but what a spelling means does not depend on who writes it.
WITHOUT_EFFECT = {"sellers"}


@pytest.mark.long
@pytest.mark.parametrize("entity", ENTITIES)
def test_one_row_of_an_entity_is_changed_added_removed_and_delivered_again(open_base: Open, entity: str) -> None:
    """Column by column, in another row each time, so that no later change makes up for an earlier one."""
    warehouse, rows, contract = open_base(0), base_rows(0), CONTRACTS[f"silver.{entity}"]
    # Neither the figures nor what is made from them, which would be held against figures of before.
    order = tuple(name for name in ORDER if not any(made.startswith("gold.kpi") for made in needed(name)))
    with closing(warehouse.con):
        for number, column in enumerate([c for c in contract.columns if c not in contract.key]):
            key = sorted(rows[entity])[number % len(rows[entity])]
            before, random = rows[entity][key][column], Random(number)
            values = [value(random, contract, column) for _ in range(40)]
            rows[entity][key] = rows[entity][key] | {column: next(v for v in values if v != before)}
            warehouse.hold({entity: rows[entity]})
            for name in order:
                warehouse.refresh(name)
            assert warehouse.wrong(order) == [], f"{column} of {key}"
        for number, kind in enumerate(("put", "rename", "delete", "redeliver", "empty", "put")):
            done = Change(entity, kind, number).apply(rows[entity])
            warehouse.hold({entity: rows[entity]})
            for name in order:
                warehouse.refresh(name)
            assert warehouse.wrong(order) == [], done
    followed = any(entity in feeds(name) for name in DECLARED.incrementals)
    assert warehouse.ways["by keys"] or entity in WITHOUT_EFFECT or not followed
    assert not warehouse.ways["whole"]
