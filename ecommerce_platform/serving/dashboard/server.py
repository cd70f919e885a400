"""What a browser reaches: Streamlit's application with its looks, behind the guard that answers our own pages only.

What is shown is in `app`; who may see it is decided by the gate that `serve_dashboard` is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.settings import Settings
from ecommerce_platform.web_guard import Guard, allowed_hosts

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute
    from streamlit.starlette import App

APP = Path(__file__).with_name("app.py")
#: Told apart also by those who see few colours (Okabe and Ito 2008), on white and on dark.
_COLOURS = ["#3B7DD8", "#D9822B", "#2A9D78", "#8E6BBF", "#C2577F", "#4FA3B8", "#A98A2D", "#6C7A91"]
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


def dashboard_app(settings: Settings, *, routes: Sequence[BaseRoute] = (), gates: Sequence[Middleware] = ()) -> App:
    """The ASGI application.

    Args:
        settings: of the instance; hosts that browsers may name.
        routes: of signing in and out.
        gates: who may pass, from the outside in; the guard stands before them.
    """
    from starlette.middleware import Middleware
    from streamlit.starlette import App

    guard = Middleware(Guard, hosts=allowed_hosts(settings.allowed_hosts))  # type: ignore[arg-type]
    return App(APP, routes=routes, middleware=[guard, *gates])


def serve_dashboard(
    settings: Settings,
    host: str,
    port: int,
    *,
    routes: Sequence[BaseRoute] = (),
    gates: Sequence[Middleware] = (),
) -> None:
    """Serves the dashboard until interrupted."""
    app = dashboard_app(settings, routes=routes, gates=gates)
    app.run(config={**looks(), "server.address": host, "server.port": port})
