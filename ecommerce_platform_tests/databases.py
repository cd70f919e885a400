"""Database servers of the tests' own: PostgreSQL and MariaDB or MySQL, started from the programs that are installed.

Each server has a folder and a port of its own and is gone with the block that started it. One that is there already can
be used instead: `ECOMMERCE_TEST_POSTGRES_URL` and `ECOMMERCE_TEST_MYSQL_URL`, of a user that may create databases. When
there is neither, tests are left out and the summary says what to install (in CI they fail).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import uuid4

import pytest

from ecommerce_platform_tests.leftout import leave_out

Kind = Literal["postgresql", "mysql"]
_VARIABLE = {"postgresql": "ECOMMERCE_TEST_POSTGRES_URL", "mysql": "ECOMMERCE_TEST_MYSQL_URL"}


@dataclass
class Server:
    """A database server.

    `url` is that of a user who may do everything. `process` is None for a server that somebody else started: it can
    be neither stopped nor started again.
    """

    kind: Kind
    url: str
    command: Sequence[str] = ()
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or {"postgresql": 5432, "mysql": 3306}[self.kind]

    def run(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Runs statements, each committed on its own; the rows of the last."""
        connection = self.connect(database)
        try:
            rows: list[tuple[Any, ...]] = []
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                    rows = list(cursor.fetchall()) if cursor.description else []
            return rows
        finally:
            connection.close()

    def connect(self, database: str | None = None, autocommit: bool = True) -> Any:
        """A DB-API connection."""
        if self.kind == "postgresql":
            from adbc_driver_postgresql import dbapi

            return dbapi.connect(self.url_of(database) if database else self.url, autocommit=autocommit)
        import pymysql

        parts = urlsplit(self.url)
        return pymysql.connect(
            host=parts.hostname, port=self.port, user=unquote(parts.username or ""),
            password=unquote(parts.password or ""), database=database, autocommit=autocommit, charset="utf8mb4",
        )  # fmt: skip

    def url_of(self, database: str, port: int | None = None, user: str | None = None, password: str = "") -> str:
        """The URL of a database, as another user or through another port if wanted."""
        parts = urlsplit(self.url)
        name = f"{user}:{password}" if user else parts.netloc.rpartition("@")[0]
        return urlunsplit((parts.scheme, f"{name}@{parts.hostname}:{port or self.port}", database, parts.query, ""))

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a new, empty database that is gone afterwards."""
        name = f"ecommerce_test_{uuid4().hex[:12]}"
        self.run(f"create database {name}")
        try:
            yield name
        finally:
            if self.kind == "mysql":  # a connection that somebody left open would hold its tables
                for (number,) in self.run(f"select id from information_schema.processlist where db = '{name}'"):
                    self.run(f"kill {number}")
            self.run(f"drop database {name}" + (" with (force)" if self.kind == "postgresql" else ""))

    def stop(self, at_once: bool = False) -> None:
        """Stops the server, at once as a crash would or in order."""
        assert self.process
        quick = signal.SIGQUIT if self.kind == "postgresql" else signal.SIGKILL
        usual = signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM
        self.process.send_signal(quick if at_once else usual)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Starts it (again) and waits until it answers."""
        assert self.folder
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + 60
        while True:
            try:
                self.run("select 1")
                return
            except Exception as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    said = (self.folder / "log").read_text(errors="replace")[-2000:]
                    pytest.fail(f"the {self.kind} server does not start: {error}\n{said}")
                time.sleep(0.05)


@contextmanager
def serve(kind: Kind, own: bool = False) -> Iterator[Server]:
    """A server of that kind for as long as the block lasts; `own` is one that the test may stop."""
    if not own and (url := os.environ.get(_VARIABLE[kind])):
        yield Server(kind, url)
        return
    # Not below pytest's folder: the path of a socket may have a hundred characters, and other users must get in.
    folder = Path(tempfile.mkdtemp(prefix="ecommerce-db-"))
    try:
        server = (_postgresql if kind == "postgresql" else _mysql)(folder, _free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop(at_once=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgresql(folder: Path, port: int) -> Server:
    places = [str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, postgres = _program("initdb", places), _program("postgres", places)
    if not initdb or not postgres:
        _missing("postgresql", "PostgreSQL (Debian: apt-get install postgresql; macOS: brew install postgresql)")
    prefix = _as_user("postgres", folder)
    data = folder / "data"
    subprocess.run(
        [*prefix, initdb, "-D", str(data), "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    rules = data / "pg_hba.conf"  # everybody gets in, but a user `locked` only with a password
    rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    options = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off",
        "max_connections": 50, "log_min_messages": "fatal",
    }  # fmt: skip
    command = [*prefix, postgres, "-D", str(data), *(f"--{name}={value}" for name, value in options.items())]
    return Server("postgresql", f"postgresql://tests@127.0.0.1:{port}/postgres", command, folder)


def _mysql(folder: Path, port: int) -> Server:
    places = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec"]
    mariadb = _program("mariadbd", places)
    mysqld = mariadb or _program("mysqld", places)
    install = _program("mariadb-install-db", places) or _program("mysql_install_db", places)
    if not mysqld or (mariadb and not install):
        _missing("mysql", "MariaDB (Debian: apt-get install mariadb-server; macOS: brew install mariadb)")
    prefix = _as_user("mysql", folder)
    data = folder / "data"
    if mariadb:
        initialise = [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                      "--skip-test-db"]  # fmt: skip
    else:
        initialise = [mysqld, "--no-defaults", f"--datadir={data}", "--initialize-insecure"]
    subprocess.run([*prefix, *map(str, initialise)], check=True, capture_output=True, cwd=folder)
    command = [
        *prefix, mysqld, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
        f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", "--innodb-flush-log-at-trx-commit=2",
        "--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M",
    ]  # fmt: skip
    return Server("mysql", f"mysql://root:@127.0.0.1:{port}/", command, folder)


def _program(name: str, places: Sequence[str]) -> str | None:
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


def _as_user(name: str, folder: Path) -> list[str]:
    """How to start a program that refuses to run as root and that is to end with the tests, however they end."""
    setpriv = shutil.which("setpriv")  # util-linux: root needs it, on other systems than Linux it is not there
    if os.geteuid() != 0:
        return [setpriv, "--pdeathsig=KILL"] if setpriv else []
    shutil.chown(folder, name, name)
    return [setpriv or "setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", "--pdeathsig=KILL"]


def _missing(kind: Kind, what: str) -> NoReturn:
    leave_out(f"no {kind} server", f"install {what}, or set {_VARIABLE[kind]} to the URL of one that may be used")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
