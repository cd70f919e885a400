"""Data Docs: Great Expectations' own pages about the suites and what came of them, as a folder of files.

They are built anew with every asking and switched in one step; `current/index.html` is the newest. As Great Expectations
makes them, the pages fetch styles, scripts and a picture from servers of others whenever they are opened; here they are
rewritten to need nothing but themselves. `gx.py` makes the results, and sees to it that they hold no
personal data.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from html import escape
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.web_guard import LOOPBACK, wrong_host

if TYPE_CHECKING:
    from ecommerce_platform.quality.gx import Asked

STYLE = Path(__file__).with_name("data_docs.css")
_SITE = "site-"
#: Sites kept: the current one, and the one before for whoever is reading it.
_KEEP = 2

#: What a page may load: nothing that is not part of it. Even what the rewriting misses stays unasked.
_POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self' 'unsafe-inline' data:\">"
_REMOTE = (
    re.compile(r"<script\b[^>]*\bsrc\s*=\s*\"https?://[^>]*>\s*</script>", re.IGNORECASE),
    re.compile(r"<link\b[^>]*\bhref\s*=\s*\"https?://[^>]*>", re.IGNORECASE),
    re.compile(r"<link\b[^>]*favicon[^>]*>", re.IGNORECASE),  # among the pictures of the pages, which are left out
    re.compile(r"<img\b[^>]*\bsrc\s*=\s*\"https?://[^>]*>", re.IGNORECASE),
    # A letter to subscribe to, and "Documentation by Great Expectations" with a picture.
    re.compile(r"<a\b[^>]*\bhref\s*=\s*\"https?://greatexpectations\.io[^>]*>.*?</a>", re.IGNORECASE | re.DOTALL),
)


def index(folder: Path) -> Path:
    """The first page of the newest Data Docs below `folder`."""
    return folder / "current" / "index.html"


def page(folder: Path, table: str) -> Path:
    """The page about one table; it leads on to its newest result."""
    return folder / "current" / f"{table}.html"


class _Pages(SimpleHTTPRequestHandler):
    """Hands out the pages of the shop `name`, of which `pages` is the folder, to those who call this machine by one of `hosts`."""

    def __init__(self, *given: Any, pages: Path, name: str, hosts: Collection[str]) -> None:
        self.pages, self.shop, self.hosts = pages, name, hosts
        # Answers the request.
        super().__init__(*given, directory=str(pages / "current"))

    def translate_path(self, path: str) -> str:
        inside, _, rest = path.lstrip("/").partition("/")
        # What is asked for by another name belongs to another shop's server.
        return super().translate_path(f"/{rest}") if inside == self.shop else str(self.pages / "no such page")

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        why = wrong_host(self.headers.items(), self.hosts)
        if why:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, explain=why)
        return why is None

    def do_GET(self) -> None:
        if self.path.rstrip("/") in ("", f"/{self.shop}") and self.path != f"/{self.shop}/":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"/{self.shop}/")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None: ...


class _Server(ThreadingHTTPServer):
    """Ends when the process that started this one does."""

    parent = 0

    def service_actions(self) -> None:
        if os.getppid() != self.parent:
            # Not from this thread, which is the one that would have to stop.
            Thread(target=self.shutdown, daemon=True).start()


@contextmanager
def serve(folder: Path, name: str, port: int, hosts: Collection[str] = LOOPBACK) -> Iterator[ThreadingHTTPServer]:
    """A server of the newest Data Docs on this machine alone, at `http://127.0.0.1:<port>/<name>/`.

    Requests that name another host than `hosts` are refused (`web_guard.py`). A new site is seen at the next request. Anything outside the site, and any other name, is not found. Its
    `serve_forever` ends when the process that started this one does: nothing is left behind when a UI is stopped.

    Raises:
        InputError: the port is taken.
    """
    try:
        server = _Server(("127.0.0.1", port), partial(_Pages, pages=folder, name=name, hosts=hosts))
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used: {error.strerror}",
            where="ecommerce data-docs",
            fix="give another one with --port, and set ECOMMERCE_DATA_DOCS_URL to match",
        ) from None
    server.parent = os.getppid()
    with server:
        yield server


def build(asked: Sequence[Asked], folder: Path) -> None:
    """Builds the pages of these answers and puts them in force.

    Args:
        asked: the answers; tables without a result have no page.
        folder: where they go; created when missing. Readers see the old pages or the new ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{_SITE}{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    building = folder / f".{name}-{os.getpid()}"
    try:
        _render(asked, building)
        _settle(asked, building)
        os.rename(building, folder / name)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    link = folder / f".current-{secrets.token_hex(4)}"
    link.symlink_to(name)
    os.replace(link, folder / "current")
    for old in sorted(folder.glob(f"{_SITE}*"))[:-_KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def _render(asked: Sequence[Asked], folder: Path) -> None:
    """Great Expectations' own site of these results."""
    from great_expectations.core import ExpectationSuite
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    from ecommerce_platform.quality.gx import open_context

    run = RunIdentifier(run_name="newest", run_time=datetime.now(UTC))
    with open_context() as context:
        for answers in asked:
            if answers.result is None:
                continue
            table = answers.suite.table
            answers.result.meta["run_id"] = run
            configurations = [result.expectation_config for result in answers.result.results]
            context.suites.add(
                ExpectationSuite(
                    name=table,
                    notes=answers.suite.description,
                    expectations=[c.to_domain_obj() for c in configurations],
                )
            )
            context.validation_results_store.set(
                ValidationResultIdentifier(ExpectationSuiteIdentifier(table), run, table), answers.result
            )
        context.add_data_docs_site(
            "pages",
            {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            },
        )
        context.build_data_docs()


def _settle(asked: Sequence[Asked], folder: Path) -> None:
    """Makes the pages stand on their own, and gives each table an address that stays."""
    shutil.rmtree(folder / "static", ignore_errors=True)
    shutil.copyfile(STYLE, folder / STYLE.name)
    for path in folder.rglob("*.html"):
        up = "../" * len(path.relative_to(folder).parent.parts)
        path.write_text(_standing_alone(path.read_text(encoding="utf-8"), _head(up)), encoding="utf-8")
    # The index that comes with the pages is drawn by a script from elsewhere.
    (folder / "index.html").write_text(_index(asked), encoding="utf-8")
    for answers in asked:
        schema, _, name = answers.suite.table.partition(".")
        results = sorted((folder / "validations" / schema / name).rglob("*.html"))
        if results:
            target = results[-1].relative_to(folder).as_posix()
            (folder / f"{answers.suite.table}.html").write_text(
                f'<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}">'
                f'<title>{answers.suite.table}</title><a href="{target}">{answers.suite.table}</a>\n',
                encoding="utf-8",
            )


def _index(asked: Sequence[Asked]) -> str:
    """The first page: every table with how its rules stand."""
    rows = []
    for answers in asked:
        counts = Counter(v.outcome for v in answers.verdicts)
        table = escape(answers.suite.table)
        name = f'<a href="{table}.html">{table}</a>' if answers.result is not None else table
        cells = "".join(f'<td class="number">{counts[o] or ""}</td>' for o in ("held", "broken", "error", "no data"))
        rows.append(f"<tr><td>{name}</td><td>{escape(answers.suite.description)}</td>{cells}</tr>")
    heads = "".join(f'<th class="number">{h}</th>' for h in ("hold", "broken", "not asked: error", "no data"))
    return (
        f'<!DOCTYPE html><html lang="en">{_head("")}<meta charset="utf-8"><title>Business expectations</title></head>'
        f'<body><main><h1>Business expectations</h1><p class="muted">Asked {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. '
        "A table's page shows its rules, and what was found.</p>"
        f"<table><thead><tr><th>table</th><th>what it is asked for</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></main></body></html>\n"
    )


def _head(up: str) -> str:
    return f'<head>{_POLICY}<link rel="stylesheet" href="{up}{STYLE.name}">'


def _standing_alone(html: str, head: str) -> str:
    for pattern in _REMOTE:
        html = pattern.sub("", html)
    return html.replace("<head>", head, 1)
