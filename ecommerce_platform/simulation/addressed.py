"""Customer records with streets, house numbers and personal numbers, written carefully or carelessly.

The people, households and systems are those of `records`; each home gets a street and a number, each person a personal
number. A careless hand changes a share of all values the way the generator of Christen (Probabilistic data generation
for deduplication and data linkage, IDEAL 2005) does: slips of a key, letters read or heard wrong, words run together,
values left out, replaced by other ones or written into the wrong column. How often is set here by hand, after nobody's
data in particular. Linking learns its package's weights from these records and chooses its thresholds on them.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation.formats import chosen, where
from ecommerce_platform.simulation.places import make_places
from ecommerce_platform.simulation.randomness import Rng, stream
from ecommerce_platform.simulation.records import SYSTEMS, Lives, make_persons, make_sign_ups, write_records
from ecommerce_platform.simulation.seasons import SECONDS

if TYPE_CHECKING:
    import polars as pl

_STREET_BEGINNINGS = (  # noqa: SIM905
    "Haupt Bahnhof Garten Linden Eichen Birken Berg Kirch Schul Wald Wiesen Rosen Mühlen Ring Brunnen Schiller Goethe "
    "Mozart Beethoven Bismarck Friedrich Wilhelm Kaiser König Park See Bach Feld Markt Post Ahorn Buchen Tannen Kastanien "
    "Sonnen Nord Süd West Ost Hafen Fischer Jäger Weber Schmiede Kloster Burg Schloss Turm Tal Höhen"
).split()
_STREET_ENDINGS = ("straße", "straße", "straße", "weg", "weg", "gasse", "platz", "allee", "ring", "ufer", "stieg")
#: Letters that are taken for each other when read or heard.
_CONFUSED = {
    "m": "rn", "w": "vv", "d": "cl", "i": "l", "l": "i", "o": "0", "s": "z", "z": "s", "c": "k", "k": "c", "f": "ph",
    "v": "f", "b": "p", "t": "d", "y": "i", "e": "a", "u": "v", "n": "m", "1": "7", "7": "1", "0": "8", "8": "3", "5": "6",
}  # fmt: skip
#: Share of the values of a column that a careless hand changes, times its carelessness.
_CHANGED = {
    "given_name": 0.16, "family_name": 0.16, "street": 0.16, "house_number": 0.14, "city": 0.12, "postal_code": 0.08,
    "state": 0.08, "birth_date": 0.12, "personal_number": 0.06,
}  # fmt: skip
#: Of the changed values: left out, replaced by somebody else's, changed twice; the others once.
_LEFT_OUT, _OTHER, _TWICE = 0.15, 0.10, 0.25
#: Share of records in which the two names, or street and house number, have changed places.
_SWAPPED = 0.04
#: The days on which people register.
_START, _DAYS = date(2024, 1, 1), 730
#: Share of records with a personal number.
_NUMBERED = 0.9


def make_addressed(seed: int, persons: int, *, careless: float = 0.0, lives: Lives | None = None) -> pl.DataFrame:
    """The records of `records.make_records` with addresses and personal numbers, names in parts.

    Args:
        seed: same arguments, same records.
        persons: how many people; about 1.65 records each.
        careless: 0 for records as `records` writes them, 1 for those of a careless hand.
        lives: how often what happens to people; the defaults of `Lives` when not given.

    Returns:
        customer_id, person and household (the truth), given_name, family_name, email, phone, personal_number, street,
        house_number, postal_code, city, state (texts) and birth_date (Date).
    """
    import polars as pl

    places = make_places(stream(seed, "places"))
    last = _DAYS * SECONDS
    people = make_persons(seed, places, persons, start=_START, first=0, last=last, lives=lives)
    sign_ups = make_sign_ups(seed, persons, first=0, last=last)
    rng = stream(seed, "addresses")
    homes = int(people.household.max()) + 1
    # Two homes a household: before and after it moves.
    streets = chosen(
        [b + e for b in _STREET_BEGINNINGS for e in _STREET_ENDINGS],
        rng.integers(0, len(_STREET_BEGINNINGS) * len(_STREET_ENDINGS), 2 * homes),
    )
    numbers = pl.Series(1 + (rng.random(2 * homes) ** 2 * 150).astype(np.int64)).cast(pl.String)
    personal = pl.Series(10_000_000 + rng.permutation(9 * persons)[:persons]).cast(pl.String)
    found = []
    for name, system in SYSTEMS.items():
        made = write_records(seed, system, people, places, sign_ups[name])
        person = made["person"].to_numpy()
        home = people.household[person] + homes * (sign_ups[name].registered >= people.moved[person])
        known = made["city"].is_not_null().to_numpy()
        found.append(
            made.with_columns(
                household=pl.Series(people.household[person]),
                street=where(streets[home], known),
                house_number=where(numbers[home], known),
                personal_number=where(personal[person], rng.random(len(person)) < _NUMBERED),
            )
        )
    records = _in_parts(pl.concat(found))
    return _carelessly(stream(seed, "careless"), records, careless) if careless else records


def _in_parts(records: pl.DataFrame) -> pl.DataFrame:
    """The records with given and family name apart."""
    import polars as pl

    name = pl.col("full_name").str.replace("(?i)dr. ", "")
    comma = name.str.contains(",", literal=True)
    given = pl.when(comma).then(name.str.extract(", *(.*)$")).otherwise(name.str.extract(r"^(\S+)"))
    family = pl.when(comma).then(name.str.extract("^(.*),")).otherwise(name.str.extract(r"^\S+ (.*)$"))
    return records.select(
        pl.col("customer_no").alias("customer_id"), "person", "household", given.alias("given_name"),
        family.alias("family_name"), "email", "phone", "birth_date", "personal_number", "street", "house_number",
        "postal_code", "city", "state",
    )  # fmt: skip


def _carelessly(rng: Rng, records: pl.DataFrame, careless: float) -> pl.DataFrame:
    import polars as pl

    size = records.height
    for a, b in (("given_name", "family_name"), ("street", "house_number")):
        swapped = pl.Series(rng.random(size) < _SWAPPED * careless)
        one = pl.when(swapped).then(pl.col(b)).otherwise(pl.col(a))
        other = pl.when(swapped).then(pl.col(a)).otherwise(pl.col(b))
        records = records.with_columns(one.alias(a), other.alias(b))
    for column, share in _CHANGED.items():
        changed = rng.random(size) < share * careless
        others = records[column][rng.permutation(size)]
        kind, seeds = rng.random(size), rng.random((size, 4))
        values = records[column].to_list()
        for i in np.flatnonzero(changed).tolist():
            if values[i] is None or kind[i] < _LEFT_OUT:
                values[i] = None
            elif kind[i] < _LEFT_OUT + _OTHER:
                values[i] = others[i]
            elif column == "birth_date":
                values[i] = _wrong_date(values[i], *seeds[i].tolist())
            else:
                values[i] = _slip(values[i], seeds[i, 0], seeds[i, 1])
                if kind[i] < _LEFT_OUT + _OTHER + _TWICE:
                    values[i] = _slip(values[i], seeds[i, 2], seeds[i, 3])
        records = records.with_columns(pl.Series(column, values, dtype=records.schema[column]))
    return records


def _slip(text: str, where_: float, how: float) -> str:
    """One slip: a letter too many, too few, another, two the wrong way round, taken for another; a blank."""
    if not text:
        return text
    at = int(where_ * len(text))
    letters = "0123456789" if text[at].isdigit() else "abcdefghijklmnopqrstuvwxyz"
    letter = letters[int(how * 9973) % len(letters)]
    if how < 0.15:
        return text[:at] + letter + text[at:]
    if how < 0.35:
        return text[:at] + text[at + 1 :]
    if how < 0.55:
        return text[:at] + letter + text[at + 1 :]
    if how < 0.7:
        return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]
    if how < 0.95:
        return text[:at] + _CONFUSED.get(text[at].lower(), letter) + text[at + 1 :]
    return text[:at] + " " + text[at:]


def _wrong_date(day: date, how: float, where_: float, other: float, _: float) -> date:
    """A digit wrong, or two the wrong way round; the day for the month; a part that is another."""
    if how < 0.25 and day.day <= 12:
        return date(day.year, day.day, day.month)
    if how < 0.7:
        digits = list(day.strftime("%Y%m%d"))
        at = 2 + int(where_ * 6)
        if how < 0.5:
            digits[at] = str(int(other * 10))
        elif at + 1 < len(digits):
            digits[at], digits[at + 1] = digits[at + 1], digits[at]
        text = "".join(digits)
        try:
            return date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError:
            return day + timedelta(days=1)
    if how < 0.85:
        return date(1930 + int(other * 75), day.month, min(day.day, 28))
    return date(day.year, 1 + int(where_ * 12), 1 + int(other * 28))
