"""`python -m ecommerce_platform_tests.mutants --seed 1 --count 200 --minutes 90`: how many faults the tests notice.

Makes a copy of the tree, runs the default tests once to learn which of them cover which line (kept in `--work` until
code or tests change), then tries random faults one after the other, each with the tests that cover its line, within
`--limit` seconds. `--sql` changes SQL instead of Python; `--only silver/history.py` looks at a part; `--tests DIR`
runs a part of the tests. The worktree is never changed. Not seen: code that only tests in other processes run (the
installed command, killed builds), long tests and those of whole shops; such lines count as not covered. Faults that change nothing are not
told apart: read the survivors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ecommerce_platform_tests.mutants.changes import Change, file_changes, python_changes, sql_changes

PACKAGE = "ecommerce_platform"
#: What is looked at unless `--only` says so.
PARTS = ("warehouse", "silver", "persons", "ingestion", "quality")
#: Tests run for one fault.
_MOST = 300
#: Test → seconds; file → line → tests (a file of tests stands for all of it).
Lines = dict[str, dict[int, set[str]]]


@dataclass(frozen=True)
class Mutant:
    """A fault of a file, named from the package."""

    file: str
    change: Change

    def describe(self, text: str) -> str:
        """file:line: before → after."""
        before = " ".join(text[self.change.start : self.change.end].split())
        after = " ".join(self.change.after.split())
        return f"{self.file}:{self.change.line}: {before[:100]} → {after[:100]}"


def wilson(found: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z, p = 1.959964, found / of
    middle, width = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return max(0.0, (middle - width) / (1 + z * z / of)), min(1.0, (middle + width) / (1 + z * z / of))


def find_mutants(root: Path, only: Sequence[str], sql: bool) -> list[Mutant]:
    """All faults that could be made, in the order of files and lines."""
    found = []
    for path in sorted((root / PACKAGE).rglob("*")):
        name = path.relative_to(root / PACKAGE).as_posix()
        if path.suffix not in (".py", ".sql") or not any(name == o or name.startswith(f"{o}/") for o in only):
            continue
        text = path.read_text()
        if path.suffix == ".sql":
            changes = file_changes(text) if sql else []
        else:
            changes = sql_changes(text) if sql else python_changes(text)
        found += [Mutant(name, change) for change in changes]
    return found


def covering(mutant: Mutant, text: str, lines: Lines) -> set[str]:
    """Tests that run the fault: those of its lines; of a module's constant those of its users, else of the module."""
    known = lines.get(mutant.file, {})
    if mutant.file.endswith(".sql"):
        return lines.get(_reader(mutant.file, lines), {}).get(0, set())
    found = set[str]().union(*(known.get(n, set()) for n in range(mutant.change.first, mutant.change.last + 1)))
    if found or not mutant.change.names:
        return found
    users = [
        number for number, line in enumerate(text.splitlines(), 1)
        if number in known and any(name in line for name in mutant.change.names)
    ]  # fmt: skip
    return set[str]().union(*(known[number] for number in users)) or known.get(0, set())


def _reader(file: str, lines: Lines) -> str:
    """The module that stands for a file of SQL: `connection.py` reads the macros."""
    return file if file in lines else "warehouse/connection.py"


def named(tests: set[str], seconds: dict[str, float]) -> set[str]:
    """Tests that passed when they were noted, one by one where a file stands for all of its tests."""
    files = {test for test in tests if "::" not in test}
    return {test for test in seconds if "::" in test and (test in tests or test.partition("::")[0] in files)}


def chosen(tests: set[str], seconds: dict[str, float], part: str, budget: float) -> list[str]:
    """Tests to run, those of the same part and the quick ones first, as many as the time allows.

    Fixtures that a file shares are paid once, by the first test taken from it.
    """
    taken, total, files = list[str](), 0.0, set[str]()

    def cost(name: str) -> float:
        file = name.partition("::")[0]
        return seconds[name] + (0.0 if file in files else seconds.get(file, 0.0))

    for name in sorted(tests, key=lambda n: (f"/{part}/" not in n, cost(n), n)):
        if taken and total + cost(name) > budget:
            continue
        total += cost(name)
        taken.append(name)
        files.add(name.partition("::")[0])
        if len(taken) == _MOST:
            break
    return taken


# -- the copy ----------------------------------------------------------------------------------------------------


def copy_tree(root: Path, to: Path) -> str:
    """Copies what git knows or would add; a digest of the Python and SQL in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, check=True, text=True
    ).stdout
    shutil.rmtree(to, ignore_errors=True)
    digest = sha256()
    for name in sorted(filter(None, listed.split("\0"))):
        if not (root / name).is_file():
            continue
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, to / name)
        if name.startswith(PACKAGE) and name.endswith((".py", ".sql", ".yml")) and "/mutants/" not in name:
            digest.update(name.encode() + b"\0" + (root / name).read_bytes())
    return digest.hexdigest()


def _environment(copy: Path, root: Path, notes: Path) -> dict[str, str]:
    """Of the tests: the copy's code, also in commands they start; real exports where they were."""
    return {
        "ECOMMERCE_TEST_DATA": str((root.parent / "shared" / "data").resolve()),
        **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": str(copy),
        "ECOMMERCE_MUTANTS_MAP": str(notes),
    }


def learn(copy: Path, root: Path, notes: Path, tests: Sequence[str], workers: int, digest: str) -> None:
    """Runs the tests once and keeps which of them cover which line, unless that is known of this code."""
    key = sha256(f"{digest}{sorted(tests)}".encode()).hexdigest()
    known = notes / "digest"
    if known.is_file() and known.read_text() == key:
        return
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir(parents=True)
    print(f"learning what tests cover: {' '.join(tests)} …", flush=True)
    spread = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    command = [sys.executable, "-m", "pytest", "-p", "ecommerce_platform_tests.mutants.contexts", "-p", "no:cacheprovider",
               "-q", "--no-header", "-m", "not long and not shops", *spread, *tests]  # fmt: skip
    subprocess.run(command, cwd=copy, env=_environment(copy, root, notes), check=False)
    known.write_text(key)


def read_lines(copy: Path, notes: Path) -> tuple[Lines, dict[str, float]]:
    """Which tests cover which line (line 0: any of the file's), and how long those that passed took."""
    import coverage

    data = coverage.CoverageData(basename=str(notes / ".coverage"))
    data.read()
    for part in sorted(notes.glob(".coverage.*")):
        more = coverage.CoverageData(basename=str(part))
        more.read()
        data.update(more)
    lines: Lines = {}
    for file in data.measured_files():
        if (name := Path(file)).is_relative_to(copy / PACKAGE):
            of_file: defaultdict[int, set[str]] = defaultdict(set)
            for line, contexts in data.contexts_by_lineno(file).items():
                of_file[line] |= set(filter(None, contexts))
                of_file[0] |= of_file[line]
            lines[name.relative_to(copy / PACKAGE).as_posix()] = dict(of_file)
    return lines, json.loads((notes / "seconds.json").read_text())


def ask(copy: Path, environment: Mapping[str, str], tests: Sequence[str], limit: float) -> str:
    """Runs tests on the copy as it is: found, survived or timed out."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", *tests]
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "timed out"
    if process.returncode not in (0, 1, 2, 4):
        raise RuntimeError(f"pytest ended with {process.returncode}:\n{said[-2000:]}")
    return "found" if process.returncode else "survived"


# -- the command -------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> None:
    """Parses the command line and prints what became of each fault."""
    parser = argparse.ArgumentParser(prog="python -m ecommerce_platform_tests.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument(
        "--minutes", type=float, default=240, help="no fault is begun later than this, from when the first is"
    )
    parser.add_argument("--limit", type=float, default=90, help="seconds per fault")
    parser.add_argument("--only", action="append", help=f"files or folders below {PACKAGE}/")
    parser.add_argument("--tests", action="append", help="tests to choose from (default: all of `make test`)")
    parser.add_argument("--sql", action="store_true", help="change SQL instead of Python")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that learn what tests cover, and then try faults"
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "ecommerce-mutants")
    asked = parser.parse_args(arguments)
    root = root or Path(__file__).resolve().parents[2]
    copy, notes = asked.work.resolve() / "tree", asked.work.resolve() / "map"
    tests = asked.tests or [f"{PACKAGE}_tests"]
    learn(copy, root, notes, tests, asked.workers, copy_tree(root, copy))
    lines, seconds = read_lines(copy, notes)
    environment = _environment(copy, root, notes)
    mutants = find_mutants(copy, asked.only or PARTS, asked.sql)
    sample = random.Random(asked.seed).sample(mutants, min(asked.count, len(mutants)))
    print(f"{len(sample)} of {len(mutants)} faults, seed {asked.seed}", flush=True)
    outcomes: Counter[str] = Counter()
    left: dict[str, list[str]] = defaultdict(list)
    for outcome, said, tests_run in _try_all(sample, _copies(copy, asked.workers), environment, lines, seconds, asked):
        outcomes[outcome] += 1
        left[outcome].append(said)
        print(f"{outcome:11} ({tests_run}) {said}", flush=True)
    _report(outcomes, left)


def _copies(copy: Path, workers: int) -> list[Path]:
    """A tree for each process that tries faults."""
    more = [copy.with_name(f"{copy.name}-{n}") for n in range(2, workers + 1)]
    for path in more:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(copy, path)
    return [copy, *more]


def _try_all(
    sample: Sequence[Mutant], copies: Sequence[Path], environment: Mapping[str, str], lines: Lines,
    seconds: dict[str, float], asked: argparse.Namespace,
) -> Iterator[tuple[str, str, str]]:  # fmt: skip
    """Tries faults, as many at a time as there are copies: outcome, the fault, how many tests of how many were run."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in copies:
        free.put(path)
    until = time.monotonic() + asked.minutes * 60

    def attempt(mutant: Mutant) -> tuple[str, str, str]:
        tree = free.get()
        path = tree / PACKAGE / mutant.file
        text = path.read_text()
        known = named(covering(mutant, text, lines), seconds)
        wanted = chosen(known, seconds, mutant.file.partition("/")[0], asked.limit / 2)
        outcome = "not covered"
        try:
            if time.monotonic() > until:
                outcome = "not tried"
            elif wanted:
                path.write_text(mutant.change.apply(text))
                outcome = ask(tree, {**environment, "PYTHONPATH": str(tree)}, wanted, asked.limit)
        finally:
            path.write_text(text)
            free.put(tree)
        return outcome, mutant.describe(text), f"{len(wanted)} of {len(known)} tests"

    with ThreadPoolExecutor(len(copies)) as pool:
        yield from pool.map(attempt, sample)


def _report(outcomes: Counter[str], left: dict[str, list[str]]) -> None:
    found, run = outcomes["found"], outcomes["found"] + outcomes["survived"]
    for what, of in (("run by a test", run), ("run or not covered", run + outcomes["not covered"])):
        low, high = wilson(found, of)
        print(
            f"found {found} of {of} that were {what}: {found / max(of, 1):.1%} (95 % interval {low:.1%} to {high:.1%})"
        )
    print(
        ", ".join(
            f"{outcome} {outcomes[outcome]}"
            for outcome in ("found", "survived", "timed out", "not covered", "not tried")
        )
    )
    for outcome in ("survived", "timed out", "not covered"):
        for said in left[outcome]:
            print(f"{outcome}: {said}")


if __name__ == "__main__":
    main()
