"""What a landing zone in an object store costs above a folder: listing, fetching, and a whole build, as JSON.

`python -m benchmarks.object_stores [--orders N] [--days N] [--folder DIR]`, on servers of this machine that the tests use
too (Azurite, moto). They answer slower than a cloud's and without its way through the network, so what they show is the
share of our own work and the number of requests; moto answers one request at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from ecommerce_platform.ingestion.zone import open_zone
from ecommerce_platform.object_store import ObjectStore, each
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.settings import read_settings
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.objectstores import start


def measure(data: Path, url: str | None, environment: dict[str, str]) -> dict[str, float]:
    """Seconds of a listing, of fetching every file once, and of `ecommerce build`."""
    settings = read_settings(source="synthetic", data_dir=data, raw_url=url)
    source, zone = read_project(settings).source, open_zone(settings)
    zone.drops(source)  # connects
    started = time.perf_counter()
    drops = zone.drops(source)
    listed = time.perf_counter()
    for files in drops.tables.values():
        with zone.fetched(files, settings.scratch):
            pass
    fetched = time.perf_counter()
    command = [str(Path(sys.executable).with_name("ecommerce")), "build"]
    done = subprocess.run(
        command, env={**os.environ, **settings.environment(), **environment}, capture_output=True, text=True
    )
    if done.returncode not in (0, 3):
        sys.exit(f"the build failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    found = re.search(r"tables built in ([\d.]+) s", done.stdout)
    assert found
    return {
        "files": sum(len(files) for files in drops.tables.values()),
        "megabytes": round(sum(f.size for files in drops.tables.values() for f in files) / 1e6, 1),
        "listed": round(listed - started, 2),
        "fetched": round(fetched - listed, 2),
        "built": float(found.group(1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as folder:
        base = Path(folder)
        generate_shop(base / "local", orders=options.orders, days=options.days)
        print(json.dumps({"zone": "folder", **measure(base / "local", None, {})}), flush=True)
        raw = base / "local" / "raw"
        files = [p for p in raw.rglob("*") if p.is_file() and p.parent.parent == raw]
        for kind in ("azure", "s3"):
            server = start(kind, base)
            try:
                environment = server.environment(server.port)
                os.environ.update(environment)
                url = f"{'az' if kind == 'azure' else 's3'}://shop/raw"
                store = ObjectStore(url)
                store.fs.mkdir("shop")
                each(lambda p, to=store: to.write(str(p.relative_to(raw)), p.read_bytes()), files)
                print(json.dumps({"zone": kind, **measure(base / kind, url, environment)}), flush=True)
            finally:
                server.process.kill()
                server.process.wait()


if __name__ == "__main__":
    main()
