"""Reading a YAML file into a typed model, with `file:line` in every error.

Only the mechanics live here; what the files mean is in `contract.py` and `source.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ecommerce_platform.errors import DefinitionError, DefinitionErrors

Model = TypeVar("Model", bound=BaseModel)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """The plain content of a YAML file.

    Raises:
        DefinitionError: the file is missing or is not YAML; names file and line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise DefinitionError("file not found", where=path, fix="create it or correct the path") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DefinitionError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from None


def read_model(path: Path, model: type[Model], /, **extra: Any) -> Model:
    """A YAML mapping validated as `model`; `extra` fields (the table's name, say) are added to it.

    Raises:
        DefinitionError: every problem found, each with `file:line`.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise DefinitionError("expected a mapping of names to values", where=f"{path}:1")
    try:
        return model.model_validate({**content, **extra})
    except ValidationError as error:
        problems = [
            DefinitionError(
                _say(e["loc"], e["msg"]),
                where=f"{path}:{line_of(path, e['loc'])}",
                fix="correct the file; the fields are in CONTRIBUTING.md",
            )
            for e in error.errors()
        ]
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


def _say(location: tuple[Any, ...], message: str) -> str:
    dotted = ".".join(str(part) for part in location)
    return f"{dotted}: {message}" if dotted else message
