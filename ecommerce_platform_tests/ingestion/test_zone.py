"""Landing zones in object stores: what is listed, fetched and landed there, and what goes wrong there."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ecommerce_platform.errors import InputError, PassingError, SettingsError
from ecommerce_platform.ingestion import zone as zones
from ecommerce_platform.ingestion.bronze import load_pending, pending_days
from ecommerce_platform.ingestion.landing import Landed, choose, land
from ecommerce_platform.ingestion.watch import list_landing
from ecommerce_platform.ingestion.zone import LocalZone, MissingZone, StoreZone, open_zone
from ecommerce_platform.object_store import ObjectStore
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.ingestion.conftest import DAY, Bench, make_source
from ecommerce_platform_tests.objectstores import ACCOUNT, KEY, Bucket, start

NEXT = date(2024, 5, 2)
TODAY = date(2024, 6, 1)
SOURCE = make_source(t={})


@pytest.fixture
def zone(bucket: Bucket, tmp_path: Path) -> StoreZone:
    return StoreZone(f"{bucket.url}/raw", tmp_path / "scratch")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "t_1.csv").write_text("id\n1\n")
    (folder / "t_2.csv").write_text("id\n2\n3\n")
    (folder / "notes.txt").write_text("x")
    return folder


def take_over(bench: Bench, zone: StoreZone, **options: Any) -> set[date]:
    """Loads what is pending of `t`; the days that were loaded."""
    given: dict[str, Any] = {"connect": lambda: nullcontext(bench.con), "asked": None, "again": (), **options}
    drops = given.pop("drops", None) or zone.drops(bench.source)
    days, _ = load_pending(
        given["connect"], zone, drops, bench.source, "t", given["asked"], given["again"],
        expected=(), required={}, scratch=bench.folder / "scratch",
    )  # fmt: skip
    return days


def pending(bench: Bench, zone: StoreZone) -> set[date]:
    return pending_days(bench.con, bench.source, "t", zone.drops(bench.source).tables["t"])


# -- listing


def test_a_zone_in_a_store_lists_what_one_in_a_folder_lists(bucket: Bucket, zone: StoreZone, tmp_path: Path) -> None:
    names = [
        "2024-05-01/t.csv", "2024-05-01/t_2.csv.gz", "2024-05-01/notes.txt", "2024-05-01/.t.csv.part", "2024-05-01/_SUCCESS",
        "2024-05-01/deeper/t.csv", "2024-05-02/t with spaces & ünï#code%20.csv", ".replaced/2024-05-03-x/t.csv",
    ]  # fmt: skip
    for name in names:
        (path := tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        bucket.put(f"raw/{name}", name)
    bucket.put("rawer/2024-05-04/t.csv", "another prefix")
    here, there = LocalZone(tmp_path / "raw").drops(SOURCE), zone.drops(SOURCE)
    assert [(f.day, f.name, f.size) for f in there.tables["t"]] == [(f.day, f.name, f.size) for f in here.tables["t"]]
    assert there.days == here.days == (DAY, NEXT)
    assert {p.name for p in there.left} == {"notes.txt", "_SUCCESS"}
    assert there.tables["t"][0].where == f"{bucket.url}/raw/2024-05-01/t.csv"


def test_a_whole_container_can_be_a_zone(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("2024-05-01/t.csv", "id\n")
    assert StoreZone(bucket.url, tmp_path).drops(SOURCE).days == (DAY,)


def test_a_same_size_overwrite_within_a_second_is_another_version(bucket: Bucket, zone: StoreZone) -> None:
    seen = set()
    for content in ("a", "b", "c"):
        bucket.put("raw/2024-05-01/t.csv", content)
        (file,) = zone.drops(SOURCE).tables["t"]
        seen.add(file.mtime_ns)
    assert len(seen) == 3
    assert all(0 < version < 2**63 for version in seen)


def test_a_folder_that_is_no_day_is_an_error_as_it_is_in_a_folder(bucket: Bucket, zone: StoreZone) -> None:
    bucket.put("raw/backup/t.csv", "id\n")
    with pytest.raises(InputError, match="'backup' is not a day"):
        zone.drops(SOURCE)


@pytest.mark.parametrize("place", ["raw", "nowhere", ""])
def test_nothing_at_all_is_a_missing_zone_and_not_an_empty_one(bucket: Bucket, tmp_path: Path, place: str) -> None:
    """Else a wrong prefix, account or container would take every drop back."""
    bucket.put("else/2024-05-01/t.csv", "id\n") if place else None
    with pytest.raises(MissingZone, match="no such landing zone"):
        StoreZone(f"{bucket.url}/{place}", tmp_path).drops(SOURCE)
    with pytest.raises(MissingZone):
        StoreZone(f"{bucket.url}-other/{place}", tmp_path).drops(SOURCE)


@pytest.mark.usefixtures("impatient")
def test_a_listing_that_fails_takes_no_drop_back(bucket: Bucket, zone: StoreZone, bench: Bench) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    take_over(bench, zone)
    before = bench.state()
    bucket.gate.shut()
    for ask in (lambda: zone.drops(SOURCE), lambda: list_landing(*zone.file_system(), SOURCE), zone.exists):
        with pytest.raises(PassingError, match="cannot be reached or does not answer"):
            ask()
    with pytest.raises(PassingError):
        take_over(bench, zone)
    assert bench.state() == before
    bucket.gate.open()
    assert take_over(bench, zone) == set()


def test_a_listing_of_many_pages_that_breaks_off_is_an_error(
    bucket: Bucket, zone: StoreZone, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        bucket.put(f"raw/2024-05-01/t_{number}.csv", "id\n")
    assert len(zone.drops(SOURCE).tables["t"]) == 40
    for answers in (500, 3000, 9000):
        bucket.gate.shut_after(answers)
        with pytest.raises(PassingError):
            zone.drops(SOURCE)
        bucket.gate.open()


# -- fetching and loading


def test_days_are_loaded_redelivered_and_removed_as_from_a_folder(
    bucket: Bucket, zone: StoreZone, bench: Bench
) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id;n\n1;a\n2;b\n")
    bucket.put("raw/2024-05-02/t.csv.gz", gzip.compress(b"id;n\n3;c\n"))
    assert take_over(bench, zone) == {DAY, NEXT}
    assert bench.rows("id, n") == [("1", "a"), ("2", "b"), ("3", "c")]
    assert take_over(bench, zone) == set()
    bucket.put("raw/2024-05-01/t.csv", "id;n\n1;a\n2;x\n")
    assert pending(bench, zone) == {DAY}
    assert take_over(bench, zone) == {DAY}
    assert bench.rows("id, n") == [("1", "a"), ("2", "x"), ("3", "c")]
    bucket.remove("raw/2024-05-02/t.csv.gz")
    assert take_over(bench, zone) == {NEXT}
    assert bench.rows("id, n") == [("1", "a"), ("2", "x")]
    assert bench.con.execute("select _source_file from bronze.files").fetchall() == [("t.csv",)]
    assert list((bench.folder / "scratch").iterdir()) == []


def test_only_files_of_the_days_to_be_loaded_are_fetched(bucket: Bucket, zone: StoreZone, bench: Bench) -> None:
    for day in (DAY, NEXT):
        bucket.put(f"raw/{day}/t.csv", "id\n1\n")
    fetched = []
    zone.store.download = lambda name, *rest: (fetched.append(name), ObjectStore.download(zone.store, name, *rest))  # type: ignore[method-assign,assign]
    assert take_over(bench, zone, asked={NEXT}) == {NEXT}
    assert take_over(bench, zone) == {DAY}
    assert take_over(bench, zone, again={DAY}) == {DAY}
    assert fetched == ["2024-05-02/t.csv", "2024-05-01/t.csv", "2024-05-01/t.csv"]


@pytest.mark.parametrize("many", [False, True])
def test_what_changes_after_the_listing_is_not_loaded(
    bucket: Bucket, zone: StoreZone, bench: Bench, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zones, "_MANY", 0 if many else 500)
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    bucket.put("raw/2024-05-02/t.csv", "id\n1\n")
    drops = zone.drops(SOURCE)
    for change in (
        lambda: bucket.put("raw/2024-05-01/t.csv", "id\n2\n"),
        lambda: bucket.put("raw/2024-05-01/t.csv", "id\n1\n2\n"),
        lambda: bucket.remove("raw/2024-05-01/t.csv"),
    ):
        change()
        with pytest.raises(PassingError, match="gone") as caught:
            take_over(bench, zone, drops=drops)
        assert str(caught.value).startswith(f"{bucket.url}/raw/2024-05-01/t.csv: ")
    assert bench.con.execute("select count(*) from duckdb_tables() where schema_name = 'bronze'").fetchall() == [(0,)]
    assert take_over(bench, zone) == {NEXT}


def test_an_overwrite_while_it_is_fetched_is_noticed(bucket: Bucket, zone: StoreZone, bench: Bench) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")

    def then_overwrite(*arguments: Any) -> None:
        ObjectStore.download(zone.store, *arguments)
        bucket.put("raw/2024-05-01/t.csv", "id\n2\n")

    zone.store.download = then_overwrite  # type: ignore[method-assign]
    with pytest.raises(PassingError, match="gone or another one since it was listed"):
        take_over(bench, zone)


def test_an_older_version_never_replaces_a_newer_one_that_another_run_has_loaded(
    bucket: Bucket, zone: StoreZone, bench: Bench
) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id\nold\n")
    opened = 0

    @contextmanager
    def connect() -> Any:
        nonlocal opened
        opened += 1
        if opened == 2:  # the file is fetched; before the warehouse is free, a newer one comes and is loaded
            bucket.put("raw/2024-05-01/t.csv", "id\nnew\n")
            take_over(bench, zone)
        yield bench.con

    with pytest.raises(PassingError, match="another run has loaded these days of t meanwhile"):
        take_over(bench, zone, connect=connect)
    assert bench.rows("id") == [("new",)]


def test_one_of_several_days_that_another_run_has_loaded_is_enough_to_look_again(
    bucket: Bucket, zone: StoreZone, bench: Bench
) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id\nold\n")
    bucket.put("raw/2024-05-02/t.csv", "id\nother\n")
    opened = 0

    @contextmanager
    def connect() -> Any:
        nonlocal opened
        opened += 1
        if opened == 2:
            bucket.put("raw/2024-05-01/t.csv", "id\nnew\n")
            take_over(bench, zone, asked=[DAY])
        yield bench.con

    with pytest.raises(PassingError, match="another run has loaded these days of t meanwhile"):
        take_over(bench, zone, connect=connect)
    assert bench.rows("id") == [("new",)]


def test_objects_that_were_copied_are_fetched_and_not_loaded_again(
    bucket: Bucket, zone: StoreZone, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another etag and the same bytes: looked at once, and remembered."""
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    bucket.put("raw/2024-05-02/t.csv", "id\n2\n")
    take_over(bench, zone)
    loaded = bench.con.execute("select loaded_at from bronze.files order by all").fetchall()
    number = zones._number
    monkeypatch.setattr(zones, "_number", lambda version: number(version + " of the copy"))
    assert pending(bench, zone) == {DAY, NEXT}
    assert take_over(bench, zone) == set()
    assert bench.con.execute("select loaded_at from bronze.files order by all").fetchall() == loaded
    assert pending(bench, zone) == set()
    bucket.put("raw/2024-05-02/t.csv", "id\n3\n")
    assert take_over(bench, zone) == {NEXT}
    assert bench.rows("id") == [("1",), ("3",)]


def test_a_short_outage_is_sat_out(bucket: Bucket, zone: StoreZone, bench: Bench) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    drops = zone.drops(SOURCE)
    bucket.gate.shut()
    threading.Timer(1.0, bucket.gate.open).start()
    assert take_over(bench, zone, drops=drops) == {DAY}


@pytest.mark.usefixtures("impatient")
def test_a_store_that_stops_while_files_are_fetched_leaves_everything_as_it_was(
    bucket: Bucket, zone: StoreZone, bench: Bench
) -> None:
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    take_over(bench, zone)
    before = bench.state()
    for number in range(30):
        bucket.put(f"raw/2024-05-01/t_{number}.csv", "id\n" + f"{number}\n" * 1000)
    drops = zone.drops(SOURCE)
    bucket.gate.shut_after(20_000)
    with pytest.raises(PassingError):
        take_over(bench, zone, drops=drops)
    assert bench.state() == before
    assert list((bench.folder / "scratch").iterdir()) == []
    bucket.gate.open()
    for left in (2, 1, 0):  # on a busy machine the store may need a moment; what passes may be tried again
        try:
            taken = take_over(bench, zone)
            break
        except PassingError:
            if not left:
                raise
    assert taken == {DAY}
    assert len(bench.rows("id")) == 30_001


def test_what_killed_loads_have_fetched_goes_and_what_others_are_fetching_stays(
    bucket: Bucket, zone: StoreZone, bench: Bench
) -> None:
    scratch = bench.folder / "scratch"
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (scratch / f"on-its-way-{pid}-x").mkdir(parents=True)
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    assert take_over(bench, zone) == {DAY}
    assert [p.name for p in scratch.iterdir()] == [f"on-its-way-{os.getpid()}-x"]


# -- landing


def put(export: Path, zone: StoreZone, day: date | None = DAY) -> Landed:
    return land(export, SOURCE, zone, day, TODAY)


def test_an_export_becomes_a_drop_and_the_marker_comes_last(bucket: Bucket, zone: StoreZone, export: Path) -> None:
    order: list[str] = []
    write = zone.store.write
    zone.store.write = lambda name, content: (order.append(name), write(name, content))  # type: ignore[method-assign,assign]
    landed = put(export, zone)
    assert (landed.day, landed.landed, landed.left, landed.already) == (
        DAY,
        ("t_1.csv", "t_2.csv"),
        ("notes.txt",),
        False,
    )
    assert bucket.names("raw") == [f"raw/2024-05-01/{n}" for n in ("_SUCCESS", "t_1.csv", "t_2.csv")]
    assert bucket.get("raw/2024-05-01/t_2.csv") == b"id\n2\n3\n"
    assert (order[0], order[-1]) == ("2024-05-01/_UPLOADING", "2024-05-01/_SUCCESS")
    assert list_landing(*zone.file_system(), SOURCE).days[DAY].marked


@pytest.mark.parametrize("marker", ["ours", "empty", "somebody's", "none"])
def test_the_very_same_files_land_only_once(bucket: Bucket, zone: StoreZone, export: Path, marker: str) -> None:
    put(export, zone)
    match marker:
        case "empty":
            bucket.put("raw/2024-05-01/_SUCCESS", "")
        case "somebody's":
            bucket.put("raw/2024-05-01/_SUCCESS", json.dumps({"files": ["t_1.csv"]}))
        case "none":
            bucket.remove("raw/2024-05-01/_SUCCESS")
    before = zone.drops(SOURCE)
    for day in (DAY, None):
        again = put(export, zone, day)
        assert (again.already, again.day) == (True, DAY)
    assert zone.drops(SOURCE) == before
    # What has changed since is not taken for what was landed.
    bucket.put("raw/2024-05-01/t_1.csv", "id\n9\n")
    assert not put(export, zone).already
    assert bucket.get("raw/2024-05-01/t_1.csv") == b"id\n1\n"


def test_a_drop_that_is_replaced_is_kept_aside(bucket: Bucket, zone: StoreZone, export: Path) -> None:
    put(export, zone)
    (export / "t_1.csv").write_text("id\n7\n")
    (export / "t_2.csv").rename(export / "t_3.csv")
    landed = put(export, zone)
    assert str(landed.replaced).startswith(f"{bucket.url}/raw/.replaced/2024-05-01-")
    aside = str(landed.replaced).removeprefix(f"{bucket.url}/")
    assert bucket.names(aside) == [f"{aside}/t_1.csv", f"{aside}/t_2.csv"]
    assert bucket.get(f"{aside}/t_1.csv") == b"id\n1\n"
    assert bucket.names("raw/2024-05-01") == [f"raw/2024-05-01/{n}" for n in ("_SUCCESS", "t_1.csv", "t_3.csv")]
    assert zone.drops(SOURCE).days == (DAY,)


def test_a_drop_is_kept_aside_also_by_who_did_not_ask_what_is_there(
    bucket: Bucket, zone: StoreZone, export: Path
) -> None:
    put(export, zone)
    given, _ = choose(export, SOURCE)
    assert StoreZone(zone.where, zone.scratch).put(given[:1], DAY) is not None
    assert bucket.names("raw/2024-05-01") == [f"raw/2024-05-01/{n}" for n in ("_SUCCESS", "t_1.csv")]
    assert len(bucket.names("raw/.replaced")) == 2


@pytest.mark.usefixtures("impatient")
def test_a_day_whose_upload_was_cut_off_is_held_back_until_it_is_landed_again(
    bucket: Bucket, zone: StoreZone, export: Path, bench: Bench
) -> None:
    put(export, zone)
    take_over(bench, zone)
    before = bench.state()
    upload = zone.store.write

    def breaks(name: str, content: bytes) -> None:
        if name.endswith("t_2.csv"):
            bucket.gate.shut()
        upload(name, content)

    (export / "t_1.csv").write_text("id\n7\n8\n")
    (export / "t_2.csv").write_text("id\n9\n")
    zone.store.write = breaks  # type: ignore[method-assign]
    with pytest.raises(PassingError):
        put(export, zone)
    bucket.gate.open()
    del zone.store.write  # type: ignore[method-assign]
    assert zone.drops(SOURCE).unfinished == {DAY}
    listing = list_landing(*zone.file_system(), SOURCE)
    assert listing.unusable == {DAY}
    assert "an upload of this day has begun and not ended" in listing.problems[0]
    assert take_over(bench, zone, again={DAY}) == set()
    assert bench.state() == before
    assert not put(export, zone).already
    assert zone.drops(SOURCE).unfinished == frozenset()
    assert take_over(bench, zone) == {DAY}
    assert bench.rows("id") == [("7",), ("8",), ("9",)]


def test_large_files_are_landed_from_disk(
    bucket: Bucket, zone: StoreZone, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zones, "_SMALL", 10)
    monkeypatch.setattr("ecommerce_platform.object_store._LARGE", 20)
    (export / "t_2.csv").write_text("id\n" + "2\n" * 50_000)
    seen: list[tuple[int, int]] = []
    land(export, SOURCE, zone, DAY, TODAY, progress=lambda done, total: seen.append((done, total)))
    assert bucket.get("raw/2024-05-01/t_2.csv") == (export / "t_2.csv").read_bytes()
    assert seen[-1] == (100_008, 100_008)
    assert put(export, zone).already
    assert list(zone.scratch.iterdir()) == []


# -- what a user can put right


def environment_of(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in bucket.environment:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_wrong_credentials_are_named_and_not_shown(
    bucket: Bucket, zone: StoreZone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if bucket.kind == "azure":
        secret = KEY[::-1].replace("=", "A")[:-2] + "=="
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", bucket.environment["AZURE_STORAGE_CONNECTION_STRING"].replace(KEY, secret))  # fmt: skip
        variable = "AZURE_STORAGE_CONNECTION_STRING"
        server = None
    else:
        secret, variable = "wrong-secret", "AWS_SECRET_ACCESS_KEY"
        monkeypatch.setenv(variable, secret)
        server = start("s3", tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="0")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    try:
        with pytest.raises(SettingsError, match="access is refused") as caught:
            zone.drops(SOURCE)
        with pytest.raises(SettingsError, match="access is refused"):
            StoreZone(zone.where, tmp_path).days()
    finally:
        if server:
            server.process.kill()
            server.process.wait()
    assert variable in str(caught.value)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.shops
@pytest.mark.parametrize("bucket", ["azure"], indirect=True)
def test_a_shared_access_signature_is_enough(bucket: Bucket, zone: StoreZone, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    signature = generate_account_sas(
        ACCOUNT, KEY, ResourceTypes(container=True, object=True), AccountSasPermissions(read=True, list=True),
        datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    endpoint = bucket.environment["AZURE_STORAGE_CONNECTION_STRING"].split("BlobEndpoint=")[1]
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"BlobEndpoint={endpoint}SharedAccessSignature={signature}")
    bucket.put("raw/2024-05-01/t.csv", "id\n1\n")
    assert zone.drops(SOURCE).days == (DAY,)
    with pytest.raises(SettingsError, match="access is refused") as caught:
        zone.put([], DAY)
    assert "sig=" not in str(caught.value)


def test_no_credentials_at_all_say_what_to_set(
    bucket: Bucket, zone: StoreZone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if bucket.kind == "azure":
        environment_of(bucket, monkeypatch)
        variable = "AZURE_STORAGE_ACCOUNT_NAME"
    else:
        # Neither this machine's files nor its metadata service are asked.
        environment_of(
            bucket, monkeypatch, AWS_ENDPOINT_URL=bucket.environment["AWS_ENDPOINT_URL"], AWS_EC2_METADATA_DISABLED="true",
            AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "none"), AWS_CONFIG_FILE=str(tmp_path / "none"),
        )  # fmt: skip
        variable = "AWS_ACCESS_KEY_ID"
    with pytest.raises(SettingsError, match=variable):
        zone.drops(SOURCE)


@pytest.mark.parametrize(("url", "module"), [("s3://shop/raw", "s3fs"), ("az://shop/raw", "adlfs")])
def test_a_missing_library_names_the_extra(url: str, module: str) -> None:
    script = f"""
import sys
sys.modules[{module!r}] = None
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.object_store import ObjectStore
try:
    ObjectStore({url!r}).objects()
except SettingsError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "pip install 'ecommerce_platform[sources]'" in said
    assert said.startswith(f"{url}: a library is missing")


def test_an_endpoint_that_is_down_is_given_up_after_a_few_tries_and_short_pauses(
    bucket: Bucket, zone: StoreZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sensor has a minute for its tick. What refuses costs the pauses between tries, which are added up here and not
    waited for; one that answers nothing at all takes as long as the libraries' time limits, which nothing here tries."""
    tries, pauses = [], []
    connect, pause = aiohttp.TCPConnector.connect, asyncio.sleep

    def counted(self: aiohttp.TCPConnector, *args: Any, **kwargs: Any) -> Any:
        tries.append(1)
        return connect(self, *args, **kwargs)

    def noted(seconds: float, *args: Any) -> Any:
        pauses.append(seconds)
        return pause(0, *args)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", counted)
    monkeypatch.setattr(asyncio, "sleep", noted)
    bucket.gate.remove()
    with pytest.raises(PassingError, match="cannot be reached or does not answer"):
        zone.drops(SOURCE)
    assert 2 <= len(tries) <= 12
    assert 0 < sum(pauses) < 20


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://shop/raw", "no object store that is known"),
        ("s3://user:hunter2@shop/raw", "more than a container"),
        ("s3://user@shop/raw", "more than a container"),
        ("az://shop/raw?sv=2022&sig=hunter2", "more than a container"),
        ("az://user:hunter2@shop/raw", "more than a container"),
        ("s3://", "no object store|names no container"),
        ("s3://shop/a/../b", "names no container"),
    ],
)
@pytest.mark.parametrize("variable", ["raw_url", "publish_url"])
def test_a_url_that_is_none_or_holds_a_secret_is_refused_without_showing_it(url: str, said: str, variable: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(**{variable: url})
    assert "hunter2" not in str(caught.value)
    assert f"ECOMMERCE_{variable.upper()}" in str(caught.value)


def test_a_landing_zone_can_be_another_folder_or_an_account_of_azures(tmp_path: Path) -> None:
    for given in (str(tmp_path / "zone"), f"file://{tmp_path}/zone", f"{tmp_path}/x/../zone/"):
        zone = open_zone(read_settings(raw_url=given))
        assert isinstance(zone, LocalZone)
        assert zone.where == str(tmp_path / "zone")
    assert open_zone(read_settings(data_dir=tmp_path, raw_url="")).where == str(tmp_path / "raw")
    url = f"abfss://shop@{ACCOUNT}.dfs.core.windows.net/raw"
    assert open_zone(read_settings(raw_url=url + "/")).where == url


def test_what_works_on_a_folder_only_refuses_an_object_store() -> None:
    with pytest.raises(SettingsError, match="works on a folder only"):
        _ = Settings(raw_url="s3://shop/raw").raw


def test_child_processes_get_the_urls() -> None:
    settings = Settings(raw_url="s3://shop/raw/", publish_url="az://shop/published")
    assert settings.environment()["ECOMMERCE_RAW_URL"] == "s3://shop/raw"
    assert settings.environment()["ECOMMERCE_PUBLISH_URL"] == "az://shop/published"
    assert "ECOMMERCE_RAW_URL" not in Settings().environment()
