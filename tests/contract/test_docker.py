"""Dockerfile and compose.yaml without a Docker engine: what they copy exists, what they promise holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.requires import missing

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
OURS = ("migrate", "api", "worker", "scheduler")
INSTALL_TIMEOUT_S = 600
# 笔记本与测试用的不在镜像里
IMPORT_ALL = """
import importlib, pkgutil, taskmill
for module in pkgutil.walk_packages(taskmill.__path__, "taskmill."):
    if not module.name.startswith(("taskmill.testing.", "taskmill.dev.demo")) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def instructions(name: str) -> list[str]:
    """Return the arguments of every `name` instruction, continuation lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]


def copied() -> list[tuple[list[str], str]]:
    """Return (sources, target) of every COPY from the build context."""
    words = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return [(line[:-1], line[-1]) for line in words]


def allowed_in_context(name: str) -> bool:
    """Return whether `.dockerignore`, which starts by excluding everything, lets a top-level name in."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    return f"!{name.removeprefix('./')}" in lines


@pytest.mark.parametrize("source", [source for sources, _ in copied() for source in sources])
def test_what_is_copied_is_in_the_build_context(source: str) -> None:
    assert (ROOT / source).exists()
    assert allowed_in_context(source)


def test_the_image_runs_taskmill_as_nobody_special() -> None:
    user = instructions("USER")[-1]
    assert int(user.split(":")[0]) > 0
    assert json.loads(instructions("ENTRYPOINT")[-1]) == ["taskmill"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_base_images_are_pinned_and_the_same() -> None:
    images = {line.split()[0] for line in instructions("FROM")}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", images.pop())


def service(name: str) -> dict[str, Any]:
    """Return one service of compose.yaml."""
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def test_the_password_is_required() -> None:
    assert ":?" in service("postgres")["environment"]["POSTGRES_PASSWORD"]
    assert all(":?" in service(name)["environment"]["TASKMILL_DATABASE_URL"] for name in OURS)


def test_roles_wait_for_the_migration_and_servers_for_their_health() -> None:
    for name in OURS[1:]:
        assert service(name)["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    for name in ("postgres", "valkey", *OURS[1:]):
        assert service(name)["healthcheck"]["test"], name


def test_only_loopback_is_published() -> None:
    for name, facts in COMPOSE["services"].items():
        assert all(str(port).startswith("127.0.0.1:") for port in facts.get("ports", [])), name


def test_the_drain_of_a_worker_fits_into_its_stop_period() -> None:
    from taskmill.settings import Settings

    grace = float(service("worker")["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_grace_s"].default


def slim(environment: dict[str, str], folder: Path) -> None:
    """Run the line that removes what nobody needs at run time, without `strip` where this machine has none."""
    beside = folder / "without-strip"
    beside.mkdir()
    (beside / "strip").symlink_to("/bin/true")
    [line] = [line for line in instructions("RUN") if "strip " in line]
    search = f"{environment['PATH']}:{beside}"
    subprocess.run(["sh", "-euc", line], env={**environment, "PATH": search}, check=True, capture_output=True)


def everything_left_works(prefix: Path, environment: dict[str, str]) -> None:
    """Import every module of the package; what was removed is removed."""
    done = subprocess.run(
        [f"{prefix}/bin/python", "-c", IMPORT_ALL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    generated = [path for path in prefix.rglob("kubernetes/**/client/*/*.py") if path.parent.name in {"api", "models"}]
    assert {path.name for path in generated} == {"__init__.py"}
    assert len(generated) == 4
    assert not [name for name in ("faker", "polyfactory") if list(prefix.glob(f"lib/python3*/site-packages/{name}"))]


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_TIMEOUT_S)
def test_the_install_steps_make_a_working_command(tmp_path: Path) -> None:
    """Run what the build stage runs, on what it copies, in an empty directory."""
    beside = str(Path(sys.executable).parent)  # 没有装 uv 的机器上，它在环境里
    uv = shutil.which("uv") or shutil.which("uv", path=beside) or missing("uv", target="env")
    source, prefix = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for names, target in copied():
        for name in names:
            place = source / (name if target.endswith("./") or target == "./" else target)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__", "tests"))
            else:
                shutil.copy(ROOT / name, place)
    sync = next(line for line in instructions("RUN") if "uv sync" in line)
    arguments = sync[sync.index("uv sync") :].split()[1:]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON"))}
    environment |= {"UV_PROJECT_ENVIRONMENT": str(prefix), "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    environment |= {"UV_LINK_MODE": "copy"}  # 硬链接的库一改，uv 的缓存也坏了
    subprocess.run([uv, *arguments], cwd=source, env=environment, check=True, capture_output=True)
    slim(environment, tmp_path)
    shutil.rmtree(source)
    clean = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(["taskmill", "--version"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    probe = "from importlib.resources import files; from importlib.metadata import entry_points as e; "
    probe += "print(len(list((files('taskmill') / '_migrations' / 'versions').iterdir())), len(e(group='taskmill.plugins')))"
    told = subprocess.run([f"{prefix}/bin/python", "-c", probe], env=clean, capture_output=True, text=True, check=True)
    migrations, plugins = (int(word) for word in told.stdout.split())
    everything_left_works(prefix, clean)
    assert migrations >= 1
    assert plugins == len(list((ROOT / "plugins").glob("*/pyproject.toml")))
