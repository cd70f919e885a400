"""The container files, as far as they can be checked where nothing can build them: what they name exists, nobody is root, nothing
but the proxy is reached from outside, everything that runs is looked after, and no secret has a value."""

from __future__ import annotations

import re
import shlex
import tomllib
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import click
import pytest
import typer.main
import yaml

from ecommerce_platform.orchestration.instance import TEMPLATE
from ecommerce_platform.serving.access.web import OPEN
from ecommerce_platform.settings import Settings, project_root

ROOT = project_root()
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
#: Runs once and ends.
ONCE = {"setup"}


@cache
def compose() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def services() -> dict[str, dict[str, Any]]:
    return compose()["services"]  # type: ignore[no-any-return]


def commands() -> list[tuple[str, list[str]]]:
    """Every command of a service of ours, health checks included."""
    found = []
    for name, service in services().items():
        if service["image"] == "ecommerce-platform":
            found.append((name, list(service["command"])))
            if check := service.get("healthcheck"):
                found.append((f"{name} health", check["test"][1:]))
    return found


def test_all_services_are_there() -> None:
    assert set(services()) == {"postgres", "setup", "code", "webserver", "daemon", "dashboard", "api", "proxy"}


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_commands_and_their_options_exist(name: str, command: list[str]) -> None:
    program, *rest = command
    if program == "python":
        if rest[0] == "-c":
            compile(rest[1], name, "exec")
            return
        assert rest[0] == "-m"
        assert find_spec(rest[1])
        program, rest = "dagster-webserver", rest[2:]  # whose arguments that module takes
    (script,) = entry_points(group="console_scripts", name=program)
    group: click.Command
    if program == "ecommerce":
        from ecommerce_platform.cli import app

        group = typer.main.get_command(app)
    else:
        group = _click(script.load(), program)
    while rest and getattr(group, "commands", None) and not rest[0].startswith("-"):
        group = group.commands[rest.pop(0)]  # type: ignore[attr-defined]
    options = {option for parameter in group.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= options


def _click(entry: Any, program: str) -> click.Command:
    """The command behind an entry point, which is the command or a function that calls it."""
    if program == "dagster":
        from dagster._cli import create_dagster_cli

        return create_dagster_cli()
    if program == "dagster-daemon":
        from dagster._daemon.cli import create_dagster_daemon_cli

        return create_dagster_daemon_cli()
    if program == "dagster-webserver":
        from dagster_webserver.cli import dagster_webserver

        return dagster_webserver
    assert isinstance(entry, click.Command)
    return entry


def test_nobody_is_root() -> None:
    for name, service in services().items():
        assert str(service["user"]).partition(":")[0] in ("10001", "10002", "postgres"), name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.M)[2:]:
        users = re.findall(r"^USER (\S+)$", stage, re.M)
        assert users
        assert users[-1].partition(":")[0].isdigit()
        assert users[-1].partition(":")[0] != "0"


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert {name: service["ports"] for name, service in services().items() if "ports" in service} == {
        "proxy": ["80:8080", "443:8443"]
    }
    assert not any("network_mode" in service or service.get("privileged") for service in services().values())


def test_what_runs_is_looked_after() -> None:
    for name, service in services().items():
        if name in ONCE:
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped"
            assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])


def test_health_is_asked_where_it_is_answered_to_anybody() -> None:
    asked = {
        name: re.findall(r"http://127.0.0.1:(\d+)(/[\w/]+)", str(s.get("healthcheck")))
        for name, s in services().items()
    }
    assert asked["api"] == [("8000", "/health")]  # of serving/api/app.py
    assert asked["dashboard"] == [("8501", *OPEN)]
    assert asked["webserver"] == [("3000", "/server_info")]


def test_services_wait_for_what_there_is_and_for_what_can_come_true() -> None:
    for service in services().values():
        for other, how in (service.get("depends_on") or {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services()[other]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert other in ONCE


def test_volumes_are_declared_and_files_exist() -> None:
    for service in services().values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in compose()["volumes"]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for source in shlex.split(sources):
            assert (ROOT / source).exists(), source


def test_no_secret_has_a_value() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    for name in ("POSTGRES_PASSWORD", "UI_USER", "UI_PASSWORD_HASH", "ECOMMERCE_DOMAIN"):
        used = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert set(used) == {":?"}, name  # refuses to start rather than start with a default
    lines = (DEPLOY / "env.example").read_text(encoding="utf-8").splitlines()
    settings = [line.lstrip("# ") for line in lines if re.match(r"(# )?[A-Z_]+=", line)]
    assert len(settings) == 9
    assert all(line.endswith("=") for line in settings)
    assert "deploy/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8")
    assert "deploy/.env" in (ROOT / ".dockerignore").read_text(encoding="utf-8")


def test_variables_are_settings() -> None:
    known = {f"ECOMMERCE_{name.upper()}" for name in Settings.model_fields} | {"ECOMMERCE_DOMAIN"}
    for service in services().values():
        given = {name for name in service.get("environment", {}) if name.startswith("ECOMMERCE_")}
        assert given <= known


def test_the_proxy_leads_to_services_by_their_ports_and_signs_in_where_nothing_else_does() -> None:
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    ports = dict(re.findall(r"reverse_proxy (\w+):(\d+)", text))
    assert set(ports) == {"webserver", "dashboard", "api"}
    for name, port in ports.items():
        assert port in services()[name]["command"]
    sites = dict(re.findall(r"^(\w+)\.\{\$ECOMMERCE_DOMAIN\} \{\n(.*?)^\}", text, re.M | re.S))
    assert "basic_auth" in sites["dagster"]
    assert "Secure" in sites["shop"]
    hosts = services()["webserver"]["environment"]["ECOMMERCE_ALLOWED_HOSTS"].replace("${ECOMMERCE_DOMAIN:?}", "")
    assert set(hosts.split(",")) == {f"{site}." for site in sites}


def test_dagster_runs_as_elsewhere_but_for_its_storage() -> None:
    ours = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
    everywhere = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    assert ours.pop("storage") == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    everywhere.pop("event_log_storage")
    assert ours == everywhere
    (place,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    code = services()["code"]
    assert place["grpc_server"]["host"] == code["hostname"] == "code"
    assert str(place["grpc_server"]["port"]) in code["command"]


def test_the_image_has_what_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"/src\[([\w,]+)\]", DOCKERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert set(re.findall(r"FROM python:([\d.]+)-slim", DOCKERFILE)) == {project["requires-python"].removeprefix(">=")}
    assert "dagster-postgres" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
