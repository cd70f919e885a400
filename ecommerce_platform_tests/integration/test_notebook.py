"""docs/exploring-a-shop.ipynb, run from its first cell to its last over a snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import matplotlib
import pytest

from ecommerce_platform_tests.conftest import ROOT, Shop

pytestmark = pytest.mark.shops

NOTEBOOK = json.loads((ROOT / "docs" / "exploring-a-shop.ipynb").read_text(encoding="utf-8"))


def code_cells() -> Iterator[str]:
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "figures of somebody's shop are no part of it"
            yield "".join(cell["source"])


def test_the_notebook_runs_on_a_published_shop_and_draws_what_its_tables_hold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")  # libraries of other tests of this process leave figures open, too
    shop.ok("generate", "--orders", "400", "--days", "150")
    shop.ok("build")
    shop.ok("publish")
    monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(shop.data))
    names: dict[str, Any] = {}
    for number, cell in enumerate(code_cells()):
        exec(compile(cell, f"cell {number}", "exec"), names)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    assert len(figures) == 4
    revenue = figures[0].axes[0].lines[0].get_ydata()
    assert [float(r) for (r,) in shop.query("select revenue from gold.kpi_monthly order by month")] == list(revenue)
    assert len(names["found"]) == shop.query("select count(*) from gold.insights")[0][0]
    names["con"].close()
