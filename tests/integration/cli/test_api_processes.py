"""Several API processes on one port: all serve, one that dies is replaced, they end with their parent, numbers are of all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from taskmill.dev import ports
from taskmill.dev.process_table import wait_until
from tests.support.command import Command

pytestmark = pytest.mark.timeout(400)
START_S = 90.0
STOP_S = 60.0
REQUESTS = re.compile(r'^taskmill_http_requests_total\{method="GET",path="/healthz",status="200"\} (\d+)', re.MULTILINE)


class Front:
    """The parent, and the addresses at which its copies and its probes answer."""

    def __init__(self, process: subprocess.Popen[str], url: str, probes: str, key: str) -> None:
        self.process, self.url, self.probes, self._key = process, url, probes, key

    def copies(self) -> set[int]:
        """The processes that serve."""
        return {int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()}

    def get(self, url: str) -> tuple[int, str]:
        """Ask on a connection of its own; 0 if nobody answers."""
        try:
            answer = httpx2.get(url, headers={"authorization": f"Bearer {self._key}"}, trust_env=False, timeout=20)
        except httpx2.HTTPError as error:
            return 0, repr(error)
        return answer.status_code, answer.text

    def requests(self) -> int:
        """How many requests for /healthz all copies have answered, as whichever accepts says it."""
        found = REQUESTS.search(self.get(f"{self.url}/metrics")[1])
        return int(found[1]) if found else 0


@pytest.fixture
def command(tmp_path: Path, database_url: str, broker_url: str) -> Command:
    command = Command(tmp_path, DATABASE_URL=database_url, BROKER_URL=broker_url)
    command.ok("migrate", "up")
    return command


@contextmanager
def fronted(command: Command, count: int = 2) -> Iterator[Front]:
    """Run that many copies until the block ends."""
    key = command.ok("key", "create", "tests").strip()
    port, probe = ports.choose(None), ports.choose(None)
    command.environment |= {"TASKMILL_API_HEALTH_PORT": str(probe), "TASKMILL_BIND_HOST": ports.HOST}
    with command.started("api", "--port", str(port), "--processes", str(count)) as process:
        front = Front(process, f"http://{ports.HOST}:{port}", f"http://{ports.HOST}:{probe}", key)
        served = wait_until(lambda: command.told("api").count("Application startup complete") >= count, START_S)
        assert served, command.told("api")
        yield front


@pytest.fixture
def front(command: Command) -> Iterator[Front]:
    with fronted(command) as front:
        yield front


def test_all_serve_on_one_port_and_any_of_them_tells_the_numbers_of_all(front: Front) -> None:
    assert len(front.copies()) == 2
    assert [front.get(f"{front.url}/healthz")[0] for _ in range(40)] == [200] * 40
    assert {front.requests() for _ in range(10)} == {40}
    assert front.get(f"{front.probes}/healthz") == (200, "ok\n")
    assert front.get(f"{front.probes}/readyz") == (200, "ready\n")
    assert front.get(f"{front.probes}/nothing")[0] == 404


def test_one_that_is_killed_is_replaced_while_the_other_serves_and_nothing_that_was_counted_is_lost(front: Front) -> None:
    before = front.copies()
    assert [front.get(f"{front.url}/healthz")[0] for _ in range(20)] == [200] * 20
    os.kill(min(before), signal.SIGKILL)
    assert wait_until(lambda: len(front.copies()) == 2 and front.copies() != before, START_S)
    assert front.get(f"{front.url}/healthz")[0] == 200
    assert wait_until(lambda: front.requests() == 21, START_S), front.requests()
    assert front.get(f"{front.probes}/readyz") == (200, "ready\n")


def test_a_copy_whose_loop_hangs_is_replaced(command: Command) -> None:
    with fronted(command) as front:
        hung = min(front.copies())
        os.kill(hung, signal.SIGSTOP)
        try:
            assert wait_until(lambda: hung not in front.copies() and len(front.copies()) == 2, START_S), command.told("api")
        finally:
            if hung in front.copies():
                os.kill(hung, signal.SIGCONT)


def test_they_end_together_when_the_parent_is_told_to(front: Front) -> None:
    copies = front.copies()
    front.process.send_signal(signal.SIGTERM)
    assert front.process.wait(STOP_S) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in copies)


def test_they_end_when_the_parent_is_killed(front: Front) -> None:
    copies = front.copies()
    front.process.kill()
    front.process.wait(STOP_S)
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in copies), STOP_S)


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (("--processes", "2"), {"TASKMILL_DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "TASKMILL_DATABASE_WAIT_S": "0"}, 5, "DATABASE_UNAVAILABLE"),
        (("--processes", "2", "--host", "203.0.113.9"), {}, 2, "TASKMILL_API_HOST"),
        (("--processes", "0"), {}, 2, "--processes"),
        (("--processes", "65"), {}, 2, "--processes"),
    ],
    ids=["database away", "address of another", "none", "too many"],
)  # fmt: skip
def test_what_is_wrong_is_told_once_with_its_code(
    command: Command, arguments: tuple[str, ...], settings: dict[str, str], code: int, words: str
) -> None:
    done = command.run("api", "--port", str(ports.choose(None)), *arguments, **settings)
    assert done.returncode == code, done.stderr
    assert done.stderr.count(words) == 1 or "--processes" in words, done.stderr
    assert words in done.stderr


def test_without_a_key_there_is_no_development_token(command: Command) -> None:
    port = ports.choose(None)
    with command.started("api", "--port", str(port), "--processes", "2"):
        assert wait_until(lambda: command.told("api").count("startup complete") >= 2, START_S), command.told("api")
        assert "taskmill key create" in command.told("api")
        assert httpx2.get(f"http://{ports.HOST}:{port}/api/v1/tasks", trust_env=False).status_code == 401
