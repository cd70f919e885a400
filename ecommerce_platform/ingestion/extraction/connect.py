"""The database of a source: which kind it is, and the connection URL that the environment holds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ecommerce_platform.contracts.source import Database as Declared
from ecommerce_platform.contracts.source import SourceFile
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.ingestion.extraction.database import Address, Database

#: Schemes of the URLs by kind; a driver, as SQLAlchemy writes one behind a plus, is left out of account.
_SCHEMES = {"postgresql": ("postgresql", "postgres"), "mysql": ("mysql", "mariadb")}


def open_database(file: SourceFile) -> Database:
    """The database of a source, not connected yet; where it is comes from the environment.

    Raises:
        SettingsError: the variable is not set, or what it holds is no URL of such a database.
    """
    declared, zone = file.database, ZoneInfo(file.time_zone)
    assert declared
    if declared.kind == "sqlite":
        from ecommerce_platform.ingestion.extraction.sqlite import SQLite

        path = file.database_file or Path(re.sub(r"^sqlite:/{2,3}(?=.)", "", _value(declared))).expanduser()
        return SQLite(Address(declared.url or "database.path", str(path)), zone)
    address = _read_address(declared)
    if declared.kind == "postgresql":
        from ecommerce_platform.ingestion.extraction.postgresql import PostgreSQL

        return PostgreSQL(address, zone)
    from ecommerce_platform.ingestion.extraction.mysql import MySQL

    return MySQL(address, zone)


def _value(declared: Declared) -> str:
    assert declared.url
    example = {
        "postgresql": "postgresql://user:password@host:5432/database",
        "mysql": "mysql://user:password@host:3306/database",
        "sqlite": "path/to/file.db",
    }[declared.kind]
    value = os.environ.get(declared.url, "").strip()
    if not value:
        raise SettingsError(
            "is not set: it holds where the source's database is",
            where=declared.url,
            fix=f"export {declared.url}={example}",
        )
    return value


def _read_address(declared: Declared) -> Address:
    value, variable = _value(declared), declared.url or ""
    schemes = _SCHEMES[declared.kind]

    def wrong(what: str) -> SettingsError:
        # The value itself is not repeated: there is a password in it.
        return SettingsError(
            what,
            where=variable,
            fix=f"write {schemes[0]}://user:password@host:port/database; in a password, % @ : / # ? as %25 %40 %3A %2F "
            "%23 %3F",
        )

    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise wrong("is not a connection URL") from None
    scheme, _, _driver = parts.scheme.partition("+")
    if scheme not in schemes:
        raise wrong(f"is not the URL of a {declared.kind} database")
    if not parts.path.strip("/"):
        raise wrong("names no database")
    if parts.fragment or re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise wrong("is not a connection URL: it holds a # or % that stands for itself")
    return Address(variable, schemes[0] + value[len(parts.scheme) :])
