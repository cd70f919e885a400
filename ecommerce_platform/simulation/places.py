"""Where the shop's customers live: states, regions, cities and their postal codes.

Cities are real and so are their rough positions; the postal codes around them are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.randomness import Rng

#: City, state, latitude, longitude, inhabitants in thousands, first two digits of its postal codes.
_CITIES: tuple[tuple[str, str, float, float, int, str], ...] = (
    ("Berlin", "BE", 52.52, 13.41, 3700, "10"),
    ("Hamburg", "HH", 53.55, 9.99, 1850, "20"),
    ("München", "BY", 48.14, 11.58, 1490, "80"),
    ("Köln", "NW", 50.94, 6.96, 1080, "50"),
    ("Frankfurt am Main", "HE", 50.11, 8.68, 765, "60"),
    ("Stuttgart", "BW", 48.78, 9.18, 630, "70"),
    ("Düsseldorf", "NW", 51.23, 6.78, 620, "40"),
    ("Leipzig", "SN", 51.34, 12.37, 605, "04"),
    ("Dortmund", "NW", 51.51, 7.47, 588, "44"),
    ("Essen", "NW", 51.46, 7.01, 580, "45"),
    ("Bremen", "HB", 53.08, 8.80, 565, "28"),
    ("Dresden", "SN", 51.05, 13.74, 556, "01"),
    ("Hannover", "NI", 52.37, 9.73, 536, "30"),
    ("Nürnberg", "BY", 49.45, 11.08, 515, "90"),
    ("Duisburg", "NW", 51.43, 6.76, 497, "47"),
    ("Wuppertal", "NW", 51.26, 7.15, 355, "42"),
    ("Bielefeld", "NW", 52.03, 8.53, 334, "33"),
    ("Bonn", "NW", 50.73, 7.10, 330, "53"),
    ("Münster", "NW", 51.96, 7.63, 316, "48"),
    ("Mannheim", "BW", 49.49, 8.47, 310, "68"),
    ("Karlsruhe", "BW", 49.01, 8.40, 308, "76"),
    ("Augsburg", "BY", 48.37, 10.90, 296, "86"),
    ("Wiesbaden", "HE", 50.08, 8.24, 279, "65"),
    ("Braunschweig", "NI", 52.27, 10.52, 249, "38"),
    ("Kiel", "SH", 54.32, 10.14, 247, "24"),
    ("Chemnitz", "SN", 50.83, 12.92, 244, "09"),
    ("Aachen", "NW", 50.78, 6.08, 249, "52"),
    ("Halle (Saale)", "ST", 51.48, 11.97, 238, "06"),
    ("Magdeburg", "ST", 52.13, 11.63, 236, "39"),
    ("Freiburg im Breisgau", "BW", 47.99, 7.85, 231, "79"),
    ("Lübeck", "SH", 53.87, 10.69, 216, "23"),
    ("Mainz", "RP", 50.00, 8.27, 218, "55"),
    ("Erfurt", "TH", 50.98, 11.03, 214, "99"),
    ("Rostock", "MV", 54.09, 12.10, 209, "18"),
    ("Kassel", "HE", 51.31, 9.49, 201, "34"),
    ("Potsdam", "BB", 52.40, 13.06, 183, "14"),
    ("Saarbrücken", "SL", 49.24, 7.00, 181, "66"),
    ("Ludwigshafen", "RP", 49.48, 8.44, 172, "67"),
    ("Oldenburg", "NI", 53.14, 8.21, 170, "26"),
    ("Osnabrück", "NI", 52.28, 8.05, 165, "49"),
    ("Heidelberg", "BW", 49.40, 8.69, 159, "69"),
    ("Regensburg", "BY", 49.01, 12.10, 153, "93"),
    ("Würzburg", "BY", 49.79, 9.95, 127, "97"),
    ("Ulm", "BW", 48.40, 9.99, 126, "89"),
    ("Trier", "RP", 49.75, 6.64, 111, "54"),
    ("Jena", "TH", 50.93, 11.59, 110, "07"),
    ("Cottbus", "BB", 51.76, 14.33, 98, "03"),
    ("Schwerin", "MV", 53.63, 11.41, 96, "19"),
)
REGIONS = ("Nord", "Ost", "Süd", "West")
_REGION_OF_STATE = {
    **dict.fromkeys(("HH", "HB", "NI", "SH", "MV"), 0),
    **dict.fromkeys(("BE", "BB", "SN", "ST", "TH"), 1),
    **dict.fromkeys(("BY", "BW"), 2),
    **dict.fromkeys(("NW", "HE", "RP", "SL"), 3),
}


@dataclass(frozen=True)
class Places:
    """One entry per postal code, in all arrays and lists alike."""

    postal_code: list[str]
    city: list[str]
    state: list[str]
    #: Index into `REGIONS`.
    region: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    #: Share of the customers who live there; sums to 1.
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.postal_code)


def make_places(rng: Rng) -> Places:
    """Some 400 postal codes around the cities, more where more people live."""
    codes: list[str] = []
    cities: list[str] = []
    states: list[str] = []
    region, latitude, longitude, weight = [], [], [], []
    for city, state, lat, lon, inhabitants, prefix in _CITIES:
        count = 4 + inhabitants // 80
        shares = rng.dirichlet(np.full(count, 3.0)) * inhabitants
        steps = np.sort(rng.choice(999, count, replace=False)) + 1
        for share, step in zip(shares, steps, strict=True):
            codes.append(f"{prefix}{step:03d}")
            cities.append(city)
            states.append(state)
            region.append(_REGION_OF_STATE[state])
            latitude.append(round(lat + rng.normal(0, 0.05), 5))
            longitude.append(round(lon + rng.normal(0, 0.07), 5))
            weight.append(share)
    weights = np.array(weight)
    return Places(
        codes,
        cities,
        states,
        np.array(region),
        np.array(latitude),
        np.array(longitude),
        weights / weights.sum(),
    )
