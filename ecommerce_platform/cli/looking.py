"""Commands for people who look at figures: the dashboard. What it shows: `serving/dashboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import say, say_line
from ecommerce_platform.cli.serving import needs
from ecommerce_platform.errors import InputError


def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
) -> None:
    """Shows the published figures in a browser, until interrupted."""
    needs("streamlit", "plotly")
    from ecommerce_platform.serving.access.accounts import Accounts
    from ecommerce_platform.serving.dashboard.server import serve_dashboard

    settings = given_settings()
    accounts = Accounts.of(settings.data)
    here = host in ("127.0.0.1", "localhost", "::1")
    if not here and not accounts.users():
        raise InputError(
            "there is no user yet, so nobody could sign in", fix="`ecommerce users add NAME --role viewer` first"
        )
    shown = f"http://{'localhost' if here else host}:{port}"
    if here:
        say("open this link within five minutes; it signs this browser in, once:")
        say_line(f"  {shown}/-/link?t={accounts.one_time_link()}")
    else:
        say(f"dashboard: {shown}", highlight=False)
    serve_dashboard(settings, accounts, host, port)
