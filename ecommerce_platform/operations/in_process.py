"""Running a job of Dagster in this process: how it is labelled, and that it is quiet."""

from __future__ import annotations

import logging

#: Tag by which the UI knows that a run is one of the job of this name: repository and code location, as `ecommerce ui`
#: and `workspace.yaml` name them.
FROM_HERE = {".dagster/repository": "__repository__@ecommerce_platform"}
NO_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class quiet_dagster:
    """Dagster prints each event to the console; here the bar and the tables at the end say what matters."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("dagster")
        self.level = self.logger.level
        self.logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)
