"""What SQL that comes with definitions may do: be one SELECT over tables that are named, and nothing else.

A source folder that somebody was given comes with SQL (mappings, expectations, alerts), which runs where the warehouse
is open for writing. So DuckDB's own parser says what a text is before it is ever run: a SELECT can read any file
(`read_text`, `from 'file.csv'`), hide a statement in a string (`query(…)`) and even write (an INSERT as a step of WITH).
What may be read besides tables is listed here, not what may not. SQL for readers of snapshots is bounded in
`reading/query.py` instead, by a database in which nothing else can be reached.
"""

from __future__ import annotations

import atexit
import json
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from threading import Lock
from typing import Any

from ecommerce_platform.contracts.remembered import remembered

#: Schemas of the warehouse whose tables definitions may read.
SCHEMAS = frozenset({"bronze", "silver", "gold", "ml"})
#: Functions in FROM that make rows out of their arguments alone.
_ROWS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
#: What a query may be made of; an INSERT or MERGE as a step of WITH is a node of its own kind.
_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"})
#: Functions that look at what the machine or the connection is set to.
_NOSY = frozenset({"getenv", "current_setting", "getvariable", "nextval", "currval", "write_log"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_parser: Any = None
_lock = Lock()


class NotAllowedError(ValueError):
    """A text is not one SELECT over named tables; the message says what it is or does instead."""


@lru_cache(maxsize=4096)
def tables_read(sql: str, given: frozenset[str] = frozenset()) -> frozenset[str]:
    """The tables that a SELECT reads, as `schema.table` in lower case; nothing is run or looked up.

    Args:
        sql: one SELECT.
        given: further relations it may name, without a schema (`changed`, `touched`).

    Raises:
        NotAllowedError: it is not one SELECT, or reads or does anything that definitions may not.
    """
    import duckdb

    code, what = __file__, f"tables_read {sorted(given)} duckdb {duckdb.__version__}"
    return frozenset(remembered(sql, what, code, lambda: sorted(_tables_read(sql, given))))


def _tables_read(sql: str, given: frozenset[str]) -> frozenset[str]:
    parsed = _parse(sql)
    if parsed["error"]:
        said = str(parsed["error_message"]).splitlines()[0]
        raise NotAllowedError(
            "only a SELECT may stand here" if parsed["error_type"] == "not implemented" else f"not valid SQL: {said}"
        )
    if len(parsed["statements"]) != 1:
        raise NotAllowedError(f"exactly one SELECT may stand here, not {len(parsed['statements'])}")
    tree = parsed["statements"][0]["node"]
    steps = {str(entry["key"]).lower() for node in _nodes(tree) for entry in node.get("cte_map", {}).get("map", ())}
    return frozenset(
        name for node in _nodes(tree) if (name := _table(node, steps | {g.lower() for g in given})) is not None
    )


def check_condition(sql: str, given: Collection[str]) -> None:
    """Holds a condition on rows to the same rules.

    Raises:
        NotAllowedError: see `tables_read`.
    """
    # On a line of its own: a comment at its end must not hide the bracket.
    tables_read(f"select 1 where (\n{sql}\n)", frozenset(given))


def _parse(sql: str) -> Any:
    global _parser
    import duckdb

    with _lock:
        if _parser is None:
            _parser = duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False})
            atexit.register(_close)
        found = _parser.execute("select json_serialize_sql(?::varchar)", [sql]).fetchall()
    return json.loads(found[0][0])


def _close() -> None:
    # Else it outlives the interpreter, and DuckDB's last words on stderr are a page about leaks.
    global _parser
    with _lock:
        if _parser is not None:
            _parser.close()
        _parser = None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo += node.values()
        elif isinstance(node, list):
            todo += node


def _table(node: dict[str, Any], relations: Collection[str]) -> str | None:
    """The table that a node of the tree reads, if it does; refuses what is not allowed."""
    kind = str(node.get("type", ""))
    if kind.endswith("_NODE") and kind not in _QUERIES:
        raise NotAllowedError(
            f"{kind.removesuffix('_QUERY_NODE').removesuffix('_NODE').lower()}: only reading is allowed"
        )
    if kind == "SHOW_REF":
        raise NotAllowedError("DESCRIBE, SHOW and SUMMARIZE have no place here")
    if kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in _ROWS:
            raise NotAllowedError(f"{name}(…) in FROM is not allowed: a definition reads tables, never files")
    if node.get("class") == "FUNCTION" and str(node.get("function_name", "")).lower() in _NOSY:
        raise NotAllowedError(f"{node['function_name']}(…) is not allowed: it looks beyond the tables")
    if kind != "BASE_TABLE":
        return None
    schema, name = str(node["schema_name"]).lower(), str(node["table_name"]).lower()
    if not node["catalog_name"] and not schema and name in relations:
        return None
    # Any other name is that of a file to DuckDB where there is no such table: 'a.csv', "/etc/x".csv.
    if node["catalog_name"] or schema not in SCHEMAS or not _NAME.fullmatch(name):
        shown = ".".join(part for part in (node["catalog_name"], node["schema_name"], node["table_name"]) if part)
        raise NotAllowedError(f"{shown!r} is not a table of the warehouse: write {'|'.join(sorted(SCHEMAS))}.<table>")
    return f"{schema}.{name}"
