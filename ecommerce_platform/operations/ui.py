"""The Dagster UI behind a guard, with the daemon and the code server beside it: what `ecommerce ui` starts.

`dagster dev` would start a webserver that answers every web page the browser shows (docs/decisions/0024). So the three
processes are started here: the code server on a socket of its own, the daemon as it is, and the webserver as this module
run by Python, which puts the guard in front of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.web_guard import Guard, allowed_hosts

#: Seconds that the code server may take to load, and that processes get to end.
_LOADING, _ENDING = 300.0, 30.0
_LOCATION = "ecommerce_platform"


def serve_ui(settings: Settings, host: str, port: int) -> None:
    """Runs webserver, daemon and code server until interrupted, or until one of them ends.

    Raises:
        InputError: the port is taken; one of the processes ended by itself.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} of {host} cannot be used: {error.strerror}",
                fix="stop what uses it, or give another --port",
            ) from None
    _end_when_told()
    running: dict[str, subprocess.Popen[bytes]] = {}
    with TemporaryDirectory(prefix="ecommerce-ui-") as folder:
        place, workspace = Path(folder) / "code", Path(folder) / "workspace.yaml"
        workspace.write_text(f"load_from:\n  - grpc_server: {{socket: {place}, location_name: {_LOCATION}}}\n")
        try:
            running["code server"] = _start(
                settings, _beside("dagster"), "code-server", "start", "-m", f"{_LOCATION}.definitions", "-s", str(place),
                "--location-name", _LOCATION,
            )  # fmt: skip
            _wait_for(place, running)
            running["webserver"] = _start(
                settings, sys.executable, "-m", __name__, "-w", str(workspace), "-h", host, "-p", str(port)
            )
            running["daemon"] = _start(settings, _beside("dagster-daemon"), "run", "-w", str(workspace))
            while True:
                _still_there(running)
                time.sleep(0.5)
        except KeyboardInterrupt:
            return
        finally:
            _end(running)


def _end_when_told() -> None:
    """Makes being told to stop the same as Ctrl-C: what was started is ended, too.

    Without raising SIGINT: a script that starts us in the background makes us deaf to it. Under `nohup` SIGHUP is not
    heard, and stays so.
    """

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, stop)


def _start(settings: Settings, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env={**os.environ, **settings.environment()}, start_new_session=True, preexec_fn=_listen
    )


def _listen() -> None:
    """Lets a process be told to stop; on Linux, it is told when its parent was killed: else two daemons would run soon."""
    # Dagster treats SIGTERM as SIGINT, also where that is ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _beside(program: str) -> str:
    """A program of the same environment as this one."""
    return str(Path(sys.executable).with_name(program))


def _wait_for(place: Path, running: dict[str, subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + _LOADING
    while time.monotonic() < until:
        _still_there(running)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(place))
            except OSError:
                time.sleep(0.2)
                continue
            return
    raise InputError(f"the code server did not come up within {_LOADING:.0f} s", fix="see its lines above")


def _still_there(running: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, process in running.items():
        if process.poll() is not None:
            raise InputError(f"the {name} ended by itself (exit code {process.returncode})", fix="see its lines above")


def _end(running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ends the processes with all that they started (runs, too); who does not listen is killed."""
    groups = [process.pid for process in running.values()]
    for group in groups:
        _tell(group, signal.SIGTERM)
    until = time.monotonic() + _ENDING
    while any(process.poll() is None for process in running.values()) or any(_tell(group, 0) for group in groups):
        if time.monotonic() > until:
            for group in groups:
                _tell(group, signal.SIGKILL)
        time.sleep(0.1)


def _tell(group: int, what: int) -> bool:
    """Sends a signal to a group of processes; False if there is none of them any more."""
    try:
        os.killpg(group, what)
    except ProcessLookupError:
        return False
    return True


def guarded_webserver(arguments: list[str]) -> None:
    """Runs dagster-webserver's command with the guard in front of its application."""
    from dagster_webserver import cli

    settings = read_settings()
    hosts = allowed_hosts(settings.allowed_hosts, settings.ui_url)
    make = getattr(cli, "create_app_from_workspace_process_context", None)
    if make is None:  # rather no UI than one without a guard
        raise SettingsError(
            "this release of dagster-webserver makes its application elsewhere", fix="docs/decisions/0024"
        )

    def make_guarded(*args: Any, **options: Any) -> Guard:
        return Guard(make(*args, **options), hosts)

    cli.create_app_from_workspace_process_context = make_guarded  # type: ignore[assignment]
    cli.dagster_webserver.main(arguments, prog_name="dagster-webserver")


if __name__ == "__main__":
    guarded_webserver(sys.argv[1:])
