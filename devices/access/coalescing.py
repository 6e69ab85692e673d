"""Many who ask at the same time cost one question."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class Coalescer:
    """Whoever asks while a round is answered is in the next. Belongs to one event loop."""

    def __init__(self, answer: Callable[[list], Awaitable[None]]) -> None:
        """`answer` gets all that was asked for; it keeps what it finds, and raises nothing."""
        self.answer = answer
        self.asked: set[Hashable] = set()
        self.answered = asyncio.Event()
        self.task: asyncio.Task | None = None

    def ask(self, item: Hashable) -> asyncio.Event:
        """The event is set when the round that the item gets into has been answered."""
        self.asked.add(item)
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self.run())
        return self.answered

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    async def run(self) -> None:
        try:
            while self.asked:
                items, answered = list(self.asked), self.answered
                self.asked, self.answered = set(), asyncio.Event()
                await self.answer(items)
                answered.set()
        finally:
            self.task = None

    async def close(self) -> None:
        if self.task is not None:
            await self.task
