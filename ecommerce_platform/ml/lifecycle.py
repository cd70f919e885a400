"""One life for all models: fit, evaluate, gate, store, load, score. What a model is about is in a module of its own.

**A further model** is one module here and one declaration. The module ends in an object `MODEL` of a class below `Model`:

    class Rebuy(lifecycle.Model):
        name, baseline = "rebuy", "recency_alone"
        title, purpose = "Who buys again", "Whom to write to next week."
        inputs = {
            "persons": select("select person_id, recency_days from gold.rfm"),      # or a file's name in models/inputs
            "orders": Input(("gold.fct_orders",), lambda con: frame),                # what no SELECT can say; sorted
        }
        trained_on = ("persons", "orders")                          # names of `inputs`
        scored_on = {"ml.rebuy_scores": ("persons",)}               # table it fills → names of `inputs`
        columns = {"person_id": TEXT, "recency_days": DAYS}         # what `ecommerce predict rebuy` asks a file for
        code = (Path(__file__),)                                    # and every file of ml/ that it calls
        imports = ("sklearn.linear_model",)

        def evaluate(self, inputs, *, seed, full):                  # cut off, choose on earlier folds, judge once
            return Evaluation("logistic", [Comparison("auc", 0.71, 0.68, low, high, fold="2018-06-06", decides=True)])
        def fit(self, inputs, method, evaluation, *, seed, full):   # on everything; method is the baseline's if it lost
            return {"method": method, "weights": weights}
        def to_state(self, fitted): return fitted                   # scikit-learn objects, arrays, plain containers
        def from_state(self, state): return state
        def score(self, fitted, inputs, table): return frame        # the table's columns; who made it is added
        def predict(self, fitted, rows): return frame               # the same for rows of a user's file
    MODEL = Rebuy()

The declaration is the contract of its table, `models/ml/rebuy_scores.yml`, which has the columns `model` and `model_version`,
and says `filled_by: ml.rebuy` (the module, below `ecommerce_platform`) and `tags: {cadence: weekly, model: rebuy}`. Assets
(`ml/rebuy_model` and each table), commands, card, registry, pins and monitoring follow from these two.

A source that lacks a table of `inputs` has neither the model nor its tables.

**What happens**, in `train`: the inputs are read (each sorted, so that the order of rows changes nothing) and the
warehouse is let go. An equal training (data, code, parameters, libraries: the second half of a version) is kept rather
than done again. Else `evaluate`, the gate, `fit` on everything, and the artifact, the card, the row of `ml.models` and the
rows of `ml.evaluations` are written together. **The gate**: the method is promoted when every comparison that `decides`
has an interval of value − baseline that excludes 0 in favour, and nothing is below its `at_least`; else the baseline is
fitted and scores are published as `baseline:<name>`. `score` uses the pinned version, else the newest (`registry`).

Everything runs on one thread (sums over several round differently). Nothing here knows Dagster or a model.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts, monitoring
from ecommerce_platform.ml.cards import About, Exhibit, card_files, card_page
from ecommerce_platform.ml.columns import Rule
from ecommerce_platform.warehouse.changes import (
    made_within,
    own_code,
    record_change,
    record_seen,
    seen_versions,
    table_versions,
    unseen,
)
from ecommerce_platform.warehouse.connection import let_go
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.registry import all_versions, current_version, newest_version, version_row
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, as_it_was, ensure_table, replace_table, upsert_rows

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.contracts.catalog import Catalog
    from ecommerce_platform.contracts.contract import Contract

Inputs = Mapping[str, "pl.DataFrame"]

SEED = 1
#: How long a model and its scores are left alone by builds that do not ask for them.
CADENCE = timedelta(days=7)
REGISTRY, EVALUATIONS, PINS = "ml.models", "ml.evaluations", "ml.model_pins"
_FORMAT = 1


# -- what a model says of itself ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """A frame that a model works on: the tables it is made from, and how.

    Attributes:
        reads: the tables.
        fetch: makes the frame.
        files: SELECTs that it runs, beside the model's own code: scores follow when they change.
    """

    reads: tuple[str, ...]
    fetch: Callable[[DuckDBPyConnection], pl.DataFrame]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Select:
    """The result of a SELECT as an input, sorted by all its columns: what is drawn must not depend on the order of rows."""

    sql: str
    files: tuple[Path, ...] = ()

    @cached_property
    def _text(self) -> str:
        return "\n".join((self.sql, *(own_code(str(file)) for file in self.files))).strip().rstrip(";")

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The tables it reads."""
        return tuple(sorted(tables_read(self._text)))

    def fetch(self, con: DuckDBPyConnection) -> pl.DataFrame:
        """Its rows."""
        return con.sql(f"select * from ({self._text}) as rows_ order by all").pl()


def select(sql: str) -> Select:
    """An input that a SELECT says.

    Args:
        sql: the SELECT, or the name of a file in `models/inputs` without `.sql`; a file is read when it is first needed.
    """
    from ecommerce_platform.contracts.catalog import MODELS

    return Select(sql) if " " in sql else Select("", (MODELS / "inputs" / f"{sql}.sql",))


@dataclass(frozen=True)
class Comparison:
    """One metric of a method and of the baseline on the same later data.

    Attributes:
        metric: its name, as in `ml.evaluations`.
        value: the method's figure.
        baseline_value: the baseline's.
        interval_low: lower end of the interval of value − baseline_value; None for metrics without one.
        interval_high: its upper end.
        fold: first day (ISO) that the evaluated fit did not know; or another name of what was judged on.
        decides: whether the method must win it to be promoted.
        lower_is_better: whether it wins by being below.
        at_least: a value below it stops the promotion, whatever the baseline does.
    """

    metric: str
    value: float
    baseline_value: float
    interval_low: float | None = None
    interval_high: float | None = None
    fold: str = ""
    decides: bool = False
    lower_is_better: bool = False
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it does not stand in the way of a promotion."""
        if self.at_least is not None and not self.value >= self.at_least:
            return False
        if not self.decides:
            return True
        low, high = self.interval_low, self.interval_high
        return high is not None and high < 0 if self.lower_is_better else low is not None and low > 0


@dataclass(frozen=True)
class Evaluation:
    """How the method that was chosen on earlier folds did on the newest window, which neither choice nor fit had seen.

    Attributes:
        method: what the method is called in scores (`ml.<table>.model`) when it is promoted.
        comparisons: with the baseline; all of them, those of earlier folds too.
        not_evaluated: why there are none that decide, if there are none: then nothing is promoted.
        metrics: further plain JSON values for the card and `ml.models.metrics`.
        exhibits: tables and pictures of the evaluation, for the card.
        carry: anything `fit` shall have from here (it is not stored).
    """

    method: str
    comparisons: Sequence[Comparison] = ()
    not_evaluated: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    exhibits: Sequence[Exhibit] = ()
    carry: Any = None

    @property
    def wins(self) -> bool:
        """The gate; see the module docstring."""
        decided = any(c.decides for c in self.comparisons)
        return decided and self.not_evaluated is None and all(c.holds for c in self.comparisons)


class Model(ABC):
    """What the lifecycle needs to know of a model; the module docstring shows one."""

    #: As in `ml.models`, in the tag `model` of its tables and in commands.
    name: str
    #: For people: what it is, what for, and what it cannot do.
    title: str
    purpose: str
    limits: tuple[str, ...] = ()
    #: Name of what it is compared with, and what is published where it does not win.
    baseline: str
    inputs: Mapping[str, Input | Select]
    #: Names of the inputs of a training; the rows of the first are those that it counts.
    trained_on: tuple[str, ...]
    scored_on: Mapping[str, tuple[str, ...]]
    #: What `ecommerce predict` asks of a file: column → rule. Empty: there is nothing to score in a file.
    columns: Mapping[str, Rule] = {}
    #: Files whose content decides what a training gives, those of this package that it calls as well.
    code: tuple[Path, ...]
    #: Libraries whose versions do.
    libraries: tuple[str, ...] = ("numpy", "scipy", "scikit-learn")
    #: Modules that training and scoring use, imported before the number of threads is limited: limits reach loaded ones only.
    imports: tuple[str, ...] = ()
    stored_as: Literal["skops", "json"] = "skops"
    #: Table → the column of it whose distribution is watched, and the column that names whom a row is about.
    watched: Mapping[str, tuple[str, str]] = {}

    @abstractmethod
    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Judges the method on later data; `full` is the whole tournament instead of the quick one."""

    @abstractmethod
    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> Any:
        """The method (or the baseline, by its name) fitted on everything."""

    @abstractmethod
    def to_state(self, fitted: Any) -> Any:
        """What is stored: scikit-learn objects, arrays and plain containers; plain JSON values if `stored_as` says so."""

    @abstractmethod
    def from_state(self, state: Any) -> Any:
        """What `to_state` stored, ready to score."""

    @abstractmethod
    def score(self, fitted: Any, inputs: Inputs, table: str) -> pl.DataFrame:
        """Rows of a table of `scored_on`; who made them (`model`, `model_version`) is added unless they say so."""

    def predict(self, fitted: Any, rows: pl.DataFrame) -> pl.DataFrame:
        """Scores of the rows of a user's file, in its order; `rows` has the columns of `columns`."""
        raise NotImplementedError

    def refuse(self, fitted: Any, inputs: Inputs) -> str | None:
        """Why what was fitted on everything is not fit to be published although the method won; None if it is."""
        return None

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """What the training was told, as plain JSON values; part of a version's hash."""
        return {}

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """First and last day with data in the inputs of a training."""
        return None, None

    def features(self, fitted: Any) -> tuple[str, ...]:
        """Names of the features that are used."""
        return tuple(self.columns)

    def about(self, fitted: Any, inputs: Inputs) -> dict[str, Any]:
        """Further plain JSON values about the final fit, for the card and `ml.models.metrics`."""
        return {}

    def exhibits(self, fitted: Any, inputs: Inputs, evaluation: Evaluation, *, seed: int) -> Sequence[Exhibit]:
        """Tables and pictures of the final fit, for the card, after those of the evaluation."""
        return ()

    def attachments(self, fitted: Any) -> Mapping[str, bytes]:
        """Further files to be kept beside the artifact, by name."""
        return {}

    def realised(self, past: pl.DataFrame, inputs: Inputs) -> Mapping[str, Sequence[Comparison]]:
        """How past scores turned out, by day and version scored; days whose outcomes are not known yet are left out.

        Args:
            past: table_name, scored_on (DATE), model_version, id, score (DOUBLE): what `watched` had remembered.
            inputs: those of a training now.

        Returns:
            Comparisons by the version that scored, each with `fold=f"{monitoring.LIVE}{scored_on}"`.
        """
        return {}

    @property
    def described(self) -> About:
        """What cards and pages say of it, whatever the data."""
        columns = {
            name: f"{rule.says}, may be missing" if rule.optional else rule.says for name, rule in self.columns.items()
        }
        reads = self.reads(tuple(self.inputs))
        return About(
            self.name, self.title, self.purpose, self.limits, self.baseline, tuple(self.scored_on), reads, columns
        )

    @property
    def key(self) -> str:
        """The training as a table of the ledger of versions; also its asset's key."""
        return f"ml.{self.name}_model"

    @property
    def code_version(self) -> str:
        """Changes with the code and the SELECTs that training and scoring run."""
        files = (file for name in sorted(self.inputs) for file in self.inputs[name].files)
        return artifacts.source_hash(Path(__file__), *self.code, *files)

    def reads(self, names: Sequence[str]) -> tuple[str, ...]:
        """The tables behind some inputs."""
        return tuple(sorted({table for name in names for table in self.inputs[name].reads}))


# -- in memory ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """What one training gives: the fitted model, its evaluation and its card (path and hash are filled when it is kept)."""

    model: Model
    fitted: Any
    evaluation: Evaluation
    card: artifacts.Card
    exhibits: tuple[Exhibit, ...] = ()

    @property
    def published_as(self) -> str:
        """What scores say in `model`."""
        return self.card.published_as

    @property
    def evaluations(self) -> pl.DataFrame:
        """Rows of `ml.evaluations`, in its contract's columns and types."""
        return evaluation_rows(self.model, self.card.version, self.evaluation.comparisons)

    @property
    def page(self) -> str:
        """The card as Markdown with its pictures in it."""
        return card_page(self.model.described, self.card, self.evaluation.comparisons, self.exhibits, embedded=True)


def evaluation_rows(model: Model, version: str, comparisons: Sequence[Comparison]) -> pl.DataFrame:
    """Rows of `ml.evaluations`, in its contract's columns and types."""
    return _evaluation_frame(
        [
            (model.name, version, c.fold, c.metric, c.value, model.baseline, c.baseline_value, c.interval_low,
             c.interval_high, c.decides, c.lower_is_better)
            for c in comparisons
        ]
    )  # fmt: skip


def _evaluation_frame(rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    import polars as pl

    schema = {
        **dict.fromkeys(("model", "version", "fold", "metric"), pl.String),
        "value": pl.Float64,
        "baseline": pl.String,
        **dict.fromkeys(("baseline_value", "interval_low", "interval_high"), pl.Float64),
        **dict.fromkeys(("decides", "lower_is_better"), pl.Boolean),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _fit(model: Model, inputs: Inputs, evaluation: Evaluation, *, seed: int, full: bool) -> tuple[Any, str | None]:
    """The method if it won and is not refused, else the baseline; and why it is refused."""

    def fit(method: str) -> Any:
        return model.fit(inputs, method, evaluation, seed=seed, full=full)

    if not evaluation.wins:
        return fit(model.baseline), None
    fitted = fit(evaluation.method)
    refused = model.refuse(fitted, inputs)
    return (fit(model.baseline), refused) if refused else (fitted, None)


def train_frames(
    model: Model, inputs: Inputs, *, seed: int = SEED, full: bool = False, trained_at: datetime | None = None
) -> Trained:
    """Evaluates, gates and fits a model on frames; nothing is stored.

    Args:
        model: the model.
        inputs: a frame for each name of `trained_on`.
        seed: of everything random.
        full: the whole tournament rather than the quick one.
        trained_at: the moment, with zone; now when not given.
    """
    with one_thread(model.imports):
        evaluation = model.evaluate(inputs, seed=seed, full=full)
        fitted, refused = _fit(model, inputs, evaluation, seed=seed, full=full)
        exhibits = (*evaluation.exhibits, *model.exhibits(fitted, inputs, evaluation, seed=seed))
    moment = (trained_at or datetime.now(UTC)).astimezone(UTC)
    first, last = model.window(inputs)
    card = artifacts.Card(
        model=model.name,
        version=artifacts.make_version(moment, digest(model, inputs, seed=seed, full=full)),
        trained_at=moment,
        data_from=first,
        data_to=last,
        rows_trained=inputs[model.trained_on[0]].height,
        seed=seed,
        code_version=model.code_version,
        feature_names=model.features(fitted),
        parameters={**model.parameters(full=full), "seed": seed, "full": full},
        metrics=_metrics(model, fitted, inputs, evaluation, refused),
        baseline=model.baseline,
        promoted=evaluation.wins and not refused,
        method=evaluation.method,
        libraries=artifacts.libraries(*model.libraries, "skops"),
    )
    return Trained(model, fitted, evaluation, card, exhibits)


def _metrics(model: Model, fitted: Any, inputs: Inputs, evaluation: Evaluation, refused: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"not_evaluated": evaluation.not_evaluated, "refused": refused}
    for c in evaluation.comparisons:
        of_fold = found.setdefault("evaluation", {}).setdefault(c.fold, {})
        of_fold[c.metric] = {"value": c.value, "baseline": c.baseline_value, "decides": c.decides}
        if c.interval_low is not None:
            of_fold[c.metric]["difference_interval"] = [c.interval_low, c.interval_high]
    return {**found, **evaluation.metrics, **model.about(fitted, inputs)}


def digest(model: Model, inputs: Inputs, *, seed: int, full: bool) -> str:
    """Twelve hex digits that stand for all that a training depends on: the second half of its version."""
    libraries = artifacts.libraries(*model.libraries, "skops")
    said = [model.name, model.parameters(full=full), seed, full, model.code_version, libraries]
    frames = (part for name in model.trained_on for part in (name.encode(), *frame_bytes(inputs[name])))
    return artifacts.content_hash([json.dumps(said, sort_keys=True).encode(), *frames])


def frame_bytes(frame: pl.DataFrame) -> Iterator[bytes]:
    """The content of a frame as bytes: names, types, what is null and the values, column by column."""
    import polars as pl

    for series in frame.iter_columns():
        yield f"{series.name} {series.dtype}".encode()
        if series.null_count():
            yield series.is_null().to_numpy().tobytes()
        if series.dtype.is_decimal() or not (series.dtype.is_numeric() or series.dtype.is_temporal()):
            texts = series.cast(pl.String).fill_null("")
            yield texts.str.len_bytes().to_numpy().tobytes()
            yield str(texts.str.join("").item()).encode() if len(texts) else b""
        else:
            yield series.to_physical().fill_null(0).to_numpy().tobytes()


@contextmanager
def one_thread(imports: Sequence[str] = ()) -> Iterator[None]:
    """Sums split over threads round differently: with one, a fit is the same on every number of cores."""
    from threadpoolctl import threadpool_limits

    for name in imports:
        import_module(name)
    with threadpool_limits(limits=1):
        yield


# -- on disk -----------------------------------------------------------------------------------------------------


def keep(models_dir: Path, trained: Trained) -> artifacts.Card:
    """Stores a training's artifact and its card as a page; returns the card with path and hash filled in."""
    model = trained.model
    state = {"format": _FORMAT, "model": model.name, "state": model.to_state(trained.fitted)}
    pages = card_files(model.described, trained.card, trained.evaluation.comparisons, trained.exhibits)
    extra = {**pages, **model.attachments(trained.fitted)}
    if model.stored_as == "json":
        text = json.dumps(state, indent=1, sort_keys=True, allow_nan=False) + "\n"
        return artifacts.save_json_artifact(models_dir, text.encode(), trained.card, extra)
    return artifacts.save_artifact(models_dir, state, trained.card, extra)


def load(models_dir: Path, model: Model, version: str, *, sha256: str | None = None) -> tuple[Any, artifacts.Card]:
    """The fitted model of a stored version, and its card.

    Args:
        models_dir: the folder of all models.
        model: the model.
        version: which one.
        sha256: the hash that the registry holds; see `artifacts.load_artifact`.

    Raises:
        InputError: it is not there, was changed after training, holds types that are not trusted, or is not this model's.
    """
    if model.stored_as == "json":
        data, card = artifacts.load_json_artifact(models_dir, model.name, version, sha256=sha256)
        state = json.loads(data)
    else:
        state, card = artifacts.load_artifact(models_dir, model.name, version, sha256=sha256)
    if not isinstance(state, dict) or (state.get("format"), state.get("model")) != (_FORMAT, model.name):
        raise InputError(
            f"the artifact is none of {model.name} that this version reads",
            where=models_dir / card.artifact_path,
            fix=artifacts.TRAIN_AGAIN,
        )
    return model.from_state(state["state"]), card


# -- in the warehouse --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where models live: the warehouse (opened only while SQL runs), the folder of artifacts, the tables' contracts."""

    connect: Callable[[], AbstractContextManager[DuckDBPyConnection]]
    models: Path
    catalog: Catalog


@dataclass(frozen=True)
class Training:
    """What `train` did: the registry's write, and the card if there was a training."""

    written: Written
    trained: Trained | None = None
    card: artifacts.Card | None = None


def train(model: Model, place: Place, *, seed: int = SEED, full: bool = False, when_due: bool = False) -> Training:
    """Trains a model on the warehouse as it is and keeps it, unless that would give what there is.

    Args:
        model: the model.
        place: where it lives.
        seed: of everything random.
        full: the whole tournament rather than the quick one; a full version is not replaced by a quick one of the same data.
        when_due: leaves it alone for `CADENCE` after the last training, unless its scores have drifted.

    Raises:
        InputError: the inputs cannot be trained on.
    """
    registry, code = place.catalog.contract(REGISTRY), model.code_version
    tables = model.reads(model.trained_on)
    with place.connect() as con:
        wait = when_due and not monitoring.has_drifted(con, model.name)
        if not full and left_alone(con, model.key, tables, code, when_due=wait, kept_in=REGISTRY):
            return Training(_unchanged(con, registry))
        now, _ = unseen(con, model.key, tables, code)
        inputs = {name: model.inputs[name].fetch(con) for name in model.trained_on}
        newest = newest_version(con, model.name)
        if newest and _same(model, inputs, newest, seed=seed, full=full):
            with transaction(con):
                if model.key not in table_versions(con):
                    record_change(con, model.key, code)
                record_seen(con, model.key, now)
            return Training(_unchanged(con, registry))
        past = monitoring.past_scores(con, model.name)
        let_go(con)
    # The warehouse is free while the model is trained.
    trained = train_frames(model, inputs, seed=seed, full=full)
    card = keep(place.models, trained)
    results = [trained.evaluations, *outcomes(model, past, inputs)]
    written = register(place, card, results, lambda con: _note(con, model.key, code, now))
    return Training(written, trained, card)


def outcomes(model: Model, past: pl.DataFrame | None, inputs: Inputs) -> list[pl.DataFrame]:
    """How past scores turned out, as rows of `ml.evaluations` of the versions that had scored."""
    if past is None or past.is_empty():
        return []
    with one_thread(model.imports):
        found = model.realised(past, inputs)
    return [evaluation_rows(model, version, compared) for version, compared in sorted(found.items())]


def _note(con: DuckDBPyConnection, key: str, code: str, now: Mapping[str, int]) -> None:
    record_change(con, key, code)
    record_seen(con, key, now)


def _same(model: Model, inputs: Inputs, newest: Mapping[str, Any], *, seed: int, full: bool) -> bool:
    """Whether the newest version is what a training would give, or the full tournament on the same."""
    mine = str(newest["version"]).partition("-")[2]
    return mine in {digest(model, inputs, seed=seed, full=f) for f in {full, True}}


def register(
    place: Place,
    card: artifacts.Card,
    evaluations: Sequence[pl.DataFrame] = (),
    also: Callable[[DuckDBPyConnection], None] | None = None,
) -> Written:
    """Writes a kept version into the registry, with its evaluations: all or nothing.

    A version whose evaluations are missing, or that is trained again, would be a puzzle.

    Args:
        place: where it lives.
        card: of the version, with path and hash.
        evaluations: rows of `ml.evaluations`, if there are any.
        also: writes more in the same transaction.
    """
    import polars as pl

    registry, results = place.catalog.contract(REGISTRY), place.catalog.contract(EVALUATIONS)
    with place.connect() as con:
        con.register("_card", artifacts.registry_frame(card).to_arrow())
        together = pl.concat([_evaluation_frame([]), *evaluations])
        con.register("_evaluations", together.to_arrow())
        with transaction(con):
            for kept in (registry, results, place.catalog.contract(PINS)):
                _ensure(con, kept)
            if together.height:
                upsert_rows(con, results, typed(results, "_evaluations"))
            written = upsert_rows(con, registry, typed(registry, "_card"))
            if also:
                also(con)
    return written


def _ensure(con: DuckDBPyConnection, ledger: Contract) -> None:
    """Makes a ledger exist, with a version of its own: whoever reads it can then tell that nothing has come since."""
    ensure_table(con, ledger)
    if ledger.table not in table_versions(con):
        record_change(con, ledger.table)


def promote(place: Place, model: str, version: str | None, *, key: str | None = None) -> str:
    """Pins a version: it is in force whatever is trained later, until another is pinned or none.

    Args:
        place: where the model lives.
        model: its name.
        version: which one; None to let the newest be in force again.
        key: its training in the ledger of versions, whose followers have to score again.

    Returns:
        The version that is in force now.

    Raises:
        InputError: there is no such version, or its artifact cannot be used.
    """
    pins = place.catalog.contract(PINS)
    with place.connect() as con:
        row = version_row(con, model, version) if version else newest_version(con, model)
        if row is None:
            known = [r["version"] for r in all_versions(con, model)]
            raise InputError(
                f"there is no version {version} of {model}" if known else f"the model {model!r} has not been trained",
                fix=f"use one of {', '.join(known[:5])}" if known else "run `ecommerce build` first",
            )
        artifacts.check_artifact(place.models, model, row["version"], sha256=row["sha256"])
        with transaction(con):
            ensure_table(con, pins)
            change = record_change(con, PINS)
            con.execute(
                f"insert into {PINS} (model, change, changed_at, version) "
                "values (?, ?, cast(timezone('UTC', now()) as timestamp), ?)",
                [model, change, version],
            )
            if key and key in (versions := table_versions(con)):
                record_change(con, key, versions[key].code_version)
    return str(row["version"])


def roll_back(place: Place, model: str, *, key: str | None = None) -> str:
    """Pins the version before the one in force; returns it.

    Raises:
        InputError: the model was not trained, or there is no version before.
    """
    with place.connect() as con:
        now = current_version(con, model)["version"]
        versions = [r["version"] for r in all_versions(con, model)]  # the newest first
        earlier = versions[versions.index(now) + 1 :]
    if not earlier:
        raise InputError(f"there is no version of {model} before {now}", fix="see `ecommerce models`")
    return promote(place, model, earlier[0], key=key)


def score(
    model: Model, place: Place, table: str, *, when_due: bool = False, full_checks: bool = False
) -> tuple[Written, str | None]:
    """Fills a table of the model's with the scores of the version in force.

    Args:
        model: the model.
        place: where it lives.
        table: one of `scored_on`.
        when_due: leaves the table alone for `CADENCE` unless the version in force is another than it was scored with.
        full_checks: writes and checks it although nothing has changed.

    Returns:
        What was written, and the version; no version when nothing was.

    Raises:
        InputError: no version was trained, or the stored one is not usable.
        BlockedError: a check of the table failed; the previous rows stay.
    """
    contract, names, code = place.catalog.contract(table), model.scored_on[table], model.code_version
    reads = (*model.reads(names), model.key)
    with place.connect() as con:
        settled = left_alone(con, table, reads, code, when_due=when_due) and not _behind(con, table, model.key)
        if settled and not full_checks:
            return _unchanged(con, contract), None
        now, _ = unseen(con, table, reads, code)
        row = current_version(con, model.name)
        inputs = {name: model.inputs[name].fetch(con) for name in names}
        let_go(con)
    fitted, card = load(place.models, model, row["version"], sha256=row["sha256"])
    with one_thread(model.imports):
        scored = signed(model.score(fitted, inputs, table), card)
    with place.connect() as con:
        con.register("_scored", scored.to_arrow())
        written = replace_table(
            con, contract, typed(contract, "_scored"), code_version=code, reads=reads, seen=now,
            also_write=lambda: _remember(con, place, model, table, card.version),
        )  # fmt: skip
    return written, card.version


def _remember(con: DuckDBPyConnection, place: Place, model: Model, table: str, version: str) -> None:
    """Keeps a sample of the scores just written, if the model watches them."""
    history = place.catalog.contract(monitoring.HISTORY)
    _ensure(con, history)
    if table in model.watched:
        column, who = model.watched[table]
        monitoring.remember(con, history, model.name, table, column, who, version, table)


def signed(scored: pl.DataFrame, card: artifacts.Card) -> pl.DataFrame:
    """Scores with who made them: `model` (unless they say so themselves) and `model_version`."""
    import polars as pl

    made_by = {} if "model" in scored.columns else {"model": pl.lit(card.published_as)}
    return scored.with_columns(**made_by, model_version=pl.lit(card.version))


def left_alone(
    con: DuckDBPyConnection,
    table: str,
    reads: Sequence[str],
    code: str,
    *,
    when_due: bool = False,
    kept_in: str | None = None,
) -> bool:
    """Whether nothing that `table` is made from has changed or, `when_due`, whether it is not due yet."""
    if not table_exists(con, *(kept_in or table).split(".", 1)):
        return False
    _, behind = unseen(con, table, reads, code, kept_in=kept_in)
    return behind == {} or (when_due and made_within(con, table, code, CADENCE))


def _behind(con: DuckDBPyConnection, table: str, read: str) -> bool:
    """Whether `table` was made from an older version of `read` than there is."""
    versions = table_versions(con)
    return read in versions and seen_versions(con).get(table, {}).get(read) != versions[read].version


def _unchanged(con: DuckDBPyConnection, contract: Contract) -> Written:
    return as_it_was(con, contract)


def typed(contract: Contract, relation: str) -> str:
    """A SELECT that gives a registered frame the contract's columns and types."""
    columns = ", ".join(f"cast({n} as {c.type}) as {n}" for n, c in contract.columns.items())
    return f"select {columns} from {relation}"


def predict_rows(
    models_dir: Path, model: Model, version: str, rows: pl.DataFrame, *, sha256: str | None = None
) -> pl.DataFrame:
    """Scores of rows that hold the model's `columns`, with who made them, in their order."""
    fitted, card = load(models_dir, model, version, sha256=sha256)
    with one_thread(model.imports):
        return signed(model.predict(fitted, rows), card)
