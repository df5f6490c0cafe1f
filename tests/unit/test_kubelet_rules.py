"""The rules of the process kubelet that need no control plane."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.kubelet.expand import expand
from tests.cluster.kubelet.fields import quantity, resource
from tests.cluster.kubelet.network import Network
from tests.cluster.kubelet.status import Container, conditions, phase
from tests.cluster.kubelet.support import hidden


@pytest.mark.parametrize(
    ("text", "answer"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A $(", "$A $("), ("$$$(A)", "$1")],
)
def test_references(text: str, answer: str) -> None:
    assert expand(text, {"A": "1"}) == answer


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.cpu", "divisor": "0"}, "4"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory"}, "0"),
    ],
)
def test_resources_of_the_downward_api(reference: dict[str, str], answer: str) -> None:
    container = {"resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "1.5"}}}
    assert resource(container, reference, {"cpu": "4"}) == answer
    assert quantity("1k") == 1000


def made(*codes: int | None, waiting: bool = False) -> list[Container]:
    """Return containers that ended with these codes; None runs, or has never run if `waiting`."""
    made: list[Container] = []
    for number, code in enumerate(codes):
        item = Container(f"c{number}", "image")
        if code is not None:
            item.state = {"terminated": {"exitCode": code}}
        elif not waiting:
            item.state = {"running": {}}
        made.append(item)
    return made


@pytest.mark.parametrize(
    ("policy", "inits", "mains", "ending", "answer"),
    [
        ("Always", [], made(None, waiting=True), False, "Pending"),
        ("Always", made(None), made(None, waiting=True), False, "Pending"),
        ("Always", made(0), made(None), False, "Running"),
        ("Always", [], made(0), False, "Running"),
        ("Always", [], made(0, 143), True, "Failed"),
        ("Always", [], made(0, 0), True, "Succeeded"),
        ("OnFailure", [], made(0, 0), False, "Succeeded"),
        ("OnFailure", [], made(0, 1), False, "Running"),
        ("Never", [], made(0, 1), False, "Failed"),
        ("Never", [], made(None, 1), False, "Running"),
        ("Never", made(1), made(None, waiting=True), False, "Failed"),
        ("Always", made(1), made(None, waiting=True), False, "Pending"),
    ],
)
def test_phase(policy: str, inits: list[Container], mains: list[Container], ending: bool, answer: str) -> None:
    assert phase({"restartPolicy": policy}, inits, mains, ending=ending) == answer


def test_ready_needs_every_container_and_every_gate() -> None:
    mains = made(None, None)
    mains[0].ready = True
    half = conditions([], mains, phase="Running", sandbox=True, gates={})
    assert half["Ready"] == (False, "ContainersNotReady")
    mains[1].ready = True
    assert conditions([], mains, phase="Running", sandbox=True, gates={})["Ready"][0]
    shut = conditions([], mains, phase="Running", sandbox=True, gates={"example.com/gate": False})
    assert (shut["ContainersReady"][0], shut["Ready"]) == (True, (False, "ReadinessGatesNotReady"))
    assert conditions([], made(0), phase="Succeeded", sandbox=True, gates={})["Ready"] == (False, "PodCompleted")


def test_two_kubelets_of_one_machine_never_share_addresses() -> None:
    first, second = Network(), Network()
    address = first.pod()
    assert first.local(address) == "127" + address.removeprefix("10")
    assert second.local(address) == address
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("path", "found"),
    [("/tmp/a/taskmill", False), ("/tmp", False), ("/srv/taskmill", True), ("/tmpfiles/taskmill", True)],  # noqa: S108 - 只是名字
)
def test_a_checkout_that_pods_cannot_see_is_told_before_they_fail(path: str, found: bool) -> None:
    assert ("check out elsewhere" in hidden([Path("/usr"), Path(path)])) is not found
