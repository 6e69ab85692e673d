import asyncio
from collections.abc import Awaitable, Callable, Hashable


class Coalescer:
    """Answers in one round what was asked during the round before. Belongs to one event loop."""

    def __init__(self, answer: Callable[[list], Awaitable[None]]) -> None:
        """`answer` gets all items of a round; it stores what it finds and raises nothing."""
        self.answer = answer
        self.asked: set[Hashable] = set()
        self.answered = asyncio.Event()
        self.task: asyncio.Task | None = None

    def ask(self, item: Hashable) -> asyncio.Event:
        """Add the item to the next round; the event is set when that round is answered."""
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
