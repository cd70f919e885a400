"""How often one caller may ask: a token bucket per caller. How many queries run at once is the read layer's (`read/jobs.py`)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

#: Callers that are remembered; the least recent are forgotten, which gives them a full bucket again.
_CALLERS = 10_000


class Rate:
    """So many requests a second, and twice as many at once after a pause.

    Args:
        a_second: on average.
        clock: gives seconds.
    """

    def __init__(self, a_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.a_second, self.burst, self.clock = a_second, max(2 * a_second, 1.0), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def taken(self, caller: str) -> int:
        """0 where the request may be answered, which counts it; else the seconds to wait."""
        now = self.clock()
        left, at = self._left.pop(caller, (self.burst, now))
        left = min(left + (now - at) * self.a_second, self.burst)
        wait = 0 if left >= 1 else max(ceil((1 - left) / self.a_second), 1)
        self._left[caller] = (left if wait else left - 1, now)
        if len(self._left) > _CALLERS:
            self._left.popitem(last=False)
        return wait
