"""Which raw column says which canonical column, and which entity a raw table is: by names, held against values.

Nothing is written here: the SQL that fills a column is in `guess`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.scaffold.profile import Column
from ecommerce_platform.scaffold.words import EntityWords, Token, match, vocabulary

#: A name has to say a canonical column at least so well.
_ENOUGH = 0.55
#: Columns of words: numbers are never meant.
_TEXTS = frozenset(
    ["name", "brand", "city", "full_name", "title", "message", "carrier", "email", "country", "channel", "device", "reason", "given_name", "family_name", "street", "label"]
)  # fmt: skip
#: More different values than this are no list of states.
_MOST_STATUSES = 30
#: Concepts that an order goes by.
_ORDERS = frozenset({"order", "invoice", "transaction"})
_HOUR = re.compile(r"\d{1,2}[:.]\d{2}([:.]\d{2})?")
_PSEUDO_NUMBERS = frozenset({"_line_total", "_discount_percent"})
#: What is money, so that a flag of 0 and 1 is not meant.
_AMOUNTS = _PSEUDO_NUMBERS | {"amount", "unit_price", "list_price", "unit_cost"}


@dataclass(frozen=True)
class RawTableView:
    """A raw table as it is guessed about: its name, how many rows it has and its columns."""

    name: str
    rows: int
    columns: dict[str, Column]

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The words of its name."""
        return vocabulary().read(self.name)

    @property
    def words(self) -> frozenset[str]:
        """The same as plain texts: in a column's name they say nothing."""
        return frozenset(token.text for token in self.tokens)


@dataclass(frozen=True)
class Match:
    """A raw column that seems to say a canonical one, and how surely (0 to 1)."""

    column: Column
    score: float


def words_of(entity: str, contract: Contract) -> EntityWords:
    """How an entity is said; one that the vocabulary does not know is said as its contract writes it."""
    known = vocabulary().entities.get(entity)
    patterns: dict[str, tuple[tuple[str, ...], ...]] = {n: (tuple(n.split("_")),) for n in contract.columns}
    if known is None:
        needs = tuple((name,) for name in contract.required_columns)
        return EntityWords(((entity.rstrip("s"),),), needs, patterns)
    own = {name: known.columns.get(name, pattern) for name, pattern in patterns.items()}
    return EntityWords(known.names, known.needs, {**own, **{n: p for n, p in known.columns.items() if n[0] == "_"}})


def assign(
    table: RawTableView, entity: str, contract: Contract, *, secondary: bool = False, without: Collection[str] = ()
) -> dict[str, Match]:
    """Canonical column → the raw column that says it best; each raw column is taken once.

    Args:
        table: the raw table.
        entity: the entity.
        contract: its contract.
        secondary: the table is about something else in the first place, so `id`, `name` or `date` alone say nothing of
            this entity.
        without: canonical columns that are not looked for.
    """
    words = words_of(entity, contract)
    own = frozenset() if secondary else words.own
    found: list[tuple[float, int, str, Column]] = []
    for place, (name, patterns) in enumerate(words.columns.items()):
        if name in without:
            continue
        if secondary:
            patterns = tuple(p for p in patterns if p not in (("id",), ("name",), ("date",), ("status",)))
        for column in table.columns.values():
            score = match(vocabulary().read(column.name), patterns, own, table.words)
            if name == "email" and _is_email(column):
                score = max(score, 0.7)
            if name == "order_id" and entity in ("orders", "order_items") and _is_order_mark(column):
                score = max(score, 0.9)
            if name in contract.key and column.filled < 0.9 * column.rows:
                # What is left out on most rows does not say what these are.
                score *= column.filled / column.rows
            if score >= _ENOUGH and fits(name, contract, column):
                found.append((score, -place, name, column))
    result: dict[str, Match] = {}
    taken: set[str] = set()
    for score, _, name, column in sorted(found, key=lambda f: f[:2], reverse=True):
        if name not in result and column.name not in taken:
            result[name] = Match(column, score)
            taken.add(column.name)
    return result


def fits(name: str, contract: Contract, column: Column) -> bool:
    """Whether a column's values can be a canonical column's."""
    if not column.filled:
        return False
    if name in _AMOUNTS and "boolean" in column.forms:
        return False
    if name in _PSEUDO_NUMBERS:
        return column.numeric
    if name == "_canceled":
        return "boolean" in column.forms
    if name == "_hour":
        values = [value for value, _ in column.values[:50]]
        return all(_HOUR.fullmatch(value) for value in values)
    if name == "email":
        return _is_email(column)
    if name == "street" and _is_email(column):
        return False
    if name in _TEXTS:
        return not column.numeric and not column.dated
    if name not in contract.columns:
        return True
    kind = contract.columns[name].type
    if kind == "VARCHAR":
        if name == "status" and (column.distinct > _MOST_STATUSES or column.numeric):
            return False
        return not column.dated
    if kind in ("DATE", "TIMESTAMP"):
        # 20240131 is a number as well, but not where a name says date.
        return column.dated or column.offset or "%Y%m%d" in getattr(column.forms.get("timestamp"), "sql", "")
    return column.form(kind) is not None


def _is_order_mark(column: Column) -> bool:
    """Whether all values are written #1001, as shops number orders."""
    return bool(column.values) and all(re.fullmatch(r"#\w{0,4}-?\d+", value) for value, _ in column.values[:100])


def _only_an_id(column: Column) -> bool:
    """Whether a column's name says no more than that it identifies something."""
    return all("id" in token.concepts for token in vocabulary().read(column.name))


def _is_email(column: Column) -> bool:
    filled = sum(count for _, count in column.values)
    return filled > 0 and sum(count for value, count in column.values if "@" in value) > 0.5 * filled


def satisfied(words: EntityWords, found: Mapping[str, Match]) -> bool:
    """Whether what a table needs to be this entity was found."""
    return all(any(name in found for name in group) for group in words.needs)


def primary_entity(table: RawTableView, contracts: Mapping[str, Contract]) -> tuple[str, dict[str, Match]] | None:
    """The entity whose rows a raw table's rows are, with its columns; None when it seems to be none.

    Args:
        table: the raw table.
        contracts: the entities there are.
    """
    ranked: list[tuple[float, str, dict[str, Match]]] = []
    for entity, contract in contracts.items():
        words = words_of(entity, contract)
        found = assign(table, entity, contract)
        if not satisfied(words, found) or (entity == "labels" and "domain" not in found):
            continue
        key = found.get(contract.key[0])
        if key and named(table, words) < 0.5 and _only_an_id(key.column):
            continue
        # Many columns say no more than four do: a flat export has some of everything.
        score = min(4.0, sum(m.score for n, m in found.items() if n[0] != "_")) / 4 + named(table, words)
        if entity in ("customers", "products", "sellers") and key and key.column.distinct < 0.9 * key.column.filled:
            score -= 1.0
        if entity == "order_items":
            # A row that says product and price is a line, whatever else it repeats of its order; but of what order?
            order = vocabulary().read(found["order_id"].column.name)
            if not _ORDERS & {c for token in (*order, *table.tokens) for c in token.concepts}:
                continue
            score += 2.0
        if entity == "payments" and ("customer_id" in assign(table, "orders", contracts["orders"])):
            score -= 0.75
        ranked.append((score, entity, found))
    if ranked:
        _, entity, found = max(ranked, key=lambda r: r[0])
        return entity, found
    if "labels" in contracts and (labels := _labels(table, contracts["labels"])):
        return "labels", labels
    return None


def named(table: RawTableView, words: EntityWords) -> float:
    """What a table's name says for an entity."""
    return max(
        (1.5 * match(table.tokens, [n], frozenset(), frozenset()) + 0.1 * len(n) for n in words.names), default=0
    )


def _labels(table: RawTableView, contract: Contract) -> dict[str, Match] | None:
    """A small table of texts whose first column tells its rows apart is a list of codes and what they mean."""
    columns = [c for c in table.columns.values() if c.filled]
    codes = [c for c in columns if c.unique and c.filled == table.rows and c.words <= 60]
    if not 2 <= len(columns) <= 5 or not codes or any(c.dated or (c.numeric and c is not codes[0]) for c in columns):
        return None
    others = [c for c in columns if c is not codes[0]]
    said: Sequence[Column] = [c for c in others if any("label" in t.concepts for t in vocabulary().read(c.name)[-1:])]
    label = (said or others)[-1]
    return {"code": Match(codes[0], 0.6), "label": Match(label, 0.6)}
