"""`ECOMMERCE_ENGINE=spark` is refused where it could not work, with what to do."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from ecommerce_platform.engines.spark import require_spark
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.settings import read_settings


def test_without_pyspark_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        SettingsError, match="ECOMMERCE_ENGINE=spark: Spark cannot run here: pyspark is not installed"
    ) as error:
        require_spark()
    assert "pip install 'ecommerce_platform[spark]'" in str(error.value)


def test_without_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SettingsError, match="there is no Java") as error:
        require_spark()
    assert "openjdk-17-jre-headless" in str(error.value)


@pytest.mark.parametrize(
    "master", ["yarn", "sc://host", "sc://host:15002/;token=abc", "spark://host", "spark://host:7077/x", "local[x]"]
)
def test_a_master_that_was_never_tried_is_refused(master: str) -> None:
    with pytest.raises(SettingsError, match="ECOMMERCE_SPARK_MASTER"):
        read_settings(spark_master=master)


def test_behind_a_connect_server_no_java_is_needed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    require_spark("sc://host:15002")


@pytest.mark.parametrize(
    "master",
    [
        "local", "local[2]", "local[*]", "spark://host:7077", "spark://a.b:7077,c-d:7078", "sc://host:15002",
        "sc://host:443/;use_ssl=true",
    ],
)  # fmt: skip
def test_a_master_reaches_the_processes_that_are_started(master: str) -> None:
    found = read_settings(engine="spark", spark_master=master).environment()
    assert (found["ECOMMERCE_ENGINE"], found["ECOMMERCE_SPARK_MASTER"]) == ("spark", master)
