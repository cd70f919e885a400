"""A table's SELECT asked about something else: its first step, which says what it is worked out for, put in another way.

So a table that stands for some days or pairs of periods is a function of any, without a second definition.
"""

from __future__ import annotations

import re


def with_first_step(sql: str, name: str, body: str) -> str:
    """The SELECT with another body in its first step.

    Args:
        sql: a SELECT whose first step is called `name`, written as tables are: the closing bracket on a line of its own.
        name: of the step.
        body: a SELECT with the same columns.
    """
    found, count = re.subn(
        rf"\bwith {name} as \(\n.*?\n\),\n",
        lambda _: f"with {name} as (\n\n{body}\n\n),\n",
        sql,
        count=1,
        flags=re.DOTALL,
    )
    assert count == 1, f"the SELECT does not begin with the step {name}"
    return found
