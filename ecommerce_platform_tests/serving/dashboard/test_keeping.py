"""What people keep from a page is theirs, and a bound that makes no sense is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ecommerce_platform.serving.access import saved
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import LOCAL
from ecommerce_platform.serving.dashboard import data
from ecommerce_platform_tests.invented_shop import publish_shop


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    folder = tmp_path_factory.mktemp("kept")
    publish_shop(folder / "published")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(folder))
        data.shelf.cache_clear()
        monkeypatch.setattr(data, "accounts", Accounts.of(folder))
        assert data.accounts
        yield data.accounts
        data.shelf().reader.close()
        data.shelf.cache_clear()


def fields() -> None:
    from ecommerce_platform.serving.access.roles import LOCAL
    from ecommerce_platform.serving.dashboard.data import shelf
    from ecommerce_platform.serving.dashboard.keeping import thresholds, views
    from ecommerce_platform.serving.dashboard.view import OFFERED, read_address

    shop = shelf().shop()
    address = {"period": ["all"], "region": ["North"]}
    views(LOCAL, "explore", address, {})
    thresholds(shop, LOCAL, "on_time_rate", "month", read_address(address, OFFERED, shop.first_day, shop.last_day))


def run() -> AppTest:
    test = AppTest.from_function(fields, default_timeout=60).run()
    assert not test.exception
    return test


def press(test: AppTest, label: str) -> AppTest:
    return next(b for b in test.button if b.label == label).click().run()


def test_a_view_is_kept_under_its_name_with_its_address(accounts: Accounts, tmp_path: Path) -> None:
    test = run()
    test.text_input[0].set_value("The north")
    press(test, "Save this view")
    (kept,) = saved.views_of(accounts, LOCAL)
    assert (kept.name, kept.page, kept.query, kept.shared) == ("The north", "explore", "period=all&region=North", False)


def test_a_bound_is_set_told_and_removed(accounts: Accounts) -> None:
    test = run()
    next(n for n in test.number_input if n.label.startswith("Below")).set_value(0.9)
    test = press(test, "Set the alert")
    (bound,) = saved.thresholds(accounts, LOCAL)
    assert (bound.metric, bound.period, bound.below, bound.above) == ("on_time_rate", "month", 0.9, None)
    assert [(f.dimension, f.values) for f in bound.filters] == [("region", ("North",))]
    assert any("On-time rate of a month below 90.0 %, region North" in m.value for m in test.markdown)
    press(test, "Remove")
    assert saved.thresholds(accounts, LOCAL) == []


def test_a_bound_without_a_figure_is_refused(accounts: Accounts) -> None:
    test = press(run(), "Set the alert")
    assert "a threshold needs a bound" in test.error[0].value
