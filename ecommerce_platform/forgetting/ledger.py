"""What must outlive a kill or a new warehouse: a command that has begun, and that somebody has been forgotten.

The journal is there from the moment a command is confirmed to its end. It names the person's records and holds the
values that are looked for, for they cannot be found a second time once half of them are gone; so it is readable by its
owner alone and goes with the last step. The tombstones stay for good, beside the drops rather than in the warehouse, which
can be thrown away and built anew: salted hashes of the customer ids and nothing else.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from ecommerce_platform.disk import sync
from ecommerce_platform.errors import InputError

#: Below the data folder.
JOURNAL, TOMBSTONES, LOCK = ".forgetting.json", "forgotten.json", ".forgetting.lock"


@dataclass
class Journal:
    """Whom a command that has begun is about; see `persons.Person` and `records.Known`.

    `records` are the person's delivered records: raw table, day, file, number. `rejected` tells those of them that hold
    something personal in snapshots: hashes, as published, of what `silver.rejects` shows of them.
    """

    asked: str = ""
    customer_ids: set[str] = field(default_factory=set)
    person_ids: set[str] = field(default_factory=set)
    order_ids: set[str] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)
    records: set[tuple[str, str, str, int]] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)

    def meant_by(self, who: str) -> bool:
        """Whether `who` is this person."""
        return who in self.customer_ids | self.person_ids | {self.asked} or who.strip().lower() in self.values.get(
            "email", ()
        )


def read_journal(data: Path) -> Journal | None:
    """The command that was interrupted; None if none was.

    Raises:
        InputError: the file is damaged.
    """
    path = data / JOURNAL
    if not path.exists():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Journal(
            said["asked"],
            set(said["customer_ids"]),
            set(said["person_ids"]),
            set(said["order_ids"]),
            {column: set(values) for column, values in said["values"].items()},
            {(str(r[0]), str(r[1]), str(r[2]), int(r[3])) for r in said["records"]},
            set(said.get("rejected", ())),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"the journal of an interrupted `ecommerce forget` is damaged ({type(error).__name__})",
            where=path,
            fix="remove it and run `ecommerce forget` for that person again",
        ) from None


def write_journal(data: Path, journal: Journal) -> None:
    """Keeps a command in mind until `end_journal`."""
    said = asdict(journal)
    for name in ("customer_ids", "person_ids", "order_ids", "records", "rejected"):
        said[name] = sorted(said[name])
    said["values"] = {column: sorted(values) for column, values in journal.values.items()}
    _write(data / JOURNAL, said)


def end_journal(data: Path) -> None:
    """The command is done: what it was about is nowhere any more."""
    (data / JOURNAL).unlink(missing_ok=True)
    sync(data)


@dataclass(frozen=True)
class Tombstones:
    """Salted hashes of the customer ids of those who were forgotten, and the day on which they were."""

    salt: str
    hashes: dict[str, str]

    def hash(self, customer_id: str) -> str:
        """A customer id as a tombstone has it; the same as SQL's sha256(salt || customer_id)."""
        return sha256((self.salt + customer_id).encode()).hexdigest()

    def knows(self, customer_id: str) -> bool:
        """Whether the customer was forgotten."""
        return self.hash(customer_id) in self.hashes

    def pseudonym(self, value: str) -> str:
        """What stands in place of a key that is personal itself (an e-mail address, say): the same for the same key."""
        digest = hmac.new(self.salt.encode(), value.strip().lower().encode(), sha256).hexdigest()
        return f"{PSEUDONYM}{digest[:20]}"

    def stand_ins(self, journal: Journal) -> dict[str, str]:
        """Ids of the person that hold something personal → what they are without; empty where ids are mere numbers."""
        telling = sorted(
            (
                v
                for name in ("email", "phone", "personal_number", "full_name")
                for v in journal.values.get(name, ())
                if len(v) >= 6
            ),
            key=len,
            reverse=True,
        )
        found = {}
        for key in journal.customer_ids | journal.person_ids:
            if value := next((v for v in telling if v in key.lower()), None):
                start = key.lower().index(value)
                found[key] = key[:start] + self.pseudonym(value) + key[start + len(value) :]
        return found


#: How the stand-ins of keys begin.
PSEUDONYM = "forgotten-"


def read_tombstones(data: Path) -> Tombstones:
    """Who was forgotten; the salt is made when first asked for, and kept with the first tombstone.

    Raises:
        InputError: the file is damaged.
    """
    path = data / TOMBSTONES
    if not path.exists():
        return Tombstones(secrets.token_hex(16), {})
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Tombstones(str(said["salt"]), {str(h): str(day) for h, day in said["hashes"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "the list of forgotten persons is damaged",
            where=path,
            fix="restore it from a backup; without it nobody notices when a forgotten person is delivered again",
        ) from None


def add_tombstones(data: Path, tombstones: Tombstones, customer_ids: Iterable[str], day: date) -> Tombstones:
    """Keeps in mind that these customers were forgotten; who was before keeps the first day."""
    fresh = {tombstones.hash(c): day.isoformat() for c in customer_ids}
    new = Tombstones(tombstones.salt, fresh | tombstones.hashes)
    _write(data / TOMBSTONES, {"salt": new.salt, "hashes": dict(sorted(new.hashes.items()))})
    return new


def _write(path: Path, said: Any) -> None:
    """The file whole or as it was, readable by its owner alone."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(said, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(handle)
    os.replace(new, path)
    sync(path.parent)
