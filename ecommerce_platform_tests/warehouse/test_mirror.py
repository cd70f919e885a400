"""The copy of the published snapshots in an object store: whole, switched last, cheap, and never a step back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.errors import InputError, PassingError, SettingsError
from ecommerce_platform.publishing.mirror import Mirrored, mirror, verify_copy
from ecommerce_platform.reading.snapshots import current_snapshot
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.objectstores import Bucket
from ecommerce_platform_tests.warehouse.published import CUSTOMERS, LABELS, SUMMARY, TABLES, PublishingShop

pytestmark = pytest.mark.shops


@pytest.fixture
def tiny(tmp_path: Path) -> PublishingShop:
    return PublishingShop(tmp_path)


@pytest.fixture
def url(bucket: Bucket) -> str:
    return f"{bucket.url}/published"


def publish(tiny: PublishingShop, url: str, customers: int | None = None, **options: object) -> Mirrored:
    if customers is not None:
        tiny.write(customers)
    tiny.publish()
    return mirror(tiny.published, url, **options)  # type: ignore[arg-type]


def current(bucket: Bucket) -> dict:
    return json.loads(bucket.get("published/current.json") or b"{}")


def customers_there(bucket: Bucket) -> int:
    """How many customers the store's current snapshot says there are; fails unless it is whole and one state."""
    manifest = json.loads(bucket.get(f"published/{current(bucket)['manifest']}") or b"")
    found = {}
    for table, entry in manifest["tables"].items():
        content = bucket.get(f"published/snapshots/{manifest['snapshot']}/{entry['file']}") or b""
        assert len(content) == entry["bytes"]
        found[table] = _rows(content)
    assert [len(found[t]) for t in manifest["tables"]] == [e["rows"] for e in manifest["tables"].values()]
    (summary,) = found[SUMMARY]
    assert summary["customers"] == len(found[CUSTOMERS])
    return len(found[CUSTOMERS])


def _rows(content: bytes) -> list[dict]:
    import io

    import polars

    return polars.read_parquet(io.BytesIO(content)).to_dicts()


def test_what_is_published_is_copied_whole_and_nothing_else(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    folder = tiny.publish().folder
    (folder / "restricted").mkdir()
    (folder / "restricted" / "customers.parquet").write_bytes(b"in clear")
    done = mirror(tiny.published, url)
    assert (done.url, done.snapshot, set(done.uploaded), done.copied) == (url, folder.name, set(TABLES), ())
    files = [f"{t.replace('.', '/')}.parquet" for t in TABLES]
    assert bucket.names() == sorted(
        ["published/current.json", *(f"published/snapshots/{folder.name}/{f}" for f in [*files, "manifest.json"])]
    )
    for file in [*files, "manifest.json"]:
        content = bucket.get(f"published/snapshots/{folder.name}/{file}") or b""
        if file.endswith("json"):
            assert json.loads(content) == json.loads((folder / file).read_text())
        else:
            assert content == (folder / file).read_bytes()
    assert current(bucket)["snapshot"] == folder.name


def test_unchanged_tables_are_copied_within_the_store(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    publish(tiny, url)
    done = publish(tiny, url, 9)
    assert (set(done.uploaded), done.copied) == ({CUSTOMERS, SUMMARY}, (LABELS,))
    assert done.size == sum((current_snapshot(tiny.published) / f).stat().st_size for f in ("silver/customers.parquet", "gold/kpi_summary.parquet"))  # fmt: skip
    assert customers_there(bucket) == 9


def test_nothing_new_is_nothing_to_do(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    publish(tiny, url)
    before = bucket.names()
    done = publish(tiny, url)
    assert done.unchanged
    assert (done.uploaded, done.size) == ((), 0)
    assert bucket.names() == before


def test_missed_snapshots_are_caught_up_with_the_newest(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    publish(tiny, url)
    for customers in (5, 7):
        tiny.write(customers)
        tiny.publish()
    done = mirror(tiny.published, url)
    assert done.copied == (LABELS,)
    assert customers_there(bucket) == 7
    assert len({n.split("/")[2] for n in bucket.names("published/snapshots")}) == 2


def stops_and_goes_on(tiny: PublishingShop, url: str, bucket: Bucket, answers: int) -> None:
    """A mirror to a store that stops after so many bytes of answers, and the next one."""
    publish(tiny, url)
    first = current(bucket)
    tiny.write(8)
    tiny.publish()
    bucket.gate.shut_after(answers)
    with pytest.raises(PassingError, match="cannot be reached or does not answer"):
        mirror(tiny.published, url)
    assert current(bucket) == first
    assert customers_there(bucket) == 3
    bucket.gate.open()
    # Nothing has changed here, and the copy comes all the same.
    assert tiny.publish().unchanged
    assert not mirror(tiny.published, url).unchanged
    assert customers_there(bucket) == 8


@pytest.mark.usefixtures("impatient")
def test_a_store_that_stops_leaves_the_snapshot_before_and_the_next_publish_goes_on(
    tiny: PublishingShop, url: str, bucket: Bucket
) -> None:
    stops_and_goes_on(tiny, url, bucket, 4000)


@pytest.mark.long
@pytest.mark.servers
@pytest.mark.parametrize("answers", [0, 1500, 2500, 6000])
def test_it_does_so_wherever_the_store_stops(tiny: PublishingShop, url: str, bucket: Bucket, answers: int) -> None:
    stops_and_goes_on(tiny, url, bucket, answers)


_KILLED = """
import os, signal, sys
from pathlib import Path
from ecommerce_platform.object_store import ObjectStore
from ecommerce_platform.publishing.mirror import mirror

left = int(sys.argv[3])

def dying(method):
    def call(*arguments):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return method(*arguments)
    return call

for name in ("upload", "copy", "write", "remove"):
    setattr(ObjectStore, name, dying(getattr(ObjectStore, name)))
mirror(Path(sys.argv[1]), sys.argv[2], keep=1)
"""


@pytest.mark.long
@pytest.mark.servers
def test_a_mirror_killed_at_any_step_converges(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    """Two uploads, a copy, the manifest, the switch: killed before each of them and after the last."""
    publish(tiny, url)
    for step in range(6):
        tiny.write(10 + step)
        tiny.publish()
        before = customers_there(bucket)
        done = subprocess.run([sys.executable, "-c", _KILLED, str(tiny.published), url, str(step)], cwd=ROOT)
        assert done.returncode == (0 if step == 5 else -signal.SIGKILL)
        assert customers_there(bucket) == (10 + step if step == 5 else before)
        mirror(tiny.published, url, keep=1)
        assert customers_there(bucket) == 10 + step
    # What the killed ones left without a manifest is gone.
    whole = {n.split("/")[2] for n in bucket.names("published/snapshots") if n.endswith("manifest.json")}
    assert {n.split("/")[2] for n in bucket.names("published/snapshots")} == whole


def test_old_snapshots_go_but_neither_the_current_nor_those_that_may_be_read(
    tiny: PublishingShop, url: str, bucket: Bucket
) -> None:
    now = datetime.now(UTC)
    made = [publish(tiny, url, customers).snapshot for customers in (1, 2, 3, 4)]

    def there() -> list[str]:
        return sorted({n.split("/")[2] for n in bucket.names("published/snapshots")})

    assert mirror(tiny.published, url, keep=1).removed == ()
    assert there() == made
    assert mirror(tiny.published, url, keep=2, now=now + timedelta(hours=2)).removed == tuple(made[:2])
    assert there() == made[2:]
    # Read long ago, but current there until a moment ago: whoever opened it has an hour from now.
    assert mirror(tiny.published, url, keep=1).removed == ()
    assert customers_there(bucket) == 4


def test_a_file_lost_in_the_store_is_brought_again(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    name = publish(tiny, url).snapshot
    bucket.remove(f"published/snapshots/{name}/silver/customers.parquet")
    done = publish(tiny, url)
    assert (done.unchanged, done.uploaded) == (False, (CUSTOMERS,))
    assert customers_there(bucket) == 3


def test_copies_are_compared_with_their_manifest(
    tiny: PublishingShop, url: str, bucket: Bucket, tmp_path: Path
) -> None:
    publish(tiny, url)
    name = current(bucket)["snapshot"]
    assert verify_copy(url, tmp_path / "scratch") == {name: {}}
    key = f"snapshots/{name}/silver/customers.parquet"
    content = bytearray(bucket.get(f"published/{key}") or b"")
    content[len(content) // 2] ^= 0xFF
    bucket.put(f"published/{key}", bytes(content))
    assert verify_copy(url, tmp_path / "scratch") == {name: {key: "its content is not what was published"}}


def test_a_damaged_file_is_not_copied(tiny: PublishingShop, url: str, bucket: Bucket) -> None:
    file = tiny.file(tiny.publish(), CUSTOMERS)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(InputError, match="not what was published") as refused:
        mirror(tiny.published, url)
    assert refused.value.where == str(file)
    assert current(bucket) == {}
    assert set(publish(tiny, url).uploaded) == set(TABLES)


def test_another_source_and_a_newer_snapshot_are_refused(
    tiny: PublishingShop, url: str, bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = PublishingShop(tmp_path / "other", source="other")
    other.publish()
    publish(tiny, url)
    with pytest.raises(SettingsError, match="belong to the source 'tiny', not 'other'"):
        mirror(other.published, url)
    (tmp_path / "second").mkdir()
    second = PublishingShop(tmp_path / "second")
    second.publish(now=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(InputError, match="a newer snapshot is current there"):
        mirror(second.published, url)
    assert customers_there(bucket) == 3


def test_a_missing_container_says_so(tiny: PublishingShop, bucket: Bucket) -> None:
    tiny.publish()
    with pytest.raises(InputError, match="no such container"):
        mirror(tiny.published, f"{bucket.url}-nowhere/published")


def test_what_the_documentation_shows_reads_the_copy(tiny: PublishingShop, url: str) -> None:
    publish(tiny, url, 6)
    text = (ROOT / "docs" / "object-stores.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shown = '"az://container/published"'
    assert shown in code
    names: dict[str, Any] = {}
    exec(code.replace(shown, repr(url)), names)
    assert names["summary"]["customers"].to_list() == [6]
    assert names["customers"].height == 6
