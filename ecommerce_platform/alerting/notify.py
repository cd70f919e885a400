"""Messages leave the house: through apprise, to every target that is configured, each once.

`alerts.py` says which messages there are. Nothing here raises because somebody could not be reached: what
was not delivered stays in the outbox and is tried again with growing pauses, for a day. Targets are URLs with
passwords in them, so they are named by what is harmless, and what is said of a failure is freed of the rest.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ecommerce_platform.alerting.alerts import Message, Outgoing, Section, render_html, render_text
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from apprise import Apprise

#: Seconds that one message may take, however many targets; a tick of a sensor has 60 in all.
_SECONDS = 15.0
#: Seconds after which a tick sends nothing more.
_TICK = 25.0
#: Pauses between tries: doubled each time, up to this many seconds.
_PAUSE, _LONGEST_PAUSE = 30.0, 3600.0
#: Seconds after which a message is given up.
_GIVE_UP = 86_400.0
#: Messages that wait at most; beyond this the oldest are given up.
_OUTBOX = 50
_MAIL = ("mailto", "mailtos")
#: Pieces of a URL shorter than this are no secrets worth hiding, but parts of words.
_SECRET_LENGTH = 4


@dataclass(frozen=True)
class Delivery:
    """What became of a message for one target; `why` is empty when it was delivered."""

    target: str
    delivered: bool
    why: str = ""


class Targets:
    """Everybody who is told. A target's name holds nothing secret and goes into the cursor.

    Args:
        settings: who is told.
        addresses: of those who get something by e-mail instead, each a target of its own; through the first mail server.

    Raises:
        SettingsError: apprise is not installed, or there is no mail server for the addresses.
    """

    def __init__(self, settings: Settings, addresses: Sequence[str] = ()) -> None:
        self._apprise = _quiet_apprise()
        #: Name → its tag in apprise.
        self._tags: dict[str, str] = {}
        self._html: set[str] = set()
        self._secrets: set[str] = set()
        #: What is wrong with URLs that cannot be used, without the URLs.
        self.unusable: list[str] = []
        urls = settings.alert_urls.get_secret_value() if settings.alert_urls else ""
        given = _addressed(_split(urls), addresses) if addresses else _split(urls)
        for number, url in enumerate(given, 1):
            self._secrets |= _pieces(url)
            scheme, tag = url.partition("://")[0], f"target{number}"
            service = self._apprise.instantiate(url, tag=tag)
            if service is None:
                self.unusable.append(
                    f"URL {number} of ECOMMERCE_ALERT_URLS ({scheme}://…) cannot be used: "
                    "unknown, or something is missing; docs/alerts.md has examples"
                )
                continue
            self._apprise.add(service)
            label = addresses[number - 1] if addresses else _label(service.url(privacy=True))
            same = sum(name == label or name.startswith(f"{label} (") for name in self._tags)
            name = f"{label} ({same + 1})" if same else label
            self._tags[name] = tag
            if scheme.lower() in _MAIL:
                self._html.add(name)
        self._secrets = {piece for piece in self._secrets if not any(piece in name for name in self._tags)}

    @property
    def names(self) -> tuple[str, ...]:
        """All targets, in the order of their URLs."""
        return tuple(self._tags)

    def send(self, message: Message, names: Sequence[str], attach: Path | None = None) -> list[Delivery]:
        """Sends a message to some targets, e-mail with a file; never raises because of them."""
        found: list[Delivery] = []
        mail = [name for name in names if name in self._html]
        rest = [name for name in names if name not in self._html]
        if mail:
            found += self._send(mail, message, render_html(message), "html", attach)
        if rest:
            found += self._send(rest, message, render_text(message), "text")
        return sorted(found, key=lambda delivery: self.names.index(delivery.target))

    def _send(
        self, names: list[str], message: Message, body: str, form: str, attach: Path | None = None
    ) -> list[Delivery]:
        wanted = {self._tags[name]: name for name in names}
        kind = "success" if message.resolved else "failure" if message.severity == "error" else "warning"
        found: dict[str, Delivery] = {}
        said = "not attempted"
        try:
            result = self._apprise.notify(
                body=body, title=message.subject, notify_type=kind, body_format=form, tag=list(wanted), timeout=_SECONDS,
                attach=str(attach) if attach else None,
            )  # fmt: skip
            for service in result:
                name = next(wanted[tag] for tag in map(str, service.tag) if tag in wanted)
                why = "" if service else self.scrub("; ".join(e.message for e in service.logs())) or "no answer in time"
                found[name] = Delivery(name, bool(service), why)
        except Exception as error:  # whatever a plugin does, a tick must not end because of it
            said = self.scrub(f"{type(error).__name__}: {error}")
        return [found.get(name, Delivery(name, False, said)) for name in names]

    def scrub(self, text: str, limit: int = 300) -> str:
        """A text without anything that stands in the URLs."""
        for piece in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(piece, "•••")
        return text.strip()[-limit:]


def deliver(
    targets: Targets,
    outbox: Sequence[Outgoing],
    now: float,
    *,
    clock: Callable[[], float],
    log: Any,
) -> list[Outgoing]:
    """Sends what is due and gives back what still waits.

    A target that cannot be reached gets nothing more in this call: what comes after it would fail as well.

    Args:
        targets: everybody.
        outbox: messages, oldest first.
        now: seconds since 1970.
        clock: seconds that only grow, to stop in time.
        log: told of every failure and of what is given up.
    """
    started, down = clock(), set[str]()
    left: list[Outgoing] = []
    for number, item in enumerate(outbox):
        # One that is not there may be a URL that cannot be used: it is put right before the message is too old.
        gone = [name for name in item.waiting if name not in targets.names and not targets.unusable]
        if gone:
            log.warning(f"Not delivered, {', '.join(gone)} is told nothing any more: {item.message.subject}")
        waiting = [name for name in item.waiting if name not in gone]
        if not waiting:
            continue
        if now - item.made_at > _GIVE_UP or len(outbox) - number > _OUTBOX:
            log.error(f"Given up, not delivered to {', '.join(waiting)}: {item.message.subject}")
            continue
        due = [name for name in waiting if name not in down and name in targets.names]
        if item.next_at > now or not due or clock() - started > _TICK:
            left.append(item.model_copy(update={"waiting": tuple(waiting)}))
            continue
        for delivery in targets.send(item.message, due):
            if delivery.delivered:
                waiting.remove(delivery.target)
            else:
                down.add(delivery.target)
                log.warning(f"Not delivered to {delivery.target}: {item.message.subject}: {delivery.why}")
        if waiting:
            left.append(_later(item, waiting, now))
    return left


def _later(item: Outgoing, waiting: Sequence[str], now: float) -> Outgoing:
    """The message for those who did not get it, after a pause that grows with each attempt."""
    pause = min(_PAUSE * 2**item.tries, _LONGEST_PAUSE)
    return item.model_copy(update={"waiting": tuple(waiting), "tries": item.tries + 1, "next_at": now + pause})


def test_message(settings: Settings) -> Message:
    """A message that says that messages arrive."""
    facts = (
        ("What", "This is a test: alerts of this shop arrive here."),
        ("Link", settings.ui_url.rstrip("/") + "/overview"),
    )
    section = Section(title=settings.source_name, facts=facts)
    return Message(
        id="test", subject=f"[{settings.source_name}] Test of alerts", severity="warning", sections=(section,),
        footer="Sent by `ecommerce alerts test`.",
    )  # fmt: skip


def queued(messages: Sequence[Message], targets: Targets, now: float) -> list[Outgoing]:
    """New messages for everybody."""
    return [Outgoing(message=message, waiting=targets.names, made_at=now) for message in messages]


def _quiet_apprise() -> Apprise:
    """An empty Apprise whose own log goes nowhere: it writes a URL it cannot read as it is. Results carry what matters."""
    try:
        import apprise
    except ImportError:
        raise SettingsError(
            "apprise, which sends alerts, is not installed",
            where="ECOMMERCE_ALERT_URLS",
            fix="pip install 'ecommerce_platform[notify]'",
        ) from None

    log = logging.getLogger("apprise")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    return apprise.Apprise()


def _split(urls: str) -> list[str]:
    """URLs as people list them; a comma that is followed by no URL belongs to the one before (`to=a@x,b@x`)."""
    return [url.rstrip(",") for url in re.split(r"\s+|,(?=[A-Za-z][\w+.-]*://)", urls) if url.strip(",")]


def _addressed(urls: Sequence[str], addresses: Sequence[str]) -> list[str]:
    """The first mail URL with each of the addresses in the place of its own."""
    found = next((url for url in urls if url.partition("://")[0].lower() in _MAIL), None)
    if found is None:
        raise SettingsError(
            "there is no mail server to send reports through", where="ECOMMERCE_ALERT_URLS",
            fix="add a mailtos:// URL; docs/alerts.md has examples",
        )  # fmt: skip
    parts = urlsplit(found)
    rest = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in ("to", "cc", "bcc")]
    return [urlunsplit(parts._replace(path="", query=urlencode([*rest, ("to", address)]))) for address in addresses]


def _label(masked: str) -> str:
    """`mailto://user:****@host:587/…`: a path and what comes after it may hold a token, whatever the service."""
    parts = urlsplit(masked)
    rest = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{rest}"


def _pieces(url: str) -> set[str]:
    """What a URL consists of, as it is written and as it is meant."""
    pieces = re.split(r"[/:@?&=,]+", url.partition("://")[2])
    return {form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= _SECRET_LENGTH}
