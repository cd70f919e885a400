"""An extract in a process of its own, to be killed: `python -m ecommerce_platform_tests.extraction.child SOURCE RAW DAY`.

Says `begun` when imports are done. Exit codes: 0 done, 3 the connection was lost.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import duckdb  # noqa: F401 - what takes long to import is there before it begins
import pyarrow.parquet  # noqa: F401
import pymysql  # noqa: F401

from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.ingestion.extraction.database import ConnectionLost
from ecommerce_platform.ingestion.extraction.extract import extract

if __name__ == "__main__":
    folder, raw, day = Path(sys.argv[1]), Path(sys.argv[2]), date.fromisoformat(sys.argv[3])
    source = read_source(folder, ["orders"])
    print("begun", flush=True)
    try:
        done = extract(source, raw, today=day, pauses=(0.2, 0.4))
        print(f"done after {done.tries}", flush=True)
    except ConnectionLost as error:
        print(error, file=sys.stderr)
        sys.exit(3)
