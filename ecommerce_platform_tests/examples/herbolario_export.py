"""The export of an invented Spanish herb shop, as its till writes it, and what it amounts to.

One flat file per month with a row per order line, for Excel: a `sep=;` line, decimal commas, day-first dates with the time
of day in a column of its own, cp1252, a total line at the end, and in March the header again in the middle, because two
files were put together. The figures beside it are added up while the lines are made, not read from them.

    python -m ecommerce_platform_tests.examples.herbolario_export export
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

CENT = Decimal("0.01")
MONTHS = ("2024-01", "2024-02", "2024-03")
#: State → whether its orders count; "En tienda" waits in the shop to be collected.
STATES = {
    "Entregado": True,
    "Enviado": True,
    "En preparación": True,
    "En tienda": True,
    "Devuelto": True,
    "Anulado": False,
}
METHODS = ("Tarjeta", "Bizum", "PayPal", "Contrarreembolso")
FAMILIES = {
    "Infusiones": ("Manzanilla dulce", "Té verde con jengibre", "Poleo menta", "Rooibos", "Hierba luisa"),
    "Cosmética": ("Crema de caléndula", "Aceite de argán", "Champú sólido", "Bálsamo labial"),
    "Complementos": ("Espirulina", "Jalea real", "Magnesio", "Própolis", "Levadura de cerveza"),
    "Hogar": ("Difusor de aromas", "Vela de soja", "Cafetera de émbolo"),
}
NAMES = ("Lucía", "Martín", "Sofía", "Hugo", "Paula", "Íñigo", "Carmen", "Álvaro", "Noa", "Julián")
SURNAMES = ("García", "Muñoz", "Peña", "Ibáñez", "Castro", "Núñez", "Rey", "Soler", "Vázquez", "Olmo")
TOWNS = {"28012": "Madrid", "08003": "Barcelona", "15001": "A Coruña", "41004": "Sevilla", "24003": "León"}
HEADER = "Nº Pedido;Fecha;Hora;Cliente;Estado;Forma de pago;Referencia;Artículo;Familia;Cantidad;Precio unitario;Dto. %;Importe"


@dataclass
class Truth:
    """What the shop sold: over valid orders, added up line by line."""

    orders: int = 0
    units: int = 0
    gross: Decimal = Decimal(0)
    revenue: Decimal = Decimal(0)
    customers: set[str] = field(default_factory=set)
    revenue_by_month: Counter[str] = field(default_factory=Counter)
    revenue_by_category: Counter[str] = field(default_factory=Counter)
    revenue_by_method: Counter[str] = field(default_factory=Counter)
    #: All order lines, and those that are none: totals and repeated headers.
    lines: int = 0
    others: int = 0


def write_export(folder: Path, orders: int = 900, seed: int = 7) -> Truth:
    """Writes `pedidos_<month>.csv` and `clientes.csv`; returns what they amount to."""
    rng, truth = random.Random(seed), Truth()
    folder.mkdir(parents=True, exist_ok=True)
    products = [
        (f"H{100 + number}", name, family, Decimal(rng.randint(250, 4500)) * CENT)
        for number, (family, name) in enumerate((f, n) for f, names in FAMILIES.items() for n in names)
    ]
    products[-1] = (*products[-1][:3], Decimal("1249.00"))  # a thousands separator has to occur
    customers = [f"C{number:04d}" for number in range(1, 161)]
    number = 24_000
    for month in MONTHS:
        lines, total = [], Decimal(0)
        when = datetime.strptime(month, "%Y-%m") + timedelta(hours=9)
        for _ in range(orders // len(MONTHS)):
            number += 1
            when += timedelta(minutes=rng.randint(20, 220))
            order = f"P-{number}"
            customer = "" if rng.random() < 0.05 else rng.choice(customers)
            state = rng.choices(list(STATES), weights=[70, 10, 6, 5, 3, 6])[0]
            method = rng.choices(METHODS, weights=[50, 25, 15, 10])[0]
            for sku, name, family, price in rng.sample(products, rng.choices((1, 2, 3, 4), weights=[50, 30, 15, 5])[0]):
                quantity, percent = rng.choice((1, 1, 1, 2, 3)), rng.choice((0, 0, 0, 0, 5, 10))
                gross = quantity * price
                amount = (gross * (100 - percent) / 100).quantize(CENT, ROUND_HALF_UP)
                total += amount
                lines.append(
                    f"{order};{when:%d/%m/%Y};{when:%H:%M};{customer};{state};{method};{sku};{name};{family};{quantity};"
                    f"{_comma(price)};{percent or ''};{_comma(amount)}"
                )
                truth.lines += 1
                if STATES[state]:
                    truth.units += quantity
                    truth.gross += gross
                    truth.revenue += amount
                    truth.revenue_by_month[month] += amount  # type: ignore[assignment]
                    truth.revenue_by_category[family] += amount  # type: ignore[assignment]
                    truth.revenue_by_method[method] += amount  # type: ignore[assignment]
            if STATES[state]:
                truth.orders += 1
                truth.customers |= {customer} - {""}
        if month == "2024-03":
            lines.insert(len(lines) // 2, HEADER)
            truth.others += 1
        lines.append(f"TOTAL;;;;;;;;;;;;{_comma(total)}")
        truth.others += 1
        _write(folder / f"pedidos_{month}.csv", ["sep=;", HEADER, *lines])
    people = ["Código;Nombre;Apellidos;Correo electrónico;C.P.;Población;Fecha alta"]
    for customer in customers:
        name, surname, (code, town) = rng.choice(NAMES), rng.choice(SURNAMES), rng.choice(list(TOWNS.items()))
        joined = datetime(2022, 1, 3) + timedelta(days=rng.randint(0, 700))
        people.append(f"{customer};{name};{surname};{customer.lower()}@ejemplo.es;{code};{town};{joined:%d/%m/%Y}")
    _write(folder / "clientes.csv", people)
    return truth


def _comma(amount: Decimal) -> str:
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


def _write(path: Path, lines: list[str]) -> None:
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))


if __name__ == "__main__":
    write_export(Path(sys.argv[1]))
