"""What the guide and the runbooks tell people to type into a cluster works in a real container."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cluster.node.images import CHECKOUT
from tests.cluster.node.release import NAME, Release

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900), pytest.mark.slow]
EXEC = re.compile(r"^kubectl exec -n NAMESPACE (deploy/RELEASE\S*) (.+)$", re.MULTILINE)


def told() -> set[tuple[str, str]]:
    """All commands of runbooks that run in a container: of what, and what."""
    return {found for page in (CHECKOUT / "docs" / "runbooks").glob("*.md") for found in EXEC.findall(page.read_text())}


def test_every_command_of_a_runbook_runs_in_its_container(release: Release) -> None:
    release.install(api={"replicas": 1})
    assert len(told()) >= 3
    for place, command in sorted(told()):
        release.kubectl("exec", place.replace("RELEASE", NAME), *shlex.split(command))


def test_the_first_key_of_the_guide_opens_the_api(release: Release) -> None:
    release.install(api={"replicas": 1})
    place = ("exec", f"deploy/{NAME}-taskmill-api", "-c", "api", "--")
    key = release.kubectl(*place, "taskmill", "key", "create", "admin").strip()
    told = release.kubectl(*place, "env", f"TASKMILL_API_TOKEN={key}", "taskmill", "queue", "list", "-o", "json")
    assert told.lstrip().startswith(("[", "{")), told
