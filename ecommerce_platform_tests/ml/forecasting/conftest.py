"""One thread, as the lifecycle gives models: threads that wait for each other on small matrices cost more than they save."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    import statsmodels.tsa.statespace.sarimax  # noqa: F401  (limits reach only libraries that are loaded by then)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
