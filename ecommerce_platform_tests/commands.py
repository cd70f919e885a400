"""The command line without its start: a process that has everything imported forks one process per command.

A command so started is a process like any other (its own environment, output, exit code and end), but for the seconds
that Dagster, scikit-learn and Great Expectations take to import. One at a time; what shall run beside others takes the
installed command (`Shop.installed`). Started as a module; `run` is the other end. Only
modules are shared: the process opens nothing and starts no threads of its own, so nothing is lost in a fork.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
_LOCK = threading.Lock()
#: Seconds after which a command that hangs is ended.
_PATIENCE = 600


def run(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`ecommerce <arguments>` in `folder`, and what came of it; -14 is the code of one that took ten minutes."""
    with tempfile.TemporaryDirectory() as written:
        out, err = Path(written, "out"), Path(written, "err")
        with _LOCK:
            code = _ask(_server(), arguments, environment, str(folder), str(out), str(err))
        return subprocess.CompletedProcess(["ecommerce", *arguments], code, out.read_text(), err.read_text())


def _ask(server: subprocess.Popen[str], *asked: object) -> int:
    assert server.stdin is not None and server.stdout is not None  # noqa: PT018
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, "the process that starts commands has ended"
    return int(answer)


@cache
def _server() -> subprocess.Popen[str]:
    """One for all tests of a worker."""
    server = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    atexit.register(server.communicate)
    return server


def _serve() -> bool:
    """Forks for every line of the input; true in a process that shall be the command, false at the end of the input."""
    import dagster_duckdb  # noqa: F401
    import duckdb  # noqa: F401
    import sklearn.cluster  # noqa: F401
    import skops.io  # noqa: F401

    from ecommerce_platform.quality import gx
    from ecommerce_platform_tests import quick

    gx.load()
    quick.read_migrations_once()
    gc.collect()
    gc.freeze()  # else each command looks through all of these modules for garbage
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(*json.loads(line))
            return True
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return False


def _become(arguments: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    atexit._clear()  # of what is imported; the command registers its own
    signal.alarm(_PATIENCE)
    for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = ["ecommerce", *arguments]
    sys.modules["__main__"].__package__ = None  # else the help calls itself `python -m …`


def _end(code: int) -> NoReturn:
    """What the interpreter does at the end, but for clearing away all modules, which takes two seconds."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _main() -> NoReturn:
    from ecommerce_platform.cli import main

    try:
        main()
    except SystemExit as end:
        _end(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
    except BaseException:
        traceback.print_exc()
        _end(1)
    _end(0)


if __name__ == "__main__":
    if _serve():
        _main()
    os._exit(0)
