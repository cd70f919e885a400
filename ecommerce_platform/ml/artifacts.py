"""Keeping a fitted model on disk and getting exactly it back: skops file (or plain JSON), card, hash.

An artifact is the folder `<models_dir>/<model>/<version>/` with `model.skops` (all that scoring needs; `model.json`
for a model that is numbers and texts only) and `card.json` (what it is and how it came about, for people and for
`ml.models`). Nothing here knows what a model predicts; each model's module turns its object into a storable state and
back. Unpickling runs whatever code the file holds, so nothing here or elsewhere unpickles: skops names every type in a file before it builds any of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import time
import uuid
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    import polars as pl

MODEL_FILE = "model.skops"
JSON_FILE = "model.json"
CARD_FILE = "card.json"
#: Types outside skops' own trusted set (scikit-learn estimators, numpy arrays, containers) that an artifact
#: may hold. Empty: adding one means having read what constructing it does.
ALLOWED_TYPES: tuple[str, ...] = ()

_MODEL = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
#: What to do about an artifact that cannot be used, for errors.
TRAIN_AGAIN = "train the model again (ecommerce build)"
_LEFTOVER_SECONDS = 24 * 3600


class Card(BaseModel):
    """What is known about one trained model version; the content of `card.json` and a row of `ml.models`.

    `trained_at` is UTC. `data_from` and `data_to` are the first and last day with data, null when unknown.
    `parameters` and `metrics` are plain JSON values. `method` is what scores say of a promoted model. `artifact_path` (relative to the models folder) and
    `sha256` (of `model.skops`) are filled when the artifact is saved.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    version: str
    trained_at: datetime
    data_from: date | None
    data_to: date | None
    rows_trained: int
    seed: int
    code_version: str
    feature_names: tuple[str, ...]
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    baseline: str
    promoted: bool
    method: str = ""
    libraries: dict[str, str]
    artifact_path: str = ""
    sha256: str = ""

    @property
    def published_as(self) -> str:
        """What scores say in `model`: the method, or the baseline by name where that did not win."""
        return (self.method or self.model) if self.promoted else f"baseline:{self.baseline}"

    @property
    def verdict(self) -> str:
        """What is published, and why, in a sentence."""
        method = self.method or self.model
        if self.promoted:
            if why := self.metrics.get("not_evaluated"):
                return f"{method} is published and was compared with nothing: {why}."
            return f"{method} is published: it beat the baseline {self.baseline}."
        said = self.metrics.get("not_evaluated") or self.metrics.get("refused")
        return f"the baseline {self.baseline} is published, not {method}: {said or 'it did not win on later data'}."


def libraries(*names: str) -> dict[str, str]:
    """Versions of the installed libraries that decide what a fit gives, by name; scikit-learn and below by default."""
    return {name: installed(name) for name in names or ("numpy", "scipy", "scikit-learn", "skops")}


def content_hash(parts: Iterable[bytes]) -> str:
    """Twelve hex digits that stand for everything a model was made from.

    Each part is hashed with its length, so that moving a byte from one part to the next changes the result.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:12]


@cache
def source_hash(*paths: Path) -> str:
    """Twelve hex digits of what the given files say (`own_code`): a `code_version` that changes with the code."""
    from ecommerce_platform.warehouse.changes import own_code

    return content_hash(own_code(str(path)).encode() for path in paths)


def make_version(trained_at: datetime, digest: str) -> str:
    """The version `<UTC second>-<content hash>`: sorts by time; equal inputs show as an equal second half."""
    return f"{trained_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"


def save_artifact(models_dir: Path, state: Any, card: Card, extra: Mapping[str, bytes] | None = None) -> Card:
    """Writes an artifact and returns its card with path and hash filled in.

    A reader sees the whole folder or none of it: everything is written and synced under a temporary name,
    then renamed. Saving a version that is already there keeps the one there (a version names its content).

    Args:
        models_dir: the folder of all models; created when missing.
        state: scikit-learn objects, arrays and plain containers of them.
        card: what is known; `artifact_path` and `sha256` in it are ignored.
        extra: further files of the folder, by name, for people: nothing reads them.

    Raises:
        InputError: `state` holds a type that loading would refuse, or the version on disk is damaged.
    """
    import skops.io

    folder = _folder(models_dir, card.model, card.version)
    data = _canonical(skops.io.dumps(state))
    _refuse_untrusted(data, folder / MODEL_FILE)
    if folder.exists():
        return load_artifact(models_dir, card.model, card.version)[1]
    return _save(models_dir, folder, {**(extra or {}), MODEL_FILE: data}, MODEL_FILE, card)


def _canonical(data: bytes) -> bytes:
    """A skops file in which nothing depends on when and where it was written: equal models are equal bytes.

    skops calls objects by their address in memory and stamps the files within with the time. Here they are numbered as
    they come, one object still one number.
    """
    numbers: dict[str, int] = {}

    def numbered(value: Any) -> Any:
        if isinstance(value, list):
            return [numbered(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "__loader__" not in value:
            return {name: numbered(part) for name, part in value.items()}
        found = {n: numbered(v) if n not in ("__id__", "file") else v for n, v in value.items()}
        if "__id__" in value:
            found["__id__"] = numbers.setdefault(str(value["__id__"]), len(numbers))
        if "file" in value:
            stem, dot, ending = str(value["file"]).partition(".")
            found["file"] = f"{numbers.setdefault(stem, len(numbers))}{dot}{ending}"
        return found

    with zipfile.ZipFile(io.BytesIO(data)) as given:
        schema = numbered(json.loads(given.read("schema.json")))
        files = {"schema.json": json.dumps(schema, indent=1).encode()}
        for name in given.namelist():
            stem, dot, ending = name.partition(".")
            if name != "schema.json":
                files[f"{numbers.get(stem, stem)}{dot}{ending}"] = given.read(name)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(files):
            made.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return written.getvalue()


def save_json_artifact(models_dir: Path, data: bytes, card: Card, extra: Mapping[str, bytes] | None = None) -> Card:
    """As `save_artifact`, for a model whose stored form is JSON text already."""
    folder = _folder(models_dir, card.model, card.version)
    if folder.exists():
        return load_json_artifact(models_dir, card.model, card.version)[1]
    return _save(models_dir, folder, {**(extra or {}), JSON_FILE: data}, JSON_FILE, card)


def _save(models_dir: Path, folder: Path, files: Mapping[str, bytes], model_file: str, card: Card) -> Card:
    filled = card.model_copy(
        update={
            "artifact_path": folder.relative_to(models_dir).as_posix(),
            "sha256": hashlib.sha256(files[model_file]).hexdigest(),
        }
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.parent)
    temporary = folder.parent / f".writing-{card.version}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        for name, data in files.items():
            _write_synced(temporary / name, data)
        _write_synced(temporary / CARD_FILE, (filled.model_dump_json(indent=2) + "\n").encode())
        _sync_folder(temporary)
        temporary.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return filled


def load_artifact(models_dir: Path, model: str, version: str, *, sha256: str | None = None) -> tuple[Any, Card]:
    """The stored state and card of one version, after checking that it is what was saved.

    Args:
        models_dir: the folder of all models.
        model: the model's name.
        version: as `make_version` made it.
        sha256: the hash the registry (`ml.models`) holds. With it, a folder whose card was rewritten together
            with the model is refused as well; without it the card's own hash is all there is to compare with.

    Raises:
        InputError: no such version, a missing or unreadable file, a hash that differs, a type outside the
            trusted ones, or a model of another scikit-learn release line (1.9 and 1.10, say).
    """
    import skops.io

    folder = _folder(models_dir, model, version)
    path = folder / MODEL_FILE
    data, card = _read(folder, path, model, version, sha256)
    _refuse_untrusted(data, path)
    trained, here = card.libraries.get("scikit-learn", "?"), installed("scikit-learn")
    if trained.split(".")[:2] != here.split(".")[:2]:
        raise InputError(
            f"trained with scikit-learn {trained}, but {here} is installed: it could score differently",
            where=path,
            fix=f"install scikit-learn {trained} or {TRAIN_AGAIN}",
        )
    with warnings.catch_warnings():
        # Patch releases keep fitted attributes as they are; other differences were refused above.
        warnings.filterwarnings("ignore", message="Trying to unpickle estimator")
        return skops.io.loads(data, trusted=list(ALLOWED_TYPES)), card


def load_json_artifact(models_dir: Path, model: str, version: str, *, sha256: str | None = None) -> tuple[bytes, Card]:
    """The JSON text and card of one version, after checking that it is what was saved, as `load_artifact` does.

    Raises:
        InputError: no such version, a missing or unreadable file, or a hash that differs.
    """
    folder = _folder(models_dir, model, version)
    return _read(folder, folder / JSON_FILE, model, version, sha256)


def check_artifact(models_dir: Path, model: str, version: str, *, sha256: str | None = None) -> Card:
    """The card of a version whose file is there and is what was saved, whatever it holds.

    Raises:
        InputError: as `load_json_artifact`.
    """
    folder = _folder(models_dir, model, version)
    file = MODEL_FILE if (folder / MODEL_FILE).exists() else JSON_FILE
    return _read(folder, folder / file, model, version, sha256)[1]


def check_format(state: Mapping[str, Any], format_: int) -> None:
    """Refuses a stored state of another format than the one its module writes.

    Raises:
        InputError: it is one.
    """
    if state.get("format") != format_:
        raise InputError(
            f"the artifact has format {state.get('format')}, this version reads {format_}", fix=TRAIN_AGAIN
        )


def _read(folder: Path, path: Path, model: str, version: str, sha256: str | None) -> tuple[bytes, Card]:
    card = _read_card(folder, model, version)
    try:
        # Hashed and built from the same bytes: a file swapped in between would pass one and be used in the
        # other.
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"the model file cannot be read ({error.strerror})", where=path, fix=TRAIN_AGAIN) from None
    found = hashlib.sha256(data).hexdigest()
    for expected, keeper in ((card.sha256, CARD_FILE), (sha256, "the registry (ml.models)")):
        if expected is not None and found != expected:
            raise InputError(
                f"the file was changed after training: its SHA-256 starts with {found[:12]}, "
                f"{keeper} says {expected[:12]}",
                where=path,
                fix=f"restore it from a backup or {TRAIN_AGAIN}",
            )
    return data, card


def versions(models_dir: Path, model: str) -> list[str]:
    """The stored versions of a model, oldest first; empty when there are none."""
    folder = _folder(models_dir, model)
    return sorted(p.name for p in folder.glob("*") if _VERSION.fullmatch(p.name)) if folder.is_dir() else []


def registry_frame(card: Card) -> pl.DataFrame:
    """The card as one row of `ml.models`, in its contract's columns and types (trained_at in UTC)."""
    import polars as pl

    row = {
        "model": card.model,
        "version": card.version,
        "trained_at": card.trained_at.astimezone(UTC).replace(tzinfo=None),
        "data_from": card.data_from,
        "data_to": card.data_to,
        "rows_trained": card.rows_trained,
        "seed": card.seed,
        "code_version": card.code_version,
        "feature_names": json.dumps(card.feature_names),
        "parameters": json.dumps(card.parameters, sort_keys=True, allow_nan=False),
        "metrics": json.dumps(card.metrics, sort_keys=True, allow_nan=False),
        "baseline": card.baseline,
        "promoted": card.promoted,
        "published_as": card.published_as,
        "verdict": card.verdict,
        "artifact_path": card.artifact_path,
        "sha256": card.sha256,
    }
    types: dict[str, Any] = {
        "trained_at": pl.Datetime("us"),
        "data_from": pl.Date,
        "data_to": pl.Date,
        "rows_trained": pl.Int64,
        "seed": pl.Int64,
        "promoted": pl.Boolean,
    }
    return pl.DataFrame([row], schema={name: types.get(name, pl.String) for name in row})


def _folder(models_dir: Path, model: str, version: str | None = None) -> Path:
    # Both come from a command line: they must not lead out of the models folder.
    if not _MODEL.fullmatch(model):
        raise InputError(f"{model!r} is not a model's name", fix="use lower snake_case, such as segments")
    if version is None:
        return models_dir / model
    if not _VERSION.fullmatch(version):
        raise InputError(
            f"{version!r} is not a version of {model}",
            fix="use one from ml.models, such as 20260131T235959Z-0123456789ab",
        )
    return models_dir / model / version


def _read_card(folder: Path, model: str, version: str) -> Card:
    path = folder / CARD_FILE
    try:
        card = Card.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = versions(folder.parent.parent, model)
        raise InputError(
            f"there is no version {version} of {model}",
            where=path,
            fix=f"the newest stored one is {known[-1]}" if known else TRAIN_AGAIN,
        ) from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(f"the card cannot be read: {error}", where=path, fix=TRAIN_AGAIN) from None
    if (card.model, card.version) != (model, version):
        raise InputError(
            f"the card is that of {card.model} {card.version}",
            where=path,
            fix=f"move the folder back to where it was or {TRAIN_AGAIN}",
        )
    return card


def _refuse_untrusted(data: bytes, path: Path) -> None:
    import skops.io

    try:
        untrusted = set(skops.io.get_untrusted_types(data=data)) - set(ALLOWED_TYPES)
    except Exception as error:  # skops has no error type of its own: a damaged file ends in any of a dozen
        raise InputError(f"not a readable skops file ({error})", where=path, fix=TRAIN_AGAIN) from error
    if untrusted:
        raise InputError(
            f"the file holds types that are not trusted: {', '.join(sorted(untrusted))}",
            where=path,
            fix=f"do not use it; {TRAIN_AGAIN}",
        )


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder; its renames are journalled
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    # A killed run leaves its temporary folder. Younger ones may belong to a run that is still writing.
    for path in folder.glob(".writing-*"):
        try:
            old = time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)
