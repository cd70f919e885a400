"""Who somebody is: passwords, keys, sessions and links, none of which can be read out of the file or guessed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecommerce_platform.contracts.metric_sql import Filter
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.serving.access import saved
from ecommerce_platform.serving.access.accounts import IDLE, LINK, LOCK, SESSION, TRIES, Accounts
from ecommerce_platform.serving.access.roles import PERMISSIONS, ROLES, Who
from ecommerce_platform.serving.access.store import Store

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    accounts = Accounts(Store(tmp_path / "serving.db"), clock)
    yield accounts
    accounts.audit.flush()


def test_nothing_secret_stands_in_the_files_and_only_the_owner_reads_them(accounts: Accounts) -> None:
    accounts.add_user("ada", "analyst", PASSWORD)
    key = accounts.add_key("robot", "viewer")
    session, link = accounts.sign_in("ada", PASSWORD), accounts.one_time_link()
    assert session
    accounts.audit.flush()
    files = list(accounts.store.path.parent.glob("serving.db*"))
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    content = b"".join(f.read_bytes() for f in files)
    for secret in (PASSWORD, key, key.split("_", 2)[2], session, link):
        assert len(secret) * 6 >= 128 or secret == PASSWORD
        assert secret.encode() not in content


def test_a_wrong_password_opens_nothing_and_many_lock_out_for_longer_and_longer(
    accounts: Accounts, clock: Clock
) -> None:
    accounts.add_user("ada", "viewer", PASSWORD)
    assert accounts.sign_in("ada", "wrong password here") is None
    assert accounts.sign_in("nobody", PASSWORD) is None
    for _ in range(TRIES - 1):
        assert accounts.sign_in("ada", "wrong password here") is None
    assert accounts.sign_in("ada", PASSWORD) is None  # locked, though it is right
    clock.now += LOCK + 1
    assert accounts.sign_in("ada", "wrong password here") is None
    clock.now += LOCK + 1  # the second lock is longer than the first
    assert accounts.sign_in("ada", PASSWORD) is None
    clock.now += LOCK
    token = accounts.sign_in("ada", PASSWORD)
    assert accounts.session(token) == Who("user:ada", "viewer", "ada")
    outcomes = [line["outcome"] for line in accounts.audit.lines() if line["action"] == "sign-in"]
    assert outcomes.count("locked out") == 2
    assert outcomes.count("done") == 1


def test_sessions_end_by_age_by_idleness_and_everywhere(accounts: Accounts, clock: Clock) -> None:
    accounts.add_user("ada", "viewer", PASSWORD)
    tokens = [str(accounts.sign_in("ada", PASSWORD)) for _ in range(3)]
    accounts.sign_out(tokens[0])
    assert [bool(accounts.session(t)) for t in tokens] == [False, True, True]
    accounts.sign_out(tokens[1], everywhere=True)
    assert not any(accounts.session(t) for t in tokens)
    idle = accounts.sign_in("ada", PASSWORD)
    clock.now += IDLE + 1
    assert accounts.session(idle) is None
    busy = accounts.sign_in("ada", PASSWORD)
    for _ in range(int(SESSION / 3600)):
        assert accounts.session(busy)
        clock.now += 3600
    clock.now += 1
    assert accounts.session(busy) is None
    assert accounts.session("") is accounts.session("x") is accounts.session(None) is None


def test_a_change_of_password_or_role_ends_sessions(accounts: Accounts) -> None:
    accounts.add_user("ada", "viewer", PASSWORD)
    token = accounts.sign_in("ada", PASSWORD)
    accounts.change_user("ada", role="admin")
    assert accounts.session(token) is None
    token = accounts.sign_in("ada", PASSWORD)
    assert accounts.session(token).role == "admin"  # type: ignore[union-attr]
    accounts.remove_user("ada")
    assert accounts.session(token) is None
    with pytest.raises(InputError, match="no user"):
        accounts.change_user("ada", role="viewer")


def test_a_link_is_exchanged_once_and_within_five_minutes(accounts: Accounts, clock: Clock) -> None:
    first, second = accounts.one_time_link(), accounts.one_time_link()
    token = accounts.exchange(first)
    assert accounts.session(token) == Who("local", "admin", "local")
    assert accounts.exchange(first) is None
    assert LINK == 300
    clock.now += LINK + 1
    assert accounts.exchange(second) is None
    assert accounts.exchange("guess") is None


def test_keys_have_a_role_and_end(accounts: Accounts, clock: Clock) -> None:
    key, short = accounts.add_key("robot", "analyst"), accounts.add_key("visit", "viewer", days=1)
    who = accounts.key(key)
    assert who is not None
    assert (who.role, who.name, who.may("sql"), who.may("personal")) == ("analyst", "robot", True, False)
    assert accounts.key(key[:-1] + ("A" if key[-1] != "A" else "B")) is None
    assert accounts.key(key.replace("ek_", "ek_0")) is accounts.key("") is accounts.key(None) is None
    clock.now += 86_401
    assert accounts.key(short) is None
    accounts.revoke(who.id.removeprefix("key:"))
    assert accounts.key(key) is None
    with pytest.raises(InputError, match="no key"):
        accounts.revoke("000000000000")


def test_each_role_may_what_the_one_before_may() -> None:
    allowed = [{p for p in PERMISSIONS if Who("x", role).may(p)} for role in ROLES]
    assert allowed[0] < allowed[1] < allowed[2] == set(PERMISSIONS)


@pytest.mark.parametrize(
    ("name", "role", "password", "why"),
    [
        ("ada", "boss", PASSWORD, "no role"),
        ("ada", "viewer", "short", "12 to"),
        ("a b", "viewer", PASSWORD, "no name"),
        ("", "viewer", PASSWORD, "no name"),
    ],
)
def test_what_is_no_user_is_refused(accounts: Accounts, name: str, role: str, password: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        accounts.add_user(name, role, password)
    assert accounts.users() == []


def test_views_and_thresholds_are_their_owners(accounts: Accounts) -> None:
    ada, bob, boss = Who("user:ada", "viewer"), Who("user:bob", "viewer"), Who("user:boss", "admin")
    mine = saved.save_view(accounts, ada, "North", "executive", "region=North")
    shared = saved.save_view(accounts, ada, "All", "executive", "", shared=True)
    assert saved.save_view(accounts, ada, "North", "executive", "region=N") == mine
    assert [v.name for v in saved.views_of(accounts, ada)] == ["All", "North"]
    assert [v.id for v in saved.views_of(accounts, bob)] == [shared]
    assert not saved.remove_view(accounts, bob, mine)
    assert saved.remove_view(accounts, boss, mine)
    metrics = read_metrics()
    north = (Filter("region", ("North",)),)
    saved.save_threshold(accounts, ada, metrics, "low", "revenue", "month", filters=north, below=10.0)
    (kept,) = saved.thresholds(accounts)
    assert (kept.filters, kept.below, kept.above) == (north, 10.0, None)
    with pytest.raises(InputError, match="bound"):
        saved.save_threshold(accounts, ada, metrics, "none", "revenue", "month")
    with pytest.raises(InputError, match="no metric"):
        saved.save_threshold(accounts, ada, metrics, "x", "revenu", "month", below=1)


def test_a_forgotten_person_is_in_nothing_that_is_kept(accounts: Accounts) -> None:
    ada = Who("user:ada", "analyst")
    accounts.audit.note(ada.id, "customer", "p1")
    accounts.audit.note(ada.id, "customer", "p2")
    accounts.audit.flush()
    saved.save_view(accounts, ada, "one", "customer", "person=p1")
    assert accounts.forget(["p1"]) == 2
    assert [line["object"] for line in accounts.audit.lines()] == ["p2", "forgotten"]
    assert saved.views_of(accounts, ada) == []


def test_a_file_that_is_no_such_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "serving.db").write_text("something else" * 1000)
    with pytest.raises(SettingsError, match="no database"):
        Store(tmp_path / "serving.db")
    newer = Store(tmp_path / "newer.db")
    with newer.write() as con:
        con.execute("pragma user_version = 99")
    with pytest.raises(SettingsError, match="later version"):
        Store(tmp_path / "newer.db")
