"""How alike two customer records are, column by column: SQL conditions over a pair, whose columns end in _l and _r.

A comparison puts a pair into one of its levels, the first whose condition holds, and `differs` where none does; a pair
in which a value is missing has no level, and the comparison says nothing. How much a level weighs is learnt
(`training.py`). What hangs together is one comparison or asked under a condition: who has moved has another street,
house and town at once, which must not count three times.
"""

from __future__ import annotations

from dataclasses import dataclass

DIFFERS = "differs"


@dataclass(frozen=True)
class Comparison:
    """A comparison: when it says nothing, and its levels as (name, condition), the most alike first."""

    name: str
    missing: str
    given: tuple[tuple[str, str], ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of all levels; a level's number is its place here."""
        return (*(name for name, _ in self.given), DIFFERS)

    @property
    def sql(self) -> str:
        """SQL text of a pair's level number; null where the comparison says nothing."""
        whens = " ".join(f"when {condition} then {i}" for i, (_, condition) in enumerate(self.given))
        return f"case when {self.missing} then null {whens} else {len(self.given)} end"


def _unknown(*columns: str) -> str:
    return " or ".join(f"{c}_l is null or {c}_r is null" for c in columns)


def _equal(column: str) -> str:
    return f"{column}_l = {column}_r"


def _shortest(column: str) -> str:
    return f"least(length({column}_l), length({column}_r))"


def _likeness(column: str) -> str:
    return f"jaro_winkler_similarity({column}_l, {column}_r)"


def _edits(column: str, most: int, floor: float, like: str = "") -> str:
    """Whether so few edits apart; those that are less alike than any such pair is are not counted, which takes long."""
    like = like or _likeness(column)
    return f"case when {like} < {floor} then false else damerau_levenshtein({column}_l, {column}_r) <= {most} end"


#: Worked out once for each pair, for the conditions below.
_ONCE = {
    "first_like": _likeness("first_name"),
    "last_like": _likeness("last_name"),
    # First and last name have changed places; one of them may hold a slip.
    "swapped": (
        "case when first_name_l = last_name_r then coalesce(jaro_winkler_similarity(last_name_l, first_name_r) >= 0.88, false) "
        "when last_name_l = first_name_r then coalesce(jaro_winkler_similarity(first_name_l, last_name_r) >= 0.88, false) "
        "else false end"
    ),
}
_FIRST_SLIP = _edits("first_name", 1, 0.6, "first_like")
_BIRTH = "strftime(birth_date_{side}, '%Y%m%d')"
_BIRTH_DIGITS = f"hamming({_BIRTH.format(side='l')}, {_BIRTH.format(side='r')})"
_DAY_FOR_MONTH = (
    "year(birth_date_l) = year(birth_date_r) and month(birth_date_l) = day(birth_date_r) "
    "and day(birth_date_l) = month(birth_date_r)"
)
_TWO_PARTS = (
    "cast(year(birth_date_l) = year(birth_date_r) as integer) + cast(month(birth_date_l) = month(birth_date_r) as integer) "
    "+ cast(day(birth_date_l) = day(birth_date_r) as integer) = 2"
)
#: Numbers tell anna.mueller2@… from anna.mueller3@…: they are no slips.
_EMAIL_ALIKE = (
    "case when left(email_l, 1) <> left(email_r, 1) then false "
    f"when {_edits('email', 2, 0.85)} then regexp_replace(email_l, '[^0-9]', '', 'g') = "
    "regexp_replace(email_r, '[^0-9]', '', 'g') else false end"
)
_LAST_ALIKE = (
    "last_like >= 0.9 or contains(concat(last_name_l, last_name_r), '-') and "
    "list_has_any(string_split(last_name_l, '-'), string_split(last_name_r, '-')) "
    f"or {_shortest('last_name')} > 3 and (ends_with(last_name_l, last_name_r) or ends_with(last_name_r, last_name_l))"
)
_STREET_ALIKE = (
    f"case when {_likeness('street')} >= 0.92 then true when {_shortest('street')} > 5 then starts_with(street_l, street_r) "
    f"or starts_with(street_r, street_l) or {_edits('street', 2, 0.75)} else {_edits('street', 1, 0.75)} end"
)
_HOUSE_ALIKE = (
    "starts_with(house_number_l, house_number_r) or starts_with(house_number_r, house_number_l) "
    f"or {_shortest('house_number')} > 1 and {_edits('house_number', 1, 0.5)}"
)
_NO_PLACE = f"({_unknown('postal_code')}) and ({_unknown('city')})"
_PLACES = (
    ("equal", _equal("postal_code")),
    ("slip", f"coalesce(city_l = city_r, true) and coalesce({_edits('postal_code', 1, 0.75)}, false)"),
    ("city", f"coalesce(city_l = city_r or {_likeness('city')} >= 0.92, false)"),
    ("state", "coalesce(state_l = state_r, false)"),
)
_STREET = Comparison("street", _unknown("street"), (("equal", _equal("street")), ("alike", _STREET_ALIKE)))
_OTHER_STREET = f"coalesce(street = {len(_STREET.given)}, false)"
COMPARISONS = (
    Comparison(
        "first_name",
        _unknown("first_name"),
        (
            ("equal", "first_name_l = first_name_r and length(first_name_l) > 1"),
            ("swapped", "swapped"),
            ("slip", f"{_shortest('first_name')} > 3 and {_FIRST_SLIP}"),
            ("alike", f"first_like >= 0.88 or {_shortest('first_name')} > 2 and {_FIRST_SLIP}"),
            ("initial", f"{_shortest('first_name')} = 1 and left(first_name_l, 1) = left(first_name_r, 1)"),
            (
                "remotely",
                f"first_like >= 0.8 or {_shortest('first_name')} > 4 and {_edits('first_name', 2, 0.6, 'first_like')}",
            ),
        ),
    ),
    # That the names are swapped has been counted with the first name.
    Comparison(
        "last_name",
        f"{_unknown('last_name')} or last_name_l <> last_name_r and swapped",
        (("equal", _equal("last_name")), ("slip", _edits("last_name", 1, 0.6, "last_like")), ("alike", _LAST_ALIKE)),
    ),
    Comparison(
        "birth_date",
        _unknown("birth_date"),
        (
            ("equal", _equal("birth_date")),
            ("slip", f"{_BIRTH_DIGITS} <= 1 or {_DAY_FOR_MONTH}"),
            ("near", f"{_BIRTH_DIGITS} <= 2 or {_TWO_PARTS}"),
        ),
    ),
    Comparison("email", _unknown("email"), (("equal", _equal("email")), ("alike", _EMAIL_ALIKE))),
    Comparison("phone", _unknown("phone"), (("equal", _equal("phone")), ("slip", _edits("phone", 1, 0.88)))),
    Comparison(
        "personal_number",
        _unknown("personal_number"),
        (("equal", _equal("personal_number")), ("slip", _edits("personal_number", 1, 0.85))),
    ),
    _STREET,
    Comparison(
        "house_number",
        f"{_unknown('house_number')} or {_OTHER_STREET}",
        (("equal", _equal("house_number")), ("alike", _HOUSE_ALIKE)),
    ),
    Comparison("place", f"{_NO_PLACE} or {_OTHER_STREET}", _PLACES),
    # The place of those who have another street: most have moved.
    Comparison("place_beside", f"{_NO_PLACE} or not {_OTHER_STREET}", _PLACES),
)
#: The columns that comparisons look at.
COMPARED = (
    "first_name", "last_name", "birth_date", "email", "phone", "personal_number", "street", "house_number", "postal_code",
    "city", "state",
)  # fmt: skip

_LEVEL = {(c.name, level): number for c in COMPARISONS for number, level in enumerate(c.levels)}


def _is(comparison: str, *levels: str) -> str:
    numbers = ", ".join(str(_LEVEL[comparison, level]) for level in levels)
    return f"cast(coalesce({comparison} in ({numbers}), false) as integer)"


#: Two records that cannot be one person's, over a pair's levels: what contradicts (first names that are not alike, birth
#: dates that no slip explains, other personal numbers) outweighs what belongs to one person alone. Uschi is Ursula where
#: birth date and address for mail agree; a family shares its address for mail, twins their birth date.
CONFLICT = (
    f"{_is('first_name', DIFFERS)} + {_is('birth_date', DIFFERS)} + {_is('personal_number', DIFFERS)} > "
    f"{_is('personal_number', 'equal', 'slip')} + {_is('birth_date', 'equal')} * {_is('email', 'equal')} "
    f"+ {_is('birth_date', 'equal')} * {_is('first_name', 'equal', 'swapped', 'slip')} * {_is('personal_number', DIFFERS)}"
)

#: More than names and a place agree: common names in one town prove nothing.
BEYOND_NAMES = " or ".join(
    f"coalesce({c.name} < {len(c.given)}, false)"
    for c in COMPARISONS
    if c.name in ("birth_date", "email", "phone", "personal_number", "street")
)


def levels_select(pairs: str, records: str) -> str:
    """SELECT of (l, r) of the relation `pairs` and the level number of each comparison of the two comparable records."""
    columns = ", ".join(f"a.{n} as {n}_l, b.{n} as {n}_r" for n in COMPARED)
    both = (
        f"select pairs.l, pairs.r, {columns} from {pairs} as pairs "
        f"inner join {records} as a on pairs.l = a.customer_id inner join {records} as b on pairs.r = b.customer_id"
    )
    once = ", ".join(f"{sql} as {name}" for name, sql in {**_ONCE, "street": _STREET.sql}.items())
    levels = ", ".join(f"{'street' if c is _STREET else c.sql} as {c.name}" for c in COMPARISONS)
    return f"select l, r, {levels} from (select *, {once} from ({both}) as both_) as suffixed"
