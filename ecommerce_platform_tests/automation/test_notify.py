"""Messages that reach a real SMTP server and a real HTTP endpoint, or wait until they can."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ecommerce_platform.alerting import notify
from ecommerce_platform.alerting.alerts import Message, Outgoing, Section
from ecommerce_platform.alerting.notify import Targets, deliver, queued
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform_tests.automation.mailbox import Hook, Mailbox, free_port, hook, mailbox
from ecommerce_platform_tests.conftest import Shop

LINK = "http://127.0.0.1:3000/runs/1a2b"


def message(number: int = 1, *, resolved: bool = False) -> Message:
    facts = (("What", "orders <b>are</b> missing & late"), ("Link", LINK))
    section = Section(title="gold.kpi_daily", facts=facts)
    return Message(
        id=str(number), subject=f"[shop] message {number}", severity="error", resolved=resolved, sections=(section,),
        footer="The end.",
    )  # fmt: skip


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture
def web() -> Iterator[Hook]:
    with hook() as found:
        yield found


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)

    error = warning


def run(targets: Targets, outbox: list[Outgoing], now: float) -> tuple[list[Outgoing], list[str]]:
    """A delivery; what waits goes through its text, as through a cursor."""
    log = Log()
    left = deliver(targets, outbox, now, clock=lambda: 0.0, log=log)
    return [Outgoing.model_validate_json(item.model_dump_json()) for item in left], log.lines


def test_a_mail_has_subject_text_html_and_link(mail: Mailbox):
    targets = Targets(Settings(alert_urls=mail.url))
    assert [d.delivered for d in targets.send(message(), targets.names)] == [True]
    [got] = mail.mails
    assert got["Subject"] == "[shop] message 1"
    assert got["From"] == "shop@example.com"
    assert got["To"] == "ops@example.com"
    assert "What: orders <b>are</b> missing & late" in mail.part("plain")
    assert LINK in mail.part("plain")
    assert "orders &lt;b&gt;are&lt;/b&gt; missing &amp; late" in mail.part("html")
    assert f'href="{LINK}"' in mail.part("html")


def test_a_webhook_gets_title_text_and_type(web: Hook):
    targets = Targets(Settings(alert_urls=web.url))
    targets.send(message(), targets.names)
    targets.send(message(2, resolved=True), targets.names)
    first, second = web.requests
    assert (first["title"], first["type"], second["type"]) == ("[shop] message 1", "failure", "success")
    assert first["message"] == f"gold.kpi_daily\nWhat: orders <b>are</b> missing & late\nLink: {LINK}\n\nThe end."


def test_slack_gets_the_text_and_the_link(monkeypatch: pytest.MonkeyPatch):
    """Slack itself cannot be reached in a test; what apprise would post to it can be seen."""
    import requests

    posted: list[str] = []

    def post(url: str, data: str, **_: object) -> requests.Response:
        posted.append(data)
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"ok"
        return answer

    monkeypatch.setattr(requests, "request", lambda method, url, data=None, **rest: post(url, data, **rest))
    monkeypatch.setattr(requests, "post", post)
    targets = Targets(Settings(alert_urls="slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"))
    assert [d.delivered for d in targets.send(message(), targets.names)] == [True]
    assert "[shop] message 1" in posted[0]
    assert LINK in posted[0]


def test_each_target_gets_each_message_once_whatever_becomes_of_the_others(mail: Mailbox, web: Hook):
    targets = Targets(Settings(alert_urls=f"{mail.url} {web.url}"))
    mail.close()
    left, log = run(targets, queued([message(1), message(2)], targets, 0.0), 0.0)
    assert web.subjects == ["[shop] message 1", "[shop] message 2"]
    assert [len(item.waiting) for item in left] == [1, 1]
    assert log == [f"Not delivered to mailto://127.0.0.1:{mail.port}/…: [shop] message 1: "
                   'Connection error while submitting email to "127.0.0.1"']  # fmt: skip
    mail.open()
    assert run(targets, left, 29.0)[0][0].tries == 1, "not before its pause is over"
    left, log = run(targets, left, 31.0)
    assert (left, log) == ([], [])
    assert sorted(mail.subjects) == ["[shop] message 1", "[shop] message 2"]
    assert len(web.requests) == 2


def test_pauses_grow_and_after_a_day_a_message_is_given_up(web: Hook):
    targets = Targets(Settings(alert_urls=web.url))
    web.answers = [500] * 1000
    left, now, tries, given_up = queued([message()], targets, 0.0), 0.0, 0, []
    while left:
        left, log = run(targets, left, now)
        tries += sum("Not delivered" in line for line in log)
        given_up += [line for line in log if "Given up" in line]
        now = max(now + 30, left[0].next_at if left else 0)
    assert tries < 40
    assert 86_400 < now < 95_000
    assert len(given_up) == 1
    assert web.requests == []


def test_a_message_waits_for_a_target_whose_url_is_wrong_meanwhile(mail: Mailbox, web: Hook):
    both = Settings(alert_urls=f"{mail.url} {web.url}")
    for broken in ("jsn://127.0.0.1", f"{mail.url} jsn://127.0.0.1"):
        before = len(web.subjects)
        left, log = run(Targets(Settings(alert_urls=broken)), queued([message()], Targets(both), 0.0), 30.0)
        assert Targets(Settings(alert_urls=web.url)).names[0] in left[0].waiting
        assert log == []
        assert run(Targets(both), left, 90.0) == ([], [])
        assert len(web.subjects) == before + 1
    assert len(mail.subjects) == 2, "whom it reached gets it once"


def test_a_message_for_a_target_that_is_configured_no_more_is_dropped_with_a_word(mail: Mailbox, web: Hook):
    left, log = run(
        Targets(Settings(alert_urls=mail.url)), queued([message()], Targets(Settings(alert_urls=web.url)), 0.0), 30.0
    )
    assert left == []
    assert log == [
        f"Not delivered, {Targets(Settings(alert_urls=web.url)).names[0]} is told nothing any more: [shop] message 1"
    ]


def test_what_waits_is_bounded(web: Hook):
    targets = Targets(Settings(alert_urls=web.url))
    web.answers = [500]
    left, log = run(targets, queued([message(n) for n in range(80)], targets, 0.0), 0.0)
    assert [item.message.id for item in left] == [str(n) for n in range(30, 80)]
    assert sum("Given up" in line for line in log) == 30
    assert sum("Not delivered" in line for line in log) == 1, "the others would have failed as well"


def test_a_target_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch):
    import socket

    monkeypatch.setattr(notify, "_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        targets = Targets(Settings(alert_urls=f"json://127.0.0.1:{port}?rto=2"))
        [delivery] = targets.send(message(), targets.names)
    assert not delivery.delivered
    assert delivery.why


def test_a_plugin_that_raises_is_a_delivery_that_failed(web: Hook, monkeypatch: pytest.MonkeyPatch):
    import apprise

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot use {web.url}")

    targets = Targets(Settings(alert_urls=web.url))
    monkeypatch.setattr(apprise.Apprise, "notify", broken)
    [delivery] = targets.send(message(), targets.names)
    assert not delivery.delivered
    assert "RuntimeError" in delivery.why
    assert "pa55w0rd" not in delivery.why
    assert "t0ken" not in delivery.why


class Lines(logging.Handler):
    """What a process that logs everything from INFO on would write."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_names_logs_and_what_waits_hold_no_secrets(web: Hook, monkeypatch: pytest.MonkeyPatch):
    written = Lines()
    monkeypatch.setattr(logging.getLogger(), "handlers", [written])
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    logging.getLogger("elsewhere").info("is seen")
    port = free_port()
    urls = (
        f"{web.url} mailto://ann:s3cr3t@127.0.0.1:{port}?from=a@b.de&to=c@d.de,e@f.de&mode=insecure,"
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts bogus://h1dd3n jsons://user:also@"
    )
    targets = Targets(Settings(alert_urls=urls))
    assert targets.names == (
        f"json://robot:****@127.0.0.1:{web.port}/…",
        f"mailto://ann:****@127.0.0.1:{port}/…",
        "slack://T...2/…",
    )
    assert len(targets.unusable) == 2
    web.answers = [500]
    left, log = run(targets, [Outgoing(message=message(), waiting=targets.names[:2], made_at=0.0)], 0.0)
    told = "\n".join([*log, *targets.names, *targets.unusable, *(i.model_dump_json() for i in left), *written.lines])
    for secret in ("pa55w0rd", "t0ken", "k3y9", "s3cr3t", "h1dd3n", "also", "TIiajkdnlazkcOXrIdevi7FQ"):
        assert secret not in told, secret
    assert written.lines == ["is seen"], "apprise's own log may name URLs as they are"
    assert len(log) == 2


def test_two_urls_that_look_alike_are_two_targets(web: Hook):
    targets = Targets(Settings(alert_urls=f"{web.url},{web.url.replace('t0ken', 'other')}"))
    assert targets.names[1] == f"{targets.names[0]} (2)"
    assert len(targets.send(message(), targets.names)) == 2
    assert len(web.requests) == 2


@pytest.mark.parametrize("value", ["s3cr3t", "//s3cr3t@host", "mailto:s3cr3t@host"])
def test_a_setting_that_is_no_url_is_refused_without_showing_it(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ECOMMERCE_ALERT_URLS", value)
    with pytest.raises(SettingsError, match="ECOMMERCE_ALERT_URLS") as error:
        read_settings()
    assert "s3cr3t" not in str(error.value)


def test_settings_never_show_the_urls(web: Hook):
    settings = Settings(alert_urls=web.url)
    assert "pa55w0rd" not in f"{settings!r} {settings} {settings.model_dump_json()} {settings.environment()}"


def test_apprise_is_imported_only_by_who_sends():
    code = "import ecommerce_platform.alerting.notify, ecommerce_platform.orchestration.assembly, sys; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_command_says_for_each_target_whether_it_was_reached(shop: Shop, mail: Mailbox, web: Hook):
    urls = f"{mail.url} {web.url}"
    assert shop.ok("alerts", "test", ECOMMERCE_ALERT_URLS=urls).count(" yes ") == 2
    assert mail.subjects == web.subjects == ["[synthetic] Test of alerts"]
    mail.close()
    done = shop.run("alerts", "test", ECOMMERCE_ALERT_URLS=urls)
    assert done.returncode == 1
    assert [done.stdout.count(f" {word} ") for word in ("yes", "no")] == [1, 1]
    assert "pa55w0rd" not in done.stdout + done.stderr
    refused = shop.run("alerts", "test")
    assert refused.returncode == 2
    assert "ECOMMERCE_ALERT_URLS" in refused.stderr
