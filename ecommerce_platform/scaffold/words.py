"""What a column's or table's name means: words of five languages as concepts, by `vocabulary.yml`.

Only names are looked at here, never values; which column fills what is decided in `guess`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from ecommerce_platform.contracts.yaml_file import read_yaml

_VOCABULARY = Path(__file__).with_name("vocabulary.yml")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIGNS = re.compile("[º°ª]")
#: Letters between the parts of a German compound: Auftrag-s-nummer.
_JOINTS = ("", "s", "n", "en", "e", "es")
#: What each token costs that a pattern does not name.
_UNKNOWN, _OTHER_MEANING = 0.2, 0.3
#: Patterns that say nothing once a word of another meaning stands beside them: a category's id is no product's.
_BARE = frozenset({("id",), ("name",), ("date",)})
#: What each place further down in a list of patterns costs.
_LATER = 0.04


@dataclass(frozen=True)
class Token:
    """A word of a name and what it may mean; unknown words mean nothing."""

    text: str
    concepts: frozenset[str]


@dataclass(frozen=True)
class EntityWords:
    """How a canonical entity and its columns are said: concepts, best first."""

    names: tuple[tuple[str, ...], ...]
    needs: tuple[tuple[str, ...], ...]
    columns: dict[str, tuple[tuple[str, ...], ...]]

    @cached_property
    def own(self) -> frozenset[str]:
        """Concepts that the entity's name says anyway, so that a column need not."""
        return frozenset(concept for name in self.names for concept in name)


class Vocabulary:
    """`vocabulary.yml`, ready to be asked."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.concepts: dict[str, set[str]] = {}
        self._languages: dict[str, set[str]] = {}
        for concept, languages in content["concepts"].items():
            for language, words in languages.items():
                # German umlauts are written ue or, without accents, u.
                plain = [re.sub(r"([aou])e", r"\1", word) for word in words] if language == "de" else []
                for word in (*words, *plain):
                    self.concepts.setdefault(word, set()).add(concept)
                    self._languages.setdefault(word, set()).add(language)
        self._longest = max(word.count(" ") for word in self.concepts) + 1
        self.ignored = frozenset(content["ignore"])
        self.entities = {
            name: EntityWords(
                tuple(tuple(words.split()) for words in entity["names"]),
                tuple(tuple(group) for group in entity["needs"]),
                {c: tuple(tuple(p.split()) for p in patterns) for c, patterns in entity["columns"].items()},
            )
            for name, entity in content["entities"].items()
        }
        self.statuses: dict[str, str] = {
            word: status for status, words in content["statuses"].items() for word in words
        }
        self.booleans: dict[str, str] = {word: value for value, words in content["booleans"].items() for word in words}
        self.nothing: tuple[str, ...] = tuple(content["nothing"])
        self.languages: dict[str, dict[str, str]] = content["languages"]
        self.currencies: dict[str, str] = content["currencies"]

    @lru_cache(maxsize=4096)  # noqa: B019 (one vocabulary per process)
    def read(self, name: str) -> tuple[Token, ...]:
        """The words of a name with their meanings; words that say nothing are left out."""
        words = split_words(name)
        found: list[Token] = []
        at = 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                text = " ".join(words[at : at + length])
                if text in self.concepts:
                    found.append(Token(text, frozenset(self.concepts[text])))
                    at += length
                    break
            else:
                word = words[at]
                at += 1
                if word in self.ignored or word.isdigit():
                    continue
                found.extend(self._compound(word) or [Token(word, frozenset())])
        if not found and words:
            return (Token(words[0], frozenset()),)
        return tuple(found)

    def _compound(self, word: str) -> list[Token] | None:
        """The parts of a word that is put together from known ones (or is the plural of one); as few as possible."""
        best: list[list[str] | None] = [[]] + [None] * len(word)
        for end in range(1, len(word) + 1):
            for start in range(end):
                before = best[start]
                if before is None:
                    continue
                for joint in _JOINTS:
                    part = word[start : end - len(joint)] if word[start:end].endswith(joint) else ""
                    # Two letters alone stand in many words; at the end of one they may be `nr` or `id`.
                    short = len(part) < 3 and not (end == len(word) and start > 0 and part in ("id", "nr", "no"))
                    if short or part not in self.concepts:
                        continue
                    if (there := best[end]) is None or len(before) + 1 < len(there):
                        best[end] = [*before, part]
        parts = best[len(word)]
        return [Token(part, frozenset(self.concepts[part])) for part in parts] if parts else None

    def language(self, names: Iterable[str]) -> str | None:
        """The language most of whose own words stand in `names`; None for English or when nothing tells."""
        votes: Counter[str] = Counter()
        for name in names:
            for token in self.read(name):
                languages = self._languages.get(token.text, set())
                if "en" not in languages:
                    votes.update(dict.fromkeys(languages, 1))
                elif languages == {"en"}:
                    votes["en"] += 1
        ranked = votes.most_common(2)
        if not ranked or ranked[0][0] == "en" or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
            return None
        return ranked[0][0]

    def status(self, value: str) -> str | None:
        """The canonical status that a shop's word for one means."""
        plain = _plain(value)
        for form in (plain, plain.replace("_", " "), plain.replace("-", " ")):
            if form in self.statuses:
                return self.statuses[form]
        return None


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of the package."""
    return Vocabulary(read_yaml(_VOCABULARY))


def split_words(name: str) -> list[str]:
    """The words of a name: lower case, without accents; `nºPedido` gives `no`, `pedido`."""
    spaced = _CAMEL.sub(" ", _SIGNS.sub(" ", name.replace("#", " id ").replace("%", " percent ").replace("ß", "ss")))
    # C.P. is one word.
    joined = re.sub(r"\b([a-z])\.\s?([a-z])\b\.?", r"\1\2", _plain(spaced))
    return re.findall(r"[a-z]+|\d+", joined)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower().strip()


def snake(name: str) -> str:
    """A name as lower snake_case; empty when nothing of it can be kept."""
    return re.sub(r"^[^a-z]+|_+$", "", re.sub(r"[^a-z0-9]+", "_", _plain(_CAMEL.sub("_", name.replace("ß", "ss")))))


def similarity(tokens: Sequence[Token], pattern: Sequence[str], own: frozenset[str], table: frozenset[str]) -> float:
    """How well a name says what a pattern of concepts says, from 0 to 1.

    Args:
        tokens: the name.
        pattern: concepts (or plain words), each of which has to be one of the name's words.
        own: concepts that cost nothing beside the pattern.
        table: words of the table's name, which cost nothing either.
    """
    left = list(tokens)
    for concept in pattern:
        # The word with the fewest meanings: `item id` is a product's id before it is a line's.
        fitting = sorted((t for t in left if concept in t.concepts or concept == t.text), key=lambda t: len(t.concepts))
        if not fitting:
            return 0.0
        left.remove(fitting[0])
    cost = 0.0
    for token in left:
        if token.text in table or token.concepts & own:
            cost += 0.02
        elif "net" in token.concepts:
            # With tax or without, a price is a price.
            cost += 0.05
        elif tuple(pattern) in _BARE:
            return 0.0
        else:
            cost += _OTHER_MEANING if token.concepts else _UNKNOWN
    return max(0.0, 1.0 - cost)


def match(
    tokens: Sequence[Token], patterns: Sequence[Sequence[str]], own: frozenset[str], table: frozenset[str]
) -> float:
    """The best similarity among patterns; later ones count a little less."""
    return max(
        (similarity(tokens, pattern, own, table) - _LATER * place for place, pattern in enumerate(patterns)),
        default=0.0,
    )
