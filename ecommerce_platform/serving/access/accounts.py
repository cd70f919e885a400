"""Users, API keys, sessions and one-time links: who somebody is who says so. What they may is in `roles.py`.

Passwords are kept as scrypt (n = 2^15, r = 8, p = 1: 32 MB and about a tenth of a second a try; OWASP Password Storage Cheat
Sheet), secrets of ours, which nobody can guess, as SHA-256. Five wrong passwords lock a user out for a while, and
longer with every further one.
"""

from __future__ import annotations

import atexit
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from threading import Semaphore
from typing import get_args

from ecommerce_platform.errors import InputError
from ecommerce_platform.serving.access.audit import Audit
from ecommerce_platform.serving.access.roles import ROLES, Role, Who
from ecommerce_platform.serving.access.store import NAME, Store

#: Seconds a session lasts at most, and unused.
SESSION, IDLE = 12 * 3600.0, 2 * 3600.0
#: Seconds a one-time link is valid.
LINK = 300.0
#: Wrong passwords before a user is locked out, the first lock in seconds, the longest.
TRIES, LOCK, LONGEST_LOCK = 5, 60.0, 3600.0
#: Seconds between two notes that a key or session was used.
_NOTED = 60.0
_SHORTEST = 12
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_N, _R, _P = 2**15, 8, 1
_KEY = re.compile(r"ek_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
#: Passwords being looked at at once: each takes 32 MB.
_LOOKING = Semaphore(2)


@dataclass(frozen=True)
class KeyInfo:
    """An API key, without what it is secret for."""

    id: str
    name: str
    role: str
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None


class Accounts:
    """The users, keys and sessions of one data folder.

    Args:
        store: where they are kept.
        clock: gives the present in seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store, self.clock = store, clock
        self.audit = Audit(store, clock)

    @classmethod
    def of(cls, data: Path) -> Accounts:
        """Those of a data folder; the file is made where there is none. What the audit log still holds is written at exit."""
        accounts = cls(Store(data / NAME))
        atexit.register(accounts.audit.flush)
        return accounts

    # -- users ----------------------------------------------------------------------------------------------------

    def add_user(self, name: str, role: str, password: str, *, by: str = "local") -> None:
        """Adds a user.

        Raises:
            InputError: the name is taken or no name, there is no such role, the password is too short.
        """
        _check_name(name)
        _check_role(role)
        hashed = hash_password(password)
        with self.store.write() as con:
            if con.execute("select 1 from users where name = ?", (name,)).fetchone():
                raise InputError(
                    f"there is a user {name!r} already", fix="`ecommerce users password` gives a new password"
                )
            con.execute(
                "insert into users (name, role, password, created_at) values (?, ?, ?, ?)",
                (name, role, hashed, self.clock()),
            )
        self.audit.note(by, "user.add", name)

    def change_user(
        self, name: str, *, role: str | None = None, password: str | None = None, by: str = "local"
    ) -> None:
        """Gives a user another role or password; ends all sessions, and a lock.

        Raises:
            InputError: there is no such user or role, the password is too short.
        """
        if role is not None:
            _check_role(role)
        hashed = hash_password(password) if password is not None else None
        with self.store.write() as con:
            done = con.execute(
                "update users set role = coalesce(?, role), password = coalesce(?, password), failures = 0, "
                "locked_until = null where name = ?",
                (role, hashed, name),
            )
            if not done.rowcount:
                raise _no_user(name)
            con.execute("delete from sessions where user = ?", (f"user:{name}",))
        self.audit.note(by, "user.change", name)

    def remove_user(self, name: str, *, by: str = "local") -> None:
        """Removes a user with sessions, saved views and thresholds. Raises an InputError where there is none."""
        owner = f"user:{name}"
        with self.store.write() as con:
            if not con.execute("delete from users where name = ?", (name,)).rowcount:
                raise _no_user(name)
            con.execute("delete from sessions where user = ?", (owner,))
            con.execute("delete from views where owner = ?", (owner,))
            con.execute("delete from thresholds where owner = ?", (owner,))
        self.audit.note(by, "user.remove", name)

    def users(self) -> list[dict[str, object]]:
        """Name, role, created_at and locked_until of all users, by name."""
        rows = self.store.read("select name, role, created_at, locked_until from users order by name")
        return [dict(row) for row in rows]

    def sign_in(self, name: str, password: str) -> str | None:
        """A new session's token for the right password; None for a wrong one, an unknown user, or a locked one.

        Which of these it was is not told, and takes as long.
        """
        now = self.clock()
        if not self._may_try(name, now):
            check_password(password, _NOBODY)
            self.audit.note(f"user:{name}" if _NAME.fullmatch(name) else "?", "sign-in", None, "locked out")
            return None
        found = self.store.read("select role, password from users where name = ?", (name,))
        right = check_password(password, found[0]["password"] if found else _NOBODY)
        if not found:
            self.audit.note("?", "sign-in", None, "refused")
            return None
        if not right:
            self.audit.note(f"user:{name}", "sign-in", None, "refused")
            return None
        with self.store.write() as con:
            con.execute("update users set failures = 0, locked_until = null where name = ?", (name,))
        self.audit.note(f"user:{name}", "sign-in")
        return self._begin_session(f"user:{name}", found[0]["role"])

    def _may_try(self, name: str, now: float) -> bool:
        """Counts a try as wrong before it is looked at, so that many at once don't get more; False while locked out."""
        with self.store.write() as con:
            row = con.execute("select failures, locked_until from users where name = ?", (name,)).fetchone()
            if row is None:
                return True
            if row["locked_until"] and row["locked_until"] > now:
                return False
            failures = row["failures"] + 1
            over = failures - TRIES
            until = now + min(LOCK * 2**over, LONGEST_LOCK) if over >= 0 else None
            con.execute(
                "update users set failures = ?, failed_at = ?, locked_until = ? where name = ?",
                (failures, now, until, name),
            )
        return True

    # -- sessions and links ---------------------------------------------------------------------------------------

    def _begin_session(self, user: str, role: str) -> str:
        token, now = secrets.token_urlsafe(32), self.clock()
        with self.store.write() as con:
            con.execute("delete from sessions where expires_at < ? or seen_at < ?", (now, now - IDLE))
            con.execute(
                "insert into sessions values (?, ?, ?, ?, ?, ?)", (_hash(token), user, role, now, now, now + SESSION)
            )
        return token

    def session(self, token: str | None) -> Who | None:
        """Whose session a cookie's token is; None for one that is over."""
        if not token:
            return None
        now, hashed = self.clock(), _hash(token)
        rows = self.store.read(
            "select user, role, seen_at from sessions where hash = ? and expires_at >= ? and seen_at >= ?",
            (hashed, now, now - IDLE),
        )
        if not rows:
            return None
        if now - rows[0]["seen_at"] > _NOTED:
            with self.store.write() as con:
                con.execute("update sessions set seen_at = ? where hash = ?", (now, hashed))
        user = rows[0]["user"]
        return Who(user, _role(rows[0]["role"]), user.removeprefix("user:"))

    def sign_out(self, token: str, *, everywhere: bool = False) -> None:
        """Ends a session; `everywhere`: all of the same user."""
        who = self.session(token)
        with self.store.write() as con:
            if everywhere and who:
                con.execute("delete from sessions where user = ?", (who.id,))
            con.execute("delete from sessions where hash = ?", (_hash(token),))
        if who:
            self.audit.note(who.id, "sign-out")

    def one_time_link(self) -> str:
        """A token that is exchanged once, within five minutes, for a session of whoever runs this machine."""
        token = secrets.token_urlsafe(32)
        with self.store.write() as con:
            con.execute("delete from links where expires_at < ?", (self.clock(),))
            con.execute("insert into links values (?, ?)", (_hash(token), self.clock() + LINK))
        return token

    def exchange(self, link: str) -> str | None:
        """The token of a new session for a one-time link; None for one that was used, is over or never was."""
        with self.store.write() as con:
            row = con.execute("delete from links where hash = ? returning expires_at", (_hash(link),)).fetchone()
        if row is None or row["expires_at"] < self.clock():
            self.audit.note("?", "link", None, "refused")
            return None
        self.audit.note("local", "link")
        return self._begin_session("local", "admin")

    # -- keys -----------------------------------------------------------------------------------------------------

    def add_key(self, name: str, role: str, *, days: float | None = None, by: str = "local") -> str:
        """A new API key, which is shown this once: only its hash is kept.

        Args:
            name: what it is for.
            role: what it may.
            days: how long it is valid; None: until it is revoked.
            by: who makes it.

        Raises:
            InputError: no name, or no such role.
        """
        _check_name(name)
        _check_role(role)
        id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = self.clock()
        with self.store.write() as con:
            con.execute(
                "insert into keys (id, name, role, hash, created_at, expires_at) values (?, ?, ?, ?, ?, ?)",
                (id_, name, role, _hash(secret), now, now + days * 86_400 if days else None),
            )
        self.audit.note(by, "key.add", id_)
        return f"ek_{id_}_{secret}"

    def key(self, text: str | None) -> Who | None:
        """Whose key it is; None for one that is none, over or revoked."""
        found = _KEY.fullmatch(text or "")
        if not found:
            return None
        id_, secret = found.groups()
        rows = self.store.read(
            "select name, role, hash, expires_at, used_at, revoked_at from keys where id = ?", (id_,)
        )
        now = self.clock()
        if not rows or not compare_digest(rows[0]["hash"], _hash(secret)):
            return None
        row = rows[0]
        if row["revoked_at"] is not None or (row["expires_at"] is not None and row["expires_at"] < now):
            return None
        if row["used_at"] is None or now - row["used_at"] > _NOTED:
            with self.store.write() as con:
                con.execute("update keys set used_at = ? where id = ?", (now, id_))
        return Who(f"key:{id_}", _role(row["role"]), row["name"])

    def all_keys(self) -> list[KeyInfo]:
        """All keys, also revoked ones, oldest first."""
        rows = self.store.read(
            "select id, name, role, created_at, expires_at, used_at, revoked_at from keys order by created_at"
        )
        return [KeyInfo(**dict(row)) for row in rows]

    def revoke(self, id_: str, *, by: str = "local") -> None:
        """Ends a key at once. Raises an InputError where there is none."""
        with self.store.write() as con:
            if not con.execute(
                "update keys set revoked_at = coalesce(revoked_at, ?) where id = ?", (self.clock(), id_)
            ).rowcount:
                raise InputError(f"there is no key {id_!r}", fix="`ecommerce keys list` lists them")
        self.audit.note(by, "key.revoke", id_)

    def forget(self, ids: list[str]) -> int:
        """Takes a person's ids out of the audit log, and views and thresholds that name them; gives how many rows.

        The log keeps that somebody was looked at, and by whom.
        """
        rows = 0
        with self.store.write() as con:
            for id_ in ids:
                rows += con.execute("update audit set object = 'forgotten' where object = ?", (id_,)).rowcount
                for name, column in (("views", "query"), ("thresholds", "filters")):
                    rows += con.execute(f"delete from {name} where instr({column}, ?) > 0", (id_,)).rowcount
        return rows


def hash_password(password: str) -> str:
    """A password as it is kept: `scrypt$n$r$p$salt$hash`, hexadecimal. Raises an InputError for a short or long one."""
    if not _SHORTEST <= len(password) <= 1000:
        raise InputError(f"a password has {_SHORTEST} to 1,000 characters", fix="take a longer one, such as five words")
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${_scrypt(password, salt, _N, _R, _P).hex()}"


def check_password(password: str, kept: str) -> bool:
    """Whether it is the one that was kept so."""
    _, n, r, p, salt, hashed = kept.split("$")
    found = _scrypt(password[:1000], bytes.fromhex(salt), int(n), int(r), int(p))
    return compare_digest(found.hex(), hashed)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    with _LOOKING:
        text = password.encode("utf-8", "surrogatepass")
        return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


#: What the password of somebody unknown is compared with, so that this takes as long.
_NOBODY = f"scrypt${_N}${_R}${_P}${'00' * 16}${'00' * 32}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name", fix="use up to 64 letters, digits, dots, dashes, @ and _")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InputError(f"there is no role {role!r}", fix=f"roles are {', '.join(ROLES)}")


def _role(text: str) -> Role:
    """A role from the database; one that this version does not know may the least."""
    return next((role for role in get_args(Role) if role == text), "viewer")


def _no_user(name: str) -> InputError:
    return InputError(f"there is no user {name!r}", fix="`ecommerce users list` lists them")
