"""What commands are given: settings, and days as text. What one command alone takes belongs to that command."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from ecommerce_platform.settings import Settings


def given_settings(**overrides: Any) -> Settings:
    """The settings of the environment; see `read_settings`."""
    from ecommerce_platform.settings import read_settings

    return read_settings(**overrides)


def settings_with_warehouse(otherwise: str = "there is no warehouse yet") -> Settings:
    """The settings, of an instance in which something is built.

    Raises:
        InputError: nothing is; `otherwise` says what there is not for that reason.
    """
    settings = given_settings()
    if not settings.warehouse.is_file():
        raise InputError(otherwise, where=settings.warehouse, fix="run `ecommerce build` first")
    return settings


def parse_day(text: str | None, option: str) -> date | None:
    """A day that was given for `option`, if one was.

    Raises:
        InputError: it is none.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is not a date", where=option, fix="write it as YYYY-MM-DD") from None


def parse_days(text: str | None, option: str) -> tuple[date, date] | None:
    """First and last day of `A..B` or of one day, if they were given for `option`.

    Raises:
        InputError: one of them is no day.
    """
    if text is None:
        return None
    first, _, last = text.partition("..")
    days = parse_day(first, option), parse_day(last or first, option)
    assert days[0]
    assert days[1]
    return days[0], days[1]
