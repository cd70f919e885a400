"""Faults in a text of Python or SQL: what a mistaken hand might have written instead.

One fault changes one place. Texts that people read are left alone: no string is changed, nor what stands in an f-string
or in the arguments of a `raise`; annotations and `if TYPE_CHECKING` are no code that runs. SQL in strings is changed
apart, as text (`sql_changes`), because Python's grammar says nothing of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What stands at `start:end` of a text (characters) becomes `after`; the statement has lines `first` to `last`."""

    start: int
    end: int
    after: str
    first: int
    last: int
    line: int
    #: Names that a statement of a module gives values to: their users are what runs it.
    names: tuple[str, ...] = ()

    def apply(self, text: str) -> str:
        """The text with the fault."""
        return text[: self.start] + self.after + text[self.end :]


_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min"}


class _Text:
    """Characters of a text by the places that `ast` gives: lines, and bytes within them."""

    def __init__(self, text: str) -> None:
        self.text, self.lines = text, text.splitlines(keepends=True)
        self.begins = [0]
        for line in self.lines:
            self.begins.append(self.begins[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._place(node.lineno, node.col_offset), self._place(node.end_lineno, node.end_col_offset)

    def _place(self, line: int, column: int) -> int:
        return self.begins[line - 1] + len(self.lines[line - 1].encode()[:column].decode())


@dataclass(frozen=True)
class _Where:
    """The statement that a node belongs to: the lines that run it, and the names it gives values to in a module."""

    first: int = 0
    last: int = 0
    names: tuple[str, ...] = ()
    inside: bool = False


def python_changes(text: str) -> list[Change]:
    """All faults of a module's code, in its order."""
    places = _Text(text)
    found = []
    for node, where in _walk(ast.parse(text), _Where()):
        for after in _instead(node):
            start, end = places.span(node)
            found.append(Change(start, end, after, where.first, where.last, node.lineno, where.names))
    return found


def sql_changes(text: str) -> list[Change]:
    """All faults of the SQL in a module's strings."""
    places = _Text(text)
    found = []
    for node, where in _walk(ast.parse(text), _Where(), strings=True):
        start, end = places.span(node)
        for begin, stop, after in _sql_faults(text[start:end]):
            line = text.count("\n", 0, start + begin) + 1
            found.append(Change(start + begin, start + stop, after, where.first, where.last, line, where.names))
    return found


def file_changes(text: str) -> list[Change]:
    """All faults of a file of SQL."""
    return [
        Change(begin, stop, after, 0, 0, text.count("\n", 0, begin) + 1)
        for begin, stop, after in _sql_faults(text, anyway=True)
    ]


# -- Python ------------------------------------------------------------------------------------------------------


def _walk(node: ast.AST, where: _Where, strings: bool = False) -> Iterator[tuple[ast.expr | ast.stmt, _Where]]:
    """The nodes that may be changed (or the strings), with their statements."""
    if isinstance(node, ast.stmt):
        where = _statement(node, where)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    text = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    if text:
        if strings:
            yield node, where  # type: ignore[misc]
        return
    if not strings and isinstance(node, (ast.expr, ast.stmt)):
        yield node, where
    for name, field in ast.iter_fields(node):
        message = isinstance(node, ast.Raise) or name in ("annotation", "returns")
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if message or docstring:
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST):
                yield from _walk(child, where, strings)


def _statement(node: ast.stmt, where: _Where) -> _Where:
    body = getattr(node, "body", None)
    last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
    inside = where.inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    if inside:
        return _Where(node.lineno, last, (), isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or where.inside)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = tuple(n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
    return _Where(node.lineno, last, names)


def _instead(node: ast.expr | ast.stmt) -> Iterator[str]:
    """What might stand in place of a node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _written(ast.Compare(node.left, [_COMPARISONS[type(node.ops[0])]()], node.comparators))
    elif isinstance(node, ast.BoolOp):
        yield _written(ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _written(node.operand)
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
        yield from _arithmetic(node)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from (str(node.value + 1), f"({node.value - 1})")
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield "continue" if isinstance(node, ast.Break) else "break"
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield "return None"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield _written(ast.Call(ast.Name(_CALLS[node.func.id]), node.args, node.keywords))
    elif (
        isinstance(node, ast.Raise)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        or (isinstance(node, ast.Assign) and all(isinstance(t, (ast.Attribute, ast.Subscript)) for t in node.targets))
    ):
        yield "pass"


def _arithmetic(node: ast.BinOp | ast.AugAssign) -> Iterator[str]:
    """The opposite operator, unless texts or paths are put together: that fails wherever it is run."""
    parts = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.value]
    if any(isinstance(part, ast.JoinedStr) or _is_text(part) for part in parts):
        return
    operator = _ARITHMETIC[type(node.op)]()
    if isinstance(node, ast.BinOp):
        yield _written(ast.BinOp(node.left, operator, node.right))
    else:
        yield ast.unparse(ast.AugAssign(node.target, operator, node.value))
        yield "pass"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _written(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


# -- SQL ---------------------------------------------------------------------------------------------------------

_LOOKS_LIKE_SQL = re.compile(
    r"\b(select\s|insert into\s|delete from\s|update\s+\S+\s+set\s|merge into\s|(inner|left|anti|semi|full) join\s|"
    r"(where|and|or|on) [\w.{}(\"]+ (=|<|>|<=|>=|<>|is|in|not|between)\s)"
)
#: What stands in a text → what is written instead.
_SQL = [(re.compile(pattern), after) for pattern, after in {
    r"(?<= )<(?= )": "<=", r"(?<= )<=(?= )": "<", r"(?<= )>(?= )": ">=", r"(?<= )>=(?= )": ">",
    r"(?<= )=(?= )": "<>", r"(?<= )<>(?= )": "=", r"\bis not distinct from\b": "is distinct from",
    r"(?<!not )\bis distinct from\b": "is not distinct from", r"\bis not null\b": "is null", r"\bis null\b": "is not null",
    r"\bleft join\b": "inner join", r"\binner join\b": "left join", r"\bfull join\b": "left join",
    r"\banti join\b": "semi join", r"\bsemi join\b": "anti join", r"\bunion all\b": "union", r"\bdistinct (?!on\b)": "",
    r"\bwhere (?!true\b)": "where true or ", r"(?<= )desc\b": "asc", r"\bmin\((?=\w)": "max(", r"\bmax\((?=\w)": "min(",
    r"\barg_max\(": "arg_min(", r"\barg_min\(": "arg_max(", r"(?<= )and(?= )": "or", r"\bor(?= )(?! replace)": "and",
    r"(order by [\w.]+)(?=$|[)\s\"'])(?! desc| asc)": r"\1 desc",
}.items()]  # fmt: skip
_KEYWORD = re.compile(r"\b(set|where|on|and|or|when|having|select|case|then|using)\b")


def _sql_faults(text: str, anyway: bool = False) -> Iterator[tuple[int, int, str]]:
    """Faults of a text that is SQL, else none; comments stay."""
    if not (anyway or _LOOKS_LIKE_SQL.search(text)):
        return
    for pattern, after in _SQL:
        for match in pattern.finditer(text):
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            words = _KEYWORD.findall(text[: match.start()])
            if "--" in line or (match.group() == "=" and words and words[-1] == "set"):
                continue
            # `between … and …` takes no other word.
            if match.group() == "and" and re.search(r"\bbetween [^()]{1,40}$", text[: match.start()]):
                continue
            yield match.start(), match.end(), match.expand(after)
