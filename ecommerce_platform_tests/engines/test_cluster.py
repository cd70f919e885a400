"""Builds on a real standalone cluster, of which workers and drivers are killed, and behind a Spark Connect server."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import duckdb
import psutil
import pytest
from pyarrow import parquet

from ecommerce_platform.engines.spark import missing_for_spark, session
from ecommerce_platform.engines.store import Store
from ecommerce_platform.errors import SettingsError
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.engines.parity import jvms
from ecommerce_platform_tests.engines.standalone import Standalone, cluster, connect_server
from ecommerce_platform_tests.integration.warm import Warm
from ecommerce_platform_tests.leftout import leave_out

pytestmark = [pytest.mark.long, pytest.mark.servers]

#: Kills of a driver in all; a case has its shop, and so many of them.
KILLS = int(os.environ.get("ECOMMERCE_TEST_SPARK_KILLS", "20"))
PER_SHOP = 5
NOW = timedelta(0)


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[Standalone]:
    if missing := missing_for_spark():
        leave_out(*missing)
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(folder) as found:
        yield found
    assert jvms() == 0


@pytest.fixture
def builds(tmp_path: Path, standalone: Standalone) -> Iterator[Builds]:
    """The shop of a test."""
    found = Builds(tmp_path, standalone.environment)
    yield found
    found.close()


class Builds:
    """A shop that is built on the cluster, and its twin, which DuckDB builds from the same drops."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.ours, self.twin = Shop(folder / "spark"), Shop(folder / "duckdb")
        for shop in (self.ours, self.twin):
            shop.folder.mkdir()
        self.ours.ok("generate", "--orders", "300", "--days", "60", "--dirty", "0.02")
        self.later = sorted((self.ours.data / "raw").iterdir())[40:]  # what comes only after some builds
        self.aside = folder / "later"
        self.aside.mkdir()
        for drop in self.later:
            drop.rename(self.aside / drop.name)
        self.store = Store(self.ours.data / "spark")
        self.phases = self.ours.folder / "phases"
        self.on_spark = Warm({**self.ours.environment, **environment})

    def close(self) -> None:
        """Ends what a failed test has left running."""
        found = psutil.Process(self.on_spark.process.pid)
        processes = [found, *found.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def deliver(self, number: int) -> None:
        """The next days arrive."""
        for drop in self.later[:number]:
            (self.aside / drop.name).rename(drop)
        del self.later[:number]

    def start(self) -> int:
        """Begins a build on the cluster; its process id."""
        self.phases.write_text("")
        return self.on_spark.start("build", self.ours.folder, self.phases)

    def wait(self) -> int:
        return self.on_spark.wait()

    @property
    def said(self) -> str:
        return self.phases.with_suffix(".log").read_text()

    def lines(self) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.phases.read_text().splitlines()]

    def gold(self, which: str = "done") -> int:
        """How many gold tables this build has begun or ended."""
        return sum(line.startswith("gold.") and line.endswith(which) for line in self.lines())

    def until(self, reached: Callable[[], bool]) -> bool:
        """Waits; false when the build has ended before."""
        end = time.monotonic() + 600
        while not reached():
            if self.lines()[-1:] == ["end"]:
                return False
            assert time.monotonic() < end, self.said
            time.sleep(0.01)
        return True

    def differ(self) -> list[str]:
        """How the tables differ from those that DuckDB makes of the same drops."""
        shutil.rmtree(self.twin.data, ignore_errors=True)
        shutil.copytree(self.ours.data / "raw", self.twin.data / "raw")
        self.twin.ok("build", "--select", 'group:"bronze" or group:"silver" or key:"gold/*"')
        with duckdb.connect(str(self.twin.data / "warehouse.duckdb")) as con:
            return differences(con, self.ours.data / "warehouse.duckdb")

    def manifests_hold(self) -> int:
        """Every version names files that are there with the rows that it says; how many versions there are."""
        found = 0
        for table in self.store.tables():
            for number in self.store.versions(table):
                for part in self.store.read(table, number).parts.values():
                    rows = [parquet.read_metadata(self.store.folder(table) / name).num_rows for name in part.files]
                    assert sum(rows) == part.rows, (table, number)
                found += 1
        return found

    def orphans(self) -> list[Path]:
        """Files and folders that no version names."""
        named = {f for t in self.store.tables() for n in self.store.versions(t) for f in self.store.files(self.store.read(t, n))}  # fmt: skip
        homes = [self.store.folder(table) for table in self.store.tables()]
        files = [path for home in homes for path in home.rglob("*.parquet") if str(path) not in named]
        drafts = [path for home in homes for path in home.glob("manifests/.*")]
        used = {Path(name).parents[1] for name in named}
        return [*files, *drafts, *(path for home in homes for path in home.glob("parts/*") if path not in used)]


def test_whole_builds_on_a_cluster_give_the_same_tables(builds: Builds, standalone: Standalone) -> None:
    builds.twin.data.mkdir()
    for later in (0, len(builds.later)):
        builds.deliver(later)
        shutil.copytree(builds.ours.data / "raw", builds.twin.data / "raw", dirs_exist_ok=True)
        said = builds.ours.ok("build", **standalone.environment)
        assert f"ran on Spark ({standalone.master})" in said
        builds.twin.ok("build")
        with duckdb.connect(str(builds.twin.data / "warehouse.duckdb")) as con:
            assert differences(con, builds.ours.data / "warehouse.duckdb") == []
        assert builds.manifests_hold() > 40
    assert all(standalone.ran(worker) for worker in ("worker0", "worker1"))


def test_builds_behind_spark_connect_give_the_same_tables_also_after_the_server_was_killed(tmp_path: Path) -> None:
    if missing := missing_for_spark():
        leave_out(*missing)
    with connect_server(tmp_path) as server:
        builds = Builds(tmp_path, {"ECOMMERCE_ENGINE": "spark", "ECOMMERCE_SPARK_MASTER": server.address})
        try:
            builds.start()
            assert builds.wait() == 0, builds.said
            assert builds.differ() == []
            assert builds.manifests_hold() > 40
            builds.deliver(4)
            builds.start()
            assert builds.until(lambda: builds.gold("start") > 5)
            server.kill()
            server.start()  # it knows nothing of the session any more
            assert builds.wait() != 0
            builds.deliver(len(builds.later))
            builds.start()
            assert builds.wait() == 0, builds.said
            assert builds.differ() == []
            builds.manifests_hold()
        finally:
            builds.close()


def test_a_connect_server_that_is_not_there_is_said() -> None:
    if missing := missing_for_spark("sc://"):
        leave_out(*missing)
    with (
        pytest.raises(SettingsError, match="the Spark Connect server does not answer") as error,
        session("sc://127.0.0.1:1", "900m"),
    ):
        pass
    assert "ECOMMERCE_SPARK_MASTER=sc://127.0.0.1:1" in str(error.value)


@pytest.mark.parametrize("seed", range(2))
def test_a_build_goes_on_when_workers_are_killed(builds: Builds, standalone: Standalone, seed: int) -> None:
    rng = random.Random(seed)
    builds.start()
    first, second = rng.sample(standalone.workers, 2)
    moments = sorted(rng.sample(range(1, 30), 2))
    assert builds.until(lambda: builds.gold("start") > moments[0])
    time.sleep(rng.random() * 2)
    assert standalone.kill(first) >= 2  # with its executor
    assert builds.until(lambda: builds.gold("start") > moments[1])
    standalone.kill(second)  # the last one: the build waits until there is another
    time.sleep(3)
    waiting = builds.gold()
    standalone.start("worker2")
    assert builds.wait() == 0, builds.said
    assert builds.gold() > waiting
    assert standalone.ran("worker2") != []
    assert builds.differ() == []
    builds.manifests_hold()


@pytest.mark.parametrize("case", range(-(-KILLS // PER_SHOP)))
def test_a_build_after_killed_drivers_converges(builds: Builds, case: int) -> None:
    rng = random.Random(case)
    hit: Counter[str] = Counter()
    wanted = min(PER_SHOP, KILLS - case * PER_SHOP)
    while hit.total() < wanted:
        place = kill_once(builds, rng)
        builds.manifests_hold()
        if place is None or hit.total() > 1:
            builds.deliver(rng.choice([1, 2, 4]))
        hit.update([place] if place else [])
    builds.deliver(len(builds.later))
    builds.start()
    assert builds.wait() == 0, builds.said
    assert builds.differ() == []
    builds.manifests_hold()
    for table in 2 * builds.store.tables():  # a folder that the first time has emptied was changed just then
        builds.store.expire(table, readers=NOW, writers=NOW)
    assert builds.orphans() == []
    builds.manifests_hold()
    print(f"\n{hit.total()} drivers killed: {dict(hit)}")


def java_of(pid: int) -> list[psutil.Process]:
    """The Java processes that a process has started."""
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name() == "java"]


def kill_once(builds: Builds, rng: random.Random) -> str | None:
    """Kills a build at a random moment; where it was, or None when it was done before."""
    pid = builds.start()
    place = rng.randrange(12)
    if not builds.until(lambda: builds.gold("start") > place):
        assert builds.wait() == 0, builds.said
        return None
    time.sleep(rng.random() * 3)
    java = java_of(pid)
    only_java = bool(java) and rng.random() < 0.25
    with suppress(ProcessLookupError):
        os.kill(java[0].pid if only_java else pid, signal.SIGKILL)
    code, lines = builds.wait(), builds.lines()
    _, alive = psutil.wait_procs(java, timeout=60)
    assert alive == []  # Spark's half of the driver ends with ours
    if only_java and code:
        assert "assert not result.failed" in builds.said  # the build says which tables failed
        return "Java only"
    if code != -signal.SIGKILL:
        assert code == 0, builds.said
        return None
    return "in a table" if lines[-1].endswith("start") else "between tables"


def test_a_cluster_without_a_worker_is_said_rather_than_waited_for(
    standalone: Standalone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecommerce_platform.engines.spark.WORKERS_TIME", timedelta(seconds=15))
    before = jvms()
    with (
        pytest.raises(SettingsError, match="the cluster did nothing within 15 s") as error,
        session(standalone.master, "900m"),
    ):
        pass
    assert "ECOMMERCE_SPARK_MEMORY" in str(error.value)  # its workers have 800m
    assert jvms() == before


def test_what_fails_with_java_is_the_select_and_the_next_session_works() -> None:
    if missing := missing_for_spark():
        leave_out(*missing)
    with session("local[1]", "600m") as spark:
        (java,) = java_of(os.getpid())
        java.kill()
        with pytest.raises(Exception, match=r"o\d+|Connection refused|Py4J"):
            spark.range(1).count()
    with session("local[1]", "600m") as spark:
        assert spark.range(3).count() == 3
    assert jvms() == 0
