"""One typed object for everything that can be set from outside: paths, source, limits, engine.

Every setting comes from the environment and has a working default; nothing is read at import. What a shop is
like (currency, time zone, files) is not a setting: that is its `source.yml`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ecommerce_platform.contracts.source import find_source
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.object_store import check_url, protocol

DEFAULT_SOURCE = "synthetic"
#: Settings whose values no message may show.
_SECRET = ("HASH_KEY", "ALERT_URLS")


def project_root() -> Path:
    """The checkout this package runs from, else the working directory."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").is_file() else Path.cwd()


class Settings(BaseSettings):
    """Settings of one platform instance, from `ECOMMERCE_*` variables and `DAGSTER_HOME`.

    Raises:
        SettingsError: from `read_settings`, naming the variable.
    """

    model_config = SettingsConfigDict(env_prefix="ECOMMERCE_", frozen=True, extra="ignore")

    #: Name of a built-in source, or the path of a folder with a source.yml.
    source: str = DEFAULT_SOURCE
    #: Drops, warehouse, published snapshots and models of this source; default `data/<source>`.
    data_dir: Path | None = None
    #: The landing zone: az://container/prefix, s3://bucket/prefix or a folder; default `<data dir>/raw`.
    raw_url: str | None = None
    #: Whether links in a landing zone that is a folder may lead out of it.
    follow_links: bool = False
    #: An object store that published snapshots are copied to as well.
    publish_url: str | None = None
    #: A folder that the published snapshot is copied to as Delta tables as well.
    delta_dir: Path | None = None
    #: Dagster's state; default `dagster_home` for the generated shop, `<data dir>/dagster_home` for others.
    dagster_home: Path | None = Field(default=None, validation_alias="DAGSTER_HOME")
    #: What DuckDB may use before it spills to disk, e.g. 4GB.
    memory_limit: str = Field(default="2GB", pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$")
    #: Threads DuckDB may use; default: all cores.
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024)
    #: Seconds that a query of a reader of the published snapshot may take.
    query_seconds: float = Field(default=60.0, gt=0, le=86_400)
    #: Engine that runs the SQL files.
    engine: Literal["duckdb", "spark"] = "duckdb"
    #: Where Spark runs: on this machine, in so many threads; on a standalone cluster, whose masters are named; or behind a
    #: Spark Connect server (`use_ssl=true` is all that may follow its address: a token belongs in Spark's own variable).
    spark_master: str = Field(
        default="local[*]",
        pattern=r"^(local(\[(\*|\d+)\])?|spark://[\w.-]+:\d+(,[\w.-]+:\d+)*|sc://[\w.-]+:\d+(/;use_ssl=true)?)$",
    )
    #: Memory of Spark's driver, and of each executor on a cluster, as Java writes it.
    spark_memory: str = Field(default="1500m", pattern=r"^\d+[mg]$")
    #: Key that published personal data is hashed with; default: one made once per published folder.
    hash_key: SecretStr | None = None
    #: How many published snapshots stay; besides, nothing goes within an hour of having been current.
    keep_snapshots: int = Field(default=10, ge=1)
    #: Where alerts go: apprise URLs, separated by spaces or commas. They hold passwords, so nothing ever prints them.
    alert_urls: SecretStr | None = None
    #: Alerts less severe than this are not sent.
    alert_severity: Literal["warning", "error"] = "warning"
    #: Minutes for which something that was told is not told again when it ends, begins anew or changes.
    alert_quiet_minutes: int = Field(default=60, ge=0)
    #: Who gets reports: e-mail addresses, separated by commas; they go through the mail server of `alert_urls`.
    report_to: str = ""
    #: What reports are sent of: full months, quarters or years, separated by commas.
    report_every: str = Field(default="month", pattern=r"^ *(month|quarter|year)( *, *(month|quarter|year))* *$")
    #: Where the Dagster UI is reached, for links in alerts.
    ui_url: str = Field(default="http://127.0.0.1:3000", pattern=r"^https?://[^\s@]+$")

    #: Where browsers find Data Docs, below the source's name; `ecommerce data-docs` serves them there.
    data_docs_url: str = Field(default="http://127.0.0.1:3070", pattern=r"^https?://[^/]+.*[^/]$")

    #: Requests a second that one API key may send.
    api_rate: float = Field(default=200.0, gt=0, le=100_000)
    #: What `ecommerce mcp` may do for whoever starts it on this machine.
    mcp_role: Literal["viewer", "analyst", "admin"] = "analyst"

    #: Hosts, besides this machine, under which browsers reach what is served here, separated by commas: behind a proxy.
    allowed_hosts: str = Field(default="", pattern=r"^[\w.\-:\[\], ]*$")

    @field_validator("alert_urls")
    @classmethod
    def _looks_like_urls(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        if not re.match(r"[A-Za-z][\w+.-]*://\S", value.get_secret_value().strip()):
            raise ValueError("is not a URL; docs/alerts.md has examples, such as mailto://… or slack://…")
        return value

    @field_validator("report_to")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in filter(None, map(str.strip, value.split(","))):
            if not re.fullmatch(r"[^\s@<>,;?&]+@[^\s@<>,;?&]+", address):
                raise ValueError("is no list of e-mail addresses; write boss@example.com,sales@example.com")
        return value

    @field_validator("data_dir", "delta_dir", "dagster_home", mode="before")
    @classmethod
    def _absolute(cls, value: Any) -> Any:
        return Path(value).expanduser().resolve() if value not in (None, "") else None

    @field_validator("raw_url", "publish_url", mode="after")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        value = (value or "").strip()
        if protocol(value) in (None, "file"):
            path = re.sub(r"^file://", "", value, flags=re.IGNORECASE)
            return str(Path(path).expanduser().resolve()) if path else None
        return value if value.endswith("://") else value.rstrip("/")

    @property
    def source_folder(self) -> Path:
        """Folder of the configured source."""
        return find_source(self.source)

    @property
    def source_name(self) -> str:
        """Name of the configured source: that of its folder."""
        return self.source_folder.name

    @property
    def data(self) -> Path:
        """The data folder of this source."""
        return self.data_dir or project_root() / "data" / self.source_name

    @property
    def home(self) -> Path:
        """DAGSTER_HOME of this source; sources never share one unless told to (and then are refused)."""
        if self.dagster_home:
            return self.dagster_home
        if self.source_name == DEFAULT_SOURCE and self.data_dir is None:
            return project_root() / "dagster_home"
        return self.data / "dagster_home"

    @property
    def raw(self) -> Path:
        """The drops: one folder per day. An object store as landing zone has none: `ingestion/zone.py` reads either.

        Raises:
            SettingsError: the landing zone is an object store.
        """
        if self.raw_url and protocol(self.raw_url):
            raise SettingsError(
                "this works on a folder only, and the landing zone is an object store",
                where=f"ECOMMERCE_RAW_URL={self.raw_url}",
                fix="unset ECOMMERCE_RAW_URL, or set it to a folder",
            )
        return Path(self.raw_url) if self.raw_url else self.data / "raw"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file."""
        return self.data / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """Published snapshots."""
        return self.data / "published"

    @property
    def models(self) -> Path:
        """Artifacts of trained models."""
        return self.data / "models"

    @property
    def data_docs(self) -> Path:
        """Data Docs: pages about the business expectations and what came of them."""
        return self.data / "data_docs"

    @property
    def spark_tables(self) -> Path:
        """The tables that Spark reads and writes."""
        return self.data / "spark"

    @property
    def scratch(self) -> Path:
        """Room for spilled memory and repaired files; emptied freely."""
        return self.data / "tmp"

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these settings."""
        places = {
            "ECOMMERCE_RAW_URL": self.raw_url,
            "ECOMMERCE_PUBLISH_URL": self.publish_url,
            "ECOMMERCE_DELTA_DIR": self.delta_dir,
        }
        return {
            **{name: str(place) for name, place in places.items() if place},
            "ECOMMERCE_SOURCE": str(self.source),
            "ECOMMERCE_DATA_DIR": str(self.data),
            "ECOMMERCE_MEMORY_LIMIT": self.memory_limit,
            "ECOMMERCE_THREADS": str(self.threads),
            "ECOMMERCE_QUERY_SECONDS": f"{self.query_seconds:g}",
            "ECOMMERCE_ALLOWED_HOSTS": self.allowed_hosts,
            "ECOMMERCE_API_RATE": f"{self.api_rate:g}",
            "ECOMMERCE_MCP_ROLE": self.mcp_role,
            "ECOMMERCE_UI_URL": self.ui_url,
            "ECOMMERCE_ENGINE": self.engine,
            "ECOMMERCE_SPARK_MASTER": self.spark_master,
            "ECOMMERCE_SPARK_MEMORY": self.spark_memory,
            "ECOMMERCE_FOLLOW_LINKS": str(self.follow_links).lower(),
            "ECOMMERCE_KEEP_SNAPSHOTS": str(self.keep_snapshots),
            "ECOMMERCE_DATA_DOCS_URL": self.data_docs_url,
            "DAGSTER_HOME": str(self.home),
        }


def read_settings(**overrides: Any) -> Settings:
    """The settings of this process's environment; `overrides` win over it.

    Raises:
        SettingsError: naming the variable, its value and what it may be.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        variable = name if name == "DAGSTER_HOME" else f"ECOMMERCE_{name}"
        shown = "its value" if name in _SECRET else repr(first.get("input"))
        raise SettingsError(
            f"{shown}: {first['msg']}",
            where=variable,
            fix="unset it or correct it; docs/settings.md lists all settings",
        ) from None
    # Not in a validator: its message would repeat the value, and what is refused may hold a secret.
    if settings.raw_url and protocol(settings.raw_url):
        check_url(settings.raw_url, "ECOMMERCE_RAW_URL")
    if settings.publish_url:
        check_url(settings.publish_url, "ECOMMERCE_PUBLISH_URL")
    _ = settings.source_folder  # an unknown source is refused here, with the list of those there are
    return settings
