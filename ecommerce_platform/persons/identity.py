"""Which customer records are about the same person? Probabilistic record linkage with Splink (Fellegi and Sunter 1969).

Here live the rules: how records are made comparable (`identity_records.sql`), which pairs are compared at all, how
alike two values are, how a model is trained, what two records score and how linked records become persons. All of it
works on relations and frames that are handed in; `links.py` knows which records have changed and keeps the results.

**Scores depend on two records and the stored parameters, on nothing else.** There is no adjustment for how frequent a
value is among the current records, so that one more record never changes what two others score, and scoring the
changed records gives what scoring all of them would.

**Strangers in one house.** Family members share last name, address, telephone and often an address for mail; a model
that takes comparisons as independent calls them one person. So two records that contradict each other in what belongs
to one person alone (`CONFLICT`) are never compared, and never put together by way of a third one either.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts
from ecommerce_platform.ml.cards import About, Exhibit
from ecommerce_platform.ml.columns import TEXT, Rule

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

MODEL = "identity"
BASELINE = "exact_keys"
METHOD = "splink"
#: What `ecommerce predict identity` asks of a file of customer records.
FILE_COLUMNS = {
    "customer_id": TEXT,
    **dict.fromkeys(("full_name", "email", "phone"), Rule("text", optional=True)),
    "birth_date": Rule("day", optional=True),
    "postal_code": Rule("text", optional=True),
}
ABOUT = About(
    MODEL,
    "Who is who",
    "How alike two customer records have to be for them to be one person's.",
    (
        "Learnt without knowing who is who, so not judged on the shop's own records: docs/persons.md has the figures on "
        "generated ones.",
        "Strangers in one house who share everything but a first name that is missing cannot be told apart.",
    ),
    BASELINE,
    ("silver.customer_links",),
    ("silver.customers",),
    {name: f"{rule.says}, may be missing" if rule.optional else rule.says for name, rule in FILE_COLUMNS.items()},
)
#: The columns of a customer record that are looked at.
COLUMNS = ("customer_id", "full_name", "email", "phone", "birth_date", "postal_code")
RECORDS_SQL = Path(__file__).with_name("identity_records.sql").read_text(encoding="utf-8").rstrip().rstrip(";")
#: Parameters for shops that have not trained their own.
DEFAULT_FILE = Path(__file__).with_name("identity_default.yml")
_FORMAT = 1

#: Records that agree in all columns of one of these are compared.
BLOCKS: tuple[tuple[str, ...], ...] = (
    ("email",),
    ("phone",),
    ("birth_date", "last_name"),
    ("birth_date", "first_name"),
    ("birth_date", "postal_code"),
    ("last_name", "first_name", "postal_code"),
)
#: Columns by how few records share a value, the fewest first; every block has one of them.
_RARE = ("email", "phone", "birth_date", "last_name")
#: A value that more records than this share says nothing about a person (`info@…`, a shop's own number).
LARGEST_BLOCK = 100

_SWAPPED = "first_name_l = last_name_r and last_name_l = first_name_r"
_FIRST_ALIKE = (
    "least(length(first_name_l), length(first_name_r)) > 2 and damerau_levenshtein(first_name_l, first_name_r) <= 1 "
    "or jaro_winkler_similarity(first_name_l, first_name_r) >= 0.88"
)
_INITIAL = "least(length(first_name_l), length(first_name_r)) = 1 and left(first_name_l, 1) = left(first_name_r, 1)"
_BIRTH_ALIKE = (
    "cast(year(birth_date_l) = year(birth_date_r) as integer) "
    "+ cast(month(birth_date_l) = month(birth_date_r) as integer) "
    "+ cast(day(birth_date_l) = day(birth_date_r) as integer) = 2 "
    "or year(birth_date_l) = year(birth_date_r) and month(birth_date_l) = day(birth_date_r) "
    "and day(birth_date_l) = month(birth_date_r)"
)
#: Two records that cannot be one person's: birth dates that no slip of the pen explains; or first names that are not
#: alike, unless birth date and address for mail agree (Uschi is Ursula, but a family shares its address, twins a birth
#: date). Columns end in _l and _r.
CONFLICT = (
    f"coalesce(birth_date_l <> birth_date_r and not ({_BIRTH_ALIKE}), false) or "
    f"coalesce(not (first_name_l = first_name_r or coalesce({_SWAPPED}, false) or {_FIRST_ALIKE} or {_INITIAL}), false) "
    "and not coalesce(birth_date_l = birth_date_r and email_l = email_r, false)"
)

#: Set beforehand, for what a sample of pairs cannot show: two strangers' names being each other's reverse counts as if
#: it were as likely as their having the same name; an address for mail with a slip in it is as rare as the right one.
_U_SWAPPED = 7e-6
_U_EMAIL_ALIKE = 1e-6
#: Pairs of random records that u is estimated from.
_SAMPLED_PAIRS = 5e6
#: Records that EM looks at: pairs that agree in these columns.
_TRAINING_BLOCKS = (("birth_date", "postal_code"), ("email", "first_name"), ("phone", "first_name"))
#: Pairs that are almost surely matches, and the share of matches they are thought to find.
_SURE, _SURE_RECALL = (
    (("email", "first_name"), ("phone", "first_name"), ("birth_date", "first_name", "last_name")),
    0.95,
)
MIN_RECORDS = 1000


@dataclass(frozen=True)
class Parameters:
    """Everything that a score depends on besides the two records: Splink's settings with all probabilities."""

    version: str
    settings: Mapping[str, Any]

    def to_json(self) -> bytes:
        """The stored form; the same parameters give the same bytes."""
        state = {"format": _FORMAT, "settings": self.settings}
        return (json.dumps(state, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, version: str, data: bytes) -> Parameters:
        """The parameters that `to_json` wrote.

        Raises:
            InputError: the bytes are of another format of this module.
        """
        state = json.loads(data)
        if state.get("format") != _FORMAT:
            raise InputError(
                f"the link parameters have format {state.get('format')}, this version reads {_FORMAT}",
                fix="train them again (ecommerce train identity)",
            )
        return cls(version, state["settings"])


@dataclass(frozen=True)
class TrainedIdentity:
    """What a training gives: the parameters and their card, for `artifacts.save_json_artifact`."""

    parameters: Parameters
    card: artifacts.Card


def default_identity() -> TrainedIdentity:
    """The parameters that come with the package: learnt from generated records of several systems.

    They are the same wherever the package is, so that two warehouses of one shop agree whatever they loaded first.
    """
    import yaml

    content = yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8"))
    card = artifacts.Card.model_validate(content["card"])
    return TrainedIdentity(Parameters(card.version, content["settings"]), card)


def default_text(trained: TrainedIdentity) -> str:
    """What `DEFAULT_FILE` holds for a training."""
    import yaml

    content = {"card": json.loads(trained.card.model_dump_json()), "settings": trained.parameters.settings}
    comment = "# Link parameters for shops that have not trained their own. Written by `python -m benchmarks.identity default`.\n"
    return comment + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def source_version() -> str:
    """Hash of the code and SQL that make records comparable, choose pairs and build persons."""
    return artifacts.source_hash(Path(__file__), Path(__file__).with_name("identity_records.sql"))


def records_select(customers: str) -> str:
    """The SELECT of comparable records from `customers`, a relation or SELECT in parentheses with `COLUMNS`."""
    return f"with customers as (select {', '.join(COLUMNS)} from {customers}) select * from ({RECORDS_SQL}) as records"


# -- pairs -------------------------------------------------------------------------------------------------------


def block_key(block: Sequence[str], alias: str = "") -> str:
    """SQL text of a record's key in a block, null where it has none."""
    dot = f"{alias}." if alias else ""
    known = " and ".join(f"{dot}{c} is not null" for c in block)
    return f"case when {known} then concat_ws(chr(31), {', '.join(f'{dot}{c}' for c in block)}) end"


def keys_select(records: str) -> str:
    """SELECT of (customer_id, block, key): the blocks that each record of the relation stands in."""
    return " union all ".join(
        f"select customer_id, {i} as block, {block_key(block)} as key from {records} where {block_key(block)} is not null"
        for i, block in enumerate(BLOCKS)
    )


def may_share_block(records: str) -> str:
    """Condition that is true for every record that shares a block with one of the relation, and for few others."""
    rarest = [next(c for c in _RARE if c in block) for block in BLOCKS]
    return " or ".join(f"{c} in (select {c} from {records})" for c in dict.fromkeys(rarest))


def conflicts_select(pairs: str, records: str) -> str:
    """SELECT of those (l, r) of the relation `pairs` whose records contradict each other."""
    return f"select l, r from ({_suffixed(pairs, records)}) as suffixed where {CONFLICT}"


def _suffixed(pairs: str, records: str) -> str:
    names = ("first_name", "last_name", "birth_date", "email")
    columns = ", ".join(f"a.{n} as {n}_l, b.{n} as {n}_r" for n in names)
    return (
        f"select pairs.l, pairs.r, {columns} from {pairs} as pairs "
        f"inner join {records} as a on pairs.l = a.customer_id inner join {records} as b on pairs.r = b.customer_id"
    )


def score(
    con: DuckDBPyConnection, parameters: Parameters, records: pl.DataFrame, threshold: float, touched: Any = None
) -> pl.DataFrame:
    """The pairs of records that are one person's with at least the probability `threshold`.

    Args:
        con: a DuckDB connection to work in; temporary tables are made there.
        parameters: what scores depend on.
        records: columns of `identity_records.sql`, one row per customer_id. With `touched`, all records that share a
            block with one of these.
        threshold: probability from 0 to 1.
        touched: customer_ids (a polars Series); only pairs with one of them are scored. All pairs when not given.

    Returns:
        customer_id_1 < customer_id_2, match_weight (log2 of the odds), match_probability, agrees_on (the comparisons
        that speak for it, joined by commas), sorted by ids.
    """
    _find_pairs(con, records, touched)
    names = [c["output_column_name"] for c in parameters.settings["comparisons"]]
    linker, register = _linker(con, parameters.settings)
    linker.table_management.register_blocked_pairs_for_predict(register("blocked"))
    predicted = linker.inference.predict(threshold_match_probability=threshold)
    agrees = ", ".join(f"case when mw_{n} > 0 then '{n}' end" for n in names)
    links = (
        con.cursor()
        .sql(
            "select unique_id_l as customer_id_1, unique_id_r as customer_id_2, match_weight, match_probability, "
            f"concat_ws(',', {agrees}) as agrees_on from {predicted.physical_name} order by all"
        )
        .pl()
    )
    linker.table_management.delete_tables_created_by_splink_from_db()
    for name in ("records", "keys", "blocks", "pairs", "blocked"):
        con.execute(f"drop table {name}")
    return links


def _find_pairs(con: DuckDBPyConnection, records: pl.DataFrame, touched: Any) -> None:
    """Fills `blocked` with the pairs of records that share a block and do not contradict each other."""
    con.register("_records_in", records.to_arrow())
    con.execute("create or replace table records as select customer_id as unique_id, * from _records_in")
    con.unregister("_records_in")
    con.execute(f"create or replace table keys as {keys_select('records')}")
    con.execute(
        "create or replace table blocks as select block, key from keys group by block, key "
        f"having count(*) between 2 and {LARGEST_BLOCK}"
    )
    con.execute("create or replace table keys as select keys.* from keys semi join blocks using (block, key)")
    left = "keys"
    if touched is not None:
        con.register("_touched", touched.rename("customer_id").to_frame().to_arrow())
        con.execute("create or replace table touched as select * from _touched")
        con.unregister("_touched")
        left = "(select keys.* from keys semi join touched using (customer_id))"
    # One block at a time: a pair is mostly found by several of them.
    con.execute("create or replace table pairs (l varchar, r varchar)")
    unequal = "a.customer_id < b.customer_id" if touched is None else "a.customer_id <> b.customer_id"
    for block in range(len(BLOCKS)):
        con.execute(
            "insert into pairs select distinct least(a.customer_id, b.customer_id), greatest(a.customer_id, b.customer_id) "
            f"from {left} as a inner join keys as b on a.block = b.block and a.key = b.key and {unequal} "
            f"where a.block = {block}"
        )
    con.execute("create or replace table pairs as select distinct l, r from pairs")
    con.execute(
        f"create or replace table blocked as select l as join_key_l, r as join_key_r, '0' as match_key "
        f"from ({_suffixed('pairs', 'records')}) as suffixed where not ({CONFLICT})"
    )


def _linker(con: DuckDBPyConnection, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """Splink's linker over the table `records`, and the function that makes a table known to it."""
    from splink import DuckDBAPI, Linker

    # A cursor: a result that is not read to its end blocks the connection it came from.
    api = DuckDBAPI(con.cursor())
    return Linker(api.register("records"), dict(settings), log_level=logging.ERROR), api.register


# -- persons -----------------------------------------------------------------------------------------------------


def build_persons(
    links: pl.DataFrame, keyed: pl.DataFrame, conflicts: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """The persons behind linked records: connected records, unless two of them contradict each other.

    Links are taken in the order of their weight; one that would bring two records together that contradict each
    other is left out. Records with one person_key belong together whatever else they say. The result depends on
    the rows given, not on their order, and on nothing outside a connected component.

    Args:
        links: customer_id_1, customer_id_2, match_weight, match_probability.
        keyed: customer_id and person_key of the linked records and of all that share a key with one of them;
            rows without a key change nothing.
        conflicts: of a frame of pairs (l, r), those that contradict each other.

    Returns:
        customer_id, person_id (the smallest customer_id of the person), rule (`linked`, or `person_key` for a
        record that only its key ties to the others), match_probability (of the record's surest link; 1 by key), for
        every person with a link, sorted by customer_id.
    """
    import polars as pl

    keyed = keyed.drop_nulls("person_key").unique()
    ids = pl.concat([links["customer_id_1"], links["customer_id_2"], keyed["customer_id"]]).unique().sort()
    index = pl.DataFrame({"customer_id": ids}).with_row_index("i")

    def numbers(customer_ids: pl.Series) -> np.ndarray:
        asked = customer_ids.rename("customer_id").to_frame()
        found = asked.join(index, on="customer_id", how="left", maintain_order="left")
        return found["i"].to_numpy().astype(np.int64)

    ends = np.stack([numbers(links["customer_id_1"]), numbers(links["customer_id_2"])], axis=1)
    keys = _stars(numbers(keyed["customer_id"]), keyed["person_key"], len(ids))
    person = _components(np.concatenate([ends, keys]), len(ids))
    pairs = _pairs_within(index.with_columns(pl.Series("component", person)))
    against = conflicts(pairs) if pairs.height else pairs
    if against.height:
        foes = np.stack([numbers(against["l"]), numbers(against["r"])], axis=1)
        person = _apart(person, ends, links["match_weight"].to_numpy(), keys, foes)

    best = _surest_links(person, ends, links["match_probability"].to_numpy())
    smallest = np.full(int(person.max()) + 1 if len(ids) else 0, len(ids))
    np.minimum.at(smallest, person, np.arange(len(ids)))
    linked = np.zeros(len(smallest), dtype=bool)
    linked[person[best >= 0]] = True
    shown = np.flatnonzero(linked[person])
    return pl.DataFrame(
        {
            "customer_id": ids.gather(shown),
            "person_id": ids.gather(smallest[person[shown]]),
            "rule": pl.Series(np.where(best[shown] >= 0, "linked", "person_key"), dtype=pl.String),
            "match_probability": np.where(best[shown] >= 0, best[shown], 1.0),
        }
    )


def _stars(records: np.ndarray, key: pl.Series, size: int) -> np.ndarray:
    """Records of one key as a star around its first, (record, first) each: they are one from the start."""
    spokes = key.rank("dense").to_numpy().astype(np.int64) - 1
    hub = np.full(int(spokes.max()) + 1 if len(spokes) else 0, size)
    np.minimum.at(hub, spokes, records)
    return np.stack([records, hub[spokes]], axis=1)


def _components(edges: np.ndarray, size: int) -> np.ndarray:
    """The connected component of each of `size` records."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _pairs_within(index: pl.DataFrame) -> pl.DataFrame:
    """All pairs (l, r) of records of one component that has more than the two that were compared."""
    import polars as pl

    members = index.filter(pl.len().over("component") > 2)
    return (
        members.join(members, on="component", suffix="_r")
        .filter(pl.col("i") < pl.col("i_r"))
        .select(pl.col("customer_id").alias("l"), pl.col("customer_id_r").alias("r"))
    )


def _surest_links(person: np.ndarray, ends: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The probability of each record's surest link within its person; -1 without any."""
    best = np.full(len(person), -1.0)
    inside = person[ends[:, 0]] == person[ends[:, 1]]
    for end in ends.T:
        np.maximum.at(best, end[inside], probability[inside])
    return best


def _apart(
    component: np.ndarray, links: np.ndarray, weight: np.ndarray, keys: np.ndarray, against: np.ndarray
) -> np.ndarray:
    """Person number of each record: components that hold a contradiction are put together anew, link by link."""
    person = component.copy()
    troubled = np.unique(component[against[:, 0]])
    in_trouble = np.isin(component, troubled)
    records = np.flatnonzero(in_trouble)
    group = {int(r): int(r) for r in records}
    members = {int(r): [int(r)] for r in records}
    enemies: dict[int, set[int]] = {}
    for a, b in against.tolist():
        enemies.setdefault(a, set()).add(b)
        enemies.setdefault(b, set()).add(a)

    def join(a: int, b: int) -> None:
        small, large = sorted((group[a], group[b]), key=lambda g: (len(members[g]), g))
        if small != large:
            for record in members[small]:
                group[record] = large
            members[large] += members.pop(small)

    for a, b in keys[in_trouble[keys[:, 0]]].tolist():
        join(a, b)
    chosen = np.flatnonzero(in_trouble[links[:, 0]])
    order = np.lexsort((links[chosen, 1], links[chosen, 0], -weight[chosen]))
    for a, b in links[chosen[order]].tolist():
        one, other = sorted((members[group[a]], members[group[b]]), key=len)
        theirs = set(other)
        if group[a] != group[b] and not any(enemies.get(record, _NOBODY) & theirs for record in one):
            join(a, b)
    # Numbers that no untroubled component has.
    person[records] = len(component) + np.array([group[int(r)] for r in records])
    return person


_NOBODY: frozenset[int] = frozenset()


# -- training ----------------------------------------------------------------------------------------------------


def train_identity(
    con: DuckDBPyConnection, records: pl.DataFrame, *, seed: int, trained_at: datetime | None = None
) -> TrainedIdentity:
    """Link parameters learnt from records without knowing who is who; the same records give the same parameters.

    u (how often two strangers agree) comes from random pairs, for addresses and numbers from exact counts; m (how often
    two records of one person agree) from expectation maximisation in Splink over pairs that agree in other columns.

    Args:
        con: a DuckDB connection to work in.
        records: columns of `identity_records.sql`, one row per customer_id.
        seed: of the random pairs.
        trained_at: the moment for the version; now when not given.

    Raises:
        InputError: there are too few records, or none that agree in what training looks at.
    """
    if records.height < MIN_RECORDS:
        raise InputError(
            f"{records.height:,} customer records are too few to learn from (at least {MIN_RECORDS:,})",
            fix="leave it to the parameters that come with the package, or load more customers",
        )
    settings = _learn(con, records, seed)
    moment = trained_at or datetime.now(UTC)
    digest = artifacts.content_hash([json.dumps(settings, sort_keys=True).encode()])
    parameters = Parameters(artifacts.make_version(moment, digest), settings)
    return TrainedIdentity(parameters, _card(parameters, moment, records.height, seed))


def _learn(con: DuckDBPyConnection, records: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Splink's settings with all probabilities."""
    con.register("_records_in", records.to_arrow())
    con.execute("create or replace table records as select customer_id as unique_id, * from _records_in order by 1")
    con.unregister("_records_in")
    linker, _ = _linker(con, _untrained(con))
    training = linker.training
    training.estimate_probability_two_random_records_match([_agree(rule) for rule in _SURE], recall=_SURE_RECALL)
    training.estimate_u_using_random_sampling(max_pairs=_SAMPLED_PAIRS, seed=seed, min_count_per_level=None)
    for block in _TRAINING_BLOCKS:
        training.estimate_parameters_using_expectation_maximisation(_agree(block))
    settings = _rounded(linker.misc.save_model_to_json())
    settings.pop("linker_uid", None)
    linker.table_management.delete_tables_created_by_splink_from_db()
    con.execute("drop table records")
    _refuse_untrained(settings)
    return settings


def _card(parameters: Parameters, moment: datetime, rows: int, seed: int) -> artifacts.Card:
    settings = parameters.settings
    return artifacts.Card(
        model=MODEL,
        version=parameters.version,
        trained_at=moment,
        data_from=None,
        data_to=None,
        rows_trained=rows,
        seed=seed,
        code_version=source_version(),
        feature_names=tuple(c["output_column_name"] for c in settings["comparisons"]),
        parameters={
            "sampled_pairs": int(_SAMPLED_PAIRS),
            "probability_two_random_records_match": settings["probability_two_random_records_match"],
        },
        metrics={
            "not_evaluated": "who is who is not known where the parameters are learnt",
            "weights": weights(settings),
        },
        baseline=BASELINE,
        promoted=True,
        method=METHOD,
        libraries=artifacts.libraries("splink", "duckdb"),
    )


def exhibits(card: artifacts.Card) -> list[Exhibit]:
    """What a card shows: how much each level of likeness weighs."""
    rows = [(c, level, w) for c, levels in card.metrics["weights"].items() for level, w in levels.items()]
    return [Exhibit("Match weights in bits", header=("comparison", "level", "weight"), rows=rows)]


def weights(settings: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Comparison → level → match weight (log2 of m over u, rounded) of trained settings, for people to look at."""
    return {
        c["output_column_name"]: {
            level["label_for_charts"]: round(float(np.log2(level["m_probability"] / level["u_probability"])), 2)
            for level in c["comparison_levels"]
            if not level.get("is_null_level")
        }
        for c in settings["comparisons"]
    }


def _rounded(value: Any) -> Any:
    """Numbers to six significant digits: what stands behind them depends on the order in which sums were made."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _agree(columns: Sequence[str]) -> str:
    return " and ".join(f"l.{c} = r.{c}" for c in columns)


_LAST_ALIKE = (
    "damerau_levenshtein(last_name_l, last_name_r) <= 1 or jaro_winkler_similarity(last_name_l, last_name_r) >= 0.94 "
    "or list_has_any(string_split(last_name_l, '-'), string_split(last_name_r, '-'))"
)
#: Numbers tell anna.mueller2@… from anna.mueller3@…: they are no slips.
_EMAIL_ALIKE = (
    "regexp_replace(email_l, '[^0-9]', '', 'g') = regexp_replace(email_r, '[^0-9]', '', 'g') "
    "and left(email_l, 1) = left(email_r, 1) and damerau_levenshtein(email_l, email_r) <= 2"
)


def _untrained(con: DuckDBPyConnection) -> dict[str, Any]:
    """Splink's settings with what is set beforehand."""
    email, phone = _chance(con, "email"), _chance(con, "phone")
    first_name = _comparison(
        "first_name",
        ("equal", "first_name_l = first_name_r and length(first_name_l) > 1", {}),
        ("swapped", _SWAPPED, _u(_U_SWAPPED)),
        ("alike", _FIRST_ALIKE, {}),
        ("initial", _INITIAL, {}),
    )
    # That the names are swapped has been counted with the first name.
    last_name = _comparison(
        "last_name",
        ("equal", "last_name_l = last_name_r", {}),
        ("alike", _LAST_ALIKE, {}),
        missing=f"last_name_l is null or last_name_r is null or {_SWAPPED} and last_name_l <> last_name_r",
    )
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "unique_id",
        "comparisons": [
            first_name,
            last_name,
            _comparison("birth_date", ("equal", "birth_date_l = birth_date_r", {}), ("alike", _BIRTH_ALIKE, {})),
            _comparison(
                "email",
                ("equal", "email_l = email_r", _u(email)),
                ("alike", _EMAIL_ALIKE, _u(min(email, _U_EMAIL_ALIKE))),
            ),
            _comparison("phone", ("equal", "phone_l = phone_r", _u(phone))),
            _comparison("postal_code", ("equal", "postal_code_l = postal_code_r", {})),
        ],
        "blocking_rules_to_generate_predictions": [_agree(block) for block in BLOCKS],
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": True,
    }


def _comparison(name: str, *levels: tuple[str, str, dict[str, Any]], missing: str | None = None) -> dict[str, Any]:
    """One of Splink's comparisons; levels are (label, condition, what is fixed of its probabilities)."""
    absent = missing or f"{name}_l is null or {name}_r is null"
    found = [
        {"sql_condition": absent, "label_for_charts": "missing", "is_null_level": True},
        *({"sql_condition": sql, "label_for_charts": label, **fixed} for label, sql, fixed in levels),
        {"sql_condition": "ELSE", "label_for_charts": "differs"},
    ]
    return {"output_column_name": name, "comparison_levels": found}


def _u(probability: float) -> dict[str, Any]:
    """A level whose chance among strangers is not estimated but set."""
    return {"u_probability": probability, "fix_u_probability": True}


def _chance(con: DuckDBPyConnection, column: str) -> float:
    """Share of all pairs of records with a value that have the same one. Matches are among them: the estimate is safe."""
    row = con.execute(
        f"select coalesce(sum(n * (n - 1)), 0), sum(n) from (select count(*)::double as n from records "
        f"where {column} is not null group by {column})"
    ).fetchall()[0]
    equal, known = float(row[0]), float(row[1] or 0)
    if not equal:
        raise InputError(
            f"no two customer records have the same {column}: there is nothing to learn from",
            fix="leave it to the parameters that come with the package",
        )
    return equal / (known * (known - 1))


def _refuse_untrained(settings: Mapping[str, Any]) -> None:
    missing = [
        f"{c['output_column_name']} {level['label_for_charts']}"
        for c in settings["comparisons"]
        for level in c["comparison_levels"]
        if not level.get("is_null_level") and not all(level.get(k) for k in ("m_probability", "u_probability"))
    ]
    if missing:
        raise InputError(
            f"the records show too little to learn from: nothing was seen of {', '.join(missing)}",
            fix="leave it to the parameters that come with the package, or load more customers",
        )
