"""What a browser reaches: Streamlit's application with its looks, behind the sign-in.

What is shown is in `app`; who may see it is decided in `access/`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import PlatformError
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.web import SignIn
from ecommerce_platform.serving.dashboard.charts import COLOURS
from ecommerce_platform.settings import Settings
from ecommerce_platform.web_guard import allowed_hosts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

APP = Path(__file__).with_name("app.py")
#: Told apart also by those who see few colours (Okabe and Ito 2008), on white and on dark.
_COLOURS = list(COLOURS)
_LIGHT = {
    "primaryColor": "#1F5FBF", "backgroundColor": "#FFFFFF", "secondaryBackgroundColor": "#F4F6FA", "textColor": "#1B2333",
    "borderColor": "#DDE3EC", "linkColor": "#1F5FBF",
}  # fmt: skip
_DARK = {
    "primaryColor": "#6CA6F5", "backgroundColor": "#12161F", "secondaryBackgroundColor": "#1B212D", "textColor": "#E8ECF3",
    "borderColor": "#323B4B", "linkColor": "#8BB9F8",
}  # fmt: skip


def looks() -> dict[str, Any]:
    """Streamlit's options that are the same for every dashboard."""
    found: dict[str, Any] = {
        "browser.gatherUsageStats": False,
        "logger.hideWelcomeMessage": True,  # it names an address that nobody is signed in at
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "runner.magicEnabled": False,
        "server.fileWatcherType": "none",
        "server.headless": True,
        "server.showEmailPrompt": False,
        "theme.baseRadius": "0.6rem",
        "theme.showWidgetBorder": True,
        "theme.chartCategoricalColors": _COLOURS,
        "theme.headingFontWeights": [700, 600, 600, 600, 600, 600],
        "theme.metricValueFontSize": "1.7rem",
    }
    for name, colours in (("light", _LIGHT), ("dark", _DARK)):
        found |= {f"theme.{name}.{key}": value for key, value in colours.items()}
    return found


def serve_dashboard(settings: Settings, accounts: Accounts, host: str, port: int) -> None:
    """Serves the dashboard to who is signed in, until interrupted.

    Args:
        settings: of the instance; hosts that browsers may name.
        accounts: who there is.
        host: address to listen on.
        port: to listen on.
    """
    from starlette.middleware import Middleware
    from starlette.routing import Route
    from streamlit.starlette import App

    from ecommerce_platform.serving.dashboard import data

    data.accounts = accounts
    Thread(target=warm, name="warm", daemon=True).start()
    hosts = allowed_hosts(settings.allowed_hosts)
    gates = [
        Middleware(SignIn, accounts=accounts, hosts=hosts, title="Shop dashboard"),
    ]
    App(APP, middleware=gates, routes=[Route("/executive", _first)]).run(
        config={**looks(), "server.address": host, "server.port": port}
    )


def warm() -> None:
    """Asks what the first page asks as it is opened first, so that nobody waits for that or for the libraries it draws with."""
    import plotly.graph_objects  # noqa: F401

    from ecommerce_platform.serving.dashboard.data import shelf
    from ecommerce_platform.serving.dashboard.screens import executive
    from ecommerce_platform.serving.dashboard.view import OFFERED, read_address

    with suppress(PlatformError):  # nothing is published yet: the page says so
        shop = shelf().shop()
        offered = [name for name in OFFERED if name in shop.dimensions()]
        view = read_address({}, offered, shop.first_day, shop.last_day)
        executive.ask_ahead(shop, view)


def _first(request: Request) -> Response:
    """The first page's own address is the empty one: Streamlit takes its name for no page."""
    from starlette.responses import RedirectResponse

    return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/", 307)
