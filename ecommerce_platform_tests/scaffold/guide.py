"""A guide in Markdown, carried out: its commands are run, its edits made, and what it shows is looked for in what came.

```console      `$ command` lines and below each what it prints; a `…` stands for anything, other lines may be missing
```diff         `--- file`, then lines to take out (-) and to put in their place (+)
```text         lines of a file that the guide shows
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Guide:
    """A guide's blocks, in order, as (kind, content)."""

    path: Path
    blocks: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = _BLOCK.findall(self.path.read_text(encoding="utf-8"))

    def of(self, kind: str) -> list[str]:
        return [content for found, content in self.blocks if found == kind]

    def follow(self, folder: Path, environment: dict[str, str]) -> None:
        """Does in `folder` what the guide says, with `environment`; what `export` sets holds from then on."""
        for kind, content in self.blocks:
            if kind == "console":
                for command, shown in commands(content):
                    _run(command, shown, folder, environment)
            elif kind == "diff":
                apply(content, folder)

    def tables(self) -> list[list[str]]:
        """The cells of all table rows but headers."""
        rows = [
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in self.path.read_text(encoding="utf-8").splitlines()
            if line.startswith("| ")
        ]
        return [row for row in rows if not row[0].startswith("---")]


def commands(content: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def _run(command: str, shown: list[str], folder: Path, environment: dict[str, str]) -> None:
    if found := re.fullmatch(r"export (\w+)=(.*)", command):
        environment[found[1]] = shlex.split(found[2])[0]
        return
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{command} → {done.returncode}\n{said}"
    lines = [" ".join(line.split()) for line in said.splitlines()]
    for line in filter(None, shown):
        pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("…"))
        assert any(re.fullmatch(pattern, found) for found in lines), f"{command} does not print\n{line}\nbut\n{said}"


def apply(content: str, folder: Path) -> None:
    """Makes the edit of a diff block; the lines to take out have to stand there once, one after the other."""
    header, *lines = content.splitlines()
    path = folder / header.removeprefix("--- ")
    out = "\n".join(line[1:] for line in lines if line.startswith("-"))
    put = "\n".join(line[1:] for line in lines if line.startswith("+"))
    text = path.read_text(encoding="utf-8")
    assert text.count(out) == 1, f"{path.name} does not hold once:\n{out}"
    path.write_text(text.replace(out, put), encoding="utf-8")


def without_comments(folder: Path) -> dict[str, list[str]]:
    """The lines of a source folder that count: neither comments nor blank, by file name."""
    result = {}
    for path in sorted(folder.iterdir()):
        mark = "#" if path.suffix == ".yml" else "--"
        lines = [line.split(f"  {mark}")[0].rstrip() for line in path.read_text(encoding="utf-8").splitlines()]
        result[path.name] = [line for line in lines if line.strip() and not line.strip().startswith(mark)]
    return result
