"""What the shop sells: categories, brands, products, and how their prices move from month to month.

Money is whole cents. Who buys a product is decided in `orders`, by the weights given here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.randomness import Rng, pick, pick_rows
from ecommerce_platform.simulation.seasons import Seasons


@dataclass(frozen=True)
class Category:
    """A category: its code in the shop's tables, its name, and how its products are priced and bought.

    `share` is its part of all lines, `several` the share of lines with more than one unit. A price higher by 1 % makes
    a product be bought about `elasticity` % more (less, that is) often beside others. From the day of the drift on, the
    category's demand is multiplied by `drift`.
    """

    code: str
    label: str
    median_price: float
    margin: float
    share: float
    several: float
    season: tuple[int, float]
    elasticity: float
    drift: float = 1.0


#: `season` is the calendar month (0 = January) of the peak and its strength.
CATEGORIES: tuple[Category, ...] = (
    Category("ELC", "Electronics", 79.0, 0.22, 9, 0.05, (10, 0.35), -1.8, 1.6),
    Category("CMP", "Computers & accessories", 64.0, 0.20, 7, 0.06, (10, 0.25), -1.6),
    Category("HOM", "Home & living", 34.0, 0.45, 11, 0.14, (10, 0.15), -1.2),
    Category("KIT", "Kitchen", 29.0, 0.42, 9, 0.12, (11, 0.30), -1.1),
    Category("GRD", "Garden", 27.0, 0.40, 6, 0.18, (4, 0.85), -1.0),
    Category("TOY", "Toys & games", 22.0, 0.38, 7, 0.16, (11, 0.80), -1.4),
    Category("BOK", "Books", 14.0, 0.30, 8, 0.15, (11, 0.35), -0.6, 0.6),
    Category("BTY", "Beauty", 17.0, 0.55, 8, 0.22, (11, 0.20), -0.9),
    Category("FSH", "Fashion", 32.0, 0.50, 11, 0.12, (9, 0.20), -2.2, 0.75),
    Category("SHO", "Shoes", 58.0, 0.48, 5, 0.04, (8, 0.20), -2.0),
    Category("SPT", "Sports & outdoor", 41.0, 0.40, 6, 0.08, (5, 0.35), -1.5),
    Category("BBY", "Baby & kids", 21.0, 0.36, 4, 0.25, (8, 0.05), -0.5),
    Category("PET", "Pet supplies", 19.0, 0.35, 4, 0.30, (0, 0.05), -0.4),
    Category("GRO", "Delicatessen", 9.5, 0.33, 3, 0.45, (11, 0.40), -0.8),
    Category("OFF", "Office & stationery", 8.0, 0.44, 2, 0.35, (7, 0.35), -1.3),
)
#: What the products of a category are called.
_NOUNS = {
    "ELC": ("Headphones", "Speaker", "Charger", "Tracker"),
    "CMP": ("Keyboard", "Mouse", "Monitor"),
    "HOM": ("Lamp", "Cushion", "Rug", "Mirror", "Vase"),
    "KIT": ("Pan", "Knife", "Kettle", "Mug", "Grinder"),
    "GRD": ("Planter", "Hose", "Shears", "Chair", "Lantern"),
    "TOY": ("Puzzle", "Board Game", "Blocks", "Plush"),
    "BOK": ("Novel", "Cookbook", "Travel Guide", "Atlas"),
    "BTY": ("Cream", "Shampoo", "Serum", "Soap", "Perfume"),
    "FSH": ("Shirt", "Jacket", "Scarf", "Jeans", "Dress"),
    "SHO": ("Sneaker", "Boot", "Sandal", "Slipper"),
    "SPT": ("Mat", "Backpack", "Bottle", "Tent"),
    "BBY": ("Blanket", "Bib", "Rattle", "Bodysuit"),
    "PET": ("Food", "Leash", "Bed", "Toy", "Brush"),
    "GRO": ("Coffee", "Tea", "Olive Oil", "Chocolate"),
    "OFF": ("Notebook", "Pen Set", "Folder", "Planner"),
}
_BRANDS = (  # noqa: SIM905
    "Aldora Brennt Corvin Delmar Elvio Fennick Gerlin Hallwyl Ilmen Jarrow Kestel Lumora Mirano Nordvik "
    "Ostera Pellin Quintas Ravelle Solvik Tarnow Umbra Velmont Wendel Xandor Yarrow Zellin Arbora Bastide "
    "Calvane Dorning Ebersol Falkner Gransee Heliot Isenor Juvena Kolberg Lindau Marlow Nessel"
).split()
_ADJECTIVES = (  # noqa: SIM905
    "Classic Compact Deluxe Everyday Fine Grand Light Modern Natural Original Prime Pure Quick Royal Slim "
    "Smart Soft Solid Urban Vintage"
).split()

COMPANION_PROBABILITY = 0.30
#: Products have a companion if by plan so many orders come to hold both: of fewer nobody can tell.
_COMPANION_ORDERS = 12
#: Orders with two or more lines, about; the first line is of such an order as often as any.
_SEVERAL_LINES_SHARE = 0.43


@dataclass(frozen=True)
class Catalogue:
    """All products, sorted by category; arrays are per product unless said otherwise."""

    sku: list[str]
    title: list[str]
    brand: list[str]
    #: Index into `CATEGORIES`.
    category: np.ndarray
    #: First and one-past-last product of each category.
    category_bounds: np.ndarray
    #: Net price in cents, months × products.
    price: np.ndarray
    #: Cost of one unit in cents, months × products; -1 where the shop does not know it.
    cost: np.ndarray
    #: Weight in grams.
    grams: np.ndarray
    #: Day the product was first offered, counted from the shop's first day (negative before it).
    launched: np.ndarray
    #: First month (index) in which it is listed and sold.
    first_month: np.ndarray
    #: Latent quality; shifts review scores.
    quality: np.ndarray
    #: The product most often bought together with it, -1 for those that sell too little to have one.
    companion: np.ndarray
    #: Demand, phases × products; 0 before the first month.
    demand: np.ndarray
    #: Whether the category takes part, sales × categories.
    on_sale: np.ndarray

    def __len__(self) -> int:
        return len(self.sku)


def make_catalogue(rng: Rng, seasons: Seasons, orders: int) -> Catalogue:
    """The catalogue of a shop with that many orders: 600 to 2,000 products."""
    size = int(600 + 1400 * min(1.0, orders / 2_000_000))
    shares = np.array([c.share for c in CATEGORIES])
    category = np.sort(np.concatenate([np.arange(len(CATEGORIES)), pick(rng, shares, size - len(CATEGORIES))]))
    bounds = np.searchsorted(category, np.arange(len(CATEGORIES) + 1))
    brand, title = _names(rng, category)
    median = np.array([c.median_price for c in CATEGORIES])[category]
    base = median * np.exp(rng.normal(0, 0.65, size))
    price, cost = _prices(rng, base, category, seasons.months)
    launched, first_month = _launches(rng, seasons, bounds)
    rank = rng.permutation(size) + 1
    popularity = rank.astype(float) ** -0.85
    # Rank decides within a category, the category's share between categories.
    popularity *= (shares / np.maximum(np.bincount(category, popularity, len(CATEGORIES)), 1e-9))[category]
    on_sale = rng.random((len(seasons.sales), len(CATEGORIES))) < 0.6
    demand = _demand(seasons, category, popularity, on_sale, price, base * 100)
    demand[seasons.phases.month[:, None] < first_month[None, :]] = 0
    companion = _companions(rng, seasons, demand, first_month, orders)
    return Catalogue(
        sku=[f"{CATEGORIES[c].code}-{10_000 + i}" for i, c in enumerate(category)],
        title=title,
        brand=brand,
        category=category,
        category_bounds=bounds,
        price=price,
        cost=cost,
        grams=np.maximum(np.round(rng.lognormal(6.0, 0.9, size)), 20).astype(int),
        launched=launched,
        first_month=first_month,
        quality=rng.normal(0, 0.3, size),
        companion=companion,
        demand=demand,
        on_sale=on_sale,
    )


def _names(rng: Rng, category: np.ndarray) -> tuple[list[str], list[str]]:
    """Brands and titles; a category has eight brands, the first of which are the most frequent."""
    brands_of = [rng.choice(len(_BRANDS), 8, replace=False) for _ in CATEGORIES]
    brand_rank = pick(rng, 1 / np.arange(1, 9), len(category))
    adjective, noun = rng.integers(0, len(_ADJECTIVES), len(category)), rng.integers(0, 1000, len(category))
    brand, title = [], []
    for i, c in enumerate(category):
        names = _NOUNS[CATEGORIES[c].code]
        brand.append(_BRANDS[brands_of[c][brand_rank[i]]])
        title.append(f"{brand[i]} {_ADJECTIVES[adjective[i]]} {names[noun[i] % len(names)]} {100 + i % 900}")
    return brand, title


def _launches(rng: Rng, seasons: Seasons, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The day of each product's launch and the first month it is listed in.

    Seven in ten were there before the first day; the others come month by month and are listed from the next first of a
    month on, so that a product is never sold before a catalogue has named it.
    """
    months, size = seasons.months, int(bounds[-1])
    later = rng.random(size) < (0.30 if months > 2 else 0.0)
    later[bounds[:-1]] = False
    month = rng.integers(0, max(months - 1, 1), size)
    starts = np.append(seasons.catalogue_days, seasons.days)
    day = (starts[month] + rng.random(size) * (starts[month + 1] - starts[month])).astype(int)
    return np.where(later, day, -1 - rng.integers(0, 1400, size)), np.where(later, month + 1, 0)


def _demand(
    seasons: Seasons,
    category: np.ndarray,
    popularity: np.ndarray,
    on_sale: np.ndarray,
    price: np.ndarray,
    usual_price: np.ndarray,
) -> np.ndarray:
    """Demand, phases × products: by popularity and season, and by the price less a sale's discount."""
    phases = seasons.phases
    peak = np.array([c.season[0] for c in CATEGORIES])[category]
    strength = np.array([c.season[1] for c in CATEGORIES])[category]
    angle = (seasons.calendar_month[phases.month, None] - peak[None, :]) / 12 * 2 * np.pi
    demand = popularity * (1 + strength * np.cos(angle))
    demand[phases.drifted] *= np.array([c.drift for c in CATEGORIES])[category]
    depth = np.zeros(demand.shape)
    for index, sale in enumerate(seasons.sales):
        depth[phases.sale == index] = np.where(on_sale[index], sale.depth, 0.0)[category]
    elasticity = np.array([c.elasticity for c in CATEGORIES])[category]
    demand *= (price[phases.month] * (1 - depth) / usual_price) ** elasticity
    return demand


def _companions(rng: Rng, seasons: Seasons, demand: np.ndarray, first_month: np.ndarray, orders: int) -> np.ndarray:
    """What goes with each product: none of the tenth that sells most, for what everybody buys goes with nothing in particular."""
    size = demand.shape[1]
    days = np.bincount(seasons.phases.of_day, minlength=len(demand)) / len(seasons.phases.of_day)
    share = days @ (demand / demand.sum(axis=1, keepdims=True))
    drawn = pick(rng, (first_month == 0) & (share <= np.quantile(share, 0.9)), size)
    drawn = np.where(drawn == np.arange(size), (drawn + 1) % size, drawn)
    planned = COMPANION_PROBABILITY * _SEVERAL_LINES_SHARE * orders * share
    return np.where(planned >= _COMPANION_ORDERS, drawn, -1)


def draw_products(rng: Rng, catalogue: Catalogue, phase: np.ndarray, favourite: np.ndarray) -> np.ndarray:
    """A product for each entry of `phase`, within category `favourite` where that is not negative."""
    cumulative = np.cumsum(catalogue.demand, axis=1)
    product = pick_rows(rng, catalogue.demand, phase)
    loyal = np.flatnonzero(favourite >= 0)
    m, c = phase[loyal], favourite[loyal]
    padded = np.pad(cumulative, ((0, 0), (1, 0)))
    low, high = padded[m, catalogue.category_bounds[c]], padded[m, catalogue.category_bounds[c + 1]]
    wanted = (low + rng.random(len(loyal)) * (high - low)) / cumulative[m, -1]
    flat = (cumulative / cumulative[:, -1:] + np.arange(len(cumulative))[:, None]).ravel()
    found = np.searchsorted(flat, wanted + m, side="right") - m * len(catalogue)
    product[loyal] = np.clip(found, catalogue.category_bounds[c], catalogue.category_bounds[c + 1] - 1)
    return product


def _prices(rng: Rng, base: np.ndarray, category: np.ndarray, months: int) -> tuple[np.ndarray, np.ndarray]:
    """Prices and costs in cents, months × products: rare steps up and down on top of slow inflation."""
    size = len(base)
    changes = np.where(rng.random((months, size)) < 0.10, rng.normal(0.01, 0.09, (months, size)), 0.0)
    changes[0] = 0
    level = base * np.exp(np.cumsum(changes, axis=0) + 0.02 / 12 * np.arange(months)[:, None])
    stepped = base * np.exp(np.cumsum(changes, axis=0))
    # Of ten products six are priced just below (…9), two at …5 and two at …0, each always in its own way; inflation only
    # shows where a price is changed anyway.
    touched = np.where(changes != 0, np.arange(months)[:, None], 0)
    latest = np.maximum.accumulate(touched, axis=0)
    current = np.take_along_axis(level, latest, axis=0)
    below = np.array([1, 1, 1, 1, 1, 1, 5, 5, 0, 0])[np.arange(size) * 7919 % 10]
    price = np.maximum(np.round(current * 10) * 10 - below, 99).astype(np.int64)
    margin = np.array([c.margin for c in CATEGORIES])[category] + rng.normal(0, 0.05, size)
    cost = np.maximum(np.round(stepped * (1 - np.clip(margin, 0.05, 0.8)) * 100), 10).astype(np.int64)
    cost[:, rng.random(size) < 0.06] = -1
    return price, cost
