"""How many bytes of bodies are in work at once: memory is given out before a body is read."""

from __future__ import annotations

from taskmill import reasons
from taskmill.errors import Code, UnavailableError


class Bodies:
    """The budget of one process. A single body always finds room, however small the budget is."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Reserve `size` bytes; UnavailableError SERVER_BUSY if that is too much beside the others."""
        if self.used and self.used + size > self.limit:
            raise UnavailableError(Code.SERVER_BUSY, what=reasons.BODIES, limit=self.limit)
        self.used += size

    def give(self, size: int) -> None:
        """Return what `take` reserved."""
        self.used -= size
