"""Names of files as patterns: what of them changes from delivery to delivery, and which patterns could name one file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from glob import escape

_MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|apr|jun|jul|aug|"
    "sep|sept|oct|nov|dec|januar|februar|maerz|märz|mai|juni|juli|oktober|dezember|enero|febrero|marzo|abril|mayo|junio|"
    "julio|agosto|septiembre|octubre|noviembre|diciembre|janeiro|fevereiro|março|marco|maio|junho|julho|setembro|outubro|"
    "novembro|dezembro|janvier|février|fevrier|mars|avril|juin|juillet|août|aout|septembre|octobre|novembre|décembre|decembre"
)
#: The part of a file's name that changes from delivery to delivery: a date, a number, a month.
VARYING = re.compile(
    rf"(?:(?<![a-z])(?:q|kw|w|v))?\d+(?:[-_.t ]?\d+)*(?![a-z])|(?<![a-zà-ÿ])(?:{_MONTHS})(?![a-zà-ÿ])", re.IGNORECASE
)
_DATED = re.compile(r"(19|20)\d{2}|\d{6,}")
#: A place in a pattern of names, as they are written here: a star, signs to choose from, or a sign.
_PART = re.compile(r"\[([^\]]+)\]|.", re.DOTALL)
#: The signs that may stand at each place of a name; None for any number of any.
Signs = tuple[frozenset[str] | None, ...]


def stem_of(name: str) -> tuple[str, str]:
    """A file's name without its endings, and these; `.gz` is left out, for a pattern finds that anyhow."""
    plain = name[:-3] if name.lower().endswith(".gz") else name
    stem, dot, ending = plain.rpartition(".")
    return (stem, dot + ending) if stem else (plain, "")


def dated(names: Sequence[str]) -> bool:
    """Whether names of deliveries of one table have something that changes. A single file's number may be part of its name; a
    date never is."""
    found = VARYING.finditer(stem_of(names[0])[0])
    return len({stem_of(n)[0] for n in names}) > 1 or any(_DATED.search(m[0]) or not m[0][-1].isdigit() for m in found)


def _wildcard(found: re.Match[str]) -> str:
    return "[0-9]*" if found[0][0].isdigit() else "*"


def any_number(name: str) -> str:
    """The pattern of a file's name with whatever date or number: what the next delivery will be called."""
    stem, ending = stem_of(name)
    return VARYING.sub(_wildcard, escape(stem)) + ending


def next_names(name: str) -> tuple[str, ...]:
    """The patterns of a file's name and of what the next delivery may be called: with another date or number, and where
    it has none, with one behind it."""
    stem, ending = stem_of(name)
    if VARYING.search(stem):
        return (any_number(name),)
    return (escape(stem) + ending, f"{escape(stem)}[-_. (][0-9(]*{ending}")


def named(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns names a file, as it is or without `.gz`."""
    return any(fnmatchcase(without_gz(name), pattern) for pattern in patterns)


def could_meet(one: str, other: str) -> bool:
    """Whether one file could have a name that both patterns name, as it is or with `.gz`."""
    return any(_meet(_signs(a), _signs(b)) for a, b in ((one, other), (f"{one}.gz", other), (one, f"{other}.gz")))


def _meet(one: Signs, other: Signs) -> bool:
    """Whether a text fits both."""
    seen, todo = {(0, 0)}, [(0, 0)]
    while todo:
        i, j = todo.pop()
        a, b = (signs[at] if at < len(signs) else frozenset() for signs, at in ((one, i), (other, j)))
        if i == len(one) and j == len(other):
            return True
        steps = [(i + 1, j)] if a is None else []
        steps += [(i, j + 1)] if b is None else []
        if a is not None and b is not None and a & b:
            steps.append((i + 1, j + 1))
        # A star takes a sign of the other and goes on.
        steps += [(i, j + 1)] if a is None and j < len(other) else []
        steps += [(i + 1, j)] if b is None and i < len(one) else []
        todo += [step for step in steps if step not in seen]
        seen.update(steps)
    return False


def _signs(pattern: str) -> Signs:
    """The signs that may stand at each place of a pattern; None for a star."""
    found: list[frozenset[str] | None] = []
    for part in _PART.finditer(pattern):
        if part[0] == "*":
            found.append(None)
        elif part[1]:
            ranges = re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), part[1])
            found.append(frozenset(ranges))
        else:
            found.append(frozenset(part[0]))
    return tuple(found)


def without_gz(name: str) -> str:
    """A file's name without `.gz`, which a pattern finds anyhow."""
    return name[:-3] if name.lower().endswith(".gz") else name
