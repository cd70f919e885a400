"""The read layer stands alone: what shows published figures must work where there is no warehouse and no Dagster."""

from __future__ import annotations

import subprocess
import sys


def test_reading_imports_contracts_settings_and_errors_alone() -> None:
    code = (
        "import sys, ecommerce_platform.reading.query, ecommerce_platform.reading.snapshots\n"
        "print(*sorted({'.'.join(m.split('.')[:2]) for m in sys.modules if m.startswith('ecommerce_platform.')}))\n"
        "print('dagster' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    allowed = {
        f"ecommerce_platform.{m}" for m in ("reading", "contracts", "settings", "errors", "object_store", "disk")
    }
    assert set(done[0].split()) <= allowed
    assert done[1] == "False"
