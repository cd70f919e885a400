"""What tests of models share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecommerce_platform.ml.lifecycle import one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in the lifecycle: threads that wait for each other on a busy machine turn milliseconds into minutes."""
    with one_thread(("sklearn.cluster", "scipy.stats")):
        yield
