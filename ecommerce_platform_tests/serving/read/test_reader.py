"""The read layer: one state per view, few queries at once, the same computed once, and swapped while people read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import pytest

from ecommerce_platform.contracts.metric_sql import Filter, Query
from ecommerce_platform.errors import BusyError, InputError, LimitError, MetricError
from ecommerce_platform.serving.read.reader import Limits, Reader, View
from ecommerce_platform_tests.reading.hostile import HOSTILE, SECRET, everything
from ecommerce_platform_tests.serving.shop import Served
from ecommerce_platform_tests.warehouse.published import PublishingShop, record, see

SLOW = "select count(*) from range(100000000) as a, range(100000) as b"


@pytest.fixture
def shop(tmp_path: Path) -> PublishingShop:
    shop = PublishingShop(tmp_path)
    shop.publish(now=datetime(2024, 1, 1, tzinfo=UTC))
    return shop


@pytest.fixture
def reader(shop: PublishingShop) -> Iterator[Reader]:
    reader = Reader(shop.published, Limits(workers=2, waiting=2, per_user=3, seconds=20, rows=1000))
    yield reader
    reader.close()


def counted(view: View) -> tuple[int, int]:
    """How many customers two tables of a snapshot say there are."""
    found = view.rows("gold.kpi_summary", columns=("customers",)).rows[0][0]
    return int(view.select("select count(*) from silver.customers").rows[0][0]), int(found)


def wait_for(what: object, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_view_stays_with_its_snapshot_and_the_next_one_sees_the_new(shop: PublishingShop, reader: Reader) -> None:
    with reader.view() as first:
        shop.write(5)
        shop.publish(now=datetime(2024, 1, 2, tzinfo=UTC))
        reader.refresh()
        with reader.view() as second:
            assert (counted(first), counted(second)) == ((3, 3), (5, 5))
        assert first.id < second.id
        with reader.view(as_of=first.id) as again:
            assert counted(again) == (3, 3)
    wait_for(lambda: first._opened.users == 0)
    with pytest.raises(Exception, match=r"(?i)closed"):
        first._opened.cursor().execute("select 1")


def test_nobody_sees_two_states_while_snapshots_come(shop: PublishingShop, reader: Reader) -> None:
    seen, errors, done = set[int](), list[BaseException](), Event()

    def read() -> None:
        while not done.is_set():
            try:
                with reader.view() as view:
                    one, other = counted(view)
                assert one == other
                seen.add(one)
            except BusyError:
                pass
            except BaseException as error:
                errors.append(error)
                return

    threads = [Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for customers in range(4, 7):
        shop.write(customers)
        shop.publish()
        wait_for(lambda customers=customers: customers in seen or errors)
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert seen >= {4, 5, 6}


def test_what_many_ask_is_computed_once(reader: Reader) -> None:
    sql = "select count(*) as n from range(60000000) as a where hash(range) % 7 = 0"
    with reader.view() as view, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: view.select(sql), range(8)))
        assert len({id(answer) for answer in answers}) == 1
        view.select(sql)
    assert (reader.jobs.computed, reader.jobs.shared) == (1, 8)


def test_a_query_ends_when_nobody_waits_for_it_any_more(reader: Reader) -> None:
    with reader.view() as view:
        first, second = view.start(SLOW), view.start(SLOW)
        first.leave()
        time.sleep(0.3)
        assert not second.future.done()
        second.leave()
        wait_for(lambda: second.future.done() and reader.jobs.under_way == 0)
        with pytest.raises(LimitError):
            second.future.result()
        with pytest.raises(LimitError, match="gone"):
            view.select(SLOW, gone=lambda: True)


def test_a_query_ends_when_its_time_is_up_also_if_it_only_waited(reader: Reader) -> None:
    with reader.view() as view:
        tickets = [view.start(f"{SLOW} where {n} >= 0", seconds=0.4) for n in range(3)]
        for ticket in tickets:
            with pytest.raises(LimitError):
                ticket.result()
        assert view.select("select 1").rows == ((1,),)


def test_queues_are_bounded_for_all_and_for_each(reader: Reader) -> None:
    with reader.view(user="ada") as mine, reader.view(user="bob") as other:
        tickets = [mine.start(f"{SLOW} where {n} >= 0") for n in range(3)]
        with pytest.raises(BusyError) as own:
            mine.start("select 1")
        tickets.append(other.start(f"{SLOW} where 3 >= 0"))
        with pytest.raises(BusyError) as all_:
            other.start("select 2")
        for ticket in tickets:
            ticket.leave()
        assert (own.value.own, all_.value.own) == (True, False)
        assert all_.value.retry_after > 0
        wait_for(lambda: reader.jobs.under_way == 0)
        assert mine.select("select 1").rows == ((1,),)


def test_who_waits_for_a_turn_is_told_when_the_reader_is_closed(reader: Reader) -> None:
    with reader.view() as view:
        tickets = [view.start(f"{SLOW} where a.range <> {n}") for n in range(3)]
        reader.close()
        for ticket in tickets:
            with pytest.raises(LimitError):
                ticket.future.result(5)
        with pytest.raises(LimitError, match="this reader is closed"):
            view.select("select 1")


def test_queries_of_strangers_leave_room_for_figures(reader: Reader) -> None:
    with reader.view() as view:
        tickets = [view.start(f"{SLOW} where {n} >= 0", pool="strangers") for n in range(2)]
        assert view.rows("gold.kpi_summary", columns=("customers",)).rows == ((3,),)
        for ticket in tickets:
            ticket.leave()


def test_answers_are_cut_at_rows_and_bytes_and_say_so(shop: PublishingShop) -> None:
    reader = Reader(shop.published, Limits(rows=1000, answer_bytes=200_000))
    with reader.view() as view:
        assert [len(view.sql("select * from range(5)", limit=n).rows) for n in (4, 5, 6)] == [4, 5, 5]
        assert [view.sql("select * from range(5)", limit=n).truncated for n in (4, 5, 6)] == [True, False, False]
        assert len(view.sql("select * from range(5000)", limit=5000).rows) == 1000
        fat = view.sql("select repeat('x', 10000) as x from range(900)", limit=900)
        assert fat.truncated
        assert len(fat.rows) < 300
    reader.close()


@pytest.mark.parametrize("sql", HOSTILE)
def test_nothing_hostile_reads_writes_or_leaves_the_snapshot(
    sql: str, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret.csv"
    secret.write_text(SECRET)
    names = {
        "secret": secret,
        "folder": tmp_path,
        "database": served.warehouse.path,
        "out": tmp_path / "out",
    }
    before = everything(tmp_path)
    with served.reader.view() as view, pytest.raises(InputError) as refused:
        view.sql(sql.format(**names), limit=10)
    assert SECRET not in str(refused.value)
    assert everything(tmp_path) == before


def test_personal_columns_in_clear_are_out_of_reach_of_sql(served: Served) -> None:
    with served.reader.view() as view:
        file = view.folder / view.manifest["restricted"]["gold.dim_customer"]["file"]
        assert file.is_file()
        for sql in (f"select * from read_parquet('{file}')", f"select * from '{file}'"):
            with pytest.raises(InputError):
                view.sql(sql, limit=1)


def test_values_with_quotes_are_values(served: Served) -> None:
    evil = "x' or 1=1 --"
    with served.reader.view() as view:
        assert view.rows("gold.dim_customer", where={"person_id": evil}).rows == ()
        asked = Query(("orders",), (), None, (Filter("channel", (evil,)),))
        assert view.metric(asked).rows == ((0,),)
        with pytest.raises(InputError, match="no column"):
            view.rows("gold.dim_customer", order=("person_id; drop table x",))
        with pytest.raises(InputError, match="no table"):
            view.rows("gold.dim_customer; drop table x")


def test_metrics_are_those_of_the_gold_tables(served: Served) -> None:
    names = ("orders", "customers", "revenue", "units", "aov", "avg_review_score")
    with served.reader.view() as view:
        monthly = view.metric(Query(names, period="month"))
        whole = view.metric(Query(names)).records()
    stored = served.rows(f"select month as period, {', '.join(names)} from gold.kpi_monthly order by month")
    assert stored
    for found, expected in zip(monthly.records(), stored, strict=True):
        assert {n: found[n] for n in ("period", *names)} == pytest.approx(expected)
    assert whole[0] == pytest.approx(served.rows(f"select {', '.join(names)} from gold.kpi_summary")[0])


def test_only_what_the_shop_has_is_offered_and_nonsense_is_refused(served: Served, reader: Reader) -> None:
    with served.reader.view() as view:
        assert {"revenue", "orders", "churn_rate"} <= set(view.metric_names())
        assert {"category", "region", "channel"} <= set(view.dimension_names())
        for name in view.metric_names():
            view.metric(Query((name,), period="month"), limit=1)
        with pytest.raises(MetricError, match="did you mean"):
            view.metric(Query(("revenu",)))
    with reader.view() as view:  # three tables without any fact
        assert view.metric_names() == ()


def test_a_person_taken_out_of_a_snapshot_is_out_of_what_is_kept(shop: PublishingShop, reader: Reader) -> None:
    from ecommerce_platform.publishing.publish import rewrite_manifest
    from ecommerce_platform.reading.snapshots import current_snapshot, read_manifest

    emails = "select email from silver.customers"
    with reader.view() as before:
        before.select(emails)
    folder = current_snapshot(shop.published)
    manifest = read_manifest(folder)
    manifest["tables"]["silver.customers"]["sha256"] = "of what was written in its place"
    rewrite_manifest(folder, manifest)
    reader.refresh()
    assert reader.jobs.newest() == []
    with reader.view() as after:
        after.select(emails)
    assert (after.id, after.version == before.version, reader.jobs.computed) == (before.id, False, 2)


def test_what_was_asked_last_is_there_when_a_new_snapshot_takes_its_place(shop: PublishingShop, reader: Reader) -> None:
    asked = ("select count(*) from silver.customers", "select customers from gold.kpi_summary")
    with reader.view() as view:
        for sql in asked:
            view.select(sql)
    shop.write(5)
    shop.publish(now=datetime(2024, 1, 2, tzinfo=UTC))
    reader.refresh()
    assert [sql for _, sql, _ in reader.jobs.newest()] == list(asked)  # and nothing of the one before
    with reader.view() as view:
        assert [view.select(sql).rows for sql in asked] == [((5,),), ((5,),)]
    assert reader.jobs.computed == 4


def test_an_answer_is_found_again_only_where_a_table_it_read_has_changed(
    shop: PublishingShop, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecommerce_platform.serving.read.reader._AHEAD", 0)
    kpis, customers = "select customers from gold.kpi_summary", 'select count(*) from silver."customers"'
    of_both = "select n, customers from (select count(*) as n from silver.customers), gold.kpi_summary"

    def ask(view: View) -> list[int]:
        before = reader.jobs.computed
        found = []
        for sql in (kpis, customers, of_both):
            view.select(sql)
            found.append(reader.jobs.computed - before)
            before = reader.jobs.computed
        view.sql(kpis, limit=5)  # of anybody: never taken over from another snapshot
        return [*found, reader.jobs.computed - before]

    with reader.view() as view:
        assert ask(view) == [1, 1, 1, 1]
    with shop.warehouse.connect() as con:
        con.execute("insert into silver.customers (customer_id, email) values ('c100', 'c100@example.org')")
        record(con, "silver.customers", 9)
        see(con, "gold.kpi_summary", "silver.customers", 9)
    shop.publish(now=datetime(2024, 1, 2, tzinfo=UTC))
    reader.refresh()
    with reader.view() as view:
        assert ask(view) == [0, 1, 1, 1]
        assert view.select(customers).rows == ((4,),)


def test_what_our_own_selects_read_is_seen_in_all_of_them(served: Served) -> None:
    """`read_by` goes by names in the text; here against what DuckDB's parser sees."""
    import duckdb

    def tables(node: object) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(tables, node))
        if not isinstance(node, dict):
            return set()
        own = {f"{node['schema_name']}.{node['table_name']}"} if node.get("type") == "BASE_TABLE" else set()
        return own.union(*map(tables, node.values()))

    with served.reader.view() as view:
        texts = [view.rows_sql(table) for table in view.tables]
        for name in view.metric_names():
            for by in ((), ("region",), ("category",), ("channel", "segment")):
                with suppress(MetricError):
                    texts.append(view.compiled(Query((name,), by, "month")))
        for text in texts:
            ((tree,),) = duckdb.execute("select json_serialize_sql($1)", [text]).fetchall()
            parsed = {name for name in tables(json.loads(tree)) if not name.startswith(".")}
            assert {name for name, _ in view._opened.read_by(text)} == parsed, text
    assert len(texts) > 100


def test_without_a_snapshot_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is published") as told, Reader(tmp_path).view():
        pass
    assert "ecommerce build" in (told.value.fix or "")


def test_frames_have_floats_for_money_and_types_where_there_are_no_rows(served: Served) -> None:
    import polars as pl

    with served.reader.view() as view:
        frame = view.rows("gold.kpi_monthly", columns=("month", "revenue", "orders")).frame()
        empty = view.select("select month, revenue, orders from gold.kpi_monthly where false").frame()
    assert dict(frame.schema) == dict(empty.schema) == {"month": pl.Date, "revenue": pl.Float64, "orders": pl.Int64}
    assert frame["revenue"].sum() == pytest.approx(
        float(served.rows("select revenue from gold.kpi_summary")[0]["revenue"])
    )
