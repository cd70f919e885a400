"""Reports that leave by e-mail: which are due, and that everybody gets each of them once. What a report says is in `serving/report`, how
mail is sent in `alerting/notify.py`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ecommerce_platform.alerting.alerts import Message, Section
from ecommerce_platform.alerting.notify import Delivery, Targets
from ecommerce_platform.contracts.metric_sql import Query
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.serving.access.store import NAME, Store
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.read.reader import Reader
from ecommerce_platform.serving.report.contents import Report, days_of, make_report
from ecommerce_platform.serving.report.render import write_report
from ecommerce_platform.settings import Settings

#: Periods that ended longer ago are not sent by themselves: a history that is loaded is no news.
_RECENT = timedelta(days=62)
#: Seconds after which nothing more is sent in one look.
_LOOK = 25.0
#: Figures that the mail itself names.
_FIGURES = 6


class SentReports:
    """Who got the report of which period, in `serving.db`."""

    def __init__(self, data: Path) -> None:
        self._store = Store(data / NAME)

    def note(self, address: str, every: str, period: str) -> None:
        """Remembers that somebody got a report."""
        with self._store.write() as con:
            con.execute("insert or ignore into reports_sent values (?, ?, ?, ?)", (address, every, period, time.time()))

    def missing(self, address: str, every: str, periods: Sequence[str]) -> Sequence[str]:
        """The periods, of these in their order, that somebody is to get yet: who never got any gets the newest."""
        sql = "select max(period) as newest from reports_sent where recipient = ? and every = ?"
        newest = self._store.read(sql, (address, every))[0]["newest"]
        return periods[-1:] if newest is None else [period for period in periods if period > newest]


@dataclass
class Look:
    """What came of looking for reports that are due."""

    sent: int = 0
    failed: int = 0
    #: There was no time for more.
    cut_off: bool = False

    @property
    def says(self) -> str:
        """A sentence."""
        parts = [f"Reports sent: {self.sent}."]
        parts += [f"Not delivered, tried again at the next look: {self.failed}."] if self.failed else []
        return " ".join([*parts, *(["The rest is sent at the next look."] if self.cut_off else [])])


def addresses(settings: Settings) -> list[str]:
    """Who gets reports, each once."""
    return list(dict.fromkeys(filter(None, map(str.strip, settings.report_to.split(",")))))


def kind_of(period: str) -> str:
    """Whether 2018-08, 2018-Q3 or 2018 is a month, a quarter or a year."""
    return "year" if len(period) == 4 else "quarter" if "Q" in period else "month"


def due_periods(shop: Shop, every: str, today: date) -> list[str]:
    """The full periods that ended lately, oldest first."""
    frame = shop.metric(Query(("orders",), (), every)).sort("period")
    found = [_name(row["period"], every) for row in frame.to_dicts() if row["is_complete"] and row["orders"]]
    return [period for period in found if today - days_of(period).until <= _RECENT]


def send_due(settings: Settings, today: date, log: Any, *, clock: Callable[[], float] = time.monotonic) -> Look:
    """Sends the reports that are due to those who have not got them; each is noted as soon as it was taken.

    Args:
        settings: who gets which, and where the published snapshot is.
        today: by the shop's calendar.
        log: told of what was not delivered.
        clock: seconds that only grow, to stop in time.

    Raises:
        PlatformError: nothing is published, or something is missing that sending takes.
    """
    targets, noted, look, started = report_targets(settings), SentReports(settings.data), Look(), clock()
    down = set[str]()  # one who could not be reached gets nothing more now: else an older report would be left out
    reader = Reader.of(settings)
    try:
        shop = Shop(reader)
        for every in dict.fromkeys(map(str.strip, settings.report_every.split(","))):
            periods = due_periods(shop, every, today)
            lacking = {name: noted.missing(name, every, periods) for name in targets.names}
            for period in periods:
                names = [name for name in targets.names if period in lacking[name] and name not in down]
                if names and clock() - started > _LOOK:
                    look.cut_off = True
                    return look
                for delivery in send_report(shop, period, targets, names, noted, settings) if names else ():
                    look.sent, look.failed = look.sent + delivery.delivered, look.failed + (not delivery.delivered)
                    if not delivery.delivered:
                        down.add(delivery.target)
                        log.warning(f"Report of {period} not delivered to {delivery.target}: {delivery.why}")
        return look
    finally:
        reader.close()


def report_targets(settings: Settings) -> Targets:
    """Those who get reports.

    Raises:
        SettingsError: there is nobody, no mail server, or a library is missing.
    """
    if not addresses(settings):
        raise SettingsError(
            "nobody is to get reports",
            where="ECOMMERCE_REPORT_TO",
            fix="set it to e-mail addresses, separated by commas",
        )
    if find_spec("weasyprint") is None:
        raise SettingsError(
            "weasyprint, which writes PDF, is not installed", where="ECOMMERCE_REPORT_TO",
            fix="pip install 'ecommerce_platform[serve]'",
        )  # fmt: skip
    targets = Targets(settings, addresses(settings))
    if targets.unusable:
        raise SettingsError(
            "the mail server cannot be used", where="ECOMMERCE_ALERT_URLS", fix="docs/alerts.md has examples"
        )
    return targets


def send_report(
    shop: Shop, period: str, targets: Targets, names: Sequence[str], noted: SentReports, settings: Settings
) -> list[Delivery]:
    """Sends the report of a period as PDF, a mail for each address; who got it is noted before the next one is sent."""
    report, found = make_report(shop, days_of(period)), []
    with tempfile.TemporaryDirectory(prefix="ecommerce-report-") as folder:
        file = write_report(report, "pdf", Path(folder, f"{settings.source_name}-{period}.pdf"))
        for name in names:
            found += targets.send(_message(report, period, settings.source_name), [name], file)
            if found[-1].delivered:
                noted.note(name, kind_of(period), period)
    return found


def _message(report: Report, period: str, source: str) -> Message:
    facts = [("In short", " ".join(report.summary))] if report.summary else []
    facts += [(line.label, line.now) for line in report.lines[:_FIGURES]]
    return Message(
        id=period, subject=f"[{source}] Report of {report.title}", severity="warning", resolved=True,
        sections=(Section(title=f"{report.shop}: {report.title}", facts=tuple(facts)),),
        footer=f"The whole report is attached; `ecommerce report --period {period}` writes it again.",
    )  # fmt: skip


def _name(first: date, every: str) -> str:
    return {"month": f"{first:%Y-%m}", "quarter": f"{first:%Y}-Q{(first.month + 2) // 3}", "year": f"{first:%Y}"}[every]
