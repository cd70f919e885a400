"""What loading the definitions costs above `import dagster`: medians of several fresh processes, as JSON.

Run as `python -m benchmarks.definitions [RUNS]`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

CODE = """
import json, time
start = time.perf_counter()
import dagster
imported = time.perf_counter()
from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.settings import read_settings
definitions = build_definitions(read_settings(source={source!r}, data_dir="/nonexistent"))
assets = len(definitions.get_repository_def().asset_graph.get_all_asset_keys())
done = time.perf_counter()
print(json.dumps({{"import_dagster": imported - start, "definitions": done - imported, "assets": assets}}))
"""


def measure(source: str, runs: int) -> dict:
    """Median seconds of `import dagster` and of everything after it."""
    found = []
    for _ in range(runs + 1):  # the first only warms the file cache
        done = subprocess.run([sys.executable, "-c", CODE.format(source=source)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found.append(json.loads(done.stdout))
    return {
        "source": source,
        "assets": found[0]["assets"],
        **{k: round(statistics.median(f[k] for f in found[1:]), 3) for k in ("import_dagster", "definitions")},
    }


if __name__ == "__main__":
    for name in ("synthetic", "olist"):
        print(json.dumps(measure(name, int(sys.argv[1]) if len(sys.argv) > 1 else 7)))
