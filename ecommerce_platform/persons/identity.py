"""Which customer records are about the same person? Probabilistic record linkage (Fellegi and Sunter 1969).

Here live the rules: how records are made comparable (`identity_records.sql`), which pairs are compared at all, what two
records score; how alike two values are is in `likeness.py`, how weights are learnt in `training.py`, how linked records
become persons in `people.py`. All of it works on relations and frames that are handed in; `links.py` knows which records have
changed and keeps the results.

**Scores depend on two records and the stored parameters, on nothing else.** There is no adjustment for how frequent a
value is among the current records, so that one more record never changes what two others score, and scoring the
changed records gives what scoring all of them would.

**Strangers in one house.** Family members share last name, address, telephone and often an address for mail; a model
that knows persons and strangers only calls them one person. So there are three kinds of pairs: one person's records,
those of two persons of one household, and those of strangers; a pair is linked where the first is surer than both
others together. Two records of which more contradicts than confirms (`likeness.CONFLICT`) are never put together, not
by way of a third one either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts
from ecommerce_platform.ml.cards import About, Exhibit
from ecommerce_platform.ml.columns import TEXT, Rule
from ecommerce_platform.persons import likeness
from ecommerce_platform.persons.likeness import BEYOND_NAMES, COMPARISONS, CONFLICT, levels_select

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

MODEL = "identity"
BASELINE = "exact_keys"
METHOD = "fellegi_sunter"
#: The texts of a customer record that are looked at.
_TEXTS = (
    "full_name", "given_name", "family_name", "email", "phone", "personal_number", "street", "house_number", "postal_code",
    "city", "state",
)  # fmt: skip
#: The columns of a customer record that are looked at.
COLUMNS = ("customer_id", "birth_date", *_TEXTS)
#: What `ecommerce predict identity` asks of a file of customer records.
FILE_COLUMNS = {
    "customer_id": TEXT,
    **dict.fromkeys(_TEXTS, Rule("text", optional=True)),
    "birth_date": Rule("day", optional=True),
}
ABOUT = About(
    MODEL,
    "Who is who",
    "How alike two customer records have to be for them to be one person's.",
    (
        "Learnt without knowing who is who, so not judged on the shop's own records: docs/persons.md has the figures on "
        "generated and on published ones.",
        "Strangers in one house who share everything but a first name that is missing cannot be told apart.",
    ),
    BASELINE,
    ("silver.customer_links",),
    ("silver.customers",),
    {name: f"{rule.says}, may be missing" if rule.optional else rule.says for name, rule in FILE_COLUMNS.items()},
)
RECORDS_SQL = Path(__file__).with_name("identity_records.sql").read_text(encoding="utf-8").rstrip().rstrip(";")
#: Parameters for shops that have not trained their own.
DEFAULT_FILE = Path(__file__).with_name("identity_default.yml")
_FORMAT = 2

#: Records that agree in all columns of one of these are compared.
BLOCKS: tuple[tuple[str, ...], ...] = (
    ("email",),
    ("phone",),
    ("personal_number",),
    ("birth_date", "last_name"),
    ("birth_date", "first_name"),
    ("birth_date", "postal_code"),
    ("both_names", "postal_code"),
    ("last_key", "initials", "postal_code"),
    ("both_names", "street"),
    ("both_names", "house_number"),
    ("street", "house_number", "postal_code"),
    ("street", "house_number", "initials"),
    ("street", "house_number", "last_key"),
    ("street", "postal_code", "initials"),
    ("last_key", "postal_code", "house_number"),
    ("first_name", "postal_code", "house_number"),
)
#: Columns by how few records share a value, the fewest first; every block has one of them.
_RARE = ("email", "phone", "personal_number", "birth_date", "both_names", "street", "last_key", "first_name")
#: A value that more records than this share says nothing about a person (`info@…`, a shop's own number).
LARGEST_BLOCK = 100


@dataclass(frozen=True)
class Parameters:
    """Everything that a score depends on besides the two records.

    `settings` has `prior`, the chance that two records taken at random are of one `person` or of two in one
    `household`; and `levels`, comparison → level → the shares [m, h, u] of the pairs of one person, of one household
    and of strangers that stand at this level, among those that have one.
    """

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

    def weights(self, against: str) -> dict[str, dict[str, float]]:
        """Comparison → level → how many bits it speaks for one person, against `strangers` or a `household`."""
        other = {"household": 1, "strangers": 2}[against]
        return {
            name: {level: log2(shares[0] / shares[other]) for level, shares in levels.items()}
            for name, levels in self.settings["levels"].items()
        }

    def prior(self, against: str) -> float:
        """The bits that speak for one person before the records are looked at."""
        prior = self.settings["prior"]
        return log2(prior["person"] / (prior["household"] if against == "household" else 1))


@dataclass(frozen=True)
class TrainedIdentity:
    """What a training gives: the parameters and their card, for `artifacts.save_json_artifact`."""

    parameters: Parameters
    card: artifacts.Card


def is_readable(data: bytes) -> bool:
    """Whether stored parameters are of this version's format."""
    return json.loads(data).get("format") == _FORMAT


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
    here = Path(__file__)
    return artifacts.source_hash(here, here.with_name("identity_records.sql"), here.with_name("likeness.py"))


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
    return f"select l, r from ({levels_select(pairs, records)}) as levels where {CONFLICT}"


def score(
    con: DuckDBPyConnection, parameters: Parameters, records: pl.DataFrame | Path, threshold: float, touched: Any = None
) -> pl.DataFrame:
    """The pairs of records that are one person's with at least the probability `threshold`.

    Args:
        con: a DuckDB connection to work in; temporary tables are made there.
        parameters: what scores depend on.
        records: columns of `identity_records.sql`, one row per customer_id, or a Parquet file of these, which takes less
            memory. With `touched`, all records that share a block with one of these.
        threshold: probability from 0 to 1.
        touched: customer_ids (a polars Series); only pairs with one of them are scored. All pairs when not given.

    Returns:
        customer_id_1 < customer_id_2, match_weight (log2 of the odds), match_probability, agrees_on (the comparisons
        that speak for it, joined by commas), sorted by ids.
    """
    find_pairs(con, records, touched)
    links = con.sql(_score_select(parameters, threshold)).pl()
    for name in ("records", "keys", "blocks", "pairs"):
        con.execute(f"drop table {name}")
    return links


def _score_select(parameters: Parameters, threshold: float) -> str:
    strangers, household = parameters.weights("strangers"), parameters.weights("household")
    agrees = ", ".join(f"case when {_bits(c, strangers)} > 0 then '{c.name}' end" for c in COMPARISONS)

    def total(against: str, weights: Mapping[str, Mapping[str, float]]) -> str:
        return " + ".join((str(parameters.prior(against)), *(_bits(c, weights) for c in COMPARISONS)))

    return (
        f"with levels as materialized ({levels_select('pairs', 'records')}), weighed as (select l, r, "
        f"{total('strangers', strangers)} as strangers, {total('household', household)} as household, "
        f"concat_ws(',', {agrees}) as agrees_on from levels where not ({CONFLICT}) and ({BEYOND_NAMES})), "
        # The odds against both others together.
        "odds as (select *, - log2(power(2.0, - strangers) + power(2.0, - household)) as match_weight from weighed) "
        "select l as customer_id_1, r as customer_id_2, match_weight, "
        "1 / (1 + power(2.0, - match_weight)) as match_probability, agrees_on from odds "
        f"where match_weight >= {log2(threshold / (1 - threshold))} order by all"
    )


def _bits(comparison: likeness.Comparison, weights: Mapping[str, Mapping[str, float]]) -> str:
    learnt = weights[comparison.name]
    whens = " ".join(f"when {i} then {learnt[level]!r}" for i, level in enumerate(comparison.levels))
    return f"case {comparison.name} {whens} else 0.0 end"


def find_pairs(con: DuckDBPyConnection, records: pl.DataFrame | Path, touched: Any = None) -> None:
    """Makes the tables `records`, `keys`, `blocks` and `pairs` (l, r): records that share a block."""
    if isinstance(records, Path):
        con.execute("create or replace table records as select * from read_parquet(?)", [str(records)])
    else:
        con.register("_records_in", records.to_arrow())
        con.execute("create or replace table records as select * from _records_in")
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


# -- what people look at -----------------------------------------------------------------------------------------


def exhibits(card: artifacts.Card) -> list[Exhibit]:
    """What a card shows: how much each level of likeness weighs."""
    rows = [(c, level, *bits) for c, levels in card.metrics["weights"].items() for level, bits in levels.items()]
    return [
        Exhibit(
            "Match weights in bits", header=("comparison", "level", "against strangers", "in a household"), rows=rows
        )
    ]


def weights(parameters: Parameters) -> dict[str, dict[str, tuple[float, float]]]:
    """Comparison → level → match weights (log2, rounded) against strangers and in a household, for people to look at."""
    strangers, household = parameters.weights("strangers"), parameters.weights("household")
    return {
        name: {level: (round(bits, 2), round(household[name][level], 2)) for level, bits in levels.items()}
        for name, levels in strangers.items()
    }
