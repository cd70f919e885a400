"""The lifecycle in a warehouse: what is trained when, which version scores, and what cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts, lifecycle
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, Place, Select, promote, roll_back, score, train
from ecommerce_platform.ml.rfm import rfm_as_of
from ecommerce_platform.ml.segments import MODEL
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.registry import current_version
from ecommerce_platform_tests.ml.shelf import open_place, place, rows, set_orders
from ecommerce_platform_tests.ml.shop import noise_orders, planted_orders

ROOT = Path(lifecycle.__file__).parents[2]
TABLE = "ml.segments"
ORDERS = planted_orders(40)[0]
#: The same shop some days later.
MORE = pl.concat([ORDERS, ORDERS.tail(200).with_columns(pl.col("order_date") + timedelta(days=9))])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a warehouse in which the segments were trained and scored once."""
    folder = tmp_path_factory.mktemp("built")
    there = place(folder, ORDERS)
    assert train(MODEL, there).written.changed
    assert score(MODEL, there, TABLE)[1]
    return folder


@pytest.fixture
def there(built: Path, tmp_path: Path) -> Place:
    shutil.copytree(built, tmp_path / "shop")
    return open_place(tmp_path / "shop")


def in_force(there: Place) -> str:
    with there.connect() as con:
        return str(current_version(con, MODEL.name)["version"])


def scored_with(there: Place) -> set[str]:
    return {str(v) for (v,) in rows(there, f"select distinct model_version from {TABLE}")}


# --- the gate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comparison", "wins"),
    [
        (Comparison("auc", 0.7, 0.6, 0.05, 0.15, decides=True), True),
        (Comparison("auc", 0.7, 0.7, 0.0, 0.0, decides=True), False),  # the baseline is as good
        (Comparison("auc", 0.7, 0.69, -0.01, 0.03, decides=True), False),
        (Comparison("auc", 0.7, 0.6, decides=True), False),  # no interval, no promotion
        (Comparison("mae", 3, 5, -2.5, -1.5, decides=True, lower_is_better=True), True),
        (Comparison("mae", 5, 5, 0.0, 0.0, decides=True, lower_is_better=True), False),
        (Comparison("mae", 6, 5, 0.5, 1.5, decides=True, lower_is_better=True), False),
        (Comparison("auc", 0.7, 0.6, 0.05, 0.15), False),  # nothing that decides
        (Comparison("auc", float("nan"), 0.6, float("nan"), float("nan"), decides=True), False),
    ],
)
def test_the_gate_opens_only_for_an_interval_that_excludes_nothing_gained(comparison: Comparison, wins: bool) -> None:
    assert Evaluation("m", [comparison]).wins == wins
    assert not Evaluation("m", [comparison], not_evaluated="too little data").wins
    assert not Evaluation("m", [comparison, Comparison("share", 0.5, 0.5, at_least=0.6)]).wins
    assert Evaluation("m", [comparison, Comparison("share", 0.6, 0.5, at_least=0.6)]).wins == wins


def test_where_the_baseline_is_as_good_it_is_what_scores_hold(tmp_path: Path) -> None:
    there = place(tmp_path, noise_orders(200))
    card = train(MODEL, there).card
    score(MODEL, there, TABLE)
    assert card is not None
    assert not card.promoted
    assert rows(there, f"select distinct model, distance is null from {TABLE}") == [
        ("baseline:rfm_score_terciles", True)
    ]
    assert rows(there, "select promoted, published_as, verdict from ml.models") == [
        (
            False,
            "baseline:rfm_score_terciles",
            "the baseline rfm_score_terciles is published, not kmeans_rfm: it did not win on later data.",
        )
    ]


# --- when it trains ----------------------------------------------------------------------------------------


def test_nothing_is_trained_where_nothing_has_changed_even_if_tables_were_made_anew(there: Place) -> None:
    assert not train(MODEL, there).written.changed
    set_orders(there, ORDERS.sample(fraction=1, shuffle=True, seed=1))  # the same rows, in another order
    done = train(MODEL, there)
    assert (done.trained, done.written.changed) == (None, False)
    assert rows(there, "select count(*) from ml.models") == [(1,)]
    written, version = score(MODEL, there, TABLE)
    assert version == in_force(there)
    assert (written.inserted, written.updated, written.deleted) == (0, 0, 0)
    assert score(MODEL, there, TABLE)[1] is None, "and now it has seen that"


def test_changed_data_give_a_new_version_unless_the_model_is_not_due(there: Place) -> None:
    first = in_force(there)
    set_orders(there, MORE)
    assert not train(MODEL, there, when_due=True).written.changed
    assert in_force(there) == first
    card = train(MODEL, there).card
    assert card is not None
    assert in_force(there) == card.version != first
    assert scored_with(there) == {first}, "until it scores"
    score(MODEL, there, TABLE, when_due=True)
    assert scored_with(there) == {card.version}


def test_a_full_training_is_told_from_a_quick_one_and_not_undone_by_it(there: Place) -> None:
    card = train(MODEL, there, full=True).card
    assert card is not None
    assert card.parameters["full"]
    assert len(card_text(there, card).partition("How many segments")[2].splitlines()) > 9  # two to eight were looked at
    assert train(MODEL, there, full=True).trained is None
    set_orders(there, ORDERS)
    assert train(MODEL, there).trained is None, "a quick one of the same data would be less"
    assert in_force(there) == card.version


def card_text(there: Place, card: artifacts.Card) -> str:
    return (there.models / card.artifact_path / "card.md").read_text(encoding="utf-8")


def test_a_training_that_is_killed_leaves_the_former_version_in_force(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, labels = in_force(there), rows(there, f"select * from {TABLE} order by 1")
    set_orders(there, MORE)

    def killed(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    for where in ("train_frames", "keep", "register", "upsert_rows", "record_seen"):
        with monkeypatch.context() as patch:
            patch.setattr(lifecycle, where, killed)
            with pytest.raises(RuntimeError, match="killed"):
                train(MODEL, there)
        assert in_force(there) == before
        assert rows(there, "select count(*) from ml.models") == [(1,)]
        assert rows(there, f"select * from {TABLE} order by 1") == labels
    assert train(MODEL, there).written.inserted == 1


def test_a_process_that_is_killed_between_artifact_and_registry_leaves_a_warehouse_that_works(
    there: Place, tmp_path: Path
) -> None:
    before = in_force(there)
    set_orders(there, MORE)
    script = f"""
import os, signal
from pathlib import Path
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.segments import MODEL
from ecommerce_platform_tests.ml.shelf import open_place
lifecycle.record_seen = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the last thing before the commit
lifecycle.train(MODEL, open_place(Path({str(tmp_path / "shop")!r})))
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=ROOT, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert len(artifacts.versions(there.models, MODEL.name)) == 2, "the artifact was there already"
    assert in_force(there) == before
    assert score(MODEL, there, TABLE)[1] == before
    assert train(MODEL, there).written.inserted == 1
    assert in_force(there) > before


# --- which version scores ----------------------------------------------------------------------------------


def test_a_pinned_version_survives_later_trainings_until_the_newest_is_wanted_again(there: Place) -> None:
    first = in_force(there)
    assert promote(there, MODEL.name, first, key=MODEL.key) == first
    set_orders(there, MORE)
    card = train(MODEL, there).card
    assert card is not None
    score(MODEL, there, TABLE)
    assert in_force(there) == first
    assert scored_with(there) == {first}
    assert promote(there, MODEL.name, None, key=MODEL.key) == card.version
    score(MODEL, there, TABLE, when_due=True)
    assert scored_with(there) == {card.version}


def test_a_roll_back_scores_with_the_version_before_and_there_is_one_only_so_often(there: Place) -> None:
    first = in_force(there)
    with pytest.raises(InputError, match="no version of segments before"):
        roll_back(there, MODEL.name)
    set_orders(there, MORE)
    train(MODEL, there)
    score(MODEL, there, TABLE)
    assert roll_back(there, MODEL.name, key=MODEL.key) == first
    assert score(MODEL, there, TABLE, when_due=True)[1] == first
    assert scored_with(there) == {first}
    with pytest.raises(InputError, match="no version of segments before"):
        roll_back(there, MODEL.name)
    with pytest.raises(InputError, match=f"there is no version 20200101T000000Z-0123456789ab .*\n?.*{first}"):
        promote(there, MODEL.name, "20200101T000000Z-0123456789ab")


def test_of_two_versions_within_a_second_the_later_is_in_force_and_the_other_comes_before_it(there: Place) -> None:
    first = in_force(there)
    later = f"{first.partition('-')[0]}-{'0' * 12}"
    with there.connect() as con:
        con.execute(
            "insert into ml.models select * replace (? as version, trained_at + interval 1 millisecond as trained_at) "
            "from ml.models",
            [later],
        )
    assert in_force(there) == later
    assert roll_back(there, MODEL.name, key=MODEL.key) == first


def test_a_select_behind_an_input_counts_as_code(tmp_path: Path) -> None:
    def version(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)

        class Changed(type(MODEL)):  # type: ignore[misc]
            inputs = {**MODEL.inputs, "persons": Select("", (tmp_path / name,))}

        assert Changed().reads(("persons",)) == ("gold.rfm",)
        return str(Changed().code_version)

    text = "select person_id, recency_days, frequency, monetary from gold.rfm"
    assert version("a.sql", text) == version("b.sql", text) != version("c.sql", f"{text} where frequency > 1")


# --- what is stored ----------------------------------------------------------------------------------------


def test_a_new_process_scores_as_this_one_does(there: Place, tmp_path: Path) -> None:
    persons = rfm_as_of(ORDERS, max(ORDERS["order_date"].to_list()) + timedelta(days=1))
    persons.write_csv(tmp_path / "persons.csv")
    script = f"""
from pathlib import Path
from ecommerce_platform.ml.predict import predict_file
from ecommerce_platform.ml.segments import MODEL
file = Path({str(tmp_path / "persons.csv")!r})
print(predict_file(Path({str(there.models)!r}), MODEL, {in_force(there)!r}, file).write_csv(), end="")
"""
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT, env=os.environ
    ).stdout
    with there.connect() as con:
        kept = con.sql(f"select * from {TABLE} order by person_id").pl()
    again = pl.read_csv(printed.encode(), schema=kept.schema).sort("person_id")
    assert again.equals(kept)


def test_a_tampered_artifact_scores_nothing_and_cannot_be_promoted(there: Place) -> None:
    version = in_force(there)
    file = there.models / "segments" / version / "model.skops"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    # The card is forged as well: the registry knows better.
    card = file.with_name("card.json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": hashlib.sha256(data).hexdigest()}))
    with there.connect() as con:
        record_change(con, "gold.rfm")
    for use in (lambda: score(MODEL, there, TABLE), lambda: promote(there, MODEL.name, version)):
        with pytest.raises(InputError, match="changed after training"):
            use()


def test_another_model_s_artifact_is_refused_under_this_one_s_name(there: Place) -> None:
    card = artifacts.Card.model_validate_json(
        (there.models / "segments" / in_force(there) / "card.json").read_text(encoding="utf-8")
    )
    foreign = card.model_copy(update={"version": "20990101T000000Z-0123456789ab"})
    saved = artifacts.save_artifact(there.models, {"format": 1, "model": "horoscope", "state": {}}, foreign)
    with pytest.raises(InputError, match="none of segments that this version reads"):
        lifecycle.load(there.models, MODEL, foreign.version, sha256=saved.sha256)


def test_a_card_says_what_is_published_and_shows_the_map(there: Place) -> None:
    folder = there.models / "segments" / in_force(there)
    text = (folder / "card.md").read_text(encoding="utf-8")
    assert "**Kmeans_rfm is published: it beat the baseline rfm_score_terciles.**" in text
    assert "| 2024-11-06 | later_revenue_eta2 |" in text
    assert "![Segment map](segment-map.svg)" in text
    assert (folder / "segment-map.svg").read_text(encoding="utf-8").startswith("<svg")
    numbers = json.loads((folder / "clusters.json").read_text(encoding="utf-8"))
    assert set(numbers["box_cox_lambdas"]) == {"recency_days", "frequency", "monetary"}
    assert len(numbers["centres"]) == 3
