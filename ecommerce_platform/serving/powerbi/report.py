"""The report as PBIR: pages of visuals over the model's measures, and a page that holds each measure beside the KPI tables.

A visual is named by what it shows, so that generating again changes only what changed. Colours and fonts are Power BI's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from ecommerce_platform.serving.powerbi.dax import Translated
from ecommerce_platform.serving.powerbi.model import FIGURES, check_name

_SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric/item/report/definition"
_WIDTH, _HEIGHT, _GAP = 1280, 720, 16
#: Metrics in one table of the page of checks: two columns each.
_CHECKED_TOGETHER = 5
_CHECK_HEIGHT = 300
#: Page → title, figures on cards, and charts: kind, metric, what it is cut by. What a model lacks is left out of its page.
_PAGES: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "Overview",
        ("revenue", "orders", "customers", "aov"),
        (
            ("lineChart", "revenue", "dim_date", "month"),
            ("clusteredBarChart", "revenue", "dim_product", "category"),
            ("clusteredBarChart", "revenue", "fct_orders", "channel"),
            ("lineChart", "orders", "dim_date", "month"),
        ),
    ),
    (
        "Products and regions",
        ("units", "gross_amount", "discount_amount", "net_profit"),
        (
            ("clusteredBarChart", "net_profit", "dim_product", "category"),
            ("clusteredBarChart", "revenue", "dim_product", "brand"),
            ("clusteredBarChart", "revenue", "fct_orders", "region"),
            ("clusteredBarChart", "orders", "fct_orders", "payment_method"),
        ),
    ),
    (
        "Satisfaction",
        ("avg_review_score", "nps_proxy", "on_time_rate", "avg_delivery_days"),
        (
            ("lineChart", "avg_review_score", "dim_date", "month"),
            ("lineChart", "on_time_rate", "dim_date", "month"),
            ("clusteredBarChart", "avg_review_score", "fct_orders", "region"),
            ("clusteredBarChart", "avg_delivery_days", "fct_orders", "region"),
        ),
    ),
)


def report_files(measures: Translated, checked: dict[str, dict[str, str]], tables: Iterable[str]) -> dict[str, Any]:
    """The JSON files of the report's `definition` folder, by their path in it.

    Args:
        measures: of `dax.translate`.
        checked: of `model.checks`.
        tables: names of the model's tables.
    """
    there = set(tables)
    files: dict[str, Any] = {
        "version.json": {"$schema": f"{_SCHEMAS}/versionMetadata/1.0.0/schema.json", "version": "2.0.0"},
        "report.json": {
            "$schema": f"{_SCHEMAS}/report/3.0.0/schema.json",
            "themeCollection": {},
            "settings": {"useStylableVisualContainerHeader": True},
        },
    }
    order = []
    for title, cards, charts in _PAGES:
        visuals = _page(measures, there, cards, charts)
        if visuals:
            order.append(_add(files, title, visuals))
    if visuals := list(_checks(measures, checked)):
        order.append(_add(files, "Check", visuals))
    files["pages/pages.json"] = {
        "$schema": f"{_SCHEMAS}/pagesMetadata/1.0.0/schema.json",
        "pageOrder": order,
        "activePageName": order[0],
    }
    return files


def _add(files: dict[str, Any], title: str, visuals: Sequence[dict[str, Any]]) -> str:
    """Puts a page with its visuals among the files; returns its name."""
    name = _name(title)
    bottom = max(v["position"]["y"] + v["position"]["height"] for v in visuals) + _GAP
    files[f"pages/{name}/page.json"] = {
        "$schema": f"{_SCHEMAS}/page/2.0.0/schema.json",
        "name": name,
        "displayName": title,
        "displayOption": "FitToWidth",
        "height": max(_HEIGHT, bottom),
        "width": _WIDTH,
    }
    for visual in visuals:
        files[f"pages/{name}/visuals/{visual['name']}/visual.json"] = visual
    return name


def _page(
    measures: Translated, there: set[str], cards: Sequence[str], charts: Sequence[tuple[str, str, str, str]]
) -> list[dict[str, Any]]:
    """Cards in a row, charts in two columns below."""
    shown = measures.shown()
    found: list[dict[str, Any]] = []
    cards = [metric for metric in cards if metric in shown]
    width = (_WIDTH - _GAP) / max(len(cards), 1) - _GAP
    for i, metric in enumerate(cards):
        box = (_GAP + i * (width + _GAP), _GAP, width, 110.0)
        found.append(_visual("card", shown[metric].name, box, {"Values": [_measure(shown[metric].name)]}, len(found)))
    charts = [chart for chart in charts if chart[1] in shown and chart[2] in there]
    half = (_WIDTH - 3 * _GAP) / 2
    for i, (kind, metric, table, column) in enumerate(charts):
        box = (_GAP + i % 2 * (half + _GAP), 142 + i // 2 * 290, half, 274.0)
        wells = {"Category": [_column(table, column)], "Y": [_measure(shown[metric].name)]}
        found.append(_visual(kind, f"{shown[metric].name} by {column.replace('_', ' ')}", box, wells, len(found)))
    return found


def _checks(measures: Translated, checked: dict[str, dict[str, str]]) -> Iterable[dict[str, Any]]:
    """Per group of metrics, a table with each of them beside what the KPI tables say: over everything, and by month."""
    top, place = float(_GAP), 0
    for table, found in checked.items():
        names = list(found)
        by = [_column("kpi_monthly", "month")] if table == "kpi_monthly" else []
        height = float(_CHECK_HEIGHT if by else 90)
        for start in range(0, len(names), _CHECKED_TOGETHER):
            group = [measures.measures[metric] for metric in names[start : start + _CHECKED_TOGETHER]]
            pairs = [name for m in group for name in (m.name, check_name(m, table))]
            title = f"{table}: {', '.join(m.name for m in group)}"
            box = (_GAP, top, _WIDTH - 2 * _GAP, height)
            yield _visual("tableEx", title, box, {"Values": [*by, *map(_measure, pairs)]}, place)
            top, place = top + height + _GAP, place + 1


def _visual(
    kind: str, title: str, box: Sequence[float], wells: dict[str, list[dict[str, Any]]], place: int
) -> dict[str, Any]:
    x, y, width, height = box
    literal = "'" + title.replace("'", "''") + "'"
    return {
        "$schema": f"{_SCHEMAS}/visualContainer/2.4.0/schema.json",
        "name": _name(kind, title),
        "position": {"x": x, "y": y, "z": place, "height": height, "width": width, "tabOrder": place},
        "visual": {
            "visualType": kind,
            "query": {"queryState": {well: {"projections": fields} for well, fields in wells.items()}},
            "visualContainerObjects": {
                "title": [
                    {
                        "properties": {
                            "show": {"expr": {"Literal": {"Value": "true"}}},
                            "text": {"expr": {"Literal": {"Value": literal}}},
                        }
                    }
                ],
                "general": [{"properties": {"altText": {"expr": {"Literal": {"Value": literal}}}}}],
            },
            "drillFilterOtherVisuals": True,
        },
    }


def _measure(name: str) -> dict[str, Any]:
    return _field("Measure", FIGURES, name)


def _column(table: str, column: str) -> dict[str, Any]:
    return {**_field("Column", table, column), "active": True}


def _field(kind: str, table: str, name: str) -> dict[str, Any]:
    return {
        "field": {kind: {"Expression": {"SourceRef": {"Entity": table}}, "Property": name}},
        "queryRef": f"{table}.{name}",
        "nativeQueryRef": name,
    }


def _name(*parts: str) -> str:
    """An id of 20 hexadecimal digits, as Power BI gives them, that stays the same."""
    return sha256("/".join(parts).encode()).hexdigest()[:20]
