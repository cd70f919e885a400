"""Reports reach a real SMTP server: each full month once to each address, whatever happens in between."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aiosmtpd.controller import Controller

from ecommerce_platform.alerting.notify import Targets
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.orchestration import reports
from ecommerce_platform.orchestration.reports import Look, SentReports, send_due
from ecommerce_platform.orchestration.sensors import report_sensor
from ecommerce_platform.serving.access.store import Store
from ecommerce_platform.serving.report.contents import Report
from ecommerce_platform.serving.report.render import write_report
from ecommerce_platform.settings import Settings
from ecommerce_platform_tests.automation.harness import make_source
from ecommerce_platform_tests.automation.mailbox import Mailbox, mailbox
from ecommerce_platform_tests.invented_shop import publish_shop

#: The shop's data end on 13 July 2024.
TODAY = date(2024, 7, 14)
BOSS, SALES = "boss@example.com", "sales@example.com"


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a published shop; its full months are those until June."""
    found = tmp_path_factory.mktemp("sending")
    publish_shop(found / "published")
    return found


@pytest.fixture
def data(folder: Path) -> Iterator[Path]:
    """The shop before anything was sent."""
    yield folder
    for file in folder.glob("serving.db*"):
        file.unlink()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports as the page that a PDF is made of, which takes a second or more, and mails without the pause between them."""
    from apprise.plugins.email.base import NotifyEmail

    monkeypatch.setattr(NotifyEmail, "request_rate_per_sec", 0)

    def page(report: Report, form: str, to: Path) -> Path:
        return write_report(report, "html", to)

    monkeypatch.setattr(reports, "write_report", page)


def settings(data: Path, mail: Mailbox, to: str = BOSS, **more: Any) -> Settings:
    return Settings(data_dir=data, alert_urls=mail.url, report_to=to, **more)


def look(given: Settings, today: date = TODAY) -> Look:
    return send_due(given, today, logging.getLogger("reports"))


def told(mail: Mailbox) -> list[tuple[str, str]]:
    """Who got what."""
    return [(str(m["To"]), str(m["Subject"]).removeprefix("[synthetic] Report of ")) for m in mail.mails]


def test_the_newest_full_month_is_sent_once_as_pdf_and_older_ones_never(data: Path, mail: Mailbox) -> None:
    given = settings(data, mail, f"{BOSS}, {SALES}")
    assert look(given).sent == 2
    assert look(given).sent == 0
    assert told(mail) == [(BOSS, "June 2024"), (SALES, "June 2024")]
    [attached] = mail.mails[0].iter_attachments()
    assert attached.get_filename() == "synthetic-2024-06.pdf"
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_content()[:5] == b"%PDF-"
    assert "Revenue was €" in mail.part("html", 0)
    assert "ops@example.com" not in str(mail.mails[0]), "who gets alerts is not who gets reports"


@pytest.mark.usefixtures("quick")
def test_what_became_full_since_is_sent_oldest_first(data: Path, mail: Mailbox) -> None:
    SentReports(data).note(BOSS, "month", "2024-04")
    assert look(settings(data, mail)).sent == 2
    assert told(mail) == [(BOSS, "May 2024"), (BOSS, "June 2024")]


@pytest.mark.usefixtures("quick")
def test_a_history_that_is_loaded_is_no_news(data: Path, mail: Mailbox) -> None:
    SentReports(data).note(BOSS, "month", "2023-01")
    assert look(settings(data, mail)).sent == 2, "all that ended within two months, of a year and a half"
    assert look(settings(data, mail, SALES), date(2024, 9, 2)).sent == 0
    assert [period for _, period in told(mail)] == ["May 2024", "June 2024"]


@pytest.mark.usefixtures("quick")
def test_quarters_and_years_are_periods_of_their_own(data: Path, mail: Mailbox) -> None:
    given = settings(data, mail, report_every="month, quarter, year")
    assert look(given).sent == 2
    assert look(given).sent == 0
    assert [period for _, period in told(mail)] == ["June 2024", "Q2 2024"]


@pytest.mark.usefixtures("quick")
def test_what_could_not_be_delivered_is_sent_at_a_later_look_in_order(data: Path, mail: Mailbox) -> None:
    given = settings(data, mail)
    SentReports(data).note(BOSS, "month", "2024-04")
    mail.close()
    found = look(given)
    assert (found.sent, found.failed) == (0, 1), "June does not overtake May"
    assert "tried again" in found.says
    mail.open()
    assert look(given).sent == 2
    assert told(mail) == [(BOSS, "May 2024"), (BOSS, "June 2024")]


@pytest.mark.usefixtures("quick")
def test_an_address_that_is_refused_does_not_repeat_the_mail_of_others(data: Path) -> None:
    box = Mailbox()

    class Refusing:
        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
            if address == BOSS:
                return "550 no such person"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            box.mails.append(envelope.rcpt_tos[0])
            return "250 OK"

    controller = Controller(Refusing(), hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        for _ in range(3):
            assert look(settings(data, box, f"{BOSS},{SALES}")).failed == 1
    finally:
        controller.stop()
    assert box.mails == [SALES]


@pytest.mark.usefixtures("quick")
def test_a_process_that_is_killed_between_two_mails_repeats_none(
    data: Path, mail: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, send = settings(data, mail, f"{BOSS},{SALES}"), Targets.send

    def killed(self: Targets, message: Any, names: Any, attach: Any = None) -> Any:
        if mail.mails:
            raise KeyboardInterrupt
        return send(self, message, names, attach)

    monkeypatch.setattr(Targets, "send", killed)
    with pytest.raises(KeyboardInterrupt):
        look(given)
    monkeypatch.setattr(Targets, "send", send)
    assert look(given).sent == 1
    assert told(mail) == [(BOSS, "June 2024"), (SALES, "June 2024")]


@pytest.mark.usefixtures("quick")
def test_a_look_ends_in_time_and_the_next_one_goes_on(data: Path, mail: Mailbox) -> None:
    SentReports(data).note(BOSS, "month", "2024-04")
    seconds = iter([0.0, 1.0, 60.0])
    found = send_due(settings(data, mail), TODAY, logging.getLogger("reports"), clock=lambda: next(seconds))
    assert (found.sent, found.cut_off) == (1, True)
    assert look(settings(data, mail)).sent == 1
    assert [period for _, period in told(mail)] == ["May 2024", "June 2024"]


@pytest.mark.usefixtures("quick")
def test_a_month_is_not_due_before_the_snapshot_has_all_of_it(data: Path, mail: Mailbox) -> None:
    assert look(settings(data, mail), date(2024, 8, 5)).sent == 1
    assert told(mail) == [(BOSS, "June 2024")], "July is over, but only thirteen days of it were delivered"


@pytest.mark.usefixtures("quick")
def test_no_personal_data_leaves_the_house(data: Path, mail: Mailbox) -> None:
    look(settings(data, mail))
    [attached] = mail.mails[0].iter_attachments()
    page = attached.get_content().decode()
    assert "June 2024" in page
    for private in ("Person ", "@example.org"):  # how customers of this shop are called and reached
        assert private not in page
        assert private not in mail.part("html")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"report_to": BOSS}, "no mail server"),
        ({"report_to": BOSS, "alert_urls": "json://127.0.0.1"}, "no mail server"),
        ({"alert_urls": "mailto://127.0.0.1"}, "nobody is to get reports"),
    ],
)
def test_what_is_missing_is_said_with_the_setting(tmp_path: Path, given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as error:
        look(Settings(data_dir=tmp_path, **given))
    assert "ECOMMERCE_" in str(error.value.where)


def tick(given: Settings) -> str:
    sensor = report_sensor(given, make_source(), today=lambda: TODAY)
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance) as context:
        found = sensor(context)
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


@pytest.mark.usefixtures("quick")
def test_the_sensor_sends_and_says_what_stands_in_its_way(data: Path, mail: Mailbox, tmp_path: Path) -> None:
    assert tick(settings(data, mail)) == "Reports sent: 1."
    assert tick(settings(data, mail)) == "Reports sent: 0."
    assert "nothing is published" in tick(settings(tmp_path, mail))
    assert "ECOMMERCE_REPORT_TO" in tick(settings(data, mail, ""))
    running = report_sensor(settings(data, mail), make_source()).default_status
    assert running == dg.DefaultSensorStatus.RUNNING


def test_a_serving_db_of_before_reports_keeps_what_it_holds(tmp_path: Path) -> None:
    Store(tmp_path / "serving.db").read("select 1")
    with sqlite3.connect(tmp_path / "serving.db") as con:
        con.execute("drop table reports_sent")
        con.execute("insert into users (name, role, password, created_at) values ('ada', 'viewer', 'x', 1)")
        con.execute("pragma user_version = 1")
    noted = SentReports(tmp_path)
    noted.note(BOSS, "month", "2024-06")
    assert list(noted.missing(BOSS, "month", ["2024-05", "2024-06", "2024-07"])) == ["2024-07"]
    assert len(Store(tmp_path / "serving.db").read("select * from users")) == 1


@pytest.mark.parametrize("value", ["boss", "boss@example.com&to=x@y.z", "a@b.c d@e.f"])
def test_what_is_no_list_of_addresses_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="e-mail addresses"):
        Settings(report_to=value)
