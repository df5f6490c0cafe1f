"""Build what is missing and run the tests of the node; arguments go to pytest."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.cluster.node import images, programs, sandbox

TESTS = "tests/cluster/node"


def main(arguments: Sequence[str]) -> int:
    """Return the exit code of pytest, or of what could not be built."""
    if reason := sandbox.cannot_run():
        sys.stderr.write(f"{reason}\n")
        return 1
    return programs.main() or images.main() or sandbox.run([sys.executable, "-m", "pytest", TESTS, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
