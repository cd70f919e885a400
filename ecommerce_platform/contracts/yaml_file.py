"""Reading a YAML file into a typed model, with `file:line` in every error.

Only the mechanics live here; what the files mean is in `contract.py` and `source.py`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from ecommerce_platform.contracts.remembered import remembered
from ecommerce_platform.errors import DefinitionError, DefinitionErrors

Model = TypeVar("Model", bound=BaseModel)
#: What pydantic finds, in the words of somebody who writes a file.
_WORDS = {
    "string_type": "it should be text",
    "int_type": "it should be a whole number",
    "int_parsing": "it should be a whole number",
    "float_type": "it should be a number",
    "float_parsing": "it should be a number",
    "bool_type": "it should be true or false",
    "bool_parsing": "it should be true or false",
    "list_type": "it should be a list: [a, b]",
    "tuple_type": "it should be a list: [a, b]",
    "dict_type": "it should be a mapping of names to values",
    "model_type": "it should be a mapping of names to values",
    "date_type": "it should be a day, YYYY-MM-DD",
    "date_from_datetime_parsing": "it should be a day, YYYY-MM-DD",
    "literal_error": "it should be {expected}",
    "string_pattern_mismatch": "it should match {pattern}",
}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """The plain content of a YAML file.

    Raises:
        DefinitionError: the file is missing or is not YAML; names file and line.
    """
    return _parse(path, _read(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DefinitionError("file not found", where=path, fix="create it or correct the path") from None


def _parse(path: Path, text: str) -> Any:
    # As JSON it is read in a tenth of the time; what JSON would not give back as it was (a date, say) is none.
    said = remembered(text, f"yaml {yaml.__version__}", __file__, lambda: _as_json(_parsed(path, text)))
    return _parsed(path, text) if said is None else json.loads(said)


def _as_json(content: Any) -> str | None:
    try:
        text = json.dumps(content)
    except (TypeError, ValueError):
        return None
    return text if json.loads(text) == content else None


def _parsed(path: Path, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DefinitionError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from None


def read_model(path: Path, model: type[Model], /, text_field: str | None = None, **extra: Any) -> Model:
    """A YAML mapping validated as `model`; `extra` fields (the table's name, say) are added to it.

    Args:
        path: the file, read once.
        model: what it is validated as.
        text_field: the field that takes the file's text as it was read, for digests of what is in force.
        extra: further fields.

    Raises:
        DefinitionError: every problem found, each with `file:line`.
    """
    text = _read(path)
    content = _parse(path, text)
    if text_field:
        extra[text_field] = text
    if not isinstance(content, dict):
        raise DefinitionError("expected a mapping of names to values", where=f"{path}:1")
    try:
        return model.model_validate({**content, **extra})
    except ValidationError as error:
        problems = [_explained(path, model, dict(e), frozenset(extra)) for e in error.errors()]
    raise problems[0] if len(problems) == 1 else DefinitionErrors(problems)


def line_of(path: Path, location: tuple[Any, ...]) -> int:
    """The line (from 1) on which the innermost existing part of `location` stands.

    The file is read again with marks: this only happens when something is wrong.
    """
    node: Any = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _explained(path: Path, model: type[BaseModel], error: dict[str, Any], given: frozenset[str]) -> DefinitionError:
    """What pydantic found, in words about the file: what is there, and what may be."""
    location: tuple[Any, ...] = error["loc"]
    kind, value = error["type"], error["input"]
    holder: Any = model
    for part in location[:-1]:
        holder = _step(holder, part)
    fields = [name for name in _fields(holder) if name not in given]
    page = getattr(model, "PAGE", "CONTRIBUTING.md")
    fix = f"the fields here are {', '.join(fields)} ({page})"
    if kind == "extra_forbidden":
        name = str(location[-1])
        what = f"there is no field {name!r}"
        if close := get_close_matches(name, fields, 1, 0.5):
            fix = f"did you mean {close[0]}? {fix[0].upper()}{fix[1:]}"
    elif kind == "missing":
        what = f"{location[-1]} is missing"
    else:
        what = _WORDS.get(kind) or error["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        if kind in _WORDS:
            what = what.format(**error.get("ctx", {}))
        fix = f"correct the value; {page} says what may stand here"
        # A URL may hold a password.
        if kind != "value_error" and "url" not in location and isinstance(value, (str, int, float, bool, type(None))):
            what += f", not {_shown(value)}"
    at = location[:-1] if kind in ("extra_forbidden", "missing") else location
    dotted = ".".join(str(part) for part in at)
    return DefinitionError(
        f"{dotted}: {what}" if dotted else what, where=f"{path}:{line_of(path, location)}", fix=fix
    )  # fmt: skip


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:60]


def _step(annotation: Any, part: Any) -> Any:
    """The type of what stands under a name or number in a value of a type; None where that is not known."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found = next((f for name, f in annotation.model_fields.items() if part in (name, f.alias)), None)
        return found.annotation if found else None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return arguments[1]
    if isinstance(origin, type) and issubclass(origin, Collection):
        return arguments[0]
    return next((found for one in arguments if (found := _step(one, part)) is not None), None)


def _fields(annotation: Any) -> list[str]:
    """The names that a mapping of a type may have, as the file writes them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [field.alias or name for name, field in annotation.model_fields.items()]
    return next((found for one in get_args(annotation) if (found := _fields(one))), [])
