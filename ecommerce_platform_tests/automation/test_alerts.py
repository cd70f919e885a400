"""One cause, one message: what is told, when, and how it reads."""

from __future__ import annotations

from typing import Any

import pytest

from ecommerce_platform.alerting.alerts import (
    AlertState,
    Finding,
    Message,
    Rules,
    mark_of,
    presentable,
    render_html,
    render_text,
    update,
)

RULES = Rules(
    source="shop",
    time_zone="Europe/Berlin",
    ui_url="http://127.0.0.1:3000",
    upstream={
        "silver.orders": {"bronze.shop__orders"},
        "gold.kpi_daily": {"silver.orders", "bronze.shop__orders"},
        "gold.kpi_summary": {"gold.kpi_daily", "silver.orders", "bronze.shop__orders"},
    },
)
T0 = 1_709_265_600.0  # 2024-03-01 05:00 in Berlin


def finding(key: str, **values: Any) -> Finding:
    kind, _, where = key.partition(" ")
    given = {
        "kind": {"table": "run", "job": "run"}.get(kind, kind), "severity": "error", "headline": f"{where} is wrong",
        "where": where.split()[0], "what": "Something is wrong.", "at": T0, "cause": f"cause of {key}",
    }  # fmt: skip
    return Finding(key=key, **{**given, **values})


class Desk:
    """Ticks that follow each other; the state goes through its text each time, as through a cursor."""

    def __init__(self, rules: Rules = RULES, *, started: bool = True) -> None:
        self.rules, self.cursor = rules, AlertState(looked_at=T0).model_dump_json(exclude_defaults=True)
        self.first = not started

    def tick(self, *found: Finding, over: Any = (), once: Any = (), at: float = 0.0) -> list[Message]:
        state = AlertState.model_validate_json(self.cursor)
        messages = update(state, found, over, once, self.rules, T0 + at, first=self.first)
        self.first, self.cursor = False, state.model_dump_json(exclude_defaults=True)
        return messages

    def subjects(self, *found: Finding, **values: Any) -> list[str]:
        return [message.subject for message in self.tick(*found, **values)]


def stale(table: str, at: float = 0.0) -> Finding:
    return finding(f"stale {table}", headline=f"{table} is too old", at=T0 + at, cause="stale")


def test_what_stays_wrong_is_told_once_and_its_end_once():
    desk, check = Desk(), finding("check gold.kpi_daily contract")
    assert desk.subjects(check) == ["[shop] gold.kpi_daily contract is wrong"]
    assert not any(desk.tick(check, at=30 * n) for n in range(1, 200))
    assert desk.subjects(over={check.key}, at=9000) == ["[shop] Resolved: gold.kpi_daily contract is wrong"]
    assert desk.tick(over={check.key}, at=9030) == []


def test_one_run_is_one_message_with_the_worst_first():
    checks = [finding(f"check silver.t{n} c", cause="run 1", severity="warning") for n in range(3)]
    failed = finding("table bronze.orders", cause="run 1", headline="daily_load failed at bronze.orders")
    [message] = Desk().tick(*checks, failed)
    assert message.subject == "[shop] daily_load failed at bronze.orders and 3 more"
    assert message.severity == "error"
    assert [section.title for section in message.sections] == ["bronze.orders", "silver.t0", "silver.t1", "silver.t2"]


def test_the_end_is_told_when_everything_in_the_message_is_over():
    desk = Desk()
    first, second = (finding(f"check gold.t{n} c", cause="run 1") for n in range(2))
    desk.tick(first, second)
    assert desk.tick(over={first.key}, at=60) == []
    [message] = desk.tick(over={second.key}, at=120)
    assert message.resolved
    assert message.subject == "[shop] Resolved: gold.t0 c is wrong and 1 more"


def test_the_check_that_stopped_a_write_is_told_with_the_failed_run_alone():
    failed = finding("table silver.orders", cause="run 1", run_id="1", tables=("silver.orders",))
    check = finding("check silver.orders contract", cause="run 1", run_id="1")
    desk = Desk()
    assert [len(message.sections) for message in desk.tick(failed, check)] == [1]
    assert [m.resolved for m in desk.tick(over={failed.key, check.key}, at=60)] == [True]


def test_tables_that_are_old_because_something_above_failed_are_no_news():
    desk = Desk()
    failed = finding("table bronze.shop__orders", tables=("bronze.shop__orders",))
    assert len(desk.tick(failed)) == 1
    old = [stale("gold.kpi_daily", 1000), stale("gold.kpi_summary", 1010)]
    assert not any(desk.tick(*old, at=at) for at in (1000, 1630, 9000))
    # Put right, but they are still too old: now nothing else explains it.
    assert desk.subjects(*old, over={failed.key}, at=9030) == [
        "[shop] Resolved: bronze.shop__orders is wrong",
        "[shop] gold.kpi_daily is too old and 1 more",
    ]


def test_tables_that_get_old_one_after_the_other_are_one_message():
    desk = Desk()
    told = [
        desk.subjects(*(stale(f"gold.t{n}", 60 * n) for n in range(at // 60 + 1)), at=at) for at in range(0, 721, 60)
    ]
    assert next(subjects for subjects in told if subjects) == ["[shop] gold.t0 is too old and 10 more"]
    assert sum(map(len, told)) <= 2


def test_what_comes_and_goes_is_told_at_most_twice_an_hour():
    desk, check = Desk(), finding("check gold.kpi_daily contract")
    told = 0
    for tick in range(120):
        told += len(desk.tick(check, at=60 * tick) if tick % 2 == 0 else desk.tick(over={check.key}, at=60 * tick))
    assert told == 4, "wrong and over, in each of two hours"


def test_what_is_wrong_again_is_told_when_the_quiet_period_is_over():
    desk, check = Desk(), finding("check gold.kpi_daily contract")
    desk.tick(check)
    desk.tick(over={check.key}, at=60)
    assert desk.tick(check, at=120) == []
    assert desk.tick(at=3599) == []
    assert len(desk.tick(at=3600)) == 1


def test_what_is_wrong_again_is_told_though_other_things_of_its_message_last():
    desk = Desk()
    comes, stays = (finding(f"check gold.t{n} c", cause="run 1") for n in range(2))
    desk.tick(comes, stays)
    assert desk.tick(over={comes.key}, at=4000) == []
    later = comes.model_copy(update={"at": T0 + 600_000})
    [message] = desk.tick(later, at=600_000)
    assert message.subject == "[shop] gold.t0 c is wrong"
    assert ("Since", "2024-03-08 03:40 CET") in message.sections[0].facts
    # Each message ends with what it told.
    assert desk.subjects(over={stays.key}, at=600_060) == ["[shop] Resolved: gold.t1 c is wrong"]
    assert desk.subjects(over={comes.key}, at=600_120) == ["[shop] Resolved: gold.t0 c is wrong"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"size": 3}, {"size": 29}, 0),
        ({"size": 3}, {"size": 30}, 1),
        ({"severity": "warning"}, {"severity": "error"}, 1),
        ({"mark": mark_of("file of 2024-03-01 is damaged")}, {"mark": mark_of("file of 2024-03-02 is damaged")}, 0),
        ({"mark": mark_of("the disk is full")}, {"mark": mark_of("column x is missing")}, 1),
    ],
)
def test_what_changes_is_told_again(before: dict[str, Any], after: dict[str, Any], told: int):
    desk = Desk()
    assert len(desk.tick(finding("check gold.t c", **before))) == 1
    assert desk.tick(finding("check gold.t c", **after), at=1800) == [], "within the quiet period"
    assert len(desk.tick(finding("check gold.t c", **after), at=3700)) == told
    assert desk.tick(finding("check gold.t c", **after), at=9000) == []


def test_the_first_look_is_one_message_however_much_is_wrong():
    many = [finding(f"check gold.t{n} c") for n in range(300)]
    desk = Desk(started=False)
    [message] = desk.tick(*many)
    assert message.subject == "[shop] Alerts are on: 300 things are wrong"
    assert message.sections[-1].title == "And 290 more"
    assert len(render_text(message)) < 8000
    assert desk.tick(*many, at=60) == []
    assert Desk(started=False).tick() == []


def test_a_storm_is_one_message():
    assert len(Desk().tick(*(finding(f"check gold.t{n} c") for n in range(5)))) == 5
    [message] = Desk().tick(*(finding(f"check gold.t{n} c") for n in range(6)))
    assert message.subject == "[shop] 6 things are wrong"


def test_only_what_is_severe_enough_is_told():
    desk = Desk(Rules("shop", "UTC", "http://x", severity="error"))
    warning = finding("check gold.t c", severity="warning")
    assert desk.tick(warning, once=[finding("anomaly revenue", severity="warning")]) == []
    assert desk.tick(over={warning.key}, at=30) == [], "nobody was told, so nobody is told that it is over"
    assert len(desk.tick(finding("check gold.t c"), at=60)) == 1


def test_what_happens_once_is_told_and_forgotten():
    desk = Desk()
    seen = [finding(f"anomaly {series}", cause="snapshot 1") for series in ("revenue", "orders")]
    assert desk.subjects(once=seen) == ["[shop] orders is wrong and 1 more"]
    assert AlertState.model_validate_json(desk.cursor).firing == {}


def test_a_message_says_what_where_since_when_what_to_do_and_where_to_look():
    check = finding(
        "check gold.kpi_daily contract", what="Check contract: orders is required: 3 rows", examples=("(day=1)", "(day=2)"),
        run="daily_load of 2024-03-01, run 1a2b3c4d", fix="Correct the drop.", page="/assets/gold/kpi_daily?view=checks",
    )  # fmt: skip
    [message] = Desk().tick(check)
    assert render_text(message) == (
        "gold.kpi_daily\n"
        "What: Check contract: orders is required: 3 rows\n"
        "For example: (day=1); (day=2)\n"
        "Seen in: daily_load of 2024-03-01, run 1a2b3c4d\n"
        "Since: 2024-03-01 05:00 CET\n"
        "What to do: Correct the drop.\n"
        "Link: http://127.0.0.1:3000/assets/gold/kpi_daily?view=checks\n\n"
        "`ecommerce alerts` lists what is wrong now."
    )


def test_html_shows_values_as_text():
    [message] = Desk().tick(finding("check gold.t c", what="<script>x</script> & more", page="/a?b=1&c=2"))
    shown = render_html(message)
    assert "&lt;script&gt;x&lt;/script&gt; &amp; more" in shown
    assert '<a href="http://127.0.0.1:3000/a?b=1&amp;c=2">' in shown


def test_messages_hold_no_passwords_and_no_personal_data():
    said = "postgresql://app:hunter2@db/shop refused 'Ann Smith' <ann.smith@example.com>\nsecond line " + "x" * 1000
    shown = presentable(said, personal=True)
    assert shown.startswith("postgresql://•••@db/shop refused '•••' <•••> second line x")
    assert len(shown) <= 601
    assert "Ann Smith" in presentable(said)
    assert "ann.smith" not in presentable(said)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("name 'O'Brien' is no name", "name '•••' is no name"),
        ("'O'Brien' is not 'Smith': 2 rows", "'•••': 2 rows"),
        ('values never seen before: "Anna O\'Hara"', "values never seen before: '•••'"),
        ("street '12 Main St\nSpringfield' is new", "street '•••' is new"),
    ],
)
def test_no_value_in_quotes_slips_through_whatever_is_in_it(said: str, shown: str):
    assert presentable(said, personal=True) == shown


def test_a_cursor_of_another_kind_is_refused():
    for cursor in ("{}x", '{"version": 2}', '{"unknown": 1}', "[]"):
        with pytest.raises(ValueError, match="AlertState"):
            AlertState.model_validate_json(cursor)


def test_the_cursor_stays_small_with_the_worst_that_can_be_wrong():
    desk = Desk(started=False)
    desk.tick(*(finding(f"check gold.t{n} c", what="x" * 600, run="y" * 60, mark="z" * 200) for n in range(5000)))
    assert len(desk.cursor) < 800_000
    assert AlertState.model_validate_json(desk.cursor).firing.keys() >= {"check gold.t0 c"}
