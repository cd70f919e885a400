"""The port that scoring goes through: the API knows no models, whoever starts it hands them in (`cli/serving.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Scorer(Protocol):
    """Scores rows with one version of a model."""

    def __call__(
        self, model: str, registered: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """The scored rows, in their order.

        Args:
            model: its name.
            registered: the version's row in `ml.models` of the snapshot.
            rows: what to score; columns as the model wants them.

        Raises:
            InputError: there is no such model, or the rows are not what it takes.
        """
