"""One person, many customer records: what web shop, CRM and newsletter each know of the same people.

A person has a life (`make_persons`): homes, addresses for mail, telephones and a name, some of which change at some
moment, and a household to share them with. A record (`write_records`) is what was true when it was written, as far
as its system asks for it, with the typist's mistakes and in the system's own format. Which person stands behind a
record is the truth that linking is measured by; the platform never reads it.

Everything is a pure function of the arguments. Which systems a shop has, and in which files their records arrive, is
decided elsewhere (`drops`); `make_records` puts the pieces together for whoever needs records alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ecommerce_platform.simulation.formats import chosen, numbered, where
from ecommerce_platform.simulation.names import (
    MEN,
    MEN_WEIGHTS,
    NICKNAMES,
    SURNAME_WEIGHTS,
    SURNAMES,
    WOMEN,
    WOMEN_WEIGHTS,
)
from ecommerce_platform.simulation.places import Places, make_places
from ecommerce_platform.simulation.randomness import Rng, pick, stream
from ecommerce_platform.simulation.seasons import SECONDS

if TYPE_CHECKING:
    import polars as pl

FIRST_NAMES = [*WOMEN, *MEN]
#: A moment that never comes.
NEVER = np.iinfo(np.int64).max

_DAYS_PER_YEAR = 365.25
_AGE_SHARES = (0.11, 0.25, 0.23, 0.18, 0.14, 0.09)
_AGE_LIMITS = np.array((18, 25, 35, 45, 55, 65, 88))
_HOUSEHOLD_SIZES = (0.62, 0.25, 0.09, 0.04)
_YOUNGEST = 16
#: The key beside each on a German keyboard.
_NEIGHBOURS = dict(zip("abcdefghijklmnopqrstuvwxyzäöüß", "snvfrghjokjknmpoqtdzibwcxuöäp0", strict=True))


@dataclass(frozen=True)
class Lives:
    """How often what happens to people; shares of persons, or of households where it says so."""

    #: Moves to another home within the time simulated; a household moves together.
    moves: float = 0.12
    #: Takes another last name, a quarter of them a double name.
    renames: float = 0.015
    #: Changes to another e-mail address for good.
    new_email: float = 0.06
    #: Has a second address, used now and then.
    second_email: float = 0.15
    #: Changes to another mobile number.
    new_mobile: float = 0.05
    #: Households of which all members use one address for mail.
    family_email: float = 0.04
    #: Households with a landline.
    landline: float = 0.5
    #: Households with twins among their members.
    twins: float = 0.01
    #: Households of several in which the second has the first's name: a child called after its parent. Nobody else
    #: has the first name of the head of the household.
    namesakes: float = 0.003
    #: Members of a household who keep a last name of their own.
    own_last_name: float = 0.15
    #: E-mail addresses that somebody else was given after their owner had left them; half of those by somebody
    #: whose name gives the same address.
    recycled_email: float = 0.004


@dataclass(frozen=True)
class System:
    """What one system asks for and how it writes it; shares of its records."""

    name: str
    #: Share of the persons who have a record here.
    reach: float
    #: Share of those who have a second one.
    second_record: float
    #: Letter before the record's number.
    prefix: str
    has_email: float
    has_phone: float
    has_birth_date: float
    has_address: float
    #: Only the first name is given; only the first name's initial; a nickname; a title; first and last swapped.
    first_name_only: float = 0.0
    initial: float = 0.01
    nickname: float = 0.03
    title: float = 0.01
    swapped: float = 0.005
    #: One of the person's other addresses for mail is given.
    other_email: float = 0.025
    #: A letter is wrong in first or last name; in the address for mail; a digit in the phone number; in the postal code.
    name_typo: float = 0.02
    email_typo: float = 0.006
    phone_typo: float = 0.005
    postal_typo: float = 0.005
    #: Birth date: day and month swapped or a digit wrong; and a made-up one, such as 1 January 1970.
    birth_typo: float = 0.01
    birth_placeholder: float = 0.003
    #: How dates are written (strftime); `write_records` returns dates, whoever writes files formats them.
    date_format: str = "%Y-%m-%d"
    last_name_first: bool = False
    upper: bool = False
    #: Share of names all in small letters.
    lower: float = 0.0
    #: Share of names with ae for ä and so on.
    ascii_names: float = 0.0
    #: Phone number as `+49 1555 1234567`, `01555/1234567` or `00491555 12-34-567`.
    phone_format: str = "international"


#: The three systems of the generated shop, by name.
SYSTEMS = {
    system.name: system
    for system in (
        System(
            "web_shop", reach=0.70, second_record=0.03, prefix="W", has_email=1.0, has_phone=0.82, has_birth_date=0.75,
            has_address=1.0, lower=0.05, ascii_names=0.06, nickname=0.02, birth_placeholder=0.008,
        ),
        System(
            "crm", reach=0.45, second_record=0.03, prefix="C", has_email=0.95, has_phone=0.92, has_birth_date=0.88,
            has_address=0.98, date_format="%d.%m.%Y", last_name_first=True, upper=True, ascii_names=1.0, title=0.03,
            swapped=0.0, name_typo=0.03, email_typo=0.01, phone_format="national",
        ),
        System(
            "newsletter", reach=0.35, second_record=0.02, prefix="N", has_email=1.0, has_phone=0.20,
            has_birth_date=0.60, has_address=0.55, date_format="%m/%d/%Y", first_name_only=0.05, initial=0.03,
            nickname=0.06, lower=0.25, ascii_names=0.2, title=0.0, other_email=0.015, phone_format="zeros",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Persons:
    """People and what changes in their lives; arrays are per person.

    Moments are seconds after the first day's midnight; `NEVER` for what does not happen.
    """

    #: Index into `FIRST_NAMES`.
    first_name: np.ndarray
    #: Index into `SURNAMES`, before and after `renamed`; `double` joins the two: Müller-Fuchs.
    last_name: np.ndarray
    new_last_name: np.ndarray
    double: np.ndarray
    renamed: np.ndarray
    #: Days since 1970-01-01.
    birth_date: np.ndarray
    household: np.ndarray
    #: Index into the places, before and after `moved`.
    place: np.ndarray
    new_place: np.ndarray
    moved: np.ndarray
    #: Numbers without country code and leading zero; the landline is "" where there is none.
    mobile: pl.Series
    new_mobile: pl.Series
    mobile_changed: np.ndarray
    landline: pl.Series
    #: Addresses for mail: `email` until `email_changed`, then `new_email`; `second_email` now and then, null where
    #: there is none.
    email: pl.Series
    new_email: pl.Series
    email_changed: np.ndarray
    second_email: pl.Series

    def __len__(self) -> int:
        return len(self.first_name)


@dataclass(frozen=True)
class SignUps:
    """Who registered with one system and when (seconds after the first day's midnight), in the order of registration."""

    system: str
    person: np.ndarray
    registered: np.ndarray


def make_persons(
    seed: int, places: Places, size: int, *, start: date, first: int, last: int, lives: Lives | None = None
) -> Persons:
    """`size` people with their lives between two moments.

    Args:
        seed: same arguments, same people.
        places: where they live.
        size: how many, at least 1.
        start: the first day; ages are meant as of it.
        first: the first moment of the time simulated, in seconds after the first day's midnight (may be negative).
        last: the end of that time.
        lives: how often what happens; the defaults of `Lives` when not given.
    """
    lives = lives or Lives()
    rng = stream(seed, "persons")
    household, position = _households(rng, size)
    homes = int(household.max()) + 1
    heads = np.flatnonzero(position == 0)
    head = np.empty(homes, dtype=np.int64)
    head[household[heads]] = heads

    drawn = _drawn_names(rng, household, position, head, lives, start)
    first_name, last_name, birth_date = _alike(rng, drawn, household, position, head, lives, start)

    place, new_place = pick(rng, places.weight, homes), pick(rng, places.weight, homes)
    moved = _moments(rng, homes, lives.moves, first, last)
    moved[place == new_place] = NEVER

    mobiles = 1_000_000 + rng.permutation(2 * size)
    landlines = 100_000 + rng.permutation(homes)
    has_landline = rng.random(homes) < lives.landline
    emails = _emails(rng, first_name, last_name, birth_date, household, lives)
    email, new_email, second_email = emails
    email_changed = _moments(rng, size, lives.new_email, first, last)
    email, email_changed = _recycled(rng, email, email_changed, first_name, last_name, lives, first, last)
    return Persons(
        first_name=first_name,
        last_name=last_name,
        new_last_name=pick(rng, SURNAME_WEIGHTS, size),
        double=rng.random(size) < 0.25,
        renamed=_moments(rng, size, lives.renames, first, last),
        birth_date=birth_date,
        household=household,
        place=place[household],
        new_place=new_place[household],
        moved=moved[household],
        mobile=numbered("1555 ", mobiles[:size]),
        new_mobile=numbered("1555 ", mobiles[size:]),
        mobile_changed=_moments(rng, size, lives.new_mobile, first, last),
        landline=where(numbered("3220 ", landlines), has_landline)[household],
        email=email,
        new_email=new_email,
        email_changed=email_changed,
        second_email=second_email,
    )


class _Names(NamedTuple):
    """First names and last names (places in their lists) and birth dates (days) of persons."""

    first: np.ndarray
    last: np.ndarray
    born: np.ndarray


def _drawn_names(
    rng: Rng, household: np.ndarray, position: np.ndarray, head: np.ndarray, lives: Lives, start: date
) -> _Names:
    """Names and birth dates by how frequent they are; most of a household are called like its head."""
    size = len(household)
    woman = rng.random(size) < 0.5
    first_name = np.where(woman, pick(rng, WOMEN_WEIGHTS, size), len(WOMEN) + pick(rng, MEN_WEIGHTS, size))
    own = rng.random(size) < lives.own_last_name
    last_name = pick(rng, SURNAME_WEIGHTS, size)
    last_name = np.where(own, last_name, last_name[head[household]])
    return _Names(first_name, last_name, _birth_dates(rng, household, position, head, start))


def _alike(
    rng: Rng, drawn: _Names, household: np.ndarray, position: np.ndarray, head: np.ndarray, lives: Lives, start: date
) -> _Names:
    """Names and birth dates with twins, and children who are named after their parent."""
    first_name, last_name, birth_date = drawn
    homes = len(head)
    # Twins: the second and third of a household have one birth date. Namesakes: a child named after its parent.
    twins = (rng.random(homes) < lives.twins)[household] & (position >= 1)
    second = np.full(homes, -1)
    seconds = np.flatnonzero(position == 1)
    second[household[seconds]] = seconds
    birth_date = np.where(twins, birth_date[np.maximum(second[household], 0)], birth_date)
    last_name = np.where(twins, last_name[head[household]], last_name)
    same = (first_name == first_name[head[household]]) & (position > 0)
    first_name = np.where(same, (first_name + 1) % len(FIRST_NAMES), first_name)
    namesake = (rng.random(homes) < lives.namesakes)[household] & (position == 1) & ~twins
    first_name = np.where(namesake, first_name[head[household]], first_name)
    last_name = np.where(namesake, last_name[head[household]], last_name)
    birth_date = np.where(namesake & (birth_date >= birth_date[head[household]]), birth_date + 9000, birth_date)
    youngest = (np.datetime64(start, "D").astype(np.int64)) - int(_YOUNGEST * _DAYS_PER_YEAR)
    birth_date = np.where(namesake & (birth_date > youngest), birth_date[head[household]] - 9000, birth_date)
    return _Names(first_name, last_name, birth_date)


def make_sign_ups(seed: int, persons: int, *, first: int, last: int) -> dict[str, SignUps]:
    """Who registers with which system of `SYSTEMS` and when, evenly between two moments; everybody with one at least."""
    rng = stream(seed, "sign-ups")
    member = np.stack([rng.random(persons) < system.reach for system in SYSTEMS.values()])
    member[0] |= ~member.any(axis=0)
    found = {}
    for here, system in zip(member, SYSTEMS.values(), strict=True):
        people = np.flatnonzero(here)
        people = np.concatenate([people, people[rng.random(len(people)) < system.second_record]])
        registered = rng.integers(first, last, len(people))
        order = np.argsort(registered, kind="stable")
        found[system.name] = SignUps(system.name, people[order], registered[order])
    return found


def write_records(
    seed: int,
    system: System,
    persons: Persons,
    places: Places,
    sign_ups: SignUps,
    as_of: np.ndarray | None = None,
) -> pl.DataFrame:
    """The records of one system, one per registration, in the order given.

    The same seed makes the same mistakes in a record whatever its moment, so that two calls with different `as_of`
    differ only by what happened in between.

    Args:
        seed: same arguments, same records.
        system: what is asked for and how it is written.
        persons: the people.
        places: where they live.
        sign_ups: person and moment of registration of each record.
        as_of: the moment from which each record's contents are; that of registration when not given.

    Returns:
        Columns system, record (from 0 within the system), customer_no (such as W1000000), person (the truth),
        registered (seconds after the first day's midnight), full_name, email, phone, postal_code, city, state
        (texts as the system writes them) and birth_date (Date); null where the system does not know it.
    """
    import polars as pl

    rng = stream(seed, f"records {system.name}")
    person = sign_ups.person
    at = sign_ups.registered if as_of is None else as_of
    size = len(person)
    full_name = _names(rng, system, persons, person, at)

    email = _emails_given(rng, system, persons, person, at)
    phone = _phones_given(rng, system, persons, person, at)
    birth_date = _birth_dates_given(rng, system, persons.birth_date[person])
    birth_date = where(birth_date, rng.random(size) < system.has_birth_date)

    place = np.where(at >= persons.moved[person], persons.new_place[person], persons.place[person])
    known = rng.random(size) < system.has_address
    postal_code = chosen(places.postal_code, place)
    postal_code = where(_mistyped(rng, postal_code, rng.random(size) < system.postal_typo, _wrong_digit), known)
    city = where(chosen(places.city, place), known)
    return pl.DataFrame(
        {
            "system": chosen((system.name,), np.zeros(size, dtype=np.int64)),
            "record": np.arange(size),
            "customer_no": numbered(system.prefix, 1_000_000 + np.arange(size)),
            "person": person,
            "registered": sign_ups.registered,
            "full_name": full_name,
            "email": email,
            "phone": phone,
            "birth_date": birth_date,
            "postal_code": postal_code,
            "city": _ascii(city).str.to_uppercase() if system.upper else city,
            "state": where(chosen(places.state, place), known),
        }
    )


def _emails_given(rng: Rng, system: System, persons: Persons, person: np.ndarray, at: np.ndarray) -> pl.Series:
    """The address each person gives at a moment: the present or a second one, some mistyped, some left out."""

    def share(part: float) -> np.ndarray:
        return rng.random(len(person)) < part

    email = _either(at >= persons.email_changed[person], persons.new_email[person], persons.email[person])
    second = persons.second_email[person]
    email = _either(share(system.other_email) & second.is_not_null().to_numpy(), second, email)
    email = _mistyped(rng, email, share(system.email_typo), _misspell)
    email = _either(share(0.03), email.str.to_titlecase(), email)
    return where(email, share(system.has_email))


def _phones_given(rng: Rng, system: System, persons: Persons, person: np.ndarray, at: np.ndarray) -> pl.Series:
    """The number each person gives at a moment: mobile or landline, as the system writes it, some left out."""

    def share(part: float) -> np.ndarray:
        return rng.random(len(person)) < part

    phone = _either(at >= persons.mobile_changed[person], persons.new_mobile[person], persons.mobile[person])
    landline = persons.landline[person]
    phone = _either(share(0.3) & landline.is_not_null().to_numpy(), landline, phone)
    phone = _mistyped(rng, phone, share(system.phone_typo), _wrong_digit)
    return where(_phone(phone, system.phone_format), share(system.has_phone))


def make_records(seed: int, persons: int, *, start: date = date(2024, 1, 1), days: int = 730) -> pl.DataFrame:
    """The records of all systems about this many people over `days` days from `start`.

    About 1.65 records per person, the systems of `SYSTEMS` one after the other; columns as in `write_records`.
    """
    import polars as pl

    places = make_places(stream(seed, "places"))
    last = days * SECONDS
    people = make_persons(seed, places, persons, start=start, first=0, last=last)
    sign_ups = make_sign_ups(seed, persons, first=0, last=last)
    return pl.concat(write_records(seed, system, people, places, sign_ups[name]) for name, system in SYSTEMS.items())


# -- people ------------------------------------------------------------------------------------------------------


def _households(rng: Rng, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Household and place within it (0 = its head) of each person; members are scattered over the persons."""
    sizes = 1 + pick(rng, _HOUSEHOLD_SIZES, size)
    household = np.repeat(np.arange(size), sizes)[:size]
    starts = np.cumsum(sizes) - sizes
    position = np.arange(size) - starts[household]
    order = rng.permutation(size)
    return household[order], position[order]


def _birth_dates(rng: Rng, household: np.ndarray, position: np.ndarray, head: np.ndarray, start: date) -> np.ndarray:
    """Days since 1970-01-01: partners of like age, then children, or parents where children would be too young."""
    size = len(household)
    band = pick(rng, _AGE_SHARES, size)
    own = _AGE_LIMITS[band] + rng.random(size) * (_AGE_LIMITS[band + 1] - _AGE_LIMITS[band])
    heads = own[head[household]]
    apart = 20 + 15 * rng.random(size)
    related = np.where(heads - apart >= _YOUNGEST, heads - apart, heads + apart)
    partner = np.maximum(heads + rng.normal(0, 4, size), _YOUNGEST)
    age = np.select([position == 0, position == 1], [own, partner], related)
    return np.datetime64(start, "D").astype(np.int64) - (age * _DAYS_PER_YEAR).astype(np.int64)


def _moments(rng: Rng, size: int, share: float, first: int, last: int) -> np.ndarray:
    return np.where(rng.random(size) < share, rng.integers(first, last, size), NEVER)


def _emails(
    rng: Rng, first_name: np.ndarray, last_name: np.ndarray, birth_date: np.ndarray, household: np.ndarray, lives: Lives
) -> tuple[pl.Series, pl.Series, pl.Series]:
    """First, later and second address of each person, nobody's equal to another's but within families."""
    import polars as pl

    size = len(first_name)
    given = _mail_text(chosen(FIRST_NAMES, first_name))
    family = _mail_text(chosen(SURNAMES, last_name))
    year = pl.Series(1970 + (birth_date / _DAYS_PER_YEAR).astype(np.int64))
    domains = ("example.com", "example.net", "example.org", "mail.example", "post.example")

    def addresses(weights: tuple[float, ...]) -> pl.Series:
        return pl.select(
            pl.when(pl.Series((kind := pick(rng, weights, size)) == 0)).then(given + "." + family)
            .when(pl.Series(kind == 1)).then(given.str.slice(0, 1) + "." + family)
            .when(pl.Series(kind == 2)).then(given + family + year.cast(pl.String))
            .when(pl.Series(kind == 3)).then(family + "." + given)
            .when(pl.Series(kind == 4)).then(given + (year % 100).cast(pl.String).str.zfill(2))
            .otherwise(chosen(_HANDLES, rng.integers(0, len(_HANDLES), size)) + year.cast(pl.String))
        ).to_series() + "@" + chosen(domains, pick(rng, (0.3, 0.25, 0.2, 0.15, 0.1), size))  # fmt: skip

    every = pl.concat(
        [addresses((0.4, 0.15, 0.15, 0.1, 0.1, 0.1)), addresses((0.4, 0.1, 0.2, 0.1, 0.1, 0.1)),
         addresses((0.25, 0.15, 0.1, 0.1, 0.2, 0.2))]
    )  # fmt: skip
    # Whoever comes second gets a number: anna.mueller2@…
    local_domain = pl.DataFrame({"a": every}).with_columns(
        pl.int_range(pl.len()).over("a").alias("n"), pl.col("a").str.split_exact("@", 1).alias("s")
    )
    numbered_ = local_domain.select(
        pl.when(pl.col("n") == 0)
        .then(pl.col("a"))
        .otherwise(
            pl.concat_str(
                [
                    pl.col("s").struct[0],
                    pl.lit("-"),
                    (pl.col("n") + 1).cast(pl.String),
                    pl.lit("@"),
                    pl.col("s").struct[1],
                ]
            )
        )
    ).to_series()
    email, new_email, second = numbered_[:size], numbered_[size : 2 * size], numbered_[2 * size :]
    homes = int(household.max()) + 1
    shared = (rng.random(homes) < lives.family_email)[household]
    heads = np.full(homes, size)
    np.minimum.at(heads, household, np.arange(size))
    ours = numbered("familie-", household) + "." + family.gather(heads[household]) + "@example.org"
    return _either(shared, ours, email), new_email, where(second, rng.random(size) < lives.second_email)


def _recycled(
    rng: Rng,
    email: pl.Series,
    email_changed: np.ndarray,
    first_name: np.ndarray,
    last_name: np.ndarray,
    lives: Lives,
    first: int,
    last: int,
) -> tuple[pl.Series, np.ndarray]:
    """Some get the address that somebody else has left: owners leave in the first half, heirs get them as their own.

    Who had the address before uses it in records written before leaving it, so both stand in the data.
    """
    size = len(email_changed)
    heirs = np.flatnonzero(rng.random(size) < lives.recycled_email)
    owners = rng.integers(0, size, len(heirs))
    # Half of the addresses go to somebody of the same last name and initial, for whom the address fits.
    initial = np.array([ord(name[0]) for name in FIRST_NAMES])[first_name]
    group = last_name.astype(np.int64) * 100_000 + initial
    by_group = np.argsort(group, kind="stable")
    rank = np.empty(size, dtype=np.int64)
    rank[by_group] = np.arange(size)
    neighbour = by_group[np.minimum(rank[heirs] + 1, size - 1)]
    alike = (group[neighbour] == group[heirs]) & (rng.random(len(heirs)) < 0.5)
    owners = np.where(alike, neighbour, owners)
    usable = (owners != heirs) & ~np.isin(owners, heirs)
    heirs, owners = heirs[usable], owners[usable]
    owners, once = np.unique(owners, return_index=True)
    heirs = heirs[once]
    given = np.arange(size)
    given[heirs] = owners
    changed = email_changed.copy()
    left = rng.integers(first, first + max((last - first) // 2, 1), len(owners))
    changed[owners] = np.minimum(changed[owners], left)
    changed[heirs] = NEVER
    return email[given], changed


# -- records -----------------------------------------------------------------------------------------------------


def _names(rng: Rng, system: System, persons: Persons, person: np.ndarray, at: np.ndarray) -> pl.Series:
    size = len(person)

    def share(part: float) -> np.ndarray:
        return rng.random(size) < part

    first = chosen(FIRST_NAMES, persons.first_name[person])
    nick = _nicknames(persons.first_name[person], rng.random(size))
    first = _either(share(system.nickname), nick, first)
    first = _either(share(system.initial), first.str.slice(0, 1) + ".", first)
    renamed = at >= persons.renamed[person]
    old, new = chosen(SURNAMES, persons.last_name[person]), chosen(SURNAMES, persons.new_last_name[person])
    last = _either(renamed, _either(persons.double[person], old + "-" + new, new), old)
    first = _mistyped(rng, first, share(system.name_typo / 2), _misspell)
    last = _mistyped(rng, last, share(system.name_typo / 2), _misspell)
    first = _either(share(system.title), "Dr. " + first, first)
    front, back = (last + ",", first) if system.last_name_first else (first, last)
    swapped = share(system.swapped)
    name = _either(swapped, back, front) + " " + _either(swapped, front, back)
    name = _either(share(system.first_name_only), first, name)
    name = _either(share(system.ascii_names), _ascii(name), name)
    name = _either(share(system.lower), name.str.to_lowercase(), name)
    return name.str.to_uppercase() if system.upper else name


def _nicknames(first_name: np.ndarray, choice: np.ndarray) -> pl.Series:
    """A nickname for each, the name itself where it has none."""
    width = max(len(names) for names in NICKNAMES.values())
    table = [[*NICKNAMES.get(name, (name,))] for name in FIRST_NAMES]
    counts = np.array([len(names) for names in table])
    flat = [name for names in table for name in (names * width)[:width]]
    return chosen(flat, first_name * width + (choice * counts[first_name]).astype(np.int64))


def _birth_dates_given(rng: Rng, system: System, birth_date: np.ndarray) -> pl.Series:
    import polars as pl

    size = len(birth_date)
    typo = rng.random(size)
    placeholder = rng.random(size) < system.birth_placeholder
    true = pl.Series(birth_date.astype(np.int32)).cast(pl.Date)
    years = np.array((-10, -1, 1, 10))[rng.integers(0, 4, size)]
    day, month = true.dt.day().to_numpy().astype(np.int64), true.dt.month().to_numpy().astype(np.int64)
    year = true.dt.year().to_numpy().astype(np.int64)
    swap = (typo < system.birth_typo / 2) & (day <= 12)
    slip = (typo < system.birth_typo) & ~swap
    year = np.where(slip, year + years, year)
    # A 29 February of another year would be no date.
    day = np.where(slip, np.minimum(day, 28), day)
    month, day = np.where(swap, day, month), np.where(swap, month, day)
    year, month, day = (np.where(placeholder, fixed, value) for fixed, value in ((1970, year), (1, month), (1, day)))
    given = pl.DataFrame({"year": year, "month": month, "day": day})
    return given.select(pl.date("year", "month", "day")).to_series()


def _phone(number: pl.Series, style: str) -> pl.Series:
    if style == "international":
        return "+49 " + number
    if style == "national":
        return "0" + number.str.replace(" ", "/", literal=True)
    return "0049" + number.str.replace(r" (\d\d)(\d\d)", " ${1}-${2}-")


def _either(condition: np.ndarray, yes: pl.Series, no: pl.Series) -> pl.Series:
    import polars as pl

    return pl.select(pl.when(pl.Series(condition)).then(yes).otherwise(no)).to_series()


def _ascii(texts: pl.Series) -> pl.Series:
    """Without umlauts and accents, the German way: Müller becomes Mueller."""
    for letter, plain in _PLAIN.items():
        texts = texts.str.replace_all(letter, plain, literal=True)
    return texts


def _mail_text(texts: pl.Series) -> pl.Series:
    return _ascii(texts).str.to_lowercase()


def _mistyped(rng: Rng, texts: pl.Series, wrong: np.ndarray, spoil: Callable[[str, float, float], str]) -> pl.Series:
    """The texts, spoilt where `wrong`. Both draws are made for every text, so that none depends on the others."""
    import polars as pl

    where_, how = rng.random(len(wrong)), rng.random(len(wrong))
    index = np.flatnonzero(wrong & texts.is_not_null().to_numpy())
    spoilt = [
        spoil(text, a, b)
        for text, a, b in zip(texts.gather(index).to_list(), where_[index].tolist(), how[index].tolist(), strict=True)
    ]
    return texts.scatter(index, pl.Series(spoilt, dtype=pl.String)) if len(index) else texts


def _misspell(text: str, where_: float, how: float) -> str:
    """One letter left out, doubled, swapped with the next or replaced by its neighbour on the keyboard."""
    at = int(where_ * len(text))
    if not text[at].isalpha():
        at = max(at - 1, 0)
    if how < 0.3:
        return text[:at] + text[at + 1 :] if len(text) > 2 else text + text[-1]
    if how < 0.5:
        return text[:at] + text[at] + text[at:]
    if how < 0.75 and at + 1 < len(text):
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + _NEIGHBOURS.get(text[at].lower(), "e") + text[at + 1 :]


def _wrong_digit(text: str, where_: float, how: float) -> str:
    """One of the last four characters, which are digits, becomes another digit."""
    at = len(text) - 1 - int(where_ * 4)
    digit = (int(text[at]) + 1 + int(how * 9)) % 10
    return text[:at] + str(digit) + text[at + 1 :]


_PLAIN = {
    "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "é": "e", "ş": "s", "Ş": "S",
    "Ç": "C", "ç": "c", "ı": "i", "ś": "s", "ó": "o", "ń": "n", "č": "c",
}  # fmt: skip
_HANDLES = (
    "sonnenschein", "bergfex", "nordlicht", "leseratte", "kaffeetante", "radler", "gartenfreund", "wanderer",
    "katzenfan", "hundemama", "segler", "musikus", "bastler", "sternchen", "waldfee", "zugvogel", "kochloeffel",
    "tee-trinker", "laufmaus", "pixel",
)  # fmt: skip
