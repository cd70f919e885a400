"""Asking a suite's rules with Great Expectations, through the process's own connection to the warehouse.

What a rule says is in `suites.py`, which answers still count in `verdicts.py`, the pages that show them are built by
`data_docs.py`. Great Expectations takes seconds to import: everything here imports it only when it is called.

DuckDB lets one process open its file, and Great Expectations wants to open databases itself. So its engine is given
cursors of the connection that is already open, and must keep the one it has: as for SQLite, which it lists under a
private name (docs/decisions/0017; `test_gx.py` fails when a release changes what is relied upon).
"""

from __future__ import annotations

import atexit
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.lazy_import import loaded_when_used
from ecommerce_platform.quality.suites import Rule, Suite
from ecommerce_platform.warehouse.contract_checks import EXAMPLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What stands in place of personal data.
MASK = "•••"
#: Longest message of an error, and longest value of an example, that is kept.
_MESSAGE, _VALUE = 500, 80
_ABOUT_VALUES = re.compile(r"(Conversion|Invalid Input|Out of Range) Error|Exception\) (Conversion|InvalidInput)")
#: From the first quotation mark to the last of its kind: values may hold the other kind.
_QUOTED = re.compile(r"\".*\"|'.*'|(?<=value )\S+", re.DOTALL)

Outcome = Literal["held", "broken", "error", "no data"]


@dataclass(frozen=True)
class Verdict:
    """What came of asking one rule.

    `error`: it could not be asked, which says nothing about the data. `no data`: there is nothing to ask it about.
    """

    rule: str
    sentence: str
    severity: Literal["block", "warn"]
    outcome: Outcome
    #: Rows that break the rule; None where it is not about rows, or was not answered.
    found: int | None = None
    #: Their share of the rows asked about, where that is known.
    share: float | None = None
    #: Up to five of them, with their keys; personal data is masked.
    examples: tuple[str, ...] = ()
    #: What was observed instead, or why there is no answer.
    detail: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether the state it was found in may not be published: broken, or not known to hold."""
        return self.severity == "block" and self.outcome in ("broken", "error")

    def explain(self) -> str:
        """The sentence with what is wrong about it, in one line."""
        if self.outcome == "error":
            return f"{self.rule} could not be asked: {self.detail}"
        found = f"{self.found:,} rows" if self.found is not None else self.detail
        return f"{self.sentence} Not so: {found}" + (f", e.g. {self.examples[0]}" if self.examples else "")


@dataclass(frozen=True)
class Asked:
    """The answers about one table, and Great Expectations' own result of them, for Data Docs."""

    suite: Suite
    verdicts: tuple[Verdict, ...]
    #: An `ExpectationSuiteValidationResult` without personal data; None if there was nothing to ask.
    result: Any = None


def load() -> None:
    """Imports Great Expectations, which takes seconds; call it while the warehouse is not held."""
    # What goes wrong comes back in the results; the log repeats it with tracebacks, and says much while importing.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    # Spark Connect ends the process when it takes an interpreter without a main file for a run of doctests.
    absent = ("azure", "boto3", "botocore", "pyspark", "pyspark.sql.connect")
    with _quiet(), loaded_when_used("altair", "scipy.stats", absent=absent):
        import duckdb_engine
        import great_expectations  # noqa: F401
    # Else it outlives the interpreter (a module that Great Expectations needs lets go of nothing), and DuckDB's last
    # words on stderr are a page about leaks.
    atexit.unregister(_forget)
    atexit.register(_forget, duckdb_engine)


def _forget(module: ModuleType) -> None:
    vars(module).clear()


def ask(con: DuckDBPyConnection, suites: Sequence[Suite], catalog: Catalog) -> list[Asked]:
    """Asks every rule of the suites and returns the answers in the same order.

    Nothing is written, and no expectation's error ends the asking of the others.

    Args:
        con: a connection to the warehouse, not inside a transaction with changes of its own: the rules see what is
            committed.
        suites: what to ask; rules about tables that hold no rows, or that look at one that does not exist, are
            answered with `no data`.
        catalog: keys and personal data.
    """
    load()
    cursor = con.cursor()
    try:
        with open_context() as context, _quiet():
            source = _data_source(context, cursor)
            return [_ask(cursor, source, suite, catalog) for suite in suites]
    finally:
        # Great Expectations keeps its engines: a cursor left open would keep the file from other processes.
        cursor.close()


def _ask(con: DuckDBPyConnection, source: Any, suite: Suite, catalog: Catalog) -> Asked:
    contract, count = catalog.contract(suite.table), _count(con, suite.table)
    expectations: dict[str, Any] = {}
    answers: dict[str, Verdict] = {}
    for rule in suite.rules:
        if count is None or count < rule.min_rows:
            answers[rule.name] = Verdict(
                rule.name, rule.rule, rule.severity, "no data", detail=_too_few(count, rule.min_rows)
            )
            continue
        if missing := [t for t in sorted(rule.reads - {suite.table}) if _count(con, t) is None]:
            detail = f"not built yet: {', '.join(missing)}"
            answers[rule.name] = Verdict(rule.name, rule.rule, rule.severity, "no data", detail=detail)
            continue
        try:
            expectations[rule.name] = _expectation(rule, _found(con, rule))
        except Exception as error:  # what Great Expectations and pydantic raise for wrong arguments has no common type
            answers[rule.name] = _error(suite, rule, str(error))
    if not expectations:
        return Asked(suite, tuple(answers[r.name] for r in suite.rules))
    table = f"{contract.layer}.{quote(contract.name)}"
    asset = source.add_query_asset(name=suite.table, query=f"select * from {table}")
    batch = asset.add_batch_definition_whole_table("whole").get_batch()
    results, whole = _validated(batch, suite, contract.key, expectations)
    for name, result in results.items():
        rule = _rule(suite, name)
        _hide(result, rule, catalog, suite.table)
        answers[name] = _verdict(suite, rule, result)
    verdicts = tuple(answers.get(r.name) or _error(suite, r, "Great Expectations gave no result") for r in suite.rules)
    return Asked(suite, verdicts, _whole(whole, [results[r.name] for r in suite.rules if r.name in results]))


def _validated(
    batch: Any, suite: Suite, key: Sequence[str], expectations: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    """The result of each expectation by its rule, and the last whole result."""
    import great_expectations as gx

    results: dict[str, Any] = {}
    whole = None
    # Rows are returned only in complete results, where Great Expectations stops at 200; values would come without end.
    for kind, result_format in (("rows", "COMPLETE"), ("expect", "SUMMARY")):
        asked = {n: e for n, e in expectations.items() if bool(_rule(suite, n).rows) == (kind == "rows")}
        if not asked:
            continue
        wanted = {
            "result_format": result_format,
            "unexpected_index_column_names": list(key),
            "partial_unexpected_count": EXAMPLES,
        }
        group = gx.ExpectationSuite(name=suite.table, expectations=list(asked.values()), notes=suite.description)
        whole = batch.validate(group, result_format=wanted)
        results.update({r.expectation_config.meta["rule"]: r for r in whole.results})
    return results, whole


def _rule(suite: Suite, name: str) -> Rule:
    return next(rule for rule in suite.rules if rule.name == name)


def _count(con: DuckDBPyConnection, table: str) -> int | None:
    """Rows of the table; None if it does not exist."""
    import duckdb

    schema, name = table.split(".")
    try:
        row = con.execute(f"select count(*) from {schema}.{quote(name)}").fetchone()
    except duckdb.CatalogException:
        return None
    return int(row[0]) if row else 0


def _too_few(count: int | None, wanted: int) -> str:
    if count is None:
        return "the table is not built yet"
    return f"asked from {wanted:,} rows on, there are {count:,}" if count else "the table is empty"


def _found(con: DuckDBPyConnection, rule: Rule) -> str | None:
    """SELECT of the rows that break a rule, which are found once: Great Expectations runs it for the rows and again for
    their number. Where they cannot be found it is the rule's own, so that Great Expectations tells why.
    """
    import duckdb

    if rule.rows is None:
        return None
    try:
        con.execute(f"create or replace temp table {quote(f'_{rule.name}')} as {rule.rows}")
    except duckdb.Error:
        return rule.rows
    return f"select * from {quote(f'_{rule.name}')}"


def _expectation(rule: Rule, rows: str | None) -> Any:
    """The rule as an expectation of Great Expectations; `rows` is the SELECT that is run for it, where it has one."""
    from great_expectations.expectations.core import UnexpectedRowsExpectation
    from great_expectations.expectations.registry import get_expectation_impl

    about: dict[str, Any] = {
        "description": rule.rule.replace("$", "$$"),
        "severity": "critical" if rule.severity == "block" else "warning",
        "meta": {"rule": rule.name, "severity": rule.severity},
    }
    if rows is not None:
        # The comment keeps Great Expectations from printing that the SELECT does not name the batch: it names the table.
        query = rows.replace("{", "{{").replace("}", "}}")
        return UnexpectedRowsExpectation(
            unexpected_rows_query=f"{query}\n/* {{batch}} */", notes=f"```\n{rule.rows}\n```", **about
        )
    assert rule.expect is not None
    arguments = dict(rule.arguments)
    if "row_condition" in arguments:
        arguments.setdefault("condition_parser", "great_expectations")
    return get_expectation_impl(rule.expect)(**arguments, **about)


def _verdict(suite: Suite, rule: Rule, result: Any) -> Verdict:
    """What a result means. One that raised is an error whatever it says about success."""
    if problem := _raised(result.exception_info):
        return _error(suite, rule, problem)
    answer: Verdict = Verdict(rule.name, rule.rule, rule.severity, "held" if result.success else "broken")
    found = result.result
    if rule.rows is not None:
        rows = found.get("details", {}).get("unexpected_rows") or []
        return replace(
            answer, found=int(found["observed_value"]), examples=tuple(_show(row) for row in rows[:EXAMPLES])
        )
    if "element_count" in found and "unexpected_count" in found:
        share, rows = found.get("unexpected_percent"), found.get("partial_unexpected_index_list") or []
        return replace(
            answer,
            found=int(found["unexpected_count"]),
            share=None if share is None else share / 100,
            examples=() if result.success else tuple(_show(row) for row in rows[:EXAMPLES]),
        )
    observed = found.get("observed_value")
    if observed is None and not result.success and not found.get("partial_unexpected_list"):
        return replace(answer, outcome="no data", detail="there are no values to judge")
    values = found.get("partial_unexpected_list") or observed
    return replace(answer, detail=None if result.success else f"observed {str(values)[:_MESSAGE]}")


def _raised(info: Mapping[str, Any] | None) -> str | None:
    """The message of what an expectation raised; None if it raised nothing.

    `exception_info` is either about the expectation or, keyed by metric, about what it is worked out from.
    """
    for entry in (info, *(info or {}).values()):
        if isinstance(entry, Mapping) and entry.get("raised_exception"):
            return str(entry.get("exception_message") or "unknown error")
    return None


def _error(suite: Suite, rule: Rule, message: str) -> Verdict:
    detail = f"{suite.where(rule.name)}: {_message(message)}"
    return Verdict(rule.name, rule.rule, rule.severity, "error", detail=detail)


def _message(text: str) -> str:
    """An error's message, without what SQLAlchemy adds to it (statement, parameters, a link), and without the values that
    DuckDB quotes when it is they that it cannot work with.
    """
    said = text.split("[SQL:")[0]
    if _ABOUT_VALUES.search(said):
        said = _QUOTED.sub(MASK, said)
    return " ".join(said.split())[:_MESSAGE]


# -- personal data ------------------------------------------------------------------------------------------------


def _hide(result: Any, rule: Rule, catalog: Catalog, table: str) -> None:
    """Replaces personal data in a result, and makes what it holds fit for JSON."""
    found = dict(result.result or {})
    if rule.rows is not None:
        details = found.get("details") or {}
        if rows := details.get("unexpected_rows"):
            open_, counted = unmarked_columns(rule.rows, catalog)
            rows = [
                {n: v if n in open_ or (n in counted and _is_number(v)) else MASK for n, v in row.items()}
                for row in rows[:EXAMPLES]
            ]
            found["details"] = {**details, "unexpected_rows": rows}
    else:
        personal = {n for n, c in catalog.contract(table).all_columns.items() if c.pii}
        used = {v for name, v in rule.arguments.items() if name.startswith("column") and isinstance(v, str)}
        used |= set(rule.arguments.get("column_list", ()))
        rows = found.get("partial_unexpected_index_list") or []
        found["partial_unexpected_index_list"] = [
            {n: MASK if n in personal and v is not None else v for n, v in row.items()} for row in rows
        ]
        if used & personal:
            found["partial_unexpected_counts"] = []
            for name in ("partial_unexpected_list", "observed_value", "details"):
                if found.get(name):
                    found[name] = [MASK] if isinstance(found[name], list) else MASK
    result.result, result.success = _plain(found), bool(result.success)
    if problem := _raised(result.exception_info):
        result.exception_info = {
            "raised_exception": True,
            "exception_message": _message(problem),
            "exception_traceback": "",
        }


def unmarked_columns(sql: str, catalog: Catalog) -> tuple[set[str], set[str]]:
    """Columns of a SELECT whose values come from columns that are not marked as personal data, and those that come
    from no column at all, such as a count.

    Whatever cannot be followed back to the contracts (bronze, a subquery in the list) is in neither.
    """
    import sqlglot
    from sqlglot import exp

    from ecommerce_platform.warehouse.sql_model import query_lineage

    try:
        tree = sqlglot.parse_one(sql, dialect="duckdb")
        assert isinstance(tree, exp.Query)
        reads = {f"{t.db}.{t.name}" for t in tree.find_all(exp.Table)}
        lineage = query_lineage(tree, reads, catalog.tables)
    except Exception:  # sqlglot raises several kinds; DuckDB has run the SELECT, so it is only not understood here
        return set(), set()
    if any(item.find(exp.Query) for select in tree.find_all(exp.Select) for item in select.expressions):
        return set(), set()

    def is_open(table: str, column: str) -> bool:
        known = catalog.tables.get(table)
        found = known.contract.all_columns.get(column) if known else None
        return found is not None and not found.pii

    from_open = {name for name, sources in lineage.items() if sources and all(is_open(*s) for s in sources)}
    return from_open, {name for name, sources in lineage.items() if not sources}


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float, Decimal))


def _show(row: Mapping[str, Any]) -> str:
    return "(" + ", ".join(f"{name}={value!s}" for name, value in row.items()) + ")"


def _plain(value: Any) -> Any:
    """A value as JSON knows it: text for what has no other form there."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)[:_VALUE]


# -- Great Expectations -------------------------------------------------------------------------------------------


def _whole(last: Any, results: list[Any]) -> Any:
    """One validation result of all rules, in the suite's order."""
    if last is None:
        return None
    from great_expectations.core import ExpectationSuiteValidationResult

    held = sum(r.success for r in results)
    return ExpectationSuiteValidationResult(
        success=held == len(results),
        results=results,
        suite_name=last.suite_name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": 100 * held / len(results) if results else None,
        },
        meta=_plain(last.meta),
    )


@contextmanager
def open_context() -> Iterator[Any]:
    """A Great Expectations context that keeps everything in memory and reports to nobody."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    yield gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
            analytics_enabled=False,
        ),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecations between Great Expectations, SQLAlchemy and duckdb-engine: nobody here can heed them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _DuckDB(str):
    """The dialect in the two ways in which Great Expectations compares it: as text, and by its value."""

    value = "duckdb"


def _keep_connections() -> None:
    """Makes Great Expectations hold on to a connection to DuckDB, as it does for SQLite."""
    from great_expectations.execution_engine import sqlalchemy_execution_engine

    engine: Any = sqlalchemy_execution_engine
    if "duckdb" not in engine._PERSISTED_CONNECTION_DIALECTS:
        engine._PERSISTED_CONNECTION_DIALECTS = (*engine._PERSISTED_CONNECTION_DIALECTS, _DuckDB("duckdb"))


def _data_source(context: Any, cursor: DuckDBPyConnection) -> Any:
    """The warehouse as a data source whose every connection is `cursor`."""
    import duckdb_engine

    class Cursor(duckdb_engine.ConnectionWrapper):
        """A cursor in which each SELECT stands alone: after an error, one transaction would refuse all others."""

        def begin(self) -> None: ...
        def commit(self) -> None: ...
        def rollback(self) -> None: ...
        def close(self) -> None: ...

    _keep_connections()
    return context.data_sources.add_sql(
        name="warehouse",
        connection_string="duckdb:///:memory:",
        create_temp_table=False,
        kwargs={"creator": lambda: Cursor(cursor)},
    )
