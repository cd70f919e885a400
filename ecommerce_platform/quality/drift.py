"""Whether a load is like the loads before it, judged from profiles: rows, nulls, distributions, new values.

A load is judged by loads before it only, so what is said of it does not change when more come; a late load has the
later ones judged again. Two questions are kept apart. Does the load differ, by more than chance and by more than loads
usually do? And is it worth a warning? Shops have odd days, so it takes two of the last three loads, or a difference that
is beyond doubt. Loads that differ are left out of what later ones are compared with, until so many have come in a row that
they are what is usual. A change like an earlier one that passed (sales come again) is told once, with its first warning.
Profiles are made in `profiles.py`; checks and alerts tell people.

Methods. Population stability index (PSI) over tenths of the reference or its categories: for equal distributions it
is distributed as (1/n + 1/m) chi-square with groups - 1 degrees of freedom (Yurdakul, Statistical Properties of
Population Stability Index, 2018). Two-sample Kolmogorov-Smirnov distance with Smirnov's limit, conservative for
values in bins. Shares of nulls by the normal approximation. Loads vary more than samples do: every limit is multiplied
by how much past differences exceeded what chance explains (overdispersion, as in quasi-likelihood).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import AnomalyRules, DriftRules
from ecommerce_platform.warehouse.changes import own_code
from ecommerce_platform.warehouse.frames import handed_in, typed
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import GrowingTable, Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PROFILES = "gold.table_profiles"
#: Stands for a load as a whole.
WHOLE = "*"
#: Loads that one is compared with, and how far back they are looked for; loads whose differences say how much is usual.
_REFERENCE, _WITHIN, _PAST = 28, 56, 84
#: Fewest loads before the first verdict: of tables that come by the day (three of each weekday), of others, and for rows.
_FEWEST_DAILY, _FEWEST_LOADS, _FEWEST_ROWS = 21, 10, 14
#: Fewest past differences that say how much is usual; with fewer so much is assumed.
_FEWEST_PAST, _ASSUMED = 14, 2.0
#: Rows that are compared at a time; loads with fewer are put together, up to so many.
_WINDOW_ROWS, _WINDOW_LOADS = 200, 3
#: Fewer values than this have no distribution.
_FEWEST_VALUES = 50
#: Error probabilities: of a load that differs; the same where loads are put together, so that a second one that differs is
#: hardly independent of the first; of a load so different that a warning needs no second.
_ALPHA, _ALPHA_TOGETHER, _BEYOND_DOUBT = 1e-3, 1e-4, 1e-9
#: Loads of the same weekday that a load which differs is held against, too: fewest and most.
_SAME_WEEKDAY = (3, 6)
#: A single load is enough from so many times the least difference that counts.
_ONCE = 2.5
#: Loads in a row that differ, after which they are what is usual.
_LONGEST = 10
#: Changes that passed: how far back they are remembered (a year and a bit, for what comes once a year), after how many loads
#: that do not differ one has passed, and how near a load must be to it, as a part of how far it is from what is usual.
_MEMORY, _PASSED, _ALIKE = 400, 3, 0.5
#: Groups that values are put into: tenths of the reference; categories of at least this share, and the others.
_TENTHS, _OWN_GROUP, _GROUPS = 10, 0.05, 21
#: Rows with a value never seen: fewest, and how improbable so many must be; new values that a column may have had lately.
_NEW_ROWS, _NEW_ALPHA, _OPEN = 3, 1e-4, 2
#: Limits for the number of rows: usual errors, and what is not known more exactly.
_ROWS_ERRORS, _ROWS_FLOOR = 4.0, 0.05
_ROWS_WITHIN, _ROWS_LEVEL = 56, 10
_MAD = 1.4826
#: Name of the bin of values that hardly repeat, and the share of it from which on a column's values are not compared.
_VARIED, _MOST_VARIED = "\0varied", 0.02


@dataclass
class Series:
    """One column of a raw table's loads to an entity, in one respect.

    `counts` has a row per load and a column per bin: (null, filled), the bins of a histogram in their order, or
    categories.
    """

    column: str
    #: nulls, figures, values or lengths.
    kind: str
    bins: list[str]
    counts: np.ndarray


@dataclass
class Loads:
    """The loads of one raw table to one entity, in order; arrays have one entry per load."""

    entity: str
    raw_table: str
    days: list[date]
    #: Accepted rows, and those that profiles are made of.
    rows: np.ndarray
    profiled: np.ndarray
    series: list[Series]
    versions: list[str] = field(default_factory=list)


@dataclass
class Verdicts:
    """What is said of loads in one measure; arrays have one entry per load, nan and -1 where there is no verdict."""

    value: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray
    noise: np.ndarray
    differs: np.ndarray
    drifted: np.ndarray
    begins_anew: np.ndarray
    #: Load → what there is to say.
    explanation: dict[int, str] = field(default_factory=dict)

    @classmethod
    def none(cls, loads: int) -> Verdicts:
        """No verdict on any of so many loads."""
        value, expected, low, high, noise = np.full((5, loads), np.nan)
        differs, drifted = np.full((2, loads), -1)
        return cls(value, expected, low, high, noise, differs, drifted, np.zeros(loads, dtype=bool))

    def tail(self, start: int) -> Verdicts:
        """The verdicts from load `start` on."""
        arrays = {name: getattr(self, name)[start:] for name in _FIELDS}
        return replace(
            self, **arrays, explanation={t - start: text for t, text in self.explanation.items() if t >= start}
        )


_FIELDS = ("value", "expected", "low", "high", "noise", "differs", "drifted", "begins_anew")
#: (column, measure) → verdicts.
Told = dict[tuple[str, str], Verdicts]
#: Kind of series → measures that are made of it.
_MEASURES = {"nulls": ("nulls",), "figures": ("psi", "ks"), "values": ("values", "new_values"), "lengths": ("lengths",)}


# -- the number of rows ------------------------------------------------------------------------------------------


def judge_rows(
    days: Sequence[date], rows: np.ndarray, rules: DriftRules, known: AnomalyRules | None = None
) -> Verdicts:
    """Judges how many rows each load brought: by the level of the week before, times what the weekday makes of it.

    Args:
        days: load days in order.
        rows: accepted rows of each load.
        rules: of the source.
        known: days on which the shop is known to be different: told, but no warning.
    """
    told, y, size = Verdicts.none(len(rows)), np.log1p(rows), len(rows)
    told.value = rows.astype(float)
    for t in range(min(size, _FEWEST_ROWS)):
        told.explanation[t] = _too_few(t, _FEWEST_ROWS)
    if size <= _FEWEST_ROWS:
        return told
    weekday = np.array([day.weekday() for day in days])
    effect = _weekday_effects(y, weekday)
    # By load: the loads before it without the effect that their weekdays have at that time.
    past = _past(y, _ROWS_LEVEL * 4) - np.take_along_axis(effect, _past(weekday, _ROWS_LEVEL * 4).astype(int), axis=1)
    log_expected = _median(past[:, -_ROWS_LEVEL:]) + np.take_along_axis(effect, weekday[:, None], axis=1)[:, 0]
    log_expected[:_FEWEST_ROWS] = np.nan
    expected = np.maximum(np.expm1(log_expected), 0.0)
    off = y - log_expected
    # How far expectations were off lately; before there are enough, how far the loads lie from their level.
    errors = _past(np.abs(off), _PAST)
    spread = np.abs(past - _median(past)[:, None])
    own = np.fmax(1.25 * _MAD * _median(spread), _upper(spread) / 1.645)
    usual = np.where(np.isfinite(errors).sum(axis=1) >= _FEWEST_PAST, _MAD * _median(errors), own)
    usual = np.maximum(usual, np.sqrt(1 / (expected + 1) + _ROWS_FLOOR**2))
    width = np.maximum(_ROWS_ERRORS * usual, -np.log1p(-rules.rows))
    told.expected, told.noise = expected, (off / (1.645 * usual)) ** 2
    told.low = np.maximum(np.expm1(log_expected - width), 0.0)
    told.high = np.expm1(log_expected + width)
    judged = np.isfinite(log_expected)
    told.differs = np.where(judged, np.abs(off) > width, -1)
    told.drifted = told.differs.copy()
    for t in np.flatnonzero(told.differs == 1).tolist():
        text = f"{rows[t]:,.0f} rows where {expected[t]:,.0f} were expected ({told.low[t]:,.0f} to {told.high[t]:,.0f})"
        if known is not None and (name := known.known(days[t], days[t])):
            told.drifted[t] = 0
            text += f"; the day is known as {name}"
        told.explanation[t] = text
    return told


def _weekday_effects(y: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """By how much (log) each weekday differs from the seven loads around it, as it was known at each load; 0 where a
    weekday has come fewer than three times, and for loads that do not come by the day. Array (loads, 7)."""
    around = np.full(len(y), np.nan)
    if len(y) >= 7:
        around[3:-3] = np.median(np.lib.stride_tricks.sliding_window_view(y, 7), axis=1)
    off = np.append(np.full(4, np.nan), (y - around)[:-4])  # what is around a load is known four loads later
    of = np.append(np.full(4, -1), weekday[:-4])
    week = _past(weekday, 7)
    daily = np.array([len(set(row)) >= 5 for row in week.tolist()])
    effect = np.zeros((len(y), 7))
    for day in range(7):
        mine = _past(np.where(of == day, off, np.nan), _ROWS_WITHIN)
        enough = (np.isfinite(mine).sum(axis=1) >= 3) & daily
        effect[enough, day] = _median(mine[enough])
    return effect


def _past(values: np.ndarray, loads: int) -> np.ndarray:
    """The values of so many loads before each load; nan (0 for whole numbers) where there were none. Array (loads, `loads`)."""
    filler = np.zeros(loads, dtype=values.dtype) if values.dtype.kind == "i" else np.full(loads, np.nan)
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([filler, values[:-1]]), loads)


def _median(values: np.ndarray) -> np.ndarray:
    """Median of each row without its nans."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    known = np.isfinite(values).sum(axis=1)
    ordered = np.sort(values, axis=1)
    low, high = np.maximum(known - 1, 0) // 2, np.maximum(known, 1) // 2
    both = np.take_along_axis(ordered, np.stack([low, high], axis=1), axis=1)
    return np.where(known > 0, both.mean(axis=1), np.nan)


def _upper(values: np.ndarray) -> np.ndarray:
    """What nine of ten values of each row are at most; nans count as not there."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    place = np.maximum(np.ceil(0.9 * np.isfinite(values).sum(axis=1)).astype(int) - 1, 0)
    return np.take_along_axis(np.sort(values, axis=1), place[:, None], axis=1)[:, 0]


# -- nulls and distributions -------------------------------------------------------------------------------------


def judge_columns(
    loads: Sequence[Loads],
    rules: DriftRules,
    known: AnomalyRules | None = None,
    *,
    start: int = 0,
    before: Sequence[Told] = (),
) -> list[Told]:
    """Judges the columns of raw tables whose loads came on the same days.

    Args:
        loads: per entity and raw table, all with the same days.
        rules: of the source.
        known: days on which the shop is known to be different: told, but no warning.
        start: position of the first load that is judged.
        before: the verdicts on the loads before it, per entity and raw table.

    Returns:
        Per entity and raw table: the verdicts; those before `start` are the ones given, or none.
    """
    chain = _Chain(loads, rules, known)
    if start:
        chain.learn(start, before)
    for t in range(start, len(loads[0].days)):
        chain.judge(t)
    return chain.told(start)


class _Chain:
    """All series of raw tables that share their load days, judged load by load.

    Arrays are (series, loads) or (series, loads, bins). A figure series has two measures, PSI and KS; every other one
    has one.
    """

    def __init__(self, loads: Sequence[Loads], rules: DriftRules, known: AnomalyRules | None) -> None:
        self.loads, self.rules, self.days = loads, rules, loads[0].days
        self.known_as = [known.known(day, day) if known is not None else None for day in self.days]
        self.weekday = np.array([day.weekday() for day in self.days])
        self.place = [(number, s) for number, found in enumerate(loads) for s in found.series]
        series, days = len(self.place), len(loads[0].days)
        self.counts = np.zeros((series, days, max((len(s.bins) for _, s in self.place), default=1)))
        for row, (_, s) in enumerate(self.place):
            self.counts[row, :, : len(s.bins)] = s.counts
        self.sizes = self.counts.sum(axis=2)
        profiled = np.array([loads[number].profiled for number, _ in self.place]).reshape(series, days)
        # How many loads are put together: enough to have so many rows.
        two = profiled + _shifted(profiled, 1)
        self.window = np.where(profiled >= _WINDOW_ROWS, 1, np.where(two >= _WINDOW_ROWS, 2, _WINDOW_LOADS))
        kinds = np.array([s.kind for _, s in self.place], dtype=object)
        self.nulls, self.figures = np.flatnonzero(kinds == "nulls"), np.flatnonzero(kinds == "figures")
        self.spread, self.values = np.flatnonzero(kinds != "nulls"), kinds == "values"
        #: Place of the bin of texts that hardly repeat; -1 where there is none.
        self.varied = np.array([s.bins.index(_VARIED) if _VARIED in s.bins else -1 for _, s in self.place], dtype=int)
        #: Whether later loads are compared with a load.
        self.usable = np.ones((series, days), dtype=bool)
        self.main, self.ks = _Found(series, days), _Found(series, days)
        self.anew = np.zeros((series, days), dtype=bool)
        #: Loads that there were to compare with.
        self.known = np.zeros((series, days), dtype=int)
        #: (series, load) → first and last load of the earlier change that it is like.
        self.like: dict[tuple[int, int], tuple[int, int]] = {}

    def learn(self, start: int, before: Sequence[Told]) -> None:
        """Takes over what was said of the loads before `start`."""
        for row, (number, s) in enumerate(self.place):
            for measure, found in zip(_MEASURES[s.kind], (self.main, self.ks), strict=False):
                told = before[number].get((s.column, measure))
                if told is None or measure == "new_values":
                    continue
                for name in ("noise", "differs", "drifted"):
                    getattr(found, name)[row, :start] = getattr(told, name)[:start]
                self.anew[row, :start] |= told.begins_anew[:start]
        for t in range(start):
            self._use(t)

    def judge(self, t: int) -> None:
        """Judges a load by those before it."""
        window = self.window[:, t]
        test = self.counts[:, t].copy()
        for back in range(1, min(_WINDOW_LOADS, t + 1)):
            joined = window > back
            test[joined] += self.counts[joined, t - back]
        first = max(0, t - _WITHIN)
        there = self.sizes[:, first:t] > 0
        for back in range(1, min(_WINDOW_LOADS, t - first + 1)):
            there[window > back, -back] = False
        mask = there & self.usable[:, first:t]
        mask &= np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] <= _REFERENCE  # only the newest of them
        n, enough = test.sum(axis=1), mask.sum(axis=1)
        self.known[:, t] = enough
        reference = self._reference(first, t, mask)
        fewest = _fewest(self.days, t)
        ready = (enough >= fewest) & (n >= _FEWEST_VALUES) & (self.sizes[:, t] > 0)
        ready &= (reference.sum(axis=1) >= _FEWEST_VALUES) & ~self._open(reference)
        for found, rows, compare in (
            (self.main, self.nulls[ready[self.nulls]], self._nulls),
            (self.main, self.spread[ready[self.spread]], self._psi),
            (self.ks, self.figures[ready[self.figures]], self._ks),
        ):
            if not len(rows):
                continue
            usual = self._usual(t, found, rows)
            distance, limit, once, noise = compare(t, rows, test[rows], reference[rows], usual)
            differs, beyond = distance > limit, distance > once
            # What is unlike the last weeks may still be what this weekday is like.
            if differs.any():
                unlike = np.flatnonzero(differs)
                again = self._of_weekday(first, t, there)[rows[unlike]]
                known = again.sum(axis=1) >= _SAME_WEEKDAY[0]
                unlike, again = unlike[known], again[known]
                if len(unlike):
                    same = np.einsum("slb,sl->sb", self.counts[rows[unlike], first:t], again)
                    off, limit, *_ = compare(t, rows[unlike], test[rows[unlike]], same, usual[unlike], enter=False)
                    differs[unlike] &= off > limit
            found.enter(t, rows, noise, differs, beyond)
            found.drifted[rows[differs], t] &= self.known_as[t] is None
            for place in np.flatnonzero(found.drifted[rows, t] == 1).tolist():
                one = slice(place, place + 1)
                self._tell_once(t, found, compare, rows[one], test[rows[one]], usual[one], distance[one])
        self._begin_anew(t)
        self._use(t)

    def _tell_once(
        self, t: int, found: _Found, compare: Any, rows: np.ndarray, test: Any, usual: np.ndarray, distance: np.ndarray
    ) -> None:
        """A change (of one series) like an earlier one that passed warns with its first load only."""
        row = int(rows[0])
        *passed, under_way = self._changes(row, t)
        if not (found.drifted[row, under_way] == 1).any():
            return
        for loads in passed:
            earlier = self.counts[row, loads].sum(axis=0)[None]
            if earlier.sum() < _FEWEST_VALUES:
                continue
            off, *_ = compare(t, rows, test, earlier, usual, enter=False)
            if off[0] <= _ALIKE * distance[0]:
                found.drifted[row, t] = 0
                self.like[row, t] = int(loads[0]), int(loads[-1])
                return

    def _changes(self, row: int, t: int) -> list[np.ndarray]:
        """Loads of a series that differed, change by change; the last are those of the one that load `t` goes on with."""
        first = max(0, t - _MEMORY)
        odd = (self.main.differs[row, first:t] == 1) | (self.ks.differs[row, first:t] == 1)
        places = np.append(first + np.flatnonzero(odd), t)
        changes = np.split(places, np.flatnonzero(np.diff(places) > _PASSED) + 1)
        return [*changes[:-1], changes[-1][:-1]]

    def _reference(self, first: int, t: int, mask: np.ndarray) -> np.ndarray:
        return np.einsum("slb,sl->sb", self.counts[:, first:t], _weights(self.sizes[:, first:t], mask))

    def _open(self, reference: np.ndarray) -> np.ndarray:
        """Series of texts that usually hardly repeat: which values they take says nothing."""
        rows = np.arange(len(reference))
        return (self.varied >= 0) & (reference[rows, self.varied] > _MOST_VARIED * reference.sum(axis=1))

    def _of_weekday(self, first: int, t: int, there: np.ndarray) -> np.ndarray:
        """Which loads are of the same weekday; none where loads do not come by the day. Unusual ones count, too."""
        if not _by_the_day(self.days, t):
            return np.zeros_like(there)
        mask = there & (self.weekday[first:t] == self.weekday[t])
        return np.asarray(mask & (np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] <= _SAME_WEEKDAY[1]))

    def _nulls(self, t: int, rows: np.ndarray, test: Any, reference: Any, usual: np.ndarray, enter: bool = True) -> Any:
        n, m = test.sum(axis=1), reference.sum(axis=1)
        share, expected, chance = test[:, 0] / n, reference[:, 0] / m, 1 / n + 1 / m
        both = (test[:, 0] + reference[:, 0] + 0.5) / (n + m + 1)
        variance = both * (1 - both) * chance
        error, off = np.sqrt(variance * usual), np.abs(share - expected)
        limit = np.maximum(self.rules.nulls, self._either(t, rows, _normal) * error)
        once = np.maximum(self.rules.nulls, _normal(_BEYOND_DOUBT) * error)
        if enter:
            found = self.main
            found.value[rows, t], found.expected[rows, t] = share, expected
            found.low[rows, t], found.high[rows, t] = np.maximum(expected - limit, 0), np.minimum(expected + limit, 1)
        return off, limit, once, off**2 / variance / _chi2(0.9, 1)

    def _psi(self, t: int, rows: np.ndarray, test: Any, reference: Any, usual: np.ndarray, enter: bool = True) -> Any:
        psi, df = _psi(test, reference, self.values[rows])
        chance, least = 1 / test.sum(axis=1) + 1 / reference.sum(axis=1), self.rules.psi
        together = self.window[rows, t] > 1
        limits = np.where(together, _chi2s(1 - _ALPHA_TOGETHER, df), _chi2s(1 - _ALPHA, df))
        limit = np.maximum(least, usual * limits * chance)
        once = np.maximum(_ONCE * least, usual * _chi2s(1 - _BEYOND_DOUBT, df) * chance)
        if enter:
            self.main.value[rows, t], self.main.high[rows, t] = psi, limit
        return psi, limit, once, psi / chance / _chi2s(0.9, df)

    def _ks(self, t: int, rows: np.ndarray, test: Any, reference: Any, usual: np.ndarray, enter: bool = True) -> Any:
        n, m = test.sum(axis=1), reference.sum(axis=1)
        distance = np.abs(np.cumsum(test, axis=1) / n[:, None] - np.cumsum(reference, axis=1) / m[:, None]).max(axis=1)
        chance, least = 1 / n + 1 / m, self.rules.ks
        error = np.sqrt(usual * chance)
        limit = np.maximum(least, self._either(t, rows, _smirnov) * error)
        once = np.maximum(_ONCE * least, _smirnov(_BEYOND_DOUBT) * error)
        if enter:
            self.ks.value[rows, t], self.ks.high[rows, t] = distance, limit
        return distance, limit, once, distance**2 / (chance * _smirnov(0.1) ** 2)

    def _either(self, t: int, rows: np.ndarray, limit: Callable[[float], float]) -> np.ndarray:
        """The limit for single loads or for loads that are put together."""
        return np.where(self.window[rows, t] > 1, limit(_ALPHA_TOGETHER), limit(_ALPHA))

    def _usual(self, t: int, found: _Found, rows: np.ndarray) -> np.ndarray:
        """By how much past differences exceeded what chance explains: nine of ten were at most so large."""
        back = slice(max(0, t - _PAST), t)
        alike = self.usable[rows, back] & (found.differs[rows, back] != 1)
        past = np.where(alike, found.noise[rows, back], np.nan)
        known = np.isfinite(past).sum(axis=1)
        return np.fmax(_upper(past), np.where(known >= _FEWEST_PAST, 1.0, _ASSUMED))

    def _begin_anew(self, t: int) -> None:
        differs = (self.main.differs[:, t] == 1) | (self.ks.differs[:, t] == 1)
        if t >= _LONGEST - 1 and differs.any():
            self.anew[:, t] = differs & ~self.usable[:, t - _LONGEST + 1 : t].any(axis=1)

    def _use(self, t: int) -> None:
        """Later loads are not compared with one that differs, unless so many have come that they are what is usual."""
        self.usable[:, t] = (self.main.differs[:, t] != 1) & (self.ks.differs[:, t] != 1)
        if self.anew[:, t].any():
            first = max(0, t - _LONGEST + 1)
            self.usable[self.anew[:, t], :first] = False
            self.usable[self.anew[:, t], first : t + 1] = True

    def told(self, start: int) -> list[Told]:
        """All verdicts."""
        out: list[Told] = [{} for _ in self.loads]
        for row, (number, s) in enumerate(self.place):
            for measure, found in zip(_MEASURES[s.kind], (self.main, self.ks), strict=False):
                if measure == "new_values":
                    out[number][s.column, measure] = _new_values(s, self.days, start)
                    continue
                arrays = {name: getattr(found, name)[row] for name in _FIELDS if name != "begins_anew"}
                told = replace(Verdicts.none(0), **arrays, begins_anew=self.anew[row], explanation={})
                for t in range(start, self.sizes.shape[1]):
                    if told.differs[t] == 1:
                        told.explanation[t] = _sentence(s.column, measure, told, t)
                        if name := self.known_as[t]:
                            told.explanation[t] += f"; the day is known as {name}"
                        elif told.drifted[t] == 0 and (like := self.like.get((row, t))):
                            first, last = (self.days[n] for n in like)
                            told.explanation[t] += f"; told already, and like {first} to {last}, which passed"
                    elif told.differs[t] < 0 and self.sizes[row, t]:
                        known, fewest = int(self.known[row, t]), _fewest(self.days, t)
                        told.explanation[t] = _too_few(known, fewest) if known < fewest else _NO_VALUES
                out[number][s.column, measure] = told
        return out


class _Found:
    """What was found in one measure; see `Verdicts`, with a row per series."""

    def __init__(self, series: int, days: int) -> None:
        shape = (series, days)
        self.value, self.expected, self.low, self.high, self.noise = (np.full(shape, np.nan) for _ in range(5))
        self.differs, self.drifted = np.full(shape, -1), np.full(shape, -1)

    def enter(self, t: int, rows: np.ndarray, noise: np.ndarray, differs: np.ndarray, beyond: np.ndarray) -> None:
        """Notes what was found in a load. It takes a second load that differs, or one that does beyond doubt."""
        self.noise[rows, t], self.differs[rows, t] = noise, differs
        again = (self.differs[rows, max(0, t - 2) : t] == 1).any(axis=1)
        self.drifted[rows, t] = differs & (again | beyond)


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    moved = np.zeros_like(values)
    moved[:, by:] = values[:, :-by]
    return moved


def _weights(sizes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Weights of loads in the reference: one each, but none counts for more than three usual ones. (A first load often
    brings years at once.) In 1024ths, so that sums are exact in whatever order they are added up."""
    middle = np.nan_to_num(_median(np.where(mask, sizes, np.nan)))
    return mask * np.ceil(np.minimum(1.0, 3 * middle[:, None] / np.maximum(sizes, 1)) * 1024) / 1024


def _psi(test: np.ndarray, reference: np.ndarray, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Population stability index per series (rows), and its degrees of freedom.

    Args:
        test: counts by series and bin.
        reference: the same.
        categories: series whose small bins are put together into one group; those of the others are put together
            into tenths of the reference.
    """
    share = reference / reference.sum(axis=1, keepdims=True)
    middle = np.cumsum(share, axis=1) - share / 2
    tenth = np.clip(middle * _TENTHS, 0, _TENTHS - 1).astype(int)
    own = share >= _OWN_GROUP
    group = np.where(categories[:, None], np.where(own, np.cumsum(own, axis=1) - 1, _GROUPS - 1), tenth)
    place = (np.arange(len(test))[:, None] * _GROUPS + group).ravel()
    size = len(test) * _GROUPS
    found = np.bincount(place, test.ravel(), size).reshape(-1, _GROUPS)
    usual = np.bincount(place, reference.ravel(), size).reshape(-1, _GROUPS)
    there = (found > 0) | (usual > 0)
    k = there.sum(axis=1)
    # Half a row more in each group: one that is empty by chance is not infinitely far away.
    p = np.where(there, (found + 0.5) / (found.sum(axis=1) + 0.5 * k)[:, None], 1.0)
    q = np.where(there, (usual + 0.5) / (usual.sum(axis=1) + 0.5 * k)[:, None], 1.0)
    return ((p - q) * np.log(p / q)).sum(axis=1), np.maximum(k - 1, 1)


def _new_values(series: Series, dates: Sequence[date], start: int) -> Verdicts:
    """Rows with values that none of the loads before had, in columns that usually take values that are known."""
    counts, days = series.counts, len(series.counts)
    told, sizes = Verdicts.none(days), series.counts.sum(axis=1)
    total = np.vstack([np.zeros(counts.shape[1]), np.cumsum(counts, axis=0)])
    varied = series.bins.index(_VARIED) if _VARIED in series.bins else None
    for t in range(start, days):
        first, n = max(0, t - _PAST), sizes[t]
        seen = total[t] - total[first]
        m = seen.sum()
        if not n:
            continue
        known, fewest = int((sizes[first:t] > 0).sum()), _fewest(dates, t)
        if known < fewest or m < _FEWEST_VALUES or (varied is not None and seen[varied] > _MOST_VARIED * m):
            told.explanation[t] = _too_few(known, fewest) if known < fewest else _NO_VALUES
            continue
        told.value[t], told.high[t], told.differs[t], told.drifted[t] = 0, 0, 0, 0
        new = (seen == 0) & (counts[t] >= _NEW_ROWS)
        if varied is not None:
            new[varied] = False
        # Of as many rows with the value as there are, this load would have had all of them by chance so rarely.
        new &= (n / (n + m)) ** counts[t] < _NEW_ALPHA
        if not new.any():
            continue
        began = (counts[first:t] > 0).argmax(axis=0)[seen > 0]
        if (began >= _FEWEST_LOADS).sum() >= _OPEN:
            told.value[t], told.high[t], told.differs[t], told.drifted[t] = np.nan, np.nan, -1, -1
            told.explanation[t] = "no verdict: new values are usual in this column"
            continue
        names = [series.bins[b] for b in np.flatnonzero(new).tolist()]
        told.value[t], told.differs[t], told.drifted[t] = counts[t, new].sum(), 1, 1
        shown = ", ".join(repr(name[:40]) for name in names[:3]) + (" …" if len(names) > 3 else "")
        told.explanation[t] = f"{series.column}: {told.value[t]:,.0f} rows with values never seen before: {shown}"
    return told


def _sentence(column: str, measure: str, told: Verdicts, t: int) -> str:
    if measure == "nulls":
        return f"{column}: {told.value[t]:.1%} nulls where {told.expected[t]:.1%} were expected"
    what = {
        "psi": "values are spread differently, PSI",
        "ks": "values are spread differently, KS distance",
        "values": "categories have other shares, PSI",
        "lengths": "texts have other lengths, PSI",
    }[measure]
    return f"{column}: {what} {told.value[t]:.2f} (limit {told.high[t]:.2f})"


@cache
def _chi2(probability: float, df: int) -> float:
    from scipy.special import chdtri

    return float(chdtri(df, 1 - probability))


def _chi2s(probability: float, df: np.ndarray) -> np.ndarray:
    return np.array([_chi2(probability, d) for d in df.tolist()])


@cache
def _normal(alpha: float) -> float:
    """Two-sided limit of a standard normal variable."""
    return math.sqrt(_chi2(1 - alpha, 1))


def _smirnov(alpha: float) -> float:
    """Limit of the two-sample Kolmogorov-Smirnov distance, in units of sqrt(1/n + 1/m)."""
    return math.sqrt(-math.log(alpha / 2) / 2)


def _by_the_day(days: Sequence[date], t: int) -> bool:
    """Whether loads have lately come on most days, so that weekdays can be told apart."""
    first = max(0, t - _WITHIN)
    return (days[t] - days[first]).days <= 2 * (t - first)


def _fewest(days: Sequence[date], t: int) -> int:
    """Loads that a verdict needs."""
    return _FEWEST_DAILY if _by_the_day(days, t) else _FEWEST_LOADS


def _too_few(loads: int, fewest: int) -> str:
    return f"no verdict: {loads} loads to compare with, {fewest} are needed"


_NO_VALUES = f"no verdict: fewer than {_FEWEST_VALUES} values, or values that hardly repeat"


# -- the table ---------------------------------------------------------------------------------------------------

Pair = tuple[str, str]
#: Loads before the first one to be judged that verdicts may look back to (further back only to loads that differed), and
#: those that expected rows may.
_LOOK_BACK = _PAST + _WINDOW_LOADS + 1
_ROWS_LOOK_BACK = _PAST + _ROWS_WITHIN + 8
#: Texts from which on it says something how often they repeat.
_FEWEST_TEXTS = 10


def refresh_drift(
    con: DuckDBPyConnection, contract: Contract, rules: DriftRules, known: AnomalyRules, *, full_checks: bool = False
) -> Written:
    """Judges the loads whose profiles, or those of loads before them, have changed, and keeps the verdicts.

    Args:
        con: a connection to the warehouse with `gold.table_profiles`.
        contract: of `gold.profile_drift`.
        rules: how different a load may be.
        known: days on which the shop is known to be different.
        full_checks: checks the whole table even if only some rows were written.

    Raises:
        BlockedError: a blocking check failed; everything stays as it was.
    """
    code = own_code(__file__) + contract.text
    asked = rules.model_dump_json(exclude={"lately_days"}) + "".join(d.model_dump_json() for d in known.known_days)
    definition = sha256(f"{code}{asked}".encode()).hexdigest()[:16]
    with transaction(con):
        table = GrowingTable(con, contract, definition)
        there, judged = _versions(con, PROFILES), _versions(con, contract.table)
        deleted, rows = 0, _Rows(contract)
        #: Load days and first of them to be judged → entities and raw tables.
        waiting: dict[tuple[tuple[date, ...], int], list[Pair]] = defaultdict(list)
        for pair in sorted(there.keys() | judged.keys()):
            start = _first_change(there.get(pair, {}), judged.get(pair, {}))
            if start is not None:
                deleted += _delete_from(con, contract, pair, start)
                days = tuple(sorted(there.get(pair, {})))
                position = sum(day < start for day in days)
                if position < len(days):
                    waiting[days, position].append(pair)
        for (days, position), pairs in waiting.items():
            _judge_from(con, contract, pairs, days, position, rules, known, rows)
        rows.write(con, "_drift")
        return table.take_in("_drift", deleted, (PROFILES,), full_checks=full_checks)


def _versions(con: DuckDBPyConnection, table: str) -> dict[Pair, dict[date, str]]:
    """Entity and raw table → load → version of its profile (as judged)."""
    found: dict[Pair, dict[date, str]] = defaultdict(dict)
    for entity, raw, day, version in con.execute(
        f"select entity, _raw_table, _load_date, any_value(version) from {table} group by all"
    ).fetchall():
        found[entity, raw][day] = version
    return found


def _first_change(there: Mapping[date, str], judged: Mapping[date, str]) -> date | None:
    """The first load whose profile is not the one that was judged."""
    return min((d for d in there.keys() | judged.keys() if there.get(d) != judged.get(d)), default=None)


def _delete_from(con: DuckDBPyConnection, contract: Contract, pair: Pair, start: date) -> int:
    row = con.execute(
        f"delete from {contract.table} where entity = ? and _raw_table = ? and _load_date >= ?", [*pair, start]
    ).fetchone()
    return int(row[0]) if row else 0


def _judge_from(
    con: DuckDBPyConnection,
    contract: Contract,
    pairs: Sequence[Pair],
    days: Sequence[date],
    position: int,
    rules: DriftRules,
    known: AnomalyRules,
    rows: _Rows,
) -> None:
    """Judges loads that came on the same days, from `position` on."""
    first, whole = max(0, position - _MEMORY), days[max(0, position - _LOOK_BACK)]
    loads = [_read_loads(con, contract, pair, days[first:], whole, rules) for pair in pairs]
    before = [_read_verdicts(con, contract, pair, days[first:position], whole) for pair in pairs] if position else []
    for found, told in zip(
        loads, judge_columns(loads, rules, known, start=position - first, before=before), strict=True
    ):
        sizes = {(s.column, m): s.counts.sum(axis=1) for s in found.series for m in _MEASURES[s.kind]}
        for (column, measure), verdicts in told.items():
            written = np.flatnonzero(sizes[column, measure] > 0)
            rows.add(found, column, measure, verdicts, written[written >= position - first])
    back = max(0, position - _ROWS_LOOK_BACK)
    for pair, found in zip(pairs, loads, strict=True):
        counted = dict(
            con.execute(
                f"select _load_date, any_value(rows_count) from {PROFILES} "
                "where entity = ? and _raw_table = ? and _load_date >= ? group by all",
                [*pair, days[back]],
            ).fetchall()
        )
        told_rows = judge_rows(days[back:], np.array([counted[d] for d in days[back:]], dtype=float), rules, known)
        new = replace(found, days=found.days[position - first :], versions=found.versions[position - first :])
        rows.add(new, WHOLE, "rows", told_rows.tail(position - back), np.arange(len(new.days)))


def _read_loads(
    con: DuckDBPyConnection, contract: Contract, pair: Pair, days: Sequence[date], whole: date, rules: DriftRules
) -> Loads:
    """The loads of these days, from their profiles; before `whole` only columns that differed."""
    found = con.execute(
        "select _load_date, column_name, kind, rows_count, rows_profiled, nulls, top_values, histogram, version "
        f"from {PROFILES} where entity = $entity and _raw_table = $raw and (_load_date >= $whole or "
        f"(_load_date >= $first and (_load_date, column_name) in (select (_load_date, column_name) from {contract.table} "
        "where entity = $entity and _raw_table = $raw and differs))) order by _load_date, column_name",
        {"entity": pair[0], "raw": pair[1], "whole": whole, "first": days[0]},
    ).fetchall()
    place = {day: number for number, day in enumerate(days)}
    rows, profiled, versions = np.zeros(len(days)), np.zeros(len(days)), [""] * len(days)
    cells: dict[tuple[str, str], dict[int, dict[str, int]]] = defaultdict(dict)
    for day, column, kind, count, looked_at, nulls, values, histogram, version in found:
        t = place[day]
        rows[t], profiled[t], versions[t] = count, looked_at, version
        if not looked_at or f"{pair[0]}.{column}" in rules.ignore:
            continue
        filled = looked_at - nulls
        cells[column, "nulls"][t] = {"null": nulls, "filled": filled}
        if kind in ("number", "time") and histogram:
            cells[column, "figures"][t] = json.loads(histogram)
        elif kind in ("text", "flag") and filled < _FEWEST_TEXTS:
            continue
        elif values:
            cells[column, "values"][t] = json.loads(values)
        elif kind == "text":
            cells[column, "values"][t] = {_VARIED: filled}
            cells[column, "lengths"][t] = json.loads(histogram)
    series = [_counted(column, kind, loads, len(days)) for (column, kind), loads in sorted(cells.items())]
    return Loads(*pair, list(days), rows, profiled, series, versions)


def _counted(column: str, kind: str, loads: Mapping[int, Mapping[str, int]], size: int) -> Series:
    """The counts of a column's values by load, its bins in order."""
    names = {name for cell in loads.values() for name in cell}
    bins = sorted(names, key=float) if kind in ("figures", "lengths") else sorted(names, reverse=kind == "nulls")
    where = {name: number for number, name in enumerate(bins)}
    counts = np.zeros((size, len(bins)))
    for t, cell in loads.items():
        for name, count in cell.items():
            counts[t, where[name]] = count
    return Series(column, kind, bins, counts)


def _read_verdicts(con: DuckDBPyConnection, contract: Contract, pair: Pair, days: Sequence[date], whole: date) -> Told:
    """The verdicts on these loads, as far as later ones rest on them; before `whole` only of loads that differed."""
    told: Told = defaultdict(lambda: Verdicts.none(len(days)))
    place = {day: number for number, day in enumerate(days)}
    for day, column, measure, noise, differs, drifted, anew in con.execute(
        f"select _load_date, column_name, measure, noise, differs, drifted, begins_anew from {contract.table} "
        "where entity = ? and _raw_table = ? and _load_date >= ? and (_load_date >= ? or differs)",
        [*pair, days[0], whole],
    ).fetchall():
        verdicts, t = told[column, measure], place[day]
        verdicts.noise[t] = np.nan if noise is None else noise
        verdicts.differs[t] = -1 if differs is None else differs
        verdicts.drifted[t] = -1 if drifted is None else drifted
        verdicts.begins_anew[t] = anew
    return told


class _Rows:
    """Verdicts on their way into the table, column by column."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.columns: dict[str, list[Any]] = {name: [] for name in contract.columns}

    def add(self, loads: Loads, column: str, measure: str, told: Verdicts, there: np.ndarray) -> None:
        """Adds the verdicts on the loads `there`."""
        c, chosen = self.columns, there.tolist()
        keys = {"entity": loads.entity, "_raw_table": loads.raw_table, "column_name": column, "measure": measure}
        for name, key in keys.items():
            c[name] += [key] * len(chosen)
        c["_load_date"] += [loads.days[t] for t in chosen]
        c["version"] += [loads.versions[t] for t in chosen]
        for name in ("value", "expected", "low", "high", "noise"):
            c[name] += getattr(told, name)[there].tolist()
        for name in ("differs", "drifted"):
            c[name] += [_ANSWERS[answer] for answer in getattr(told, name)[there].tolist()]
        c["begins_anew"] += told.begins_anew[there].tolist()
        c["explanation"] += [told.explanation.get(t) for t in chosen]

    def write(self, con: DuckDBPyConnection, table: str) -> None:
        """Makes a temporary table of them."""
        import polars as pl

        types = {"VARCHAR": pl.String, "DATE": pl.Date, "DOUBLE": pl.Float64, "BOOLEAN": pl.Boolean}
        frame = pl.DataFrame(
            {n: pl.Series(n, self.columns[n], types[c.type]) for n, c in self.contract.columns.items()}
        )
        with handed_in(con, _verdicts=frame.with_columns(pl.col(pl.Float64).fill_nan(None))):
            con.execute(f"create or replace temp table {table} as {typed(self.contract, '_verdicts')}")


_ANSWERS = {-1: None, 0: False, 1: True}
