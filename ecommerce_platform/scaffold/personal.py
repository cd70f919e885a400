"""Whether a column tells about persons, and what may be shown of its values all the same.

`render` says what is shown where, `guess` what is hashed.
"""

from __future__ import annotations

import re

from ecommerce_platform.scaffold.match import RawTableView
from ecommerce_platform.scaffold.profile import Column
from ecommerce_platform.scaffold.words import vocabulary

_PERSONAL = frozenset({"email", "phone", "birth", "address", "first", "last", "person"})
#: Columns about things and places, whose values look like names at times.
_THINGS = frozenset(
    ["product", "sku", "category", "brand", "city", "state", "country", "region", "status", "method", "payment", "carrier", "channel", "description", "segment", "group", "device", "campaign", "label", "domain", "location", "reason", "currency", "postal"]
)  # fmt: skip
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PHONE = re.compile(r"(?=.*[+() /.-])\+?[\d() /.-]{8,}")
_NAME = re.compile(r"[A-ZÀ-Þ][\w'’-]+(,? (?:(?:de|da|do|del|la|von|van|der|du|le)\s)*[A-ZÀ-Þ\d][\w.'’-]*){1,3}")
#: Share of values that look like a person's from which the column counts as personal.
_ALIKE = 0.2


def looks_personal(column: Column, view: RawTableView) -> bool:
    """Whether a column seems to tell about persons: by its name, or by what its values look like."""
    said = {concept for token in vocabulary().read(column.name) for concept in token.concepts}
    if said & _PERSONAL:
        return True
    about_people = {c for token in view.tokens for c in token.concepts} & {"customer", "seller", "person"}
    if (
        "name" in said
        and (about_people or said & {"customer", "seller"})
        and not said & {"product", "category", "brand"}
    ):
        return True
    if column.dated or column.numeric or said & _THINGS:
        return False
    values = [value for value, _ in column.values]
    return sum(bool(_PHONE.fullmatch(v)) or looks_named(v) for v in values) > _ALIKE * len(values)


def looks_named(value: str) -> bool:
    """Whether a value looks like a person's name or e-mail address."""
    return bool(EMAIL.search(value) or _NAME.fullmatch(value))


def names_persons(column: Column) -> bool:
    """Whether most values are names or addresses of persons, rather than numbers or codes."""
    values = [value for value, _ in column.values]
    return 2 * sum(map(looks_named, values)) > len(values)


def mask(value: str) -> str:
    """The shape of a value: letters as x, digits as 9."""
    return "".join("X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in value)
