"""Progress of long commands on a terminal."""

import time
from collections.abc import Callable

from django.core.management.base import OutputWrapper

BAR_WIDTH = 40
REDRAW_SECONDS = 0.1
RESUME_HINT = "Run the same command again to continue."

# Called with the name of the current step, and how many bytes of how many are done.
ReportProgress = Callable[[str, int, int], None]


def report_nothing(step: str, done: int, size: int) -> None:
    """Ignore progress."""


class ProgressBar:
    """One line of a terminal that shows the progress; draws nothing on any other stream."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream if stream.isatty() else None
        self.drawn_at = 0.0

    def show(self, step: str, done: int, size: int) -> None:
        if self.stream is None or time.monotonic() - self.drawn_at < REDRAW_SECONDS:
            return
        self.drawn_at = time.monotonic()
        filled = "#" * (BAR_WIDTH * done // size)
        self.draw(f"{step} [{filled:.<{BAR_WIDTH}}] {100 * done // size:3} %")

    def clear(self) -> None:
        if self.drawn_at:
            self.draw("")

    def draw(self, text: str) -> None:
        # \x1b[K erases the rest of the line (ECMA-48, EL).
        if self.stream is None:
            return
        self.stream.write(f"\r{text}\x1b[K", ending="", style_func=str)
        self.stream.flush()
