"""Random schedules of deliveries that all end in the same final drops: shuffled, repeated, corrected, taken back.

A schedule is a list of builds, each with what is delivered before it; it prints as text that can be read, and follows
from its seed. `deliver` puts one delivery under `raw/`. What an earlier, different delivery of a drop looked like is
made up in `earlier.py`; building and comparing are others' business.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Literal

from ecommerce_platform_tests.earlier import write_earlier

#: final: as it stays. earlier: another version of it. touched: as it stays, with another time. gone: taken back.
What = Literal["final", "earlier", "touched", "gone"]
#: What files of final drops say about when they were written; other versions say something else.
FINAL_TIME = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Delivery:
    """What becomes of the drop of one day."""

    day: date
    what: What
    #: Which of the many earlier versions.
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.day} {self.what}" + (f" {self.seed}" if self.what == "earlier" else "")


@dataclass(frozen=True)
class Build:
    """Deliveries, and the build after them."""

    deliveries: tuple[Delivery, ...]
    again: tuple[date, ...] = ()
    #: Killed after so many tables.
    only_first: int | None = None

    def __str__(self) -> str:
        text = ", ".join(map(str, self.deliveries)) or "nothing"
        text += f"; again {', '.join(map(str, self.again))}" if self.again else ""
        return text + (f"; killed after {self.only_first} tables" if self.only_first is not None else "")


def make_schedule(days: Sequence[date], tables: int, seed: int) -> list[Build]:
    """A random schedule of all final drops.

    Every drop is delivered in its final form by the last build, but some come in other versions first, are taken back,
    or only touched; a few days have drops for a while that do not belong there at all. The drops come in any order, in
    order, newest first, or most of them first and then one by one.

    Args:
        days: of the final drops.
        tables: how many tables a build makes.
        seed: another seed is another schedule.
    """
    random = Random(seed)
    builds = random.choice((2, 3, 3, 4, 4, 5, 6))
    style = random.choice(("any", "any", "in order", "newest first", "day by day"))
    deliveries: list[list[Delivery]] = [[] for _ in range(builds)]
    share = random.choice((0.05, 0.2, 0.5))
    for place, day in enumerate(days):
        events = _events(day, random, share)
        when = sorted(random.sample(range(builds), min(len(events), builds)))
        if len(events) == 1:
            when = [_build_of(place, len(days), builds, style, when[0])]
        for build, event in zip(when, events[-len(when) :], strict=True):
            deliveries[build].append(event)
    for strange in random.sample(_strange_days(days), k=random.choice((0, 0, 1, 2))):
        first, last = sorted(random.sample(range(builds), 2))
        deliveries[first].append(Delivery(strange, "earlier", random.randrange(10**6)))
        deliveries[last].append(Delivery(strange, "gone"))
    schedule = []
    for number, batch in enumerate(deliveries):
        random.shuffle(batch)
        again = tuple(sorted(random.sample(days, k=min(2, len(days))))) if random.random() < 0.15 else ()
        is_last = number == builds - 1
        killed = random.randrange(tables) if random.random() < 0.2 and not is_last else None
        schedule.append(Build(tuple(batch), again, killed))
    if random.random() < 0.2:
        schedule.append(Build((), (random.choice(days),) if random.random() < 0.5 else ()))
    return schedule


def _build_of(place: int, days: int, builds: int, style: str, any_build: int) -> int:
    """The build that takes over the drop at a place among the days, if it comes only once."""
    match style:
        case "in order":
            return place * builds // days
        case "newest first":
            return (days - 1 - place) * builds // days
        case "day by day":
            # Most are there already, and every build brings one.
            return max(0, place - (days - builds))
        case _:
            return any_build


def _events(day: date, random: Random, share: float) -> list[Delivery]:
    """What becomes of one drop, in order; the last is always the final one."""
    final = Delivery(day, "final")
    if random.random() > share:
        return [final]
    earlier = Delivery(day, "earlier", random.randrange(10**6))
    another = Delivery(day, "earlier", random.randrange(10**6))
    gone, touched = Delivery(day, "gone"), Delivery(day, "touched")
    return random.choice(
        (
            [earlier, final],
            [earlier, final],
            [earlier, another, final],
            [final, gone, final],
            [earlier, gone, final],
            [final, earlier, final],
            [touched, final],
        )
    )


def _strange_days(days: Sequence[date]) -> list[date]:
    """Days without a final drop, among the others and after them."""
    first, last = min(days), max(days) + timedelta(days=3)
    every = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in every if day not in set(days)]


def deliver(final: Path, raw: Path, delivery: Delivery) -> None:
    """Makes the drop of a day what the delivery says.

    Args:
        final: the folder of final drops.
        raw: the drops of the shop that is built.
        delivery: which day, and what.
    """
    folder = raw / delivery.day.isoformat()
    shutil.rmtree(folder, ignore_errors=True)
    if delivery.what == "gone":
        return
    files = drop_of(final, delivery.day)
    if delivery.what == "earlier":
        others = [f for f in sorted(final.iterdir()) if f.name != folder.name]
        random = Random(f"{delivery.day} {delivery.seed}")
        # A day without a final drop gets some version of another day's, often of one with whole catalogues.
        largest = max(others, key=lambda f: len(list(f.iterdir())))
        files = files or sorted(random.choice((largest, random.choice(others))).iterdir())
        write_earlier(files, others, folder, random)
        _set_times(folder, FINAL_TIME - 1 - delivery.seed)
        return
    folder.mkdir(parents=True)
    for file in files:
        if delivery.what == "final":
            os.link(file, folder / file.name)
        else:
            shutil.copy(file, folder)
    if delivery.what == "touched":
        _set_times(folder, FINAL_TIME + 1)


def drop_of(final: Path, day: date) -> list[Path]:
    """The files of a final drop; none if there is no drop of that day."""
    folder = final / day.isoformat()
    return sorted(folder.iterdir()) if folder.is_dir() else []


def finish(final: Path) -> list[date]:
    """Gives all files of the final drops their time; the days of the drops."""
    (final / ".lock").unlink(missing_ok=True)  # `ecommerce land` locks it; whoever reads this wants drops alone
    drops = list(final.iterdir())
    for folder in drops:
        _set_times(folder, FINAL_TIME)
    return sorted(date.fromisoformat(folder.name) for folder in drops)


def _set_times(folder: Path, time: int) -> None:
    for file in folder.iterdir() if folder.is_dir() else ():
        os.utime(file, ns=(time, time))


def describe(seed: int, schedule: Sequence[Build]) -> str:
    """The schedule as a list, a line per build."""
    lines = [f"schedule {seed}:"]
    return "\n".join(lines + [f"  {number}. {build}" for number, build in enumerate(schedule, start=1)])
