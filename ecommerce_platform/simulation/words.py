"""The words of reviews, all made up."""

from __future__ import annotations

from itertools import product

#: By mood: unhappy (1–2), lukewarm (3), happy (4–5).
_OPENINGS = (
    (
        "Not what I expected.",
        "Very disappointed.",
        'So much for "fast delivery".',
        "Never again.",
        "What a pity.",
    ),
    ("It is okay.", "Mixed feelings.", "Does the job, more or less.", "Average.", "Could be better."),
    ("Great!", "Exactly as described.", "Very happy with it.", 'My daughter said "wow".', "Would buy again."),
)
_MIDDLES = (
    (
        "The parcel came days late and nobody answered my questions.",
        "Quality is poor; the colour differs from the picture.",
        "The box was open, dented, and one part was missing.",
        "Arrived too late for the birthday.",
    ),
    (
        "Delivery took a while, the product itself is fine.",
        "For the price it is all right, but the manual is useless.",
        'Looks smaller than on the picture ("size M").',
        "Packaging was good; the finish is so-so.",
    ),
    (
        "Arrived on time, well packed, and works as it should.",
        "Good value for money; friendly service too.",
        "Better quality than I thought, and quick delivery.",
        "Using it every day, no complaints at all.",
    ),
)
_CLOSINGS = (
    (
        "",
        "\nI want my money back.",
        "\n\n1 star is one too many, sorry.",
        ' Support: "we are looking into it".',
    ),
    ("", "\nThree stars.", " We will see how long it lasts.", "\nMaybe, maybe not."),
    ("", "\nThank you!", "\n\nRecommended, also as a gift.", " Five stars, clearly."),
)
_HEADLINES = (
    ("Disappointing", "Late, late, late", "Bad quality", "Not again"),
    ("Okay", "So-so", "Could be better", "Fair"),
    ("Great", "Just right", "Very good, thanks", "Recommended"),
)

#: All review texts, those of one mood after those of the other, `PER_MOOD` each.
REVIEW_TEXTS = [
    f"{opening} {middle}{closing}"
    for openings, middles, closings in zip(_OPENINGS, _MIDDLES, _CLOSINGS, strict=True)
    for opening, middle, closing in product(openings, middles, closings)
]
PER_MOOD = len(REVIEW_TEXTS) // 3
#: All headlines, `HEADLINES_PER_MOOD` for each mood.
HEADLINES = [headline for headlines in _HEADLINES for headline in headlines]
HEADLINES_PER_MOOD = len(HEADLINES) // 3
