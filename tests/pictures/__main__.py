"""Start `taskmill dev --demo` in an empty folder, give it a shop's tasks, and take the pictures of docs/pictures."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.browser.__main__ import install
from tests.browser.conftest import ROOT
from tests.e2e.conftest import Dev

PICTURES = ROOT / "docs" / "pictures"
STOP_S = 60.0


def main() -> int:
    """Write all pictures and return 0; names as arguments choose some."""
    install()
    from tests.pictures.camera import take
    from tests.pictures.shop import SETTINGS, open_shop

    folder = Path(tempfile.mkdtemp(prefix="taskmill-pictures-")).resolve()
    folder.chmod(0o755)
    dev = Dev(folder)
    dev.extra = SETTINGS
    try:
        dev.start("--demo")
        take(open_shop(dev), PICTURES, set(sys.argv[1:]))
        dev.signal(signal.SIGTERM, within=STOP_S)
    finally:
        dev.kill_all()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
