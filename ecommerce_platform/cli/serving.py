"""Commands that serve the published snapshot on this machine. What they serve: `serving`."""

from __future__ import annotations

from typing import Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import say


def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
) -> None:
    """Serves the dashboard over the published snapshot, until interrupted."""
    from ecommerce_platform.serving.dashboard.server import serve_dashboard

    settings = given_settings()
    say(f"dashboard: http://{host}:{port}", highlight=False)
    serve_dashboard(settings, host, port)
