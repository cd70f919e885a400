"""The figures that decisions need and no export delivers: what `decisions:` in `source.yml` may say.

What is not given is not guessed: the decision that needs it is refused (`ml.decisions` says so). What is done with the figures is
in `decisions`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ecommerce_platform.contracts.contract import Strict


class Staffing(Strict):
    """People who pack orders, planned by weekday."""

    #: Orders that one person packs on one day.
    orders_per_person_day: float = Field(gt=0)
    #: What a day of one person costs, in the shop's currency.
    cost_per_person_day: float = Field(ge=0)
    #: Share of the days of a weekday on which everything shall be packed on the same day.
    service_level: float = Field(ge=0.5, lt=1)
    #: Days in a row that a person works, of each seven.
    days_in_a_row: int = Field(default=5, ge=1, le=7)
    #: Newest weeks that demand is taken from.
    weeks: int = Field(default=13, ge=4, le=104)


class Stock(Strict):
    """Goods bought in: how much shall be on the shelves."""

    #: Share of the lead times in which nothing runs out.
    service_level: float = Field(ge=0.5, lt=1)
    #: Cost of keeping goods for a year, as a share of what they cost.
    holding_cost_rate: float = Field(gt=0, le=2)
    #: Cost of one order to a supplier, in the shop's currency.
    order_cost: float = Field(ge=0)
    #: Days between two looks at the shelves.
    review_days: int = Field(default=7, ge=1, le=90)
    #: Newest days that demand is taken from.
    days: int = Field(default=182, ge=56, le=730)


class Budget(Strict):
    """What is spent on advertising, and how far a channel's share may be moved."""

    #: What a flight of each channel may cost together, in the shop's currency; without it, what the newest flights cost.
    amount: float | None = Field(default=None, gt=0)
    #: Bounds of a channel's spend, as multiples of what is spent on it now. Nothing beyond what was tried is recommended anyway.
    at_least: float = Field(default=0.25, ge=0, le=1)
    at_most: float = Field(default=4.0, ge=1)
    #: Days after a flight in which its orders may still come; they do not count as ordinary ones.
    carry_over_days: int = Field(default=7, ge=0, le=60)


class Range(Strict):
    """A figure that is not known exactly: the least, the likeliest and the most it may be."""

    low: float
    likely: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.likely <= self.high:
            raise ValueError("say `low` ≤ `likely` ≤ `high`")
        return self


class Prices(Strict):
    """Moves of list prices."""

    #: The largest move of one price, as a share of it.
    largest_move: float = Field(default=0.05, gt=0, le=0.5)
    #: Percent by which a category's units change when all its prices rise by one percent, other shops' staying: found by an
    #: experiment. Without it each category's average price stays.
    total_response: Range | None = None


class Investment(Strict):
    """Money that is spent once and each month, for what it brings each month."""

    upfront_amount: Range
    monthly_benefit: Range
    monthly_cost: Range = Range(low=0, likely=0, high=0)
    months: int = Field(ge=1, le=240)


class Offer(Strict):
    """What an arm of an experiment costs when it is given to a customer outside it, beyond what orders show as discount."""

    #: Of each customer who gets it, whatever they do.
    contact_cost: float = Field(default=0, ge=0)
    #: Of each who then orders at all: a voucher that is redeemed once.
    voucher_cost: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if self.contact_cost + self.voucher_cost <= 0:
            raise ValueError("say `contact_cost` or `voucher_cost`: what costs nothing needs no budget")
        return self


class Retention(Strict):
    """What customers may be offered so that they stay."""

    #: Most that all offers together are expected to cost.
    budget: float = Field(gt=0)
    #: Experiment whose arms are offered.
    experiment: str
    #: Arm → what it costs.
    actions: dict[str, Offer] = Field(min_length=1)


class RetentionTrial(Strict):
    """An experiment thought of: a discount for customers at risk, to see whether it keeps them."""

    #: Most customers that get it, the likeliest to leave first.
    customers: int = Field(ge=1)
    #: What it takes off the next order, once.
    discount: float = Field(gt=0)
    #: Of each customer who gets it.
    contact_cost: float = Field(default=0, ge=0)
    #: Share of those who would have left that it keeps, as assumed; not used where `experiment` has measured it.
    response: Range | None = None
    #: Experiment and arm of a like offer.
    experiment: str | None = None
    arm: str | None = None

    @model_validator(mode="after")
    def _response_is_known(self) -> Self:
        if (self.experiment is None) != (self.arm is None):
            raise ValueError("say both `experiment` and `arm`, or neither")
        if self.response is None and self.experiment is None:
            raise ValueError("say `response`, or `experiment` and `arm`")
        if self.response and not (self.response.low >= 0 and self.response.high <= 1):
            raise ValueError("`response` is a share, 0 to 1")
        return self


class CrossSell(Strict):
    """Products offered beside what lies in the basket."""

    #: How much more often a product is bought when it is offered, as a share of how often it is bought beside the other anyway.
    taken: Range
    #: Offers of a segment.
    offers: int = Field(default=10, ge=1, le=100)
    #: Newest days that baskets are taken from.
    days: int = Field(default=90, ge=28, le=730)

    @model_validator(mode="after")
    def _adds(self) -> Self:
        if self.taken.low < 0:
            raise ValueError("`taken` is a share, 0 or more")
        return self


class DecisionRules(Strict):
    """What `decisions:` may say, by decision."""

    staffing: Staffing | None = None
    inventory: Stock | None = None
    budget: Budget | None = None
    prices: Prices | None = None
    cross_sell: CrossSell | None = None
    retention: Retention | None = None
    retention_trial: RetentionTrial | None = None
    #: Yearly rate at which later money counts less.
    discount_rate: float | None = Field(default=None, ge=0, le=1)
    #: Name → what is thought of being done.
    investments: dict[str, Investment] = {}
