"""Named expressions: what several mappings of a source share is said once in `source.yml` and used by its name.

`expressions: {order_key: "coalesce(as_id(invoice_no), …)"}` is SQL over one raw row; where a mapping names `order_key` as
it would name a raw column, the expression stands instead. An expression may name others. A raw column of the same name
can still be read as `<raw table>.<column>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ecommerce_platform.contracts.source import Source, SourceFile
from ecommerce_platform.contracts.yaml_file import line_of
from ecommerce_platform.errors import DefinitionError, raise_all
from ecommerce_platform.silver.conversions import row_expression

_EXAMPLE = "SQL over the columns of one raw row, such as coalesce(as_id(invoice), as_id(receipt))"


@dataclass(frozen=True)
class NamedExpressions:
    """The expressions of a source, each made of raw columns only.

    Args:
        texts: name → SQL as it stands in source.yml.
        trees: name → its tree, with the expressions that it names in their place.
        parts: name → itself and all names that it is made of.
    """

    texts: Mapping[str, str]
    trees: Mapping[str, Any]
    parts: Mapping[str, frozenset[str]]

    def expand(self, tree: Any) -> tuple[Any, dict[str, str]]:
        """A tree with expressions instead of their names, and those it is made of: name → SQL as it stands there."""
        if not self.trees:
            return tree, {}
        tree, named = _expanded(tree, self.trees)
        used = sorted({part for name in named for part in self.parts[name]})
        return tree, {name: self.texts[name] for name in used}


def named_expressions(source: Source) -> NamedExpressions:
    """The expressions that `source.yml` calls by name.

    Raises:
        DefinitionError: with file and line, for every one that is no SQL over one raw row, is made of itself, or is
            called as a raw column that the source agreed on.
    """
    file = source.file
    trees: dict[str, Any] = {}
    problems: list[DefinitionError] = []
    for name, sql in file.expressions.items():
        tree, against = row_expression(sql, _EXAMPLE, partial(_wrong, file, name))
        problems += [*against, *_called_as_a_column(file, name)]
        if tree is not None:
            trees[name] = tree
    raise_all(problems)
    names = {name: _named(tree, trees) for name, tree in trees.items()}
    order = _parts_first(file, names)
    parts: dict[str, frozenset[str]] = {}
    for name in order:
        trees[name], _ = _expanded(trees[name], trees)
        parts[name] = frozenset({name}).union(*(parts[other] for other in names[name]))
    return NamedExpressions(file.expressions, trees, parts)


def unused(source: Source, used: Iterable[str]) -> list[DefinitionError]:
    """What is to be said of expressions that no mapping is made of: mostly a name was misspelt here or there."""
    return [
        _wrong(
            source.file, name, "no mapping names it", "name it in a mapping instead of what it says, or leave it out"
        )
        for name in source.file.expressions.keys() - set(used)
    ]


def line_of_expression(file: SourceFile, name: str) -> int:
    """The line of source.yml on which an expression stands."""
    return line_of(file.path, ("expressions", name))


def _wrong(file: SourceFile, name: str, what: str, fix: str) -> DefinitionError:
    return DefinitionError(
        f"expressions: {name}: {what}", where=f"{file.path}:{line_of_expression(file, name)}", fix=fix
    )


def _called_as_a_column(file: SourceFile, name: str) -> list[DefinitionError]:
    tables = [raw for raw, table in file.tables.items() if name in {column.lower() for column in table.columns}]
    fix = "give the expression another name"
    return [_wrong(file, name, f"the raw table {raw} has a column of that name", fix) for raw in tables]


def _named(tree: Any, names: Mapping[str, Any]) -> list[str]:
    """The names of expressions in a tree, in the order of their first use."""
    from sqlglot import exp

    columns = (c for c in tree.find_all(exp.Column) if not c.table)
    return list(dict.fromkeys(c.name.lower() for c in columns if c.name.lower() in names))


def _parts_first(file: SourceFile, names: Mapping[str, Sequence[str]]) -> list[str]:
    """All names, each after those that it is made of."""
    order: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " → ".join((*way[way.index(name) :], name))
            raise _wrong(
                file, name, f"it is made of itself ({circle})",
                "say one of them in raw columns; a raw column of that name is read as <raw table>.<column>",
            )  # fmt: skip
        if name not in order:
            for other in names[name]:
                visit(other, (*way, name))
            order.append(name)

    for name in names:
        visit(name, ())
    return order


def _expanded(tree: Any, trees: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """A tree with the trees of expressions instead of their names, and the names."""
    from sqlglot import exp

    found = _named(tree, trees)
    for column in list(tree.find_all(exp.Column)) if found else ():
        if column.table or column.name.lower() not in trees:
            continue
        body = _at_line(trees[column.name.lower()].copy(), column.this.meta.get("line"))
        if isinstance(body, (exp.Binary, exp.Unary, exp.Predicate)) and not isinstance(body, exp.Paren):
            body = exp.Paren(this=body)
        if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
            body = exp.alias_(body, column.name)
        if column is tree:
            return body, found
        column.replace(body)
    return tree, found


def _at_line(tree: Any, line: int | None) -> Any:
    """Makes a tree stand on the line on which it is named, which is where a mapping's errors point to."""
    for node in tree.walk():
        if node.meta.get("line"):
            node.meta["line"] = line
    return tree
