"""Whoever chose a language reads that one: nothing of the other on the terminal, whatever goes wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskmill.cli import language, main, phrases
from taskmill.cli.commands import bench
from taskmill.kube import phrases as kube_phrases
from taskmill.words import Words

CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
QUOTED = (
    "Input data was truncated",
    "while parsing a flow node",
    "expected the node content, but found",
)  # 别的库的原话，照引
SENTENCE = re.compile(r"[a-z]+(?: [a-z]+){3,}")  # 四个小写英文词连成一句，便是没有译的话
HEADER = "second,queue,type,service_ms\n"
QUEUE = "apiVersion: taskmill.dev/v1alpha1\nkind: TaskQueue\nspec: {queue: q, concurrency: many}\n"
FILES = {
    "no.yaml": "{",
    "other.yaml": "kind: Pod\n",
    "unfit.yaml": QUEUE,
    "columns.csv": "second\n1\n",
    "empty.csv": HEADER,
    "words.csv": f"{HEADER}soon,q,t,1\n",
    "outside.csv": f"{HEADER}-1,q,t,1\n",
    "tasks.jsonl": "{\n",
}
FAILS = [
    "wroker", "nothing-like-it", "task lits", "worker lits", "task submit", "task submit a.b --argz 1", "task submit a.b c", "task submit a.b --tag", "task submit a.b --wait=x",
    "task submit a.b --priority 7", "task submit a.b --priority x", "task submit a.b --max-attempts 0", "task list --page-size 101",
    "task list --state odd", "task submit a.b --args {", "task submit a.b --args NaN", "task submit a.b --args @gone",
    "task submit a.b --in soon", "task submit a.b --at soon", "task submit a.b --expires soon", "task show ..", "task batch gone.jsonl",
    "task batch tasks.jsonl", "task submit a.b --args @.", "task list --url ftp://x", "task list --url http://127.0.0.1:9", "queue set q", "queue set q --retention soon",
    "schedule create n a.b", "schedule create n a.b --every 5m --cron *", "schedule create n", "node list --page 0",
    "plugin list --page x", "key create k --scope all", "key create k --expires-in soon", "key list", "migrate up --revision 1 --phase expand",
    "migrate status", "migrate down base --yes", "api --port 70000", "worker --concurrency 0", "worker", "scheduler", "operator --health-port x",
    "bench slow", "bench --runs 0", "scale simulate --trace gone.csv", "scale simulate --trace columns.csv", "scale simulate --trace empty.csv",
    "scale simulate --trace words.csv", "scale simulate --trace outside.csv", "scale simulate --queue no.yaml", "scale simulate --queue other.yaml",
    "scale simulate --queue unfit.yaml", "doctor -o odd", "doctor x",
]  # fmt: skip

TASKMILL = str(Path(sys.executable).with_name("taskmill"))
ROLES = {"api", "worker", "scheduler", "operator"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with broken files, no server set, and no language chosen."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("TASKMILL_DATABASE_URL", "TASKMILL_BROKER_URL", "TASKMILL_API_URL", "TASKMILL_LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr(language, "_chosen", [])
    return tmp_path


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    if arguments[2] in ROLES:  # 它们接管信号，并在收尾的时限到时结束整个进程：不能在测试自己的进程里跑
        ended = subprocess.run([TASKMILL, *arguments], capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout + ended.stderr
    code = main.run(arguments)
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize("line", FAILS)
def test_an_error_is_in_the_language_that_was_chosen(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in language.LANGUAGES:
        code, text = _run(["--lang", name, *line.split()], capsys)
        assert code not in {0, None}
        for words in QUOTED:
            text = text.replace(words, "")
        assert text.strip()
        if name == "en":
            assert not CHINESE.search(text), text
        else:
            assert CHINESE.search(text), text
            assert not SENTENCE.search(text), text


def test_the_environment_chooses_the_language(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["wroker"])
    assert capsys.readouterr().err.startswith("USAGE wrong usage: no command wroker; did you mean worker?")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    main.run(["wroker"])
    assert capsys.readouterr().err.startswith("USAGE 用法不对：没有命令 wroker；是否想用 worker？")


@pytest.mark.parametrize(("typed", "meant"), [("task submitt", "submit"), ("worker lits", "list"), ("wroker", "worker")])
def test_a_command_that_is_almost_right_is_asked_after(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    main.run(typed.split())
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["task submit a.b --args {", "task submit a.b --in 5x", "task submit a.b --at tomorrow", "task show ..", "task list --url ftp://x",
     "schedule create n a.b", "queue set q", "migrate up --revision 1 --phase expand"],
)  # fmt: skip
def test_a_mistake_points_to_the_help_of_its_own_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    main.run(line.split())
    assert f"hint: taskmill {' '.join(line.split()[:2])} --help" in capsys.readouterr().err


def test_a_broken_run_file_is_told_in_one_language(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".taskmill").mkdir()
    (folder / ".taskmill" / "run.json").write_text("[]")
    assert main.run(["--lang", "zh", "task", "list"]) == 2
    assert "不是完整的 run.json" in capsys.readouterr().err


def test_help_is_listed_in_the_language_that_was_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["--lang", "en", "--help"])
    assert not CHINESE.search(capsys.readouterr().out)
    main.run(["--lang", "zh", "--help"])
    assert "运行工作进程" in capsys.readouterr().out


REPORT = {
    "workload": "drain",
    "machine": {"cpu": "CPU", "cores": 2, "postgres": "18.0"},
    "tasks": 100,
    "tasks_per_second": 9.5,
}


@pytest.mark.parametrize(("name", "titles"), [("en", ("2 cores", "figure", "median")), ("zh", ("2 核", "指标", "中位数"))])
def test_the_table_of_bench_is_in_one_language(
    name: str, titles: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    language.choose(name)
    bench._show(REPORT)
    text = capsys.readouterr().out
    assert all(title in text for title in titles), text
    assert bool(CHINESE.search(text)) is (name == "zh")


@pytest.mark.parametrize("module", [phrases, kube_phrases])
def test_each_phrase_has_each_language_in_its_own_field(module: object) -> None:
    found = {name: value for name, value in vars(module).items() if isinstance(value, Words)}
    assert found
    for name, value in found.items():
        assert CHINESE.search(value.zh), name
        assert not CHINESE.search(value.en), name
        assert set(re.findall(r"\{(\w+)", value.zh)) == set(re.findall(r"\{(\w+)", value.en)), name
