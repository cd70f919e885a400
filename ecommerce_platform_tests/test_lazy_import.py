"""Parts of a library that are loaded only when they are used."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from ecommerce_platform.lazy_import import loaded_when_used
with loaded_when_used("xml.dom.minidom", absent=("antigravity_that_is_not_there",)):
    import xml.dom.minidom as minidom
    try:
        import antigravity_that_is_not_there
    except ImportError:
        print("absent")
print("xml.dom.xmlbuilder" in sys.modules, minidom.Document.__name__, "xml.dom.xmlbuilder" in sys.modules)
print("antigravity_that_is_not_there" in sys.modules, len([f for f in sys.meta_path if type(f).__name__ == "_Later"]))
"""


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_module_that_may_wait_runs_when_it_is_used_and_the_machinery_is_left_as_it_was() -> None:
    assert run(CODE) == ["absent", "False Document True", "False 0"]


def test_great_expectations_comes_without_charts_distributions_and_clouds_that_nothing_here_uses() -> None:
    wanted = ("altair.vegalite", "scipy.stats._stats_py", "azure.core", "botocore.session", "pyspark")
    code = f"import sys\nfrom ecommerce_platform.quality import gx\ngx.load()\nprint([m for m in {wanted} if m in sys.modules])"
    assert run(code)[-1] == "[]"
