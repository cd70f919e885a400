"""Spark as an engine: a session whose semantics are fixed, and tables in the store. Which tables, its callers decide."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.engines.interface import Differing
from ecommerce_platform.engines.store import Manifest, Part, Store, bucket_sql, buckets_for
from ecommerce_platform.engines.translate import expression_to_spark, to_spark, view_of
from ecommerce_platform.errors import DefinitionError, SettingsError
from ecommerce_platform.warehouse.contract_checks import CheckResult, Rule, check_names, column_rules, stop_if_blocked
from ecommerce_platform.warehouse.incremental import Incremental, exchange
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

#: What a session must say for SELECTs to mean on Spark what they mean in DuckDB. A parity test holds each.
SEMANTICS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.caseSensitive": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
}
#: Everything stays on this machine unless the master is another one.
_ON_THIS_MACHINE = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
#: In this process: as many pieces as there are cores to work on them, not the 200 of a cluster.
_IN_THIS_PROCESS = {"spark.sql.shuffle.partitions": str(os.cpu_count() or 1)}
#: How the address of a Spark Connect server begins.
CONNECT = "sc://"
#: Seconds that a Spark Connect server may take to take a connection.
_CONNECTING = 10.0
#: How long a cluster may take until it has done something, however little.
WORKERS_TIME = timedelta(minutes=2)


def missing_for_spark(master: str = "local") -> tuple[str, str] | None:
    """What is missing to run Spark here, and what would put it there; None if nothing is."""
    import importlib.util
    import shutil

    behind_a_server = master.startswith(CONNECT)
    for name in ("pyspark", "grpc_status") if behind_a_server else ("pyspark",):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed", "pip install 'ecommerce_platform[spark]' -c constraints.txt"
    if behind_a_server:  # which has its own Java
        return None
    home = os.environ.get("JAVA_HOME")
    if not (home and Path(home, "bin", "java").is_file()) and shutil.which("java") is None:
        return (
            "there is no Java",
            "install a JRE of version 17 or 21 (Debian: openjdk-17-jre-headless), or set JAVA_HOME",
        )
    return None


def require_spark(master: str = "local") -> None:
    """Raises a SettingsError that says what is missing to run Spark here, if something is."""
    if missing := missing_for_spark(master):
        what, fix = missing
        raise SettingsError(
            f"Spark cannot run here: {what}",
            where="ECOMMERCE_ENGINE=spark",
            fix=f"{fix}; or unset it: DuckDB needs neither",
        )


@contextmanager
def session(master: str, memory: str, options: Mapping[str, str] = {}) -> Iterator[SparkSession]:
    """A Spark session for as long as the block lasts; its JVM ends with it.

    Args:
        master: `local[2]`, `spark://host:port` of a standalone cluster, or `sc://host:port` of a Spark Connect server, which
            has its JVM, and its memory, already.
        memory: of the driver and of each executor, as Java writes it: 1500m.
        options: further Spark settings; they cannot change SEMANTICS.

    Raises:
        SettingsError: pyspark or Java is missing, there is no such cluster, or it has no room for an executor.
    """
    require_spark(master)
    # Nothing here hands pandas to pyspark, nor the other way round.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    from pyspark.sql import SparkSession

    if master.startswith(CONNECT):
        spark = _connect(master, {**options, **SEMANTICS})
        try:
            yield spark
        finally:
            with suppress(Exception):  # of a server that is gone no session has to be given back
                spark.stop()
            os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)  # pyspark's mark, for whole processes
        return
    builder = SparkSession.builder.master(master).appName("ecommerce_platform")
    settings = {
        "spark.driver.memory": memory,
        "spark.executor.memory": memory,
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if master.startswith("local") or "127.0.0.1" in master:
        settings |= _ON_THIS_MACHINE
    if master.startswith("local"):
        settings |= _IN_THIS_PROCESS
    for name, value in {**settings, **options, **SEMANTICS}.items():
        builder = builder.config(name, value)
    spark = _start(builder, master)
    spark.sparkContext.setLogLevel("ERROR")
    try:
        if not master.startswith("local"):
            _find_a_worker(spark, master, memory)
        yield spark
    finally:
        _stop(spark)


def _start(builder: Any, master: str) -> SparkSession:
    try:
        spark: SparkSession = builder.getOrCreate()
        return spark
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise SettingsError(
            f"Spark did not start: {first}",
            where=f"ECOMMERCE_SPARK_MASTER={master}",
            fix="look whether the cluster is there and whether Java is version 17 or 21 (docs/spark.md)",
        ) from None


def _connect(address: str, options: Mapping[str, str]) -> SparkSession:
    """A session of its own on a Spark Connect server, once the server has answered."""
    import socket
    from urllib.parse import urlsplit

    from pyspark.sql import SparkSession

    place = urlsplit(address)
    try:
        # Where nobody listens, pyspark would try again for ten minutes.
        socket.create_connection((place.hostname or "", place.port or 0), _CONNECTING).close()
        spark: SparkSession = SparkSession.builder.remote(address).create()
        for name, value in options.items():
            spark.conf.set(name, value)
        spark.range(1).count()
        return spark
    except Exception as error:
        raise SettingsError(
            f"the Spark Connect server does not answer as it should: {str(error).strip().splitlines()[0]}",
            where=f"ECOMMERCE_SPARK_MASTER={address}",
            fix="look whether it runs there, with the version of the installed pyspark (docs/spark.md)",
        ) from None


def _find_a_worker(spark: SparkSession, master: str, memory: str) -> None:
    """Has the cluster do something; one that has no room would have us wait without a word."""
    import threading

    timer = threading.Timer(WORKERS_TIME.total_seconds(), spark.sparkContext.cancelAllJobs)
    timer.daemon = True
    timer.start()
    try:
        spark.range(1).count()
    except Exception as error:
        raise SettingsError(
            f"the cluster did nothing within {WORKERS_TIME.total_seconds():.0f} s",
            where=f"ECOMMERCE_SPARK_MASTER={master}",
            fix=f"look whether it has a worker with a free core and {memory} of memory (ECOMMERCE_SPARK_MEMORY), and "
            f"whether workers reach this machine: {str(error).strip().splitlines()[0]}",
        ) from None
    finally:
        timer.cancel()


def _stop(spark: SparkSession) -> None:
    """Ends the session and its JVM, which pyspark would keep until this process ends; also a JVM that was killed."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    gateway = SparkContext._gateway  # guarded by a test: no JVM may be left behind
    with suppress(Exception):  # of a JVM that is gone nothing can be asked; the SELECT that it was at has failed
        spark.stop()
    if gateway is not None:
        with suppress(Exception):
            gateway.shutdown()
        process = getattr(gateway, "proc", None)
        if process is not None:
            process.stdin.close()  # the JVM ends with its input
            process.wait(timeout=60)
    SparkContext._gateway = SparkContext._jvm = None
    SparkContext._active_spark_context = SparkSession._instantiatedSession = None


class SparkEngine:
    """The engine over a session and a store.

    Args:
        spark: a session that `session` made.
        store: the tables.
        contracts: of every table that SELECTs may name.
    """

    def __init__(self, spark: SparkSession, store: Store, contracts: Mapping[str, Contract]) -> None:
        self.spark, self.store, self.contracts = spark, store, contracts
        #: Table → the version that its view shows; its number alone may come again, when the store was removed.
        self._shown: dict[str, Manifest] = {}

    def replace(self, contract: Contract, select: str) -> Written:
        """As the interface says."""
        base = self.store.current(contract.table)
        staged = self.stage(contract, select, base)
        results = self._checked(contract, staged)
        new = self.store.commit(base, staged)
        return Written(new.rows, new.rows, 0, base.rows if base else 0, tuple(results))

    def upsert(self, contract: Contract, select: str) -> Written:
        """As the interface says. Only the buckets that hold a touched key are written anew."""
        base = self.store.current(contract.table)
        if base is None:
            return self.replace(contract, select)
        new = self._bucketed(contract, self._rows(contract, select), base.buckets).persist()
        try:
            differing = self._differing(contract, new, touched_only=True)
            touched = [row[0] for row in new.select("_bucket").distinct().collect()]
            before = {n: base.parts[n] for n in touched if n in base.parts}
            kept = self._bucketed(contract, self._read(contract, base, list(before)), base.buckets)
            kept = kept.join(new.select(*contract.key), list(contract.key), "left_anti").select(*new.columns)
            parts = self._write(contract, kept.unionAll(new))
        finally:
            new.unpersist()
        staged = _with(base, parts={**base.parts, **parts})
        results = self._checked(contract, staged)
        written = self.store.commit(base, staged)
        return Written(written.rows, differing.inserted, differing.updated, 0, tuple(results))

    def difference(self, contract: Contract, select: str) -> Differing:
        """As the interface says."""
        return self._differing(contract, self._rows(contract, select), touched_only=False)

    def arrow(self, select: str) -> pa.RecordBatchReader:
        """As the interface says: the rows are written to files first, which are gone when the last of them was read."""
        import pyarrow as pa
        from pyspark.sql.pandas.types import to_arrow_schema

        frame, folder = self.sql(select), self.store.stage("tmp.arrow")
        frame.write.parquet(str(folder))
        schema = to_arrow_schema(frame.schema)
        return pa.RecordBatchReader.from_batches(schema, self._batches(folder, schema))

    def checks(self, contract: Contract) -> list[CheckResult]:
        """As the interface says."""
        self._show(tables=[contract.table])
        return self._check(contract, view_of(contract.table))

    # What the gold layer needs besides.

    def sql(self, select: str, given: Collection[str] = ()) -> DataFrame:
        """The rows of a SELECT in DuckDB's SQL, not yet worked out; `given` are views of the session that it may read."""
        self._show(tables_read(select, frozenset(given)))
        return self.spark.sql(to_spark(select))

    def stage(self, contract: Contract, select: str, base: Manifest | None, state: str = "") -> Manifest:
        """Writes the rows of a SELECT as files that no version names yet; `Store.commit` makes them the next one."""
        buckets = buckets_for(base.rows) if base else 1
        parts = self._write(contract, self._bucketed(contract, self._rows(contract, select), buckets))
        columns = {name: column.type for name, column in contract.all_columns.items()}
        return Manifest(contract.table, 0, columns, buckets, parts, state)

    def stage_touched(self, table: Incremental, base: Manifest, keys: Path) -> tuple[Manifest, dict[int, Part]]:
        """Works out the rows of some keys, and writes the buckets of `base` that hold or held one of these.

        Args:
            table: the incremental table.
            base: its version that is brought up to date.
            keys: Parquet file of the keys, the columns of `recompute_by`.

        Returns:
            What `Store.commit` makes the next version, and those of its buckets that were written.
        """
        contract, scope = table.contract, list(table.contract.recompute_by)
        kinds = ", ".join(f"`{name}` {spark_type(contract.all_columns[name].type)}" for name in scope)
        touched = self.spark.read.schema(kinds).parquet(str(keys))
        new = self._bucketed(contract, self._narrowed(table, touched), base.buckets).persist()
        try:
            old = self._bucketed(contract, self._read(contract, base), base.buckets)
            hit = new.select("_bucket").union(old.join(touched, scope, "left_semi").select("_bucket")).distinct()
            buckets = {int(row[0]) for row in hit.collect()}
            before = self._bucketed(
                contract, self._read(contract, base, sorted(buckets & base.parts.keys())), base.buckets
            )
            kept = before.join(touched, scope, "left_anti").select(*new.columns)
            parts = self._write(contract, kept.unionAll(new))
        finally:
            new.unpersist()
        untouched = {number: part for number, part in base.parts.items() if number not in buckets}
        return _with(base, parts={**untouched, **parts}), parts

    def _narrowed(self, table: Incremental, touched: DataFrame) -> DataFrame:
        """The rows of the touched keys, from what matters for them of the tables that are read."""
        contract, sql = table.contract, table.model.table.sql
        assert sql is not None
        touched.createOrReplaceTempView("touched")
        given = {"touched"}
        for name, select in table.kept.values():
            self.sql(select, given).createOrReplaceTempView(name)
            given.add(name)
        narrowed = exchange(sql, {read: name for read, (name, _) in table.kept.items()})
        frame = self._rows(contract, narrowed, given)
        return frame.join(touched, list(contract.recompute_by), "left_semi").select(*contract.all_columns)

    def _batches(self, folder: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        from pyarrow import parquet

        try:
            for path in sorted(folder.glob("*.parquet")):
                for batch in parquet.ParquetFile(path).iter_batches():
                    yield batch.cast(schema)
        finally:
            self.store.discard(folder)

    def _show(self, tables: Iterable[str]) -> None:
        """Makes the newest versions of these tables the ones that SELECTs read."""
        for table in tables:
            found = self.store.current(table)
            if found is None:
                raise DefinitionError(
                    f"{table} is not in the store", where=self.store.folder(table), fix="write it first"
                )
            if self._shown.get(table) != found:
                self._read(self.contracts[table], found).createOrReplaceTempView(view_of(table))
                self._shown[table] = found

    def _read(self, contract: Contract, manifest: Manifest, buckets: Sequence[int] | None = None) -> DataFrame:
        parts = manifest.parts if buckets is None else {n: manifest.parts[n] for n in buckets}
        files = self.store.files(_with(manifest, parts=parts))
        schema = ", ".join(f"`{name}` {spark_type(kind)}" for name, kind in manifest.columns.items())
        if not files:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(*files)

    def _rows(self, contract: Contract, select: str, given: Collection[str] = ()) -> DataFrame:
        """The rows of a SELECT with the contract's types; a value that does not fit one is an error."""
        frame = self.sql(select, given)
        expected = list(contract.all_columns)
        if frame.columns != expected:
            raise DefinitionError(
                f"the SELECT of {contract.table} gives {', '.join(frame.columns)}, its contract says {', '.join(expected)}",
                where=contract.path.with_suffix(".sql"),
                fix=f"correct the SELECT or {contract.path.name}",
            )
        return frame.select(*(frame[n].cast(spark_type(c.type)).alias(n) for n, c in contract.all_columns.items()))

    def _bucketed(self, contract: Contract, frame: DataFrame, buckets: int) -> DataFrame:
        from pyspark.sql import functions as f

        return frame.withColumn("_bucket", f.expr(expression_to_spark(bucket_sql(contract, buckets))))

    def _write(self, contract: Contract, frame: DataFrame) -> dict[int, Part]:
        from pyarrow import parquet

        folder = self.store.stage(contract.table)
        frame.repartition("_bucket").write.partitionBy("_bucket").parquet(str(folder))
        home = self.store.folder(contract.table)
        return {
            bucket: Part(names, sum(parquet.read_metadata(home / name).num_rows for name in names))
            for bucket, names in self.store.staged(contract.table, folder).items()
        }

    def _differing(self, contract: Contract, new: DataFrame, *, touched_only: bool) -> Differing:
        from pyspark.sql import functions as f

        key, others = list(contract.key), [c for c in contract.all_columns if c not in contract.key]
        base = self.store.current(contract.table)
        old = self._read(contract, base) if base else new.limit(0).select(*contract.all_columns)
        both = old.alias("o").withColumn("_old", f.lit(1)).join(
            new.alias("n").withColumn("_new", f.lit(1)), key, "right" if touched_only else "full"
        )  # fmt: skip
        equal = f.lit(True)
        for name in others:
            equal = equal & f.col(f"o.{name}").eqNullSafe(f.col(f"n.{name}"))
        counted = both.select(
            f.count_if(f.col("_old").isNull()),
            f.count_if(f.col("_old").isNotNull() & f.col("_new").isNotNull() & ~equal),
            f.count_if(f.col("_new").isNull()),
        ).collect()[0]
        return Differing(*counted)

    def _checked(self, contract: Contract, staged: Manifest) -> list[CheckResult]:
        """Asks the contract's rules of what is staged, in the place of the table; what fails them is removed."""
        self._read(contract, staged).createOrReplaceTempView(view_of(contract.table))
        self._shown.pop(contract.table, None)
        try:
            self._show([t for check in contract.checks for t in tables_read(check.sql) if t != contract.table])
            return self._check(contract, view_of(contract.table))
        except BaseException:
            for name in {Path(n).parts[1] for part in staged.parts.values() for n in part.files}:
                self._drop_unnamed(contract.table, name)
            raise

    def _drop_unnamed(self, table: str, folder: str) -> None:
        base = self.store.current(table)
        named = {Path(n).parts[1] for part in base.parts.values() for n in part.files} if base else set()
        if folder not in named:
            self.store.discard(self.store.folder(table) / "parts" / folder)

    def _check(self, contract: Contract, view: str) -> list[CheckResult]:
        results = [self._contract_rules(contract, view)]
        for check in contract.checks:
            count = self.spark.sql(f"select count(*) from ({to_spark(check.sql)}) as offending").collect()[0][0]
            results.append(CheckResult(check.name, check.severity, check.description, (Rule(check.name, count),)))
        stop_if_blocked(contract.table, results)
        return results

    def _contract_rules(self, contract: Contract, view: str) -> CheckResult:
        rules = [
            (text, expression_to_spark(condition))
            for name, column in contract.columns.items()
            for _, text, condition in column_rules(name, column, required=name in contract.required_columns)
        ]
        key = ", ".join(f"`{name}`" for name in contract.key)
        counts = ", ".join(["count(*)", *(f"count_if({condition})" for _, condition in rules)])
        total, *broken = self.spark.sql(f"select {counts} from {view}").collect()[0]
        doubled = (
            f"select coalesce(sum(n - 1), 0) from (select count(*) as n from {view} group by {key} having count(*) > 1)"
        )
        rules.append((f"unique key ({', '.join(contract.key)})", ""))
        broken.append(self.spark.sql(doubled).collect()[0][0])
        found = tuple(Rule(text, int(count)) for (text, _), count in zip(rules, broken, strict=True))
        return CheckResult("contract", "block", check_names(contract)[0][2], found, rows=total)


def spark_type(kind: str) -> str:
    """A contract's type as Spark writes it."""
    return {"VARCHAR": "STRING", "TIMESTAMP": "TIMESTAMP_NTZ", "INTEGER": "INT"}.get(kind, kind)


def _with(manifest: Manifest, **changes: Any) -> Manifest:
    return Manifest(**{**vars(manifest), **changes})
