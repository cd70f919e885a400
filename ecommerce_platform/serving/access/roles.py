"""Roles and what they may. Who has which role is in `accounts.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "analyst", "admin"]
#: From the least to the most: each may what those before it may.
ROLES: tuple[Role, ...] = get_args(Role)
#: What there is to be allowed, and the least role that is.
PERMISSIONS: dict[str, Role] = {
    "figures": "viewer",  # metrics, products, experiments, lineage, data trust
    "customers": "analyst",  # single persons, personal columns masked
    "sql": "analyst",
    "scoring": "analyst",
    "personal": "admin",  # name, e-mail, phone and birth date in clear
    "access": "admin",  # users, keys, the audit log
}


@dataclass(frozen=True)
class Who:
    """Somebody who has shown who they are."""

    #: `user:<name>`, `key:<id>` or `local`: what stands in the audit log.
    id: str
    role: Role
    #: For people to read.
    name: str = ""

    def may(self, what: str) -> bool:
        """Whether the role allows one of `PERMISSIONS`."""
        return ROLES.index(self.role) >= ROLES.index(PERMISSIONS[what])


#: Whoever runs the command line on this machine.
LOCAL = Who("local", "admin", "this machine")
