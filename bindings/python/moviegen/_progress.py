# SPDX-License-Identifier: MIT
"""A progress bar on a terminal."""
import sys
import time

_CELLS = 28


class Bar:
    """Drawn over itself on stderr; at most ten times a second, and at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = self._drawn = time.monotonic()
        self._open = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if total == 0 or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        full = done * _CELLS // total
        bar = "=" * full + (">" if full < _CELLS else "") + " " * (_CELLS - full - 1)
        left = ""
        if 0 < done < total:
            seconds = round((now - self._begun) / done * (total - done))
            left = f"  {seconds // 60}:{seconds % 60:02d} left"
        sys.stderr.write(f"\r\033[K{self._what} [{bar}] {done}/{total}{left}")
        self._open = done < total
        if not self._open:
            sys.stderr.write("\n")
        sys.stderr.flush()

    def finish(self) -> None:
        """Go to the next line if the work ended early."""
        if self._open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._open = False


def stderr_is_terminal() -> bool:
    """Whether a bar would be seen."""
    return sys.stderr is not None and sys.stderr.isatty()
