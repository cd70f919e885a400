"""`ecommerce forget`: asks, and shows what is and was held about a person. Taking it out: `forgetting`, `operations`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import bar, note, say, say_line, short, size, table
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from ecommerce_platform.operations.forget import Forgotten
    from ecommerce_platform.settings import Settings


def forget(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="A person_id, a customer_id or an e-mail address.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Removes a person's personal data from every drop, table and snapshot, and says what it did.

    Interrupted, it is finished by running it again.
    """
    from ecommerce_platform.operations.forget import forget as forget_person

    settings = given_settings()
    with bar("looking for the person") as progress:

        def agreed(plan: Forgotten) -> bool:
            with progress.aside():
                return plan.nothing or _agreed(settings, plan, yes)

        result = forget_person(
            settings, person, agreed=agreed, dry_run=dry_run, listener=progress.built, progress=progress.step
        )
    if result.done:
        _show(settings, result, "changed")
        say(
            "done; what is left of the person are keys and amounts (docs/personal-data.md). The shop's own systems and "
            "your backups have to forget by themselves: `ecommerce status` warns when they deliver the person again"
        )
        return
    if dry_run:
        _show(settings, result, "would be changed")
        if result.pending:
            note(f"{result.pending} loads are not taken over yet; they may hold more of the person")
    say("nothing was changed")


def _agreed(settings: Settings, plan: Forgotten, yes: bool) -> bool:
    _show(settings, plan, "would be changed")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("nobody is there to be asked", where="--yes", fix="add --yes, or --dry-run to look only")
    return typer.confirm("Blank these values for good? This cannot be undone")


def _show(settings: Settings, plan: Forgotten, what: str) -> None:
    """What of a person `would be changed` or was `changed`, and what is not touched."""
    say_line(f"customer records: {', '.join(plan.customer_ids)}")
    if plan.nothing:
        say("nothing personal is held about them" if what != "changed" else "nothing personal was left to remove")
    else:
        table(f"What {what}", ["where", "table", "records or rows", "files"], _rows(plan), right={2, 3})
        say_line("; ".join(_totals(settings, plan)))
    for place, why in plan.untouched:
        say_line(f"[yellow]not touched:[/] {short(place)}: {why}")


def _rows(plan: Forgotten) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    rows += [("drops", raw, n, plan.files.get(raw, 0)) for raw, n in sorted(plan.records.items())]
    if plan.lines:
        rows.append(("drops", "lines that could not be parsed", plan.lines, None))
    rows += [("warehouse", name, n, None) for name, n in sorted(plan.tables.items())]
    for where, cleaned in (("snapshots", plan.snapshots), ("copy of the snapshots", plan.mirror)):
        rows += [(where, name, n, None) for name, n in sorted(cleaned.rows.items())]
    return rows


def _totals(settings: Settings, plan: Forgotten) -> list[str]:
    totals = [f"{plan.values:,} values in {sum(plan.files.values()):,} delivered files"]
    for cleaned, where in ((plan.snapshots, ""), (plan.mirror, f" at {settings.publish_url}")):
        if cleaned.files:
            totals.append(f"{cleaned.files:,} files in {len(cleaned.snapshots):,} snapshots{where}")
    if plan.delta and settings.delta_dir:
        totals.append(f"{len(plan.delta)} Delta tables in {short(settings.delta_dir)}, and their earlier versions")
    if plan.after:
        totals.append(f"the warehouse file was written anew ({size(plan.before)}, now {size(plan.after)})")
    return totals
