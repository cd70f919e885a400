"""The pages, a module each: `PAGE` says what it is, needs and shows. Here is only their order.

The folder is not called `pages`: Streamlit would run what lies in there by itself.
"""

from __future__ import annotations

from ecommerce_platform.serving.dashboard.parts import Page
from ecommerce_platform.serving.dashboard.screens import (
    ask,
    customers,
    decisions,
    delivery,
    diagnose,
    executive,
    explore,
    forecasts,
    marketing,
    products,
    trust,
)

PAGES: tuple[Page, ...] = (
    executive.PAGE, explore.PAGE, diagnose.PAGE, customers.PAGE, products.PAGE, delivery.PAGE, marketing.PAGE,
    forecasts.PAGE, decisions.PAGE, trust.PAGE, ask.PAGE,
)  # fmt: skip
