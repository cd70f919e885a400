"""What is wrong is told once, however often it is seen, and so is its end. Pure: no Dagster, no network, no clock.

A `Finding` is one thing that is wrong now. Findings of one cause (a run, the tables that nobody builds any more, a
published snapshot) become one `Message`; a finding that follows from another one that was told becomes none. What was
told is remembered in `AlertState`, the cursor of the sensor. `orchestration/findings.py` finds
them, `notify.py` brings messages to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

Severity = Literal["warning", "error"]
Kind = Literal["run", "check", "stale", "kpi", "anomaly"]

#: Longest text that is kept of what went wrong; the UI has the whole of it.
TEXT = 600
#: Things that a message tells one by one.
_SECTIONS = 10
#: A tick that would send more messages than this sends one that holds them all.
_STORM = 5
#: Seconds for which tables that are too old wait for each other: what stopped with one load becomes one message.
_GATHER = 600.0
#: A finding is told again when it has grown tenfold.
_GROWN = 10
#: Things that are wrong at the same time and remembered; beyond this the newest are not taken in.
_MOST = 400

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+\w")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
#: From the first quote to the last of its kind: a value may have quotes in it (`'O'Brien'`).
_QUOTED = re.compile(r"'.*'|\".*\"")


class _Kept(BaseModel):
    """What goes through the cursor: one that does not fit is refused, not guessed at."""

    model_config = ConfigDict(extra="forbid")


class Days(_Kept):
    """A range of loads that a failed run was to take over; `at` is when it failed."""

    first: str
    last: str
    at: float


class Finding(_Kept):
    """One thing that is wrong.

    `key` is the same as long as it is the same thing; `cause` is what findings of one message have in common.
    """

    key: str
    kind: Kind
    severity: Severity
    #: A few words for the subject.
    headline: str
    #: What is concerned: a table, a job, a KPI.
    where: str
    what: str
    examples: tuple[str, ...] = ()
    fix: str = ""
    #: The run it was seen in, as people call it.
    run: str = ""
    #: Path of the page in the Dagster UI.
    page: str = ""
    at: float
    cause: str
    #: Rows or things; a finding that grows tenfold is told again, and one whose `mark` is another.
    size: int = 0
    mark: str = ""
    #: Tables that could not be written. The finding is over when they have been.
    tables: tuple[str, ...] = ()
    #: For these loads, if the tables are filled by day.
    days: tuple[Days, ...] = ()
    #: Of a run that ended without a failed step: the job that has to succeed.
    job: str = ""
    run_id: str = ""


class Firing(_Kept):
    """A finding that is remembered, and what was told of it."""

    finding: Finding
    since: float
    #: When it was last told; None for never.
    told_at: float | None = None
    told_size: int = 0
    told_severity: Severity = "warning"
    told_mark: str = ""
    #: The message that told it. Its end is told when everything in that message is over.
    told_in: str = ""
    over: bool = False
    #: The finding that it follows from: that one is told instead.
    because: str = ""

    @property
    def changed(self) -> bool:
        """Whether it is no longer what was told."""
        now = self.finding
        worse = now.severity == "error" and self.told_severity == "warning"
        return worse or now.size >= _GROWN * max(self.told_size, 1) or now.mark != self.told_mark


class Section(_Kept):
    """One thing in a message."""

    title: str
    #: Label and value, in order.
    facts: tuple[tuple[str, str], ...]


class Message(_Kept):
    """What is sent. Everything in it may be read by whoever reads the channel."""

    id: str
    subject: str
    severity: Severity
    resolved: bool = False
    sections: tuple[Section, ...]
    footer: str = ""


class Outgoing(_Kept):
    """A message with the targets that have not got it yet."""

    message: Message
    waiting: tuple[str, ...]
    made_at: float
    tries: int = 0
    next_at: float = 0.0


class AlertState(_Kept):
    """What is remembered between ticks."""

    version: Literal[1] = 1
    #: Kind of event → number of the last one seen, of the events with which runs end.
    ends: dict[str, int] = {}
    looked_at: float = 0.0
    #: The published snapshot whose figures were looked at.
    snapshot: str = ""
    firing: dict[str, Firing] = {}
    #: What was told and is over → when it was told.
    quiet: dict[str, float] = {}
    #: Series → windows (first and last day) of the anomalies that were seen.
    anomalies: dict[str, list[tuple[str, str]]] = {}
    outbox: list[Outgoing] = []
    told: int = 0


@dataclass(frozen=True)
class Rules:
    """What is told, and how it is called."""

    source: str
    time_zone: str
    ui_url: str
    severity: Severity = "warning"
    quiet_seconds: float = 3600.0
    #: Table → tables that it is made from, directly or not.
    upstream: Mapping[str, Set[str]] = field(default_factory=dict)


def update(
    state: AlertState,
    found: Iterable[Finding],
    over: Iterable[str],
    once: Sequence[Finding],
    rules: Rules,
    now: float,
    *,
    first: bool = False,
) -> list[Message]:
    """Takes in what was seen and says what is to be told; `state` is changed.

    Args:
        state: what was remembered.
        found: what is wrong. What is not mentioned stays as it was.
        over: keys of what is known to be wrong no more.
        once: what happened and has no end, such as an anomaly: told, not remembered.
        rules: what is told.
        now: seconds since 1970.
        first: nothing was remembered: all that is wrong is told in one message, whatever its cause.
    """
    for key in over:
        if key in state.firing:
            state.firing[key].over = True
    for finding in found:
        _take_in(state, finding)
    _attribute(state, rules)
    messages = _ends(state, rules, now)
    groups: dict[str, list[Firing]] = {}
    told_once = [Firing(finding=finding, since=finding.at) for finding in once if _matters(finding, rules)]
    for entry in [*_to_tell(state, rules, now, first), *told_once]:
        groups.setdefault(entry.finding.cause, []).append(entry)
    if groups and (first or len(groups) > _STORM):
        groups = {"": [entry for group in groups.values() for entry in group]}
    for cause, group in groups.items():
        messages.append(_message(state, group, rules, first=first, mixed=not cause))
        for entry in group:
            _remember_told(entry, now, messages[-1])
    state.quiet = {key: told for key, told in state.quiet.items() if now - told < rules.quiet_seconds}
    return messages


def _remember_told(entry: Firing, now: float, message: Message) -> None:
    entry.told_at, entry.told_in = now, message.id
    entry.told_size, entry.told_mark = entry.finding.size, entry.finding.mark
    entry.told_severity = entry.finding.severity


def _take_in(state: AlertState, finding: Finding) -> None:
    known = state.firing.get(finding.key)
    if known is None:
        if len(state.firing) < _MOST:
            state.firing[finding.key] = Firing(finding=finding, since=finding.at)
        return
    if finding.days:  # what was to be loaded before is still not there
        renewed = {(days.first, days.last) for days in finding.days}
        earlier = [days for days in known.finding.days if (days.first, days.last) not in renewed]
        finding = finding.model_copy(update={"days": (*earlier, *finding.days)[-_MOST:]})
    if known.over and known.told_at is not None:
        # It was over, only other things of its message were not: it begins anew, quiet for as long as ever.
        state.quiet[finding.key] = known.told_at
        state.firing[finding.key] = Firing(finding=finding, since=finding.at)
        return
    known.finding, known.over = finding, False


def _attribute(state: AlertState, rules: Rules) -> None:
    """Says of what was not told yet which other finding it follows from."""
    current = [entry for entry in state.firing.values() if not entry.over]
    failed = [entry.finding for entry in current if entry.finding.kind == "run"]
    old = {entry.finding.where: entry.finding for entry in current if entry.finding.kind == "stale" and entry.told_at}
    for entry in current:
        this = entry.finding
        if entry.told_at is not None:
            continue
        entry.because = ""
        if this.kind == "check" and this.severity == "error":
            # The check that stopped a write; the failed run says which.
            causes = [f for f in failed if f.run_id == this.run_id and this.where in f.tables]
        elif this.kind == "stale":
            needs = {this.where, *rules.upstream.get(this.where, ())}
            causes = [f for f in failed if needs & set(f.tables)]
            causes += [f for where, f in old.items() if where in needs and where != this.where]
        else:
            continue
        if causes:
            entry.because = causes[0].key


def _ends(state: AlertState, rules: Rules, now: float) -> list[Message]:
    """Messages about what is over, one for each that told it; that is forgotten, but for when it was told."""
    groups: dict[str, list[tuple[str, Firing]]] = {}
    for key, entry in list(state.firing.items()):
        if entry.told_at is not None:
            groups.setdefault(entry.told_in, []).append((key, entry))
        elif entry.over:
            del state.firing[key]
    messages = []
    for group in groups.values():
        if not all(entry.over for _, entry in group):
            continue
        messages.append(_message(state, [entry for _, entry in group], rules, ended=now))
        for key, entry in group:
            del state.firing[key]
            state.quiet[key] = entry.told_at or now
    return messages


def _to_tell(state: AlertState, rules: Rules, now: float, first: bool) -> list[Firing]:
    due = []
    for key, entry in state.firing.items():
        if entry.over or entry.because or not _matters(entry.finding, rules):
            continue
        if entry.told_at is not None and not entry.changed:
            continue
        told = entry.told_at if entry.told_at is not None else state.quiet.get(key)
        if told is None or now - told >= rules.quiet_seconds:
            due.append(entry)
    stale = [entry for entry in due if entry.finding.kind == "stale"]
    if stale and not first and all(now - entry.since < _GATHER for entry in stale):
        due = [entry for entry in due if entry.finding.kind != "stale"]
    return due


def _matters(finding: Finding, rules: Rules) -> bool:
    return finding.severity == "error" or rules.severity == "warning"


# -- how it reads ------------------------------------------------------------------------------------------------


def presentable(text: str, *, personal: bool = False) -> str:
    """A text for people outside: one line, no passwords, no e-mail addresses, not too long.

    Args:
        text: what was said.
        personal: whether it is about a table with personal data: then values in quotes are left out, too.
    """
    text = " ".join(_EMAIL.sub("•••", _CREDENTIALS.sub("•••@", text)).split())
    if personal:
        text = _QUOTED.sub("'•••'", text)
    return text if len(text) <= TEXT else f"{text[:TEXT]}…"


def mark_of(text: str) -> str:
    """What stays the same of a text when the same thing happens again: no numbers, no dates, no ids, no values."""
    return " ".join(re.sub(r"'[^']*'|\b(?=\w*\d)[\w-]+", "", text).split())[:200]


def _message(
    state: AlertState,
    group: Sequence[Firing],
    rules: Rules,
    *,
    ended: float | None = None,
    first: bool = False,
    mixed: bool = False,
) -> Message:
    ordered = sorted(group, key=lambda entry: (entry.finding.severity != "error", entry.finding.at, entry.finding.key))
    shown, rest = ordered[:_SECTIONS], ordered[_SECTIONS:]
    sections = [_section(entry, rules, ended) for entry in shown]
    if rest:
        names = ", ".join(dict.fromkeys(entry.finding.where for entry in rest))
        sections.append(Section(title=f"And {len(rest)} more", facts=(("Where", names[:TEXT]),)))
    subject = ordered[0].finding.headline
    if mixed:
        subject = "1 thing is wrong" if len(group) == 1 else f"{len(group)} things are wrong"
        subject = f"Alerts are on: {subject}" if first else subject
    elif len(group) > 1:
        subject += f" and {len(group) - 1} more"
    if ended is not None:
        subject = f"Resolved: {subject}"
    state.told += 1
    return Message(
        id=str(state.told),
        subject=f"[{rules.source}] {subject}"[:160],
        severity=ordered[0].finding.severity,
        resolved=ended is not None,
        sections=tuple(sections),
        footer="`ecommerce alerts` lists what is wrong now.",
    )


def _section(entry: Firing, rules: Rules, ended: float | None) -> Section:
    finding = entry.finding
    facts = [("What", finding.what)]
    if ended is None:
        if finding.examples:
            facts.append(("For example", "; ".join(finding.examples)))
        if finding.run:
            facts.append(("Seen in", finding.run))
        facts.append(("Since", clock(entry.since, rules.time_zone)))
        if finding.fix:
            facts.append(("What to do", finding.fix))
    else:
        facts.append(("Lasted", f"{clock(entry.since, rules.time_zone)} to {clock(ended, rules.time_zone)}"))
    if finding.page:
        facts.append(("Link", rules.ui_url.rstrip("/") + finding.page))
    return Section(title=finding.where, facts=tuple(facts))


def clock(at: float, time_zone: str) -> str:
    """A time as it is written in messages, by the shop's clock."""
    return f"{datetime.fromtimestamp(at, ZoneInfo(time_zone)):%Y-%m-%d %H:%M %Z}"


def render_text(message: Message) -> str:
    """The message's body as plain text."""
    parts = []
    for section in message.sections:
        parts.append("\n".join([section.title, *(f"{label}: {value}" for label, value in section.facts)]))
    return "\n\n".join([*parts, message.footer])


def render_html(message: Message) -> str:
    """The message's body as HTML; whatever stands in a value, it shows as text."""
    parts = []
    for section in message.sections:
        facts = "<br>".join(f"<b>{escape(label)}:</b> {_html(label, value)}" for label, value in section.facts)
        parts.append(f"<h3>{escape(section.title)}</h3>\n<p>{facts}</p>")
    return "\n".join([*parts, f"<p>{escape(message.footer)}</p>"])


def _html(label: str, value: str) -> str:
    if label == "Link":
        return f'<a href="{escape(value, quote=True)}">{escape(value)}</a>'
    return escape(value)
