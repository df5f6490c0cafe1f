"""The one type of secrets, of the platform's settings and of plugins' configurations."""

from __future__ import annotations

from pydantic import SecretStr

from taskmill import constants as c


class Secret(SecretStr):
    """A text that never shows itself: `str`, `repr` and JSON give a mask, `reveal()` the value."""

    def reveal(self) -> str:
        """Return the text itself."""
        return self.get_secret_value()

    def _display(self) -> str:
        return c.SECRET_MASK

    def __repr__(self) -> str:
        return c.SECRET_MASK
