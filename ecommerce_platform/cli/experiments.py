"""`ecommerce experiment …`: reads experiments from outside and sizes new ones. Those of the shop are in `ml.experiment_results`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecommerce_platform.cli.console import note, say, table
from ecommerce_platform.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Reads an experiment from a file, or says how many units one needs.")

_Alpha = Annotated[float, typer.Option(min=0.0001, max=0.5, help="One minus the level of intervals.")]


@app.command()
def analyze(
    file: Annotated[
        Path, typer.Argument(help="CSV: unit, arm, outcome; also before (same, earlier) or per (denominator).")
    ],
    control: Annotated[str, typer.Option(help="The arm that others are compared with.")] = "control",
    shares: Annotated[str, typer.Option(help="Planned shares: control=0.5,b=0.5; equal when not given.")] = "",
    money: Annotated[bool, typer.Option("--money", help="Outcomes are amounts: bootstrapped intervals.")] = False,
    looks: Annotated[
        float | None, typer.Option(min=0.0001, help="Looked at before its end: the lift planned for, 0.05 for 5 %.")
    ] = None,
    alpha: _Alpha = 0.05,
) -> None:
    """Says how much the arms of an experiment differ, and how sure that is."""
    from ecommerce_platform.decisions.outside import analyse_file

    rows = analyse_file(
        file, control=control, shares=_shares(shares), money=money, expected_lift=looks, alpha=alpha
    )  # fmt: skip
    first = rows[0]
    say(
        f"{first['control_units']:,} units of {control}, {first['in_two_arms']:,} in two arms left out; sample ratio p = "
        f"{first['ratio_p_assigned']:.4f} ({'declared' if first['shares_declared'] else 'equal'} shares)"
    )
    columns = [
        "arm", "units", "mean", "control", "difference", "from", "to", "lift", "from", "to", "p (Holm)", "verdict",
    ]  # fmt: skip
    table(None, columns, [_shown(row) for row in rows], right=range(1, 11))
    for text in dict.fromkeys(row.get("note") for row in rows):
        if text:
            note(text)
    if explained := first.get("variance_explained"):
        say(f"{explained:.0%} of the variance was known before (CUPED)")
    if "method" in first:
        say(f"intervals at {1 - alpha:.0%}, {first['method']}, of each comparison by itself")


def _shown(row: dict[str, object]) -> tuple[object, ...]:
    def number(name: str, form: str = ",.4g") -> str | None:
        value = row.get(name)
        return None if value is None or value != value else format(value, form)

    figures = [number(n) for n in ("mean", "control_mean", "difference", "difference_low", "difference_high")]
    lifts = [number(n, "+.1%") for n in ("lift", "lift_low", "lift_high")]
    return row["arm"], row["units"], *figures, *lifts, number("p_adjusted", ".4f"), row["verdict"]


def _shares(text: str) -> dict[str, float]:
    """control=0.5,b=0.5 → shares by arm."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        arm, _, share = part.partition("=")
        try:
            found[arm.strip()] = float(share)
        except ValueError:
            raise InputError(f"{part!r} is no share", where="--shares", fix="say control=0.5,b=0.5") from None
    return found


@app.command()
def size(
    effect: Annotated[float | None, typer.Option(help="Difference to be found, in standard deviations.")] = None,
    baseline: Annotated[
        float | None, typer.Option(help="Mean of the control; with --deviation, or a rate below 1.")
    ] = None,
    lift: Annotated[float | None, typer.Option(help="Lift to be found: 0.05 for 5 % of the baseline.")] = None,
    deviation: Annotated[
        float | None, typer.Option(min=0, help="Standard deviation; that of a rate when not given.")
    ] = None,
    power: Annotated[float, typer.Option(min=0.01, max=0.999, help="Chance of finding it.")] = 0.8,
    share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share of the units that the treated arm gets.")
    ] = 0.5,
    alpha: _Alpha = 0.05,
) -> None:
    """Says how many units each arm needs: of an effect in standard deviations, or of a lift of a baseline."""
    from ecommerce_platform.decisions.power import units_per_arm

    standardised = _standardised(effect, baseline, lift, deviation)
    control, treated = units_per_arm(standardised, power, alpha, share)
    say(
        f"{control:,} units in the control and {treated:,} in the treated arm find {standardised:.4g} standard deviations with a "
        f"chance of {power:.0%} (two-sided t-test at {alpha:g})"
    )


def _standardised(effect: float | None, baseline: float | None, lift: float | None, deviation: float | None) -> float:
    fix = "say --effect 0.2, or --baseline 0.03 --lift 0.1, or --baseline 42 --deviation 60 --lift 0.05"
    if effect is not None and baseline is None and lift is None:
        found = effect
    elif effect is None and baseline is not None and lift is not None:
        if deviation is None and not 0 < baseline < 1:
            raise InputError("a baseline that is no rate needs its standard deviation", where="--deviation", fix=fix)
        spread = deviation if deviation is not None else (baseline * (1 - baseline)) ** 0.5
        found = baseline * lift / spread if spread else 0.0
    else:
        raise InputError("nothing to be found is given", where="experiment size", fix=fix)
    if found == 0:
        raise InputError("no number of units finds an effect of 0", where="experiment size", fix=fix)
    return abs(found)


@app.command("before-after")
def before_after(
    file: Annotated[Path, typer.Argument(help="CSV: unit, group (treated or control), period, value.")],
    since: Annotated[str, typer.Option(help="First period after the change, as the file writes it.")],
) -> None:
    """Says what a change did that only some units got (difference in differences); without a control it says nothing."""
    from ecommerce_platform.decisions.outside import before_after as compare

    found = compare(file, since)
    say(
        f"effect {found['effect']:,.4g}, 95 % interval {found['low']:,.4g} to {found['high']:,.4g}, p = {found['p_value']:.4f}"
    )
    parted = min(found["trend_p_value"], found["placebo_p_value"])
    say(
        f"before the change: slopes p = {found['trend_p_value']:.4f}, invented dates p = {found['placebo_p_value']:.4f}"
    )
    if parted < 0.05:
        note("the groups parted before the change already: this is not to be read as its effect")
