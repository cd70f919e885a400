"""Importing a large library without what it merely might need: that is loaded when it is first used.

Great Expectations brings charts, every distribution of scipy and two clouds' clients along, seconds for parts that
nothing here calls. The caller says which modules may wait.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Later(MetaPathFinder):
    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in self.names else None
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


@contextmanager
def loaded_when_used(*names: str, absent: Sequence[str] = ()) -> Iterator[None]:
    """Within the block an import of a named module gives one whose code runs when an attribute is first asked for.

    Args:
        names: modules that may wait, e.g. `scipy.stats`.
        absent: modules that an import in the block finds not installed, as an optional dependency may be.
    """
    finder = _Later(names)
    hidden = [name for name in absent if name not in sys.modules]
    sys.meta_path.insert(0, finder)
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in hidden:
            sys.modules.pop(name, None)
