"""Scoring through the API gives what the model gives, of the version that the snapshot names."""

from __future__ import annotations

import pytest

from ecommerce_platform.cli.serving import scorer
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.serving.api.client import app_of, bearer, client
from ecommerce_platform_tests.serving.shop import Served

pytestmark = pytest.mark.shops

ROWS = [
    {"person_id": "new", "recency_days": 12, "frequency": 3, "monetary": 250.5},
    {"person_id": "old", "recency_days": 400, "frequency": 1, "monetary": "19.90"},
]


@pytest.mark.long
def test_new_customers_are_scored_as_by_the_command_line(shop: Shop, served: Served) -> None:
    import csv
    import io
    from dataclasses import replace

    from ecommerce_platform.serving.read.reader import Reader

    shop.ok("generate", "--orders", "600", "--days", "60")
    shop.ok("build")
    shop.ok("publish")
    file = shop.folder / "new.csv"
    file.write_text("person_id,recency_days,frequency,monetary\nnew,12,3,250.5\nold,400,1,19.90\n")
    told = list(csv.DictReader(io.StringIO(shop.ok("predict", "segments", "--input", str(file)))))
    settings = read_settings(data_dir=shop.data)
    there = replace(served, folder=shop.data, reader=Reader(shop.data / "published"))
    with client(app_of(there, scorer=scorer(settings))) as api:
        headers = bearer(served.keys["analyst"])
        answer = api.post("/v1/score/segments", json={"rows": ROWS}, headers=headers)
        assert answer.status_code == 200, answer.text
        found = answer.json()["items"]
        assert [(r["person_id"], r["segment_name"], r["model_version"]) for r in found] == [
            (r["person_id"], r["segment_name"], r["model_version"]) for r in told
        ]
        wrong = api.post("/v1/score/segments", json={"rows": [{"person_id": "x"}]}, headers=headers)
        assert (wrong.status_code, "recency_days" in wrong.text, "/tmp" in wrong.text) == (422, True, False)
        assert api.post("/v1/score/nothing", json={"rows": ROWS}, headers=headers).status_code == 404
    there.reader.close()
