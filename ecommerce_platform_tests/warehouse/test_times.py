"""Moments brought onto the shop's clock: from offsets, from UTC and from other zones, in hours that are called twice or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.entities import code_version, load_entity
from ecommerce_platform.warehouse.connection import MACROS
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, SOURCE_YML, TinyShop, day, deliver

BERLIN = "Europe/Berlin"


@pytest.fixture(scope="module")
def macros() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:")
    con.execute(MACROS.read_text())
    return con


@pytest.mark.parametrize(
    ("call", "local"),
    [
        ("as_local_timestamp('2023-10-28T22:30:00Z', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp(' 2023-10-28t22:30z ', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp('2023-10-28 22:30:00 +0200', zone)", "2023-10-28 22:30:00"),
        ("as_local_timestamp('2023-10-28 22:30:00.25-05:30', zone)", "2023-10-29 05:00:00.25"),
        ("as_local_timestamp('2023-10-28 22:30:00 UTC', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp('2024-02-29 23:30:00+00', zone)", "2024-03-01 00:30:00"),
        ("as_local_timestamp('2023-10-28 22:30:00', zone)", None),
        ("as_local_timestamp('2023-10-28', zone)", None),
        ("as_local_timestamp('2023-10-28Z', zone)", None),
        ("as_local_timestamp('2023-02-30 10:00Z', zone)", None),
        ("as_local_timestamp('2023-10-28 22:30:00 CET', zone)", None),
        ("as_local_timestamp('2023-10-28 22:30:00+02:99', zone)", None),
        ("as_local_timestamp('2023-10-28 22:30:00+99', zone)", None),
        ("as_local_timestamp('28.10.2023 22:30:00 UTC', zone)", None),
        ("as_local_timestamp('', zone)", None),
        ("as_local_timestamp('2023-10-28 22:30', 'UTC', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp('2023-10-28T16:30:00', 'America/New_York', zone)", "2023-10-28 22:30:00"),
        ("as_local_timestamp('2023-10-28 22:30Z', 'America/New_York', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp('2023-10-28', 'UTC', zone)", None),
        ("as_local_timestamp('soon', 'UTC', zone)", None),
        ("as_local_timestamp_format('28.10.2023 22:30', '%d.%m.%Y %H:%M', 'UTC', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp_format('28.10.2023', '%d.%m.%Y %H:%M', 'UTC', zone)", None),
        ("as_local_timestamp_epoch('1698532200', zone)", "2023-10-29 00:30:00"),
        ("as_local_timestamp_epoch('1698532200.5', zone)", "2023-10-29 00:30:00.5"),
        ("as_local_timestamp_epoch('1698532200123', 1000, zone)", "2023-10-29 00:30:00.123"),
        ("as_local_timestamp_epoch('1698532200123456', 1000000, zone)", "2023-10-29 00:30:00.123456"),
        ("as_local_timestamp_epoch('99999999999999999999', zone)", None),
        ("as_local_timestamp_epoch('9223372036854775807', 1000, zone)", None),
        ("as_local_timestamp_epoch('today', zone)", None),
    ],
)
def test_a_moment_becomes_the_time_that_the_shops_clock_showed_or_nothing(macros, call: str, local: str | None) -> None:
    (found,) = macros.execute(f"select cast({call.replace('zone', repr(BERLIN))} as varchar)").fetchone()
    assert found == local


@pytest.mark.parametrize("at", ["2023-10-29T00:30:00Z", "2023-10-29T01:30:00Z"])
def test_two_moments_of_an_hour_that_is_called_twice_keep_one_time(macros, at: str) -> None:
    found = macros.execute(f"select as_local_timestamp('{at}', '{BERLIN}')").fetchone()
    assert found == (datetime(2023, 10, 29, 2, 30),)


@pytest.mark.parametrize(
    ("written", "utc"),
    [("2023-11-05 01:30", datetime(2023, 11, 5, 6, 30)), ("2023-03-12 02:30", datetime(2023, 3, 12, 7, 30))],
    ids=["twice: the later", "never: by the clock before"],
)
def test_a_time_that_its_zone_has_twice_or_never_is_read_as_documented(macros, written: str, utc: datetime) -> None:
    assert macros.execute(f"select as_local_timestamp('{written}', 'America/New_York', 'UTC')").fetchone() == (utc,)


@settings(max_examples=150, deadline=None)
@given(
    moment=st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2037, 1, 1)),
    minutes=st.integers(-14 * 60, 14 * 60),
    zone=st.sampled_from([BERLIN, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
)
def test_every_moment_is_where_the_zone_database_puts_it_whatever_its_offset(macros, moment, minutes, zone) -> None:
    moment = moment.replace(tzinfo=UTC)
    text = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    expected = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert macros.execute("select as_local_timestamp(?, ?)", [text, zone]).fetchone() == (expected,)
    plain = moment.replace(tzinfo=None).isoformat()
    assert macros.execute("select as_local_timestamp(?, 'UTC', ?)", [plain, zone]).fetchone() == (expected,)


def with_time(folder: Path, call: str, source_yml: str = SOURCE_YML) -> TinyShop:
    orders = MAPPINGS["orders.orders"].replace("as_timestamp(placed)", call)
    return TinyShop(folder, {**MAPPINGS, "orders.orders": orders}, source_yml)


def test_a_mapping_needs_not_name_the_shops_zone_and_a_bad_time_rejects_its_row(tmp_path: Path) -> None:
    shop = with_time(tmp_path, "as_local_timestamp(placed)")
    con = shop.connect()
    rows = [("1", "2023-03-25T23:30:00Z", "created"), ("2", "2023-03-25 23:30", "created")]
    rows += [(str(n), "2023-03-25T23:30:00Z", "created") for n in range(3, 9)]
    deliver(con, "orders", day(0), rows)
    load_entity(con, shop.catalog, shop.contracts["orders"], shop.compiled["orders"])
    assert con.execute("select ordered_at, count(*) from silver.orders group by all").fetchall() == [
        (datetime(2023, 3, 26, 0, 30), 7)
    ]
    assert con.execute("select reason from silver.rejects").fetchall() == [
        (
            'ordered_at: placed "2023-03-25 23:30" is not a time with its offset (YYYY-MM-DD HH:MM:SS+02:00, … Z or … UTC)',
        )
    ]


def test_times_are_brought_over_by_a_named_expression_and_by_what_orders_gathered_values_too(tmp_path: Path) -> None:
    yml = (
        SOURCE_YML
        + "expressions: {moment: \"as_local_timestamp(placed, 'UTC')\"}\ngathered: {orders.orders: {status: moment}}\n"
    )
    (mapping,) = with_time(tmp_path, "moment", yml).compiled["orders"]
    call = f"as_local_timestamp(placed, 'UTC', '{BERLIN}')"
    assert (mapping.expressions["ordered_at"], mapping.gathered) == (call, {"status": call})


def test_another_zone_of_the_shop_takes_over_anew_what_was_brought_to_its_clock_and_nothing_else(
    tmp_path: Path,
) -> None:
    def versions(folder: str, zone: str) -> dict[str, str]:
        shop = with_time(tmp_path / folder, "as_local_timestamp(placed)", SOURCE_YML.replace(BERLIN, zone))
        return {entity: code_version(shop.contracts[entity], shop.compiled[entity]) for entity in shop.filled}

    before, after = versions("1", BERLIN), versions("2", "Asia/Tokyo")
    assert {entity for entity in before if before[entity] != after[entity]} == {"orders"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("as_local_timestamp(placed, 'Berlin')", "'Berlin' is no time zone"),
        ("as_local_timestamp(placed, state)", "state is no time zone"),
        ("as_local_timestamp(placed, 'UTC', 'Asia/Tokyo')", "as_local_timestamp has 3 arguments"),
        ("as_local_timestamp_format(placed, '%Y')", "as_local_timestamp_format has 2 arguments"),
        ("as_local_timestamp_epoch(placed, 60)", "60 is no part of a second"),
    ],
)
def test_a_zone_that_is_none_is_refused_with_what_to_write(tmp_path: Path, call: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as refused:
        with_time(tmp_path, call)
    assert refused.value.fix
