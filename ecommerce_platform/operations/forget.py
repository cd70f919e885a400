"""`ecommerce forget`: the steps of forgetting a person, in an order that any kill leaves to be finished.

First it is written down whom it is about; then the drops are changed, for everything else follows from them, and an
ordinary build takes the changed files over. Then the warehouse file and the snapshots lose what deleting rows does not
take out of them. Each step finds by itself what is still to be done, so the command can be run again at any time. What is
found and how it is changed is in `forgetting/`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import CheckError, InputError, PassingError
from ecommerce_platform.forgetting.ledger import (
    JOURNAL,
    LOCK,
    Journal,
    Tombstones,
    add_tombstones,
    end_journal,
    read_journal,
    read_tombstones,
    write_journal,
)
from ecommerce_platform.forgetting.persons import find_person
from ecommerce_platform.forgetting.published import Cleaned, Wanted, clean_mirror, clean_snapshots
from ecommerce_platform.forgetting.raw import Found, Landing
from ecommerce_platform.forgetting.records import refuse_objects
from ecommerce_platform.forgetting.tables import holding, replace_ids
from ecommerce_platform.operations.builds import Listener, pending_loads, run_build
from ecommerce_platform.publishing.delta import copy_to_delta, require_delta
from ecommerce_platform.publishing.publish import key_fingerprint, lagging, read_hash_key
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from ecommerce_platform.orchestration.project import Project

_log = logging.getLogger(__name__)

#: How often drops are looked through again because somebody delivered meanwhile.
_ROUNDS = 5

Progress = Callable[[str, int, int], None]


@dataclass
class Forgotten:
    """What is to be done, or was. Counts only: no value of the person is ever in here.

    `records` and `files`: delivered records and files by raw table; `lines` could not be parsed; `values` go. `tables`:
    rows of the warehouse with something personal, by table. `untouched`: what stays, and why.
    """

    customer_ids: tuple[str, ...] = ()
    records: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    values: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    snapshots: Cleaned = field(default_factory=Cleaned)
    mirror: Cleaned = field(default_factory=Cleaned)
    #: Delta tables that were written anew; what earlier versions held is gone from all of them.
    delta: tuple[str, ...] = ()
    untouched: list[tuple[str, str]] = field(default_factory=list)
    #: Loads that were not taken over when this was found out.
    pending: int = 0
    before: int = 0
    after: int = 0
    #: Somebody whom an earlier command was about and that was finished first.
    resumed: bool = False
    done: bool = False

    @property
    def nothing(self) -> bool:
        """Whether there is nothing (left) to take out."""
        return not (self.records or self.lines or self.tables or self.snapshots.files or self.mirror.files)

    def add(self, found: Found) -> None:
        """Counts what was found in drops."""
        for raw, number in found.records.items():
            self.records[raw] = self.records.get(raw, 0) + number
        for raw, _, _ in found.work:
            self.files[raw] = self.files.get(raw, 0) + 1
        self.lines += found.lines
        self.values += found.values


def forget(
    settings: Settings,
    who: str,
    *,
    agreed: Callable[[Forgotten], bool] = lambda plan: True,
    dry_run: bool = False,
    listener: Listener | None = None,
    progress: Progress | None = None,
    today: date | None = None,
    build: Callable[[], None] | None = None,
) -> Forgotten:
    """Takes a person's personal data out of drops, warehouse and snapshots; or finishes doing so after a kill.

    Another `forget` is waited for; so is whoever has the warehouse or publishes.

    Args:
        settings: of the instance.
        who: a person id, a customer id or an e-mail address.
        agreed: shown what will be done; nothing is if it says no. Not asked for what has begun already.
        dry_run: only find out.
        listener: told how the build goes.
        progress: told which files are changed.
        today: for the tombstones (tests).
        build: takes over what is new or changed; default: an ordinary build (tests).

    Raises:
        InputError: nobody is called so; a file cannot be changed safely.
        CheckError: the build failed, or something personal is left; running the command again goes on.
        PlatformError: an object store cannot be reached.
    """
    from ecommerce_platform.publishing.publish import alone

    if not settings.warehouse.is_file():
        raise InputError("there is no warehouse yet", where=settings.warehouse, fix="run `ecommerce build` first")
    if settings.delta_dir:
        require_delta()  # before anything is changed
    with alone(settings.data, LOCK, _log, doing="is forgetting somebody"):
        work = _Forgetting(settings, listener, progress, today or date.today())
        work.build = build or work.build  # type: ignore[method-assign]
        if journal := read_journal(settings.data):
            finished = work.finish_interrupted(journal, dry_run)
            if journal.meant_by(who):
                return finished
        pending = pending_loads(work.project)
        if pending and not dry_run:
            # Who the person is, and what else is hers, may stand in what was not loaded yet.
            work.build()
        journal, plan = work.plan(who)
        plan.pending = len(pending) if dry_run else 0
        if dry_run or not agreed(plan):
            return plan
        if plan.nothing:
            return work.remember(journal, plan)
        write_journal(settings.data, journal)
        return work.finish(journal, Forgotten())


class _Forgetting:
    """One call of `forget`."""

    def __init__(self, settings: Settings, listener: Listener | None, progress: Progress | None, today: date) -> None:
        from ecommerce_platform.orchestration.project import read_project
        from ecommerce_platform.orchestration.resources import connection_config, open_warehouse

        self.settings, self.listener, self.progress, self.today = settings, listener, progress, today
        self.project: Project = read_project(settings)
        self.warehouse = open_warehouse(settings)
        self.config: dict[str, Any] = connection_config(settings)
        self.landing = Landing(
            self.project.zone, self.project.source, self.project.compiled, settings.scratch, self.config
        )

    def plan(self, who: str) -> tuple[Journal, Forgotten]:
        """Whom it is about and what would be done."""
        refuse_objects(self.landing.plans.values())
        with self.warehouse.connect() as con:
            tombstones = read_tombstones(self.settings.data)
            person = find_person(con, who, self.settings.published, tombstones)
            journal = Journal(who.strip(), set(person.customer_ids), set(person.person_ids))
            found = self.landing.search(con, journal, tombstones, self._hash_key())
            plan = Forgotten(self._shown(journal))
            plan.add(found)
            plan.tables = holding(con, self.project.catalog, journal)
        self._snapshots(journal, plan, dry=True)
        plan.untouched = self._untouched(found, journal, self.landing.outside(found))
        return journal, plan

    def finish_interrupted(self, journal: Journal, dry_run: bool) -> Forgotten:
        """Finishes what an earlier command, of which the journal is left, began."""
        if dry_run:
            raise InputError(
                "an earlier `ecommerce forget` was interrupted and is not finished",
                where=self.settings.data / JOURNAL,
                fix="run `ecommerce forget` without --dry-run first: it finishes that",
            )
        _log.info("finishing what an earlier `ecommerce forget` began")
        return self.finish(journal, Forgotten(resumed=True))

    def remember(self, journal: Journal, plan: Forgotten) -> Forgotten:
        """Remembers somebody of whom there is nothing: what a system delivers of them from now on is worth a warning."""
        data = self.settings.data
        add_tombstones(data, read_tombstones(data), journal.customer_ids, self.today)
        # What a killed publish has left is in no snapshot, so it was not looked into.
        self._snapshots(journal, plan, dry=False)
        self._accounts(journal)
        plan.done = True
        return plan

    def finish(self, journal: Journal, done: Forgotten) -> Forgotten:
        """Does what is still to be done about somebody."""
        from ecommerce_platform.warehouse.compact import compact

        data = self.settings.data
        # Before the build, so that its checks know.
        tombstones = add_tombstones(data, read_tombstones(data), journal.customer_ids, self.today)
        with self.warehouse.connect() as con:
            done.tables = holding(con, self.project.catalog, journal)
            # A build that was killed may have left tables behind although no load is waiting.
            behind = done.resumed or bool(lagging(con, self.project.catalog))
        found, outside = self._take_out_of_drops(journal, tombstones, done, behind)
        self._take_out_of_tables(journal, tombstones)
        done.before, done.after = compact(self.warehouse)
        self._snapshots(journal, done, dry=False)
        self._accounts(journal)
        done.untouched = self._untouched(found, journal, outside)
        done.customer_ids = self._shown(journal)
        end_journal(data)
        done.done = True
        return done

    def _take_out_of_drops(
        self, journal: Journal, tombstones: Tombstones, done: Forgotten, behind: bool
    ) -> tuple[Found, list[str]]:
        """Changes drops and builds until they hold nothing more; what was found last, and what lies outside of drops.

        Args:
            journal: whom it is about.
            tombstones: of all that were forgotten.
            done: told what was done.
            behind: whether tables must be built although no drop has changed.
        """
        outside: list[str] = []
        for _ in range(_ROUNDS):
            with self.warehouse.connect() as con:
                found = self.landing.search(con, journal, tombstones, self._hash_key())
            if found.work:
                # What was learnt cannot be learnt again from changed files.
                write_journal(self.settings.data, journal)
                outside += self.landing.outside(found)
                self.landing.apply(found, self.progress)
                done.add(found)
            if behind or pending_loads(self.project):
                self.build()
            elif not found.work:
                return found, outside
            behind = False
        raise PassingError(
            "the person is delivered again and again",
            where=self.project.zone.where,
            fix="stop what delivers drops (docs/personal-data.md), then run the command again",
        )

    def _take_out_of_tables(self, journal: Journal, tombstones: Tombstones) -> None:
        from ecommerce_platform.warehouse.changes import forget_seen

        with self.warehouse.connect() as con:
            replace_ids(con, tombstones.stand_ins(journal))
            unseen = forget_seen(con, self.project.logs)
            left = holding(con, self.project.catalog, journal)
            self._sweep()
        if left or unseen:
            raise CheckError(
                f"something personal is still in {', '.join(sorted({*left, *unseen}))}",
                where=self.settings.warehouse,
                fix="run `ecommerce build`; when it fails at nothing, run `ecommerce forget` again",
            )

    def build(self) -> None:
        """Takes over what is new or changed.

        Raises:
            CheckError: a table could not be built.
        """
        result = run_build(self.settings, "*", self.listener)
        if result.failed:
            table, why = next(iter(result.failed.items()))
            raise CheckError(
                f"the build failed, so tables may still hold what is to be forgotten: {why}",
                where=table,
                fix="put that right as for any build, then run `ecommerce forget` again: it goes on from here",
            )

    def _snapshots(self, journal: Journal, done: Forgotten, *, dry: bool) -> None:
        settings = self.settings
        wanted = Wanted(
            self.project.catalog,
            journal,
            self.config,
            read_tombstones(settings.data).stand_ins(journal),
            key_fingerprint(key) if (key := self._hash_key()) is not None else None,
        )
        done.snapshots = clean_snapshots(settings.published, wanted, dry=dry)
        if settings.delta_dir and not dry and settings.delta_dir.is_dir():
            # They are copies of the current snapshot, so the person is out of them when that is copied once more.
            done.delta = copy_to_delta(settings.published, settings.delta_dir, forgetting=True).written
        if settings.publish_url:
            done.mirror = clean_mirror(settings.published, settings.publish_url, wanted, settings.scratch, dry=dry)

    def _accounts(self, journal: Journal) -> None:
        """Takes the person's ids out of the log of who looked at whom, and out of what people keep."""
        from ecommerce_platform.serving.access.accounts import Accounts
        from ecommerce_platform.serving.access.store import NAME

        if (self.settings.data / NAME).is_file():
            Accounts.of(self.settings.data).forget(sorted(journal.customer_ids | journal.person_ids))

    def _hash_key(self) -> str | None:
        """What personal data was published hashed with."""
        if self.settings.hash_key:
            return self.settings.hash_key.get_secret_value()
        return read_hash_key(self.settings.published)

    def _shown(self, journal: Journal) -> tuple[str, ...]:
        """The person's ids as they may be shown: one that is an address is not."""
        stand_ins = read_tombstones(self.settings.data).stand_ins(journal)
        return tuple(sorted(stand_ins.get(c, c) for c in journal.customer_ids))

    def _sweep(self) -> None:
        """Removes what killed processes have left; with the warehouse in hand nobody else is loading or spilling."""
        from ecommerce_platform.ingestion.swap import sweep_exchanged
        from ecommerce_platform.ingestion.zone import LocalZone

        for pattern in ("bronze-*", "forget-*"):
            for left in self.settings.scratch.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)
        # Spark's tables are made of the warehouse's: a build makes them anew, without the person.
        shutil.rmtree(self.settings.spark_tables, ignore_errors=True)
        if isinstance(self.project.zone, LocalZone):
            sweep_exchanged(self.project.zone.raw_dir)

    def _untouched(self, found: Found, journal: Journal, outside: Iterable[str]) -> list[tuple[str, str]]:
        """What is left as it is although it may hold something of the person, and why.

        Args:
            found: what was found last.
            journal: whom it is about.
            outside: what links in drops led to.
        """
        from ecommerce_platform.ingestion.landing import INCOMING
        from ecommerce_platform.ingestion.zone import LocalZone

        stays = [(where, "nobody can read it; remove it, or have it delivered again") for where in found.unreadable]
        stays += [
            (path, "a drop was a link to it, but it is not below raw/; remove it") for path in sorted(set(outside))
        ]
        zone = self.project.zone
        if isinstance(zone, LocalZone):
            emails = journal.values.get("email", set())
            left = zone.drops(self.project.source).left
            stays += [
                (str(path), "no raw table names it, but the person's e-mail address stands in it; remove it")
                for path in _files(left)
                if _mentions(path, emails)
            ]
            stays += [
                (str(path), "a delivery that is not complete; run the command again when it is there")
                for path in sorted(zone.raw_dir.glob(f"{INCOMING}*"))
            ]
        return stays


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


def _mentions(path: Path, values: Iterable[str]) -> bool:
    """Whether a file holds one of these texts; compressed ones but gzip are not looked into."""
    from ecommerce_platform.ingestion.gunzip import MAGIC, gunzip

    try:
        data = path.read_bytes()
    except OSError:
        return False
    if data.startswith(MAGIC):
        data = b"".join(gunzip([data], []))
    data = data.lower()
    return any(value.encode(encoding) in data for value in values for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
