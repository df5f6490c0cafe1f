"""What the image holds beside its base: small, and nothing of the machine that built it."""

from __future__ import annotations

import json
import sys

import pytest

from tests.image.build import TASKMILL, base
from tests.image.engine import Docker

MB = 10**6
SIZE_MAX = 150 * MB
TOLD = 25
LARGEST = "du -k --max-depth=1 /opt/taskmill/lib/python3*/site-packages | sort -rn"
GONE = ("faker", "polyfactory", "uv", "pip")


def size(docker: Docker, name: str) -> int:
    """Return the size of an image with all its layers."""
    return int(docker("image", "inspect", "--format={{.Size}}", name))


def test_ours_is_small(docker: Docker, capsys: pytest.CaptureFixture[str]) -> None:
    ours = size(docker, TASKMILL) - size(docker, base())
    listing = docker("run", "--rm", "--network=none", "--entrypoint=sh", TASKMILL, "-c", LARGEST).splitlines()
    with capsys.disabled():
        sys.stdout.write(f"\n{ours / MB:.0f} MB beside the base of {size(docker, base()) / MB:.0f} MB; KiB of\n")
        sys.stdout.write("\n".join(listing[:TOLD]) + "\n")
    packages = {line.rpartition("/")[2] for line in listing}
    assert "taskmill" in packages
    assert not packages.intersection(GONE)
    assert ours <= SIZE_MAX


def test_nothing_of_the_builder_is_in_it(docker: Docker) -> None:
    config = json.loads(docker("image", "inspect", "--format={{json .Config}}", TASKMILL))
    names = {each.partition("=")[0] for each in config["Env"]}
    assert names == {"PATH", "PYTHONUNBUFFERED", "TASKMILL_API_HOST", "TASKMILL_LOG_FORMAT"}
    assert config["User"] == "10001:10001"
    added = docker("history", "--no-trunc", "--format={{.CreatedBy}}", TASKMILL).splitlines()
    assert next(line for line in added if "COPY" in line).startswith("COPY /opt/taskmill /opt/taskmill"), added
