import time

from django.core.management.base import OutputWrapper

BAR_WIDTH = 40
REDRAW_SECONDS = 0.1
RESUME_HINT = "The same command goes on where this one stopped."


class ProgressBar:
    """One line of a terminal that shows how far the work is; on anything else nothing."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream if stream.isatty() else None
        self.drawn_at = 0.0

    def show(self, doing: str, done: int, size: int) -> None:
        if self.stream is None or time.monotonic() - self.drawn_at < REDRAW_SECONDS:
            return
        self.drawn_at = time.monotonic()
        filled = "#" * (BAR_WIDTH * done // size)
        self.draw(f"{doing} [{filled:.<{BAR_WIDTH}}] {100 * done // size:3} %")

    def clear(self) -> None:
        if self.drawn_at:
            self.draw("")

    def draw(self, text: str) -> None:
        # Erases the rest of the line (ECMA-48, EL).
        self.stream.write(f"\r{text}\x1b[K", ending="", style_func=str)
        self.stream.flush()
