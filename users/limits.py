"""Bounds of what one person may have or do. They are settings (`config.limits`); 0 is no limit.

What meets a bound raises LimitReached. `config.problems` answers it in the API, and a middleware on pages.
"""


class LimitReached(Exception):
    """The message names the limit, its setting and the number counted.

    With `wait`, in seconds, the same request may succeed later: 429. Without, something must be deleted: 409.
    """

    def __init__(self, message: str, wait: int = 0) -> None:
        super().__init__(message)
        self.wait = wait

    @property
    def status(self) -> int:
        return 429 if self.wait else 409
