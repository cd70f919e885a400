from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecommerce_platform_tests.serving import shop


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shop.Served]:
    """A small shop that is published and may be asked."""
    found = shop.build(tmp_path_factory.mktemp("served-"))
    yield found
    found.reader.close()
    found.accounts.audit.flush()
