"""How many pages may be in flight: bounded by bytes, and by what the engine wants.

A page is in flight from the request to rasterize it until its outcome is known. Its size is an estimate until its image
is there, and 0 once the engine has read the image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Ticket:
    """The admission of one page. Give it back once; giving it back twice does no harm."""

    def __init__(self, admission: Admission, num_bytes: int) -> None:
        self._admission = admission
        self.num_bytes = num_bytes
        self.is_open = True

    def resize(self, num_bytes: int) -> None:
        """Set the bytes that the page holds now: its true size when its image is there, 0 when the image was released.
        Never waits: the memory is already taken."""
        if self.is_open:
            self._admission.change(0, num_bytes - self.num_bytes)
            self.num_bytes = num_bytes

    def give_back(self) -> None:
        if self.is_open:
            self.is_open = False
            self._admission.change(-1, -self.num_bytes)


class Admission:
    """Admits pages while fewer than `max_pages()` and `max_bytes` are in flight.

    `max_pages` is asked each time, since an engine's window may change. A request larger than one of the budgets is
    admitted when nothing else uses that budget.
    """

    def __init__(self, max_pages: Callable[[], int], max_bytes: int) -> None:
        self._max_pages = max_pages
        self.max_bytes = max_bytes
        self._changed = asyncio.Event()
        self.num_waiting = 0  # requests for which there is no room yet
        self.num_pages = 0
        self.num_bytes = 0
        self.peak_bytes = 0

    async def enter(self, num_pages: int, bytes_per_page: int) -> list[Ticket]:
        """Wait for room for `num_pages` pages together; returns a ticket for each."""
        self.num_waiting += 1
        try:
            while not self._has_room(num_pages, num_pages * bytes_per_page):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.num_waiting -= 1
        self.change(num_pages, num_pages * bytes_per_page)
        return [Ticket(self, bytes_per_page) for _ in range(num_pages)]

    def change(self, num_pages: int, num_bytes: int) -> None:
        self.num_pages += num_pages
        self.num_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.num_bytes)
        self._changed.set()

    def _has_room(self, num_pages: int, num_bytes: int) -> bool:
        fits_bytes = self.num_bytes == 0 or self.num_bytes + num_bytes <= self.max_bytes
        fits_pages = self.num_pages == 0 or self.num_pages + num_pages <= self._max_pages()
        return fits_bytes and fits_pages
