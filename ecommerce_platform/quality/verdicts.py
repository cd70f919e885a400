"""Which answers to the suites' rules still count, and whether a state of the tables may be published.

Answers stand in the warehouse with the versions of the tables they are about, so a rule is asked again only when a
table it looks at has changed, or the rule itself. How rules are asked is `gx.py`, how the answers are shown
`data_docs.py`; that tables have versions is `warehouse/changes.py`'s doing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.errors import CheckError
from ecommerce_platform.quality.gx import Verdict, ask, load
from ecommerce_platform.quality.suites import Suite
from ecommerce_platform.warehouse.changes import record_change, record_seen, seen_versions, table_versions
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.transaction import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Under this name the ledger of versions notes which tables the answers are about.
FOLLOWER = "changes.verdicts"
#: Part of every answer's version: raised when answers from before must not count any more.
_FORMAT = 1

_log = logging.getLogger(__name__)

Connect = Callable[[], AbstractContextManager["DuckDBPyConnection"]]


@dataclass(frozen=True)
class SuiteResult:
    """The answers about one table, and when they were given."""

    table: str
    verdicts: tuple[Verdict, ...]
    asked_at: datetime

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """Rules that do not hold."""
        return tuple(v for v in self.verdicts if v.outcome == "broken")

    @property
    def errors(self) -> tuple[Verdict, ...]:
        """Rules that could not be asked."""
        return tuple(v for v in self.verdicts if v.outcome == "error")


class BlockedByRulesError(CheckError):
    """The state of the tables breaks rules that keep it from being published."""


@dataclass(frozen=True)
class QualityGate:
    """Asks the suites of one warehouse when that is needed, and says what may be published.

    Args:
        connect: opens the warehouse, as `Warehouse.connect` does.
        catalog: all tables.
        suites: the rules, by table.
        data_docs: folder of the Data Docs; they are built anew with every asking.
    """

    connect: Connect
    catalog: Catalog
    suites: Mapping[str, Suite]
    data_docs: Path

    def evaluate(self, *, again: bool = False, log: logging.Logger | Any = _log) -> dict[str, SuiteResult]:
        """The answers about the tables as they are now, by table.

        Rules are asked only if something has changed since they last were, or some of them could not be asked then.
        Importing Great Expectations and building the pages, the warehouse is free for others.

        Args:
            again: ask although nothing has changed.
            log: where is said what is done.
        """
        from ecommerce_platform.quality import data_docs

        if not self.suites:
            return {}
        if not again and data_docs.index(self.data_docs).is_file():
            with self.connect() as con:
                known = self.known(con)
            if known is not None and not any(judged.errors for judged in known.values()):
                return known
        load()
        suites = list(self.suites.values())
        with self.connect() as con:
            # Read before asking: what changes meanwhile is then asked about again.
            versions = self._versions(con)
            asked = ask(con, suites, self.catalog)
        log.info(f"asked {sum(len(s.rules) for s in suites)} rules about {len(suites)} tables")
        # The pages first: when they cannot be built, the answers do not count and are asked for again.
        data_docs.build(asked, self.data_docs)
        with self.connect() as con:
            self._record(con, {a.suite.table: a.verdicts for a in asked}, versions)
            return self._read(con)

    def known(self, con: DuckDBPyConnection) -> dict[str, SuiteResult] | None:
        """The answers about the tables as they are now; None if they were not asked in this state."""
        mine = table_versions(con).get(FOLLOWER)
        if mine is None or mine.code_version != self.version:
            return None
        return self._read(con) if seen_versions(con).get(FOLLOWER, {}) == self._versions(con) else None

    def passes(self, con: DuckDBPyConnection) -> bool:
        """Whether the tables as `con` sees them may be published; False if that is not known yet.

        Raises:
            BlockedByRulesError: a blocking rule is broken or could not be asked.
        """
        if not self.suites.keys() & table_versions(con).keys():
            return True  # nothing that rules are about was built yet
        known = self.known(con)
        if known is None:
            return False
        if against := [f"{j.table}: {v.explain()}" for j in known.values() for v in j.verdicts if v.blocks]:
            raise BlockedByRulesError(
                "; ".join(against),
                fix="the current snapshot stays; correct the input or the rule and build again, or publish all the "
                "same with `ecommerce publish --force`",
            )
        return True

    @property
    def version(self) -> str:
        """Hash of all that is asked."""
        return sha256("\0".join([str(_FORMAT), *(s.version for s in self.suites.values())]).encode()).hexdigest()[:16]

    def _versions(self, con: DuckDBPyConnection) -> dict[str, int]:
        """The versions of the tables that the rules look at; those that were never built have none."""
        reads = {table for suite in self.suites.values() for table in suite.reads}
        return {table: known.version for table, known in table_versions(con).items() if table in reads}

    def _record(
        self, con: DuckDBPyConnection, answers: Mapping[str, Sequence[Verdict]], versions: Mapping[str, int]
    ) -> None:
        with transaction(con):
            record_change(con, FOLLOWER, self.version)
            record_seen(con, FOLLOWER, versions)
            con.execute(
                "create or replace table changes.verdicts (table_name varchar, asked_at timestamp, verdicts varchar)"
            )
            for table, verdicts in answers.items():
                con.execute(
                    "insert into changes.verdicts values (?, cast(now() as timestamp), ?)",
                    [table, json.dumps([asdict(v) for v in verdicts])],
                )

    def _read(self, con: DuckDBPyConnection) -> dict[str, SuiteResult]:
        if not table_exists(con, "changes", "verdicts"):
            return {}
        rows = con.execute("select table_name, asked_at, verdicts from changes.verdicts order by rowid").fetchall()
        return {
            table: SuiteResult(
                table, tuple(Verdict(**{**v, "examples": tuple(v["examples"])}) for v in json.loads(text)), asked_at
            )
            for table, asked_at, text in rows
        }
