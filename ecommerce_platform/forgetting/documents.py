"""Values within a document: which of them stay when a person is forgotten, and the document without the others.

A mapping names members of objects by path (`billing->>'$.email'`) and elements of arrays as raw tables of their own
(`explode`). Both are places of one tree per delivered table, in the words of the document. All else in a document of the
person goes, for nobody has said that it is harmless. Text in, text out; whose a document is `records` knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ecommerce_platform.contracts.explode import PARENT_ROW, POSITION
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.ingestion.sniff import unique_names

#: Stands where a value could not be blanked without making a record what it was not: in place of one that did not
#: convert (so that its record stays rejected) and of one that is required.
MARKER = "forgotten"

#: A way into a document: a key, the number of an element from 0, or None for every element. The first is a column.
Pattern = tuple[str | int | None, ...]
#: Whether a path's value is read, or only whether and how many there are, or elements of an array that are named besides, or
#: all of it by a function that may read anything.
Use = Literal["value", "shape", "array", "opaque"]

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
#: JSON functions that look at no value.
_SHAPES = {"json_array_length", "json_type", "json_valid"}


@dataclass
class Node:
    """A place in the documents of a delivered table.

    `kept`: its value stays; `shape`: it stays an object, an array with as many elements or a plain value; `array`: something
    of its elements is added up, so that nothing else stays, but it does not become null. `key`, `own`: a key, and one that an
    id of a customer or order is made of. `table`: the raw table that its elements are; `given`: that table's columns that no
    element delivers.
    """

    kept: bool = False
    shape: bool = False
    array: bool = False
    key: bool = False
    own: bool = False
    members: dict[str | int, Node] = field(default_factory=dict)
    elements: Node | None = None
    table: str | None = None
    given: tuple[str, ...] = ()

    def at(self, pattern: Pattern) -> Node:
        """The place at the end of a way, made where it is missing."""
        node = self
        for step in pattern:
            if step is None:
                node.elements = node.elements or Node()
                node = node.elements
            else:
                node = node.members.setdefault(step, Node())
        return node

    @property
    def alive(self) -> bool:
        """Whether anything of it stays."""
        return self.kept or self.shape or self.table is not None or any(n.alive for n in self.below())

    @property
    def is_tree(self) -> bool:
        """Whether more is said of it than that it stays or goes as a whole."""
        return self.shape or self.table is not None or any(True for _ in self.below())

    def below(self) -> Iterator[Node]:
        """The places within it."""
        yield from self.members.values()
        if self.elements:
            yield self.elements


# -- what mappings say -------------------------------------------------------------------------------------------


def paths(sql: str, ignored: Collection[str]) -> dict[Pattern, Use]:
    """The ways on which an SQL expression reads columns (in lower case) and what is in them."""
    import sqlglot
    from sqlglot import exp

    found: dict[Pattern, Use] = {}
    for column in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Column):
        if column.name.lower() not in ignored:
            for path, use in _read(column):
                # Whoever reads more decides.
                if found.get(path) not in ("opaque", "value") or use == "opaque":
                    found[path] = use
    return found


def _read(column: Any) -> list[tuple[Pattern, Use]]:
    """What an expression reads of one mention of a column."""
    path, use, node = _way(column)
    if not _is_sum(node.parent):
        return [(path, use)]
    return [((*path, *way), what) for way, what in _summed(node)]


def _is_sum(around: Any) -> bool:
    from sqlglot import exp

    return isinstance(around, exp.Anonymous) and around.name.lower() == "as_decimal_sum"


def _summed(node: Any) -> list[tuple[Pattern, Use]]:
    """The ways from a document into what `as_decimal_sum(document, elements, amount, holding)` reads of it."""
    from sqlglot import Dialect, exp

    first, *rest = node.parent.expressions
    if first is not node:
        return [((), "value")]
    if not 2 <= len(rest) <= 3 or not all(isinstance(r, exp.Literal) and r.is_string for r in rest):
        return [((), "opaque")]
    elements, amount = (_steps(Dialect.get_or_raise("duckdb").to_json_path(r)) for r in rest[:2])
    if elements is None or amount is None:
        return [((), "opaque")]
    found: list[tuple[Pattern, Use]] = [(tuple(elements[:at]), "array") for at, s in enumerate(elements) if s is None]
    for way in [tuple(amount), *(_leaves(json.loads(rest[2].name)) if rest[2:] else ())]:
        found.append(((*elements, *way), "value"))
    return found


def _leaves(value: Any) -> Iterator[Pattern]:
    """The ways to the plain values of a document."""
    if isinstance(value, dict):
        yield from ((key, *way) for key, below in value.items() for way in _leaves(below))
    elif isinstance(value, list):
        yield from ((None, *way) for below in value for way in _leaves(below))
    else:
        yield ()


def _way(column: Any) -> tuple[Pattern, Use, Any]:
    """The way to what is read, what is made of it, and the expression that gives it."""
    from sqlglot import exp

    node, path, whole = column, [column.name.lower()], False
    while True:
        around = node.parent
        if isinstance(around, exp.ParseJSON) or (isinstance(around, exp.Cast) and around.to.is_type("json")):
            node, whole = around, True
        elif isinstance(around, exp.Paren):
            node = around
        elif isinstance(around, (exp.JSONExtract, exp.JSONExtractScalar)):
            if around.this is not node:
                return tuple(path), "value", node
            steps = _steps(around.expression)
            if steps is None:
                return tuple(path), "opaque", node
            path += steps
            node, whole = around, False
        else:
            return tuple(path), "opaque" if whole else _use(around, exp), node


def _use(around: Any, exp: Any) -> Use:
    """What the expression around a value makes of it."""
    if isinstance(around, exp.Is):
        return "shape"
    if not isinstance(around, exp.Func):
        return "value"
    name = (around.name if isinstance(around, exp.Anonymous) else type(around).__name__).lower()
    if name in _SHAPES and len(around.expressions) == 1:
        return "shape"
    return "opaque" if "json" in name else "value"


def _steps(expression: Any) -> list[Any] | None:
    """The steps of a JSON path or pointer; None where it says more than keys, numbers and `[*]`."""
    from sqlglot import exp

    if isinstance(expression, exp.Literal) and expression.is_string and expression.name.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in expression.name[1:].split("/")]
    if not isinstance(expression, exp.JSONPath):
        return None
    steps: list[Any] = []
    for part in expression.expressions[1:]:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            steps.append(part.this)
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, exp.JSONPathWildcard):
            steps.append(None)
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int) and part.this >= 0:
            steps.append(part.this)
        else:
            return None
    return steps


@dataclass(frozen=True)
class Place:
    """Where the records of a raw table stand: the delivered table, and the ways to the records of each level around.

    `depth`: how many arrays lie between a record and its file; 0 for a table of files.
    """

    source: Source
    raw_table: str

    @property
    def root(self) -> str:
        """The raw table whose files they are delivered in."""
        return self.source.file.root(self.raw_table)

    @property
    def depth(self) -> int:
        """How many arrays a record stands in."""
        return self.elements.count(None)

    @property
    def around(self) -> Place | None:
        """The table whose records hold the array; None for a table of files."""
        path = self.source.file.tables[self.raw_table].exploded
        return Place(self.source, path.table) if path else None

    @property
    def elements(self) -> Pattern:
        """The way to a record."""
        return self._levels()[-1]

    def within(self, raw_table: str) -> bool:
        """Whether the records stand in records of another raw table."""
        return self.raw_table != raw_table and self.raw_table in self.source.file.made_from(raw_table)

    def _levels(self) -> list[Pattern]:
        path, around = self.source.file.tables[self.raw_table].exploded, self.around
        if not path or not around:
            return [()]
        levels = [around.elements]
        for number, keys in enumerate(path.levels):
            first = around.way((keys[0],)) if number == 0 else (*levels[-1], keys[0])
            levels.append((*(first or ()), *keys[1:], None))
        return levels

    def way(self, path: Pattern) -> Pattern | None:
        """The way into the document for a way into a record of this table; None for what is counted, not delivered."""
        column = str(path[0]).lower()
        raw = self.source.file.tables[self.raw_table]
        if value := {name.lower(): value for name, value in raw.parent_values.items()}.get(column):
            if value.keys == (POSITION,):
                return None
            if value.level == 0 and self.around:
                return self.around.way((*value.keys, *path[1:]))
            return (*self._levels()[value.level], *value.keys, *path[1:])
        if raw.explode and column in (POSITION, PARENT_ROW):
            return None
        return (*self.elements, column, *path[1:])

    def mark(self, tree: Node) -> None:
        """Says in the tree which array this table is made from."""
        if self.depth:
            node = tree.at(self.elements[:-1])
            node.table, node.given = (
                self.raw_table,
                (*self.source.file.tables[self.raw_table].parent, POSITION, PARENT_ROW),
            )
            node.elements = node.elements or Node()


# -- changing a document -----------------------------------------------------------------------------------------

#: What becomes of a value that stays: (its place, the value) → the same, another text, or None.
Stays = Callable[[Node, str], str | None]


@dataclass(frozen=True)
class Rules:
    """What of one document goes.

    `mine`: whether the document is the person's. `elements`: raw table → numbers of elements (from 1) for which that is
    otherwise. `marked`: values that become the marker, with their ways. `stays`: asked about what stays. `emails`: texts
    that go out of documents of nobody. `owned`: raw tables whose elements are somebody's.
    """

    mine: bool
    stays: Stays
    elements: Mapping[str, Collection[int]] = field(default_factory=dict)
    marked: Collection[tuple[Pattern, str]] = ()
    emails: Collection[str] = ()
    owned: Collection[str] = ()


@dataclass(frozen=True)
class Inner:
    """What becomes of the JSON text of a column: its place in the tree, its name, the rules."""

    node: Node
    column: str
    rules: Rules

    def changed(self, text: str) -> str:
        """The text with its edits; the same where nothing goes.

        Raises:
            ValueError: it is no JSON.
        """
        return _Walk(text, self.rules).run(self.node, self.column)


Nodes = tuple[Node, ...]


class _Walk:
    """One way through a text; edits are noted in its order."""

    def __init__(self, text: str, rules: Rules) -> None:
        self.text, self.rules = text, rules
        self.edits: list[tuple[int, int, str]] = []
        #: Ways to objects and arrays that hold a value which becomes the marker.
        self.holding = {way[:stop] for way, _ in rules.marked for stop in range(1, len(way))}

    def run(self, node: Node, column: str) -> str:
        start = self._skip(0)
        stop = self._value(start, (node,), (column,), self.rules.mine)
        if self._skip(stop) != len(self.text):
            raise ValueError("more than one value")
        parts, done = [], 0
        for begin, end, new in self.edits:
            parts += [self.text[done:begin], new]
            done = end
        return "".join([*parts, self.text[done:]])

    def _skip(self, at: int) -> int:
        match = _BLANKS.match(self.text, at)
        assert match is not None
        return match.end()

    def _end(self, at: int) -> tuple[Any, int]:
        return _DECODER.raw_decode(self.text, at)

    def _put(self, start: int, stop: int, new: str) -> None:
        if self.text[start:stop] != new:
            self.edits.append((start, stop, new))

    def _value(self, at: int, nodes: Nodes, way: Pattern, mine: bool) -> int:
        first = self.text[at : at + 1]
        if not mine:
            return self._of_others(at, nodes, way)
        if first in "{[" and first:
            if any(n.kept for n in nodes):
                return self._end(at)[1]
            if first == "{" and (way in self.holding or any(n.members for n in nodes if n.alive)):
                return self._object(at, nodes, way)
            if first == "[" and (
                way in self.holding or any(n.shape or n.elements or _numbers(n) for n in nodes if n.alive)
            ):
                return self._array(at, nodes, way, True)
        value, stop = self._end(at)
        self._gone(at, stop, value, nodes, way)
        return stop

    def _gone(self, at: int, stop: int, value: Any, nodes: Nodes, way: Pattern) -> None:
        """A plain value, or an object or array of which nothing stays."""
        if value is None:
            return
        text = value if isinstance(value, str) else None
        if self.text[at] in "{[":
            is_array = any(n.table or n.shape or n.array for n in nodes)
            self._put(at, stop, ("{}" if self.text[at] == "{" else "[]") if is_array else "null")
            return
        if text is None:
            text = self.text[at:stop]
        if any(n.table for n in nodes):  # what stands in an array's place stays rejected
            if text.strip():
                self._put(at, stop, json.dumps(MARKER))
            return
        staying = next((n for n in nodes if n.kept or n.shape), None)
        new = self.rules.stays(staying, text) if staying else text if text == MARKER else None
        if new == text:
            return
        if new is None and (way, text) in self.rules.marked:
            new = MARKER
        if new is None and any(n.array for n in nodes):  # nothing to add up is not the same as no document
            self._put(at, stop, "[]")
            return
        self._put(at, stop, "null" if new is None else json.dumps(new))

    def _of_others(self, at: int, nodes: Nodes, way: Pattern) -> int:
        """A value that is not the person's; elements within it may be."""
        first = self.text[at : at + 1]
        if first == "[":
            return self._array(at, nodes, way, False)
        if first == "{":
            return self._object(at, nodes, way, False)
        value, stop = self._end(at)
        if isinstance(value, str) and value.strip().lower() in self.rules.emails:
            self._put(at, stop, "null")
        return stop

    def _object(self, at: int, nodes: Nodes, way: Pattern, mine: bool = True, record: Nodes = ()) -> int:
        names = self._names(at, record) if record else None
        position = self._skip(at + 1)
        while self.text[position : position + 1] == '"':
            key, position = json.decoder.scanstring(self.text, position + 1)  # type: ignore[attr-defined]
            position = self._skip(self._skip(position) + 1)
            name = next(names) if names else key
            below = tuple(n.members[k] for n in nodes for k in n.members if (str(k).lower() if names else k) == name)
            position = self._skip(self._value(position, below, (*way, name), mine))
            if self.text[position : position + 1] == ",":
                position = self._skip(position + 1)
        if self.text[position : position + 1] != "}":
            raise ValueError("an object does not end")
        return position + 1

    def _names(self, at: int, record: Nodes) -> Iterator[str]:
        """The columns that bronze makes of the keys of an element, in lower case."""
        given = next(n.given for n in record if n.table)
        return (name.lower() for name in unique_names([*given, *self._keys(at)])[len(given) :])

    def _keys(self, at: int) -> list[str]:
        found: list[str] = []
        json.JSONDecoder(
            object_pairs_hook=lambda pairs: found.__setitem__(slice(None), [k for k, _ in pairs])
        ).raw_decode(self.text, at)
        return found

    def _array(self, at: int, nodes: Nodes, way: Pattern, mine: bool) -> int:
        position, number = self._skip(at + 1), 0
        tables = tuple(n for n in nodes if n.table)
        while self.text[position : position + 1] not in ("]", ""):
            below = tuple(n.elements for n in nodes if n.elements)
            below += tuple(n.members[number] for n in nodes if number in n.members)
            number += 1
            is_mine = mine
            if any(number in self.rules.elements.get(n.table or "", ()) for n in tables):
                is_mine = not self.rules.mine
            position = self._element(position, below, (*way, None), is_mine, tables)
            position = self._skip(position)
            if self.text[position : position + 1] == ",":
                position = self._skip(position + 1)
        if not self.text[position : position + 1]:
            raise ValueError("an array does not end")
        return position + 1

    def _element(self, at: int, nodes: Nodes, way: Pattern, mine: bool, tables: Nodes) -> int:
        if not tables:
            return self._value(at, nodes, way, mine)
        if not mine:
            if any(n.table in self.rules.owned for n in tables) and self.rules.emails:
                return self._end(at)[1]
            return (
                self._object(at, nodes, way, False, tables) if self.text[at] == "{" else self._of_others(at, nodes, way)
            )
        if self.text[at] == "{":
            keys = self._keys(at)
            if len(set(keys)) == len(keys):
                return self._object(at, nodes, way, True, tables)
            return self._object(at, (), way)  # it was rejected for its keys, and these stay
        value, stop = self._end(at)
        if value is not None:
            self._put(at, stop, "[]" if self.text[at] == "[" else json.dumps(MARKER))
        return stop


def _numbers(node: Node) -> bool:
    return any(isinstance(k, int) for k in node.members)


def tree_columns(tree: Node) -> dict[str, Node]:
    """Columns of a table of files of which more is said than that they stay or go."""
    return {str(name): node for name, node in tree.members.items() if node.is_tree}


def contradictions(tree: Node, opaque: Iterable[Pattern]) -> set[str]:
    """Columns of which nobody can say what stays: one that stays as a whole although something in it is named."""
    found = {str(way[0]) for way in opaque if tree.at(way).kept}

    def whole(node: Node) -> bool:
        return (node.kept and any(True for _ in node.below())) or any(whole(n) for n in node.below())

    return found | {str(name) for name, node in tree.members.items() if whole(node)}
