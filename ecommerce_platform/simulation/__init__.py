"""A synthetic shop with known truth: the same arguments always write the same drops.

Here live the shop's behaviour (season, catalogue, people, orders), the faults of its exports and the files
it delivers. Nothing here reads what the platform made of them, and the platform never reads the truth written
here.
"""

from ecommerce_platform.simulation.analytics import generate_analytics_shop
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform.simulation.truth import TableTruth, Truth, read_truth

__all__ = ["TableTruth", "Truth", "generate_analytics_shop", "generate_shop", "read_truth"]
