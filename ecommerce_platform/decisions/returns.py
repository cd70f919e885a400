"""What an investment comes to: pure arithmetic, for `roi` and for whoever shows it. No tables are known here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Return:
    """What an investment comes to over its months, in its currency.

    `payback_months` counts undiscounted money and is None where it does not come back; `break_even_benefit` is the monthly benefit
    at which the net present value is 0.
    """

    net_benefit: float
    net_present_value: float
    return_on_investment: float | None
    payback_months: float | None
    break_even_benefit: float


def calculate(upfront: float, monthly_benefit: float, monthly_cost: float, months: int, yearly_rate: float) -> Return:
    """The return of one set of figures.

    A month's money comes at its end; the monthly rate is (1 + yearly)^(1/12) − 1, so that twelve months discount as a year.
    `return_on_investment` is net benefit / all costs, None without any.
    """
    weight = annuity(months, yearly_rate)
    monthly = monthly_benefit - monthly_cost
    costs = upfront + monthly_cost * months
    return Return(
        net_benefit=monthly * months - upfront,
        net_present_value=monthly * weight - upfront,
        return_on_investment=(monthly * months - upfront) / costs if costs > 0 else None,
        payback_months=(0.0 if upfront <= 0 else upfront / monthly if 0 < upfront <= monthly * months else None),
        break_even_benefit=monthly_cost + upfront / weight,
    )


def annuity(months: int, yearly_rate: float) -> float:
    """Present value of 1 at each month's end."""
    rate = (1 + yearly_rate) ** (1 / 12) - 1
    return float(months) if rate == 0 else (1 - (1 + rate) ** -months) / rate
