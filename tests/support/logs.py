"""What one module logs, whoever configured logging in this process before."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture


def captured(monkeypatch: pytest.MonkeyPatch, module: str) -> list[Any]:
    """Return the list that fills with the lines of `module`; a logger that was used before keeps its old processors."""
    capture = LogCapture()
    logger = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.stdlib.BoundLogger)
    monkeypatch.setattr(f"{module}.log", logger)
    return capture.entries
