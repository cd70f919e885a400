"""Artifacts: what was saved comes back exactly, or not at all."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.artifacts import (
    Card,
    content_hash,
    libraries,
    load_artifact,
    make_version,
    save_artifact,
    versions,
)

VERSION = "20250301T120000Z-0123456789ab"


def card(**changed: Any) -> Card:
    return Card(
        **{
            "model": "things",
            "version": VERSION,
            "trained_at": datetime(2025, 3, 1, 12, tzinfo=UTC),
            "data_from": None,
            "data_to": None,
            "rows_trained": 3,
            "seed": 1,
            "code_version": "c0de",
            "feature_names": ("a",),
            "parameters": {"k": 3},
            "metrics": {},
            "baseline": "nothing",
            "promoted": False,
            "libraries": libraries(),
            **changed,
        }
    )


@pytest.fixture
def saved(tmp_path: Path) -> Card:
    scaler = StandardScaler().fit(np.array([[1.0], [2.0], [4.0]]))
    return save_artifact(tmp_path, {"scaler": scaler, "table": np.arange(3.0), "name": "x"}, card())


def model_file(models_dir: Path) -> Path:
    return models_dir / "things" / VERSION / "model.skops"


def test_what_was_saved_comes_back(tmp_path: Path, saved: Card) -> None:
    state, again = load_artifact(tmp_path, "things", VERSION, sha256=saved.sha256)
    assert again == saved
    assert again.artifact_path == f"things/{VERSION}"
    assert state["scaler"].mean_.tolist() == [7 / 3]
    assert state["table"].tolist() == [0, 1, 2]
    assert saved.sha256 == hashlib.sha256(model_file(tmp_path).read_bytes()).hexdigest()


def test_a_changed_model_file_is_refused(tmp_path: Path, saved: Card) -> None:
    path = model_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="changed after training") as error:
        load_artifact(tmp_path, "things", VERSION)
    assert str(path) in str(error.value)


def test_a_model_changed_together_with_its_card_is_refused_by_the_registry(tmp_path: Path, saved: Card) -> None:
    forged = skops.io.dumps({"scaler": "another"})
    model_file(tmp_path).write_bytes(forged)
    card_path = model_file(tmp_path).with_name("card.json")
    content = json.loads(card_path.read_text()) | {"sha256": hashlib.sha256(forged).hexdigest()}
    card_path.write_text(json.dumps(content))
    assert load_artifact(tmp_path, "things", VERSION)[0] == {"scaler": "another"}
    with pytest.raises(InputError, match="registry"):
        load_artifact(tmp_path, "things", VERSION, sha256=saved.sha256)


def test_a_type_that_could_run_code_is_refused_even_with_the_right_hash(tmp_path: Path, saved: Card) -> None:
    import os

    evil = skops.io.dumps(FunctionTransformer(os.system))
    model_file(tmp_path).write_bytes(evil)
    card_path = model_file(tmp_path).with_name("card.json")
    digest = hashlib.sha256(evil).hexdigest()
    card_path.write_text(json.dumps(json.loads(card_path.read_text()) | {"sha256": digest}))
    with pytest.raises(InputError, match=r"not trusted: .*system"):
        load_artifact(tmp_path, "things", VERSION, sha256=digest)


def test_a_type_that_loading_would_refuse_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not trusted"):
        save_artifact(tmp_path, FunctionTransformer(card), card())
    assert versions(tmp_path, "things") == []


def test_a_pickle_is_not_loaded(tmp_path: Path, saved: Card) -> None:
    pickled = b"\x80\x04cos\nsystem\n."
    model_file(tmp_path).write_bytes(pickled)
    card_path = model_file(tmp_path).with_name("card.json")
    digest = hashlib.sha256(pickled).hexdigest()
    card_path.write_text(json.dumps(json.loads(card_path.read_text()) | {"sha256": digest}))
    with pytest.raises(InputError, match="not a readable skops file"):
        load_artifact(tmp_path, "things", VERSION)


def test_a_save_that_dies_leaves_nothing_to_read(tmp_path: Path, saved: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = "20250401T120000Z-0123456789ab"

    def die(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("ecommerce_platform.ml.artifacts._sync_folder", die)
    with pytest.raises(OSError, match="disk full"):
        save_artifact(tmp_path, {"x": 1}, card(version=newer))
    assert [p.name for p in (tmp_path / "things").iterdir()] == [VERSION]
    assert versions(tmp_path, "things") == [VERSION]


def test_saving_a_version_again_keeps_the_first(tmp_path: Path, saved: Card) -> None:
    assert save_artifact(tmp_path, {"x": 1}, card()) == saved


@pytest.mark.parametrize(
    ("model", "version", "said"),
    [
        ("things", "20250401T120000Z-0123456789ab", f"newest stored one is {VERSION}"),
        ("others", VERSION, "train the model again"),
        ("../things", VERSION, "not a model's name"),
        ("things", "../../etc", "is not a version"),
    ],
)
def test_a_version_that_is_not_there_is_named(tmp_path: Path, saved: Card, model: str, version: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_artifact(tmp_path, model, version)


def test_a_damaged_or_misplaced_card_is_refused(tmp_path: Path, saved: Card) -> None:
    folder = model_file(tmp_path).parent
    folder.rename(folder.with_name("20260301T120000Z-0123456789ab"))
    with pytest.raises(InputError, match="the card is that of things"):
        load_artifact(tmp_path, "things", "20260301T120000Z-0123456789ab")
    (tmp_path / "things" / "20260301T120000Z-0123456789ab" / "card.json").write_text("{")
    with pytest.raises(InputError, match="card cannot be read"):
        load_artifact(tmp_path, "things", "20260301T120000Z-0123456789ab")


def test_a_model_of_another_scikit_learn_is_refused(tmp_path: Path) -> None:
    save_artifact(tmp_path, {"x": 1}, card(libraries={"scikit-learn": "1.2.0"}))
    with pytest.raises(InputError, match=r"trained with scikit-learn 1\.2\.0"):
        load_artifact(tmp_path, "things", VERSION)


def test_a_hash_knows_where_one_part_ends() -> None:
    assert content_hash([b"ab", b"c"]) != content_hash([b"a", b"bc"])
    assert content_hash([b"ab", b"c"]) == content_hash([b"ab", b"c"])
    assert make_version(datetime(2025, 3, 1, 12, tzinfo=UTC), "0123456789ab") == VERSION
