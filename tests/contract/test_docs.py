"""The documents say what the code says, and lead to places that exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from taskmill import constants as c
from taskmill import errors, states
from taskmill.cli.main import COMMANDS
from taskmill.engine import constants as ec
from taskmill.plugin import hookspecs
from taskmill.services import constants as svc
from taskmill.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "platform" / "taskmill"
DOCS, SPECS = ROOT / "docs", ROOT / "specs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SLUG = re.compile(r"\d{3}-[a-z0-9-]+")
SPEC_FILES = {"spec.md", "plan.md", "research.md", "data-model.md", "quickstart.md", "tasks.md", "contracts"}
DOC_FILES = {"功能总结.md", "使用指南.md", "架构说明.md"}
HAN = re.compile(r"[\u4e00-\u9fff]")
FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\bTASKMILL_[A-Z_]*[A-Z]\b")
PICTURE_BYTES_MAX = 200 * 1024
OUTSIDE = re.compile(r"^[a-z]+:")


def pages() -> Iterator[Path]:
    """Every page that the project wrote."""
    yield from sorted(ROOT.glob("*.md"))
    for folder in ("docs", "specs", "examples", "plugins", "benchmarks"):
        yield from sorted(p for p in (ROOT / folder).rglob("*.md") if ".pytest_cache" not in p.parts)


def slugs(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir() and SLUG.fullmatch(entry.name)}


def links(text: str) -> list[str]:
    """Return the targets of links, those in code left out."""
    return LINK.findall(INLINE.sub("", FENCE.sub("", text)))


def test_every_picture_is_shown_and_small() -> None:
    shown = {(page.parent / target).resolve() for page in pages() for target in links(page.read_text("utf-8"))}
    taken = sorted((DOCS / "pictures").iterdir())
    assert [each.name for each in taken if each.suffix != ".png" or each not in shown] == []
    assert {each.name: size for each in taken if (size := each.stat().st_size) > PICTURE_BYTES_MAX} == {}


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    found: list[str] = []
    for target in links(text):
        if OUTSIDE.match(target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place.read_text(encoding="utf-8"))):
            found.append(target)
    return found


def commands(text: str) -> list[str]:
    """Return the lines and snippets of code of a page, without comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    snippets = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines()] + snippets


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_would_be_noticed() -> None:
    text = "[a](nowhere.md) [b](README.md#no-such-heading) [c](README.md#limits) [d](https://example.com) `[e](code.md)`"
    assert broken(ROOT / "README.md", text) == ["nowhere.md", "README.md#no-such-heading"]


def test_every_specification_has_its_documents() -> None:
    assert slugs(SPECS) == slugs(DOCS) != set()


@pytest.mark.parametrize("slug", sorted(slugs(SPECS)))
def test_a_feature_is_complete(slug: str) -> None:
    assert {entry.name for entry in (SPECS / slug).iterdir()} >= SPEC_FILES
    assert {entry.name for entry in (DOCS / slug).iterdir()} >= DOC_FILES
    assert list((SPECS / slug / "contracts").glob("*.md"))
    for name in DOC_FILES:
        assert len(HAN.findall((DOCS / slug / name).read_text(encoding="utf-8"))) > 100, name


@pytest.mark.parametrize("slug", sorted(slugs(SPECS)))
def test_the_readme_has_chinese_sentences_and_links_for_each_feature(slug: str) -> None:
    paragraphs = [part for part in README.split("\n\n") if f"docs/{slug}/" in part]
    assert len(paragraphs) == 1
    assert 2 <= paragraphs[0].count("。") <= 3
    wanted = {f"docs/{slug}/{name}" for name in DOC_FILES} | {f"specs/{slug}/spec.md"}
    assert wanted <= set(links(paragraphs[0]))


def test_chinese_pages_have_spaces_between_chinese_and_latin() -> None:
    tight = re.compile(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]")
    for slug in slugs(DOCS):
        for name in DOC_FILES:
            text = re.sub(r"\]\([^)]*\)", "]", FENCE.sub("", (DOCS / slug / name).read_text(encoding="utf-8")))
            assert tight.findall(INLINE.sub("`x`", text)) == [], f"{slug}/{name}"


def test_the_table_of_transitions_is_the_code() -> None:
    text = (DOCS / "concepts" / "states.md").read_text(encoding="utf-8")
    table = text.split("<!-- transitions -->")[1].split("<!-- /transitions -->")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.strip().splitlines()[2:]]
    written = {(by, None if source == "–" else source, target) for by, source, target, _ in rows}
    assert len(written) == len(rows)
    assert written == {(by.value, source and source.value, target.value) for by, source, target in states.TRANSITIONS}
    assert all(when for *_, when in rows)


@pytest.mark.parametrize("page", ["concepts/states.md", "glossary.md"])
@pytest.mark.parametrize("state", list(states.State))
def test_every_state_has_both_languages(page: str, state: states.State) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    row = re.search(rf"^\| `?{state.value}`? \| ([^|]+) \|", text, flags=re.MULTILINE)
    assert row is not None
    assert HAN.search(row[1])


@pytest.mark.parametrize("code", list(errors.Code))
def test_every_error_has_both_languages(code: errors.Code) -> None:
    spec = errors.ERRORS[code]
    assert HAN.search(spec.zh)
    assert re.search("[a-z]", spec.en)
    assert not HAN.search(spec.en)
    assert bool(spec.hint_zh) == bool(spec.hint_en)
    assert set(re.findall(r"\{\w+\}", spec.zh)) == set(re.findall(r"\{\w+\}", spec.en))


def test_every_hook_is_in_the_guide() -> None:
    guide = (DOCS / "guides" / "plugin-author.md").read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("taskmill_")]
    assert hooks
    assert [name for name in hooks if f"| `{name}(" not in guide] == []
    assert f"now {hookspecs.HOOKSPEC_API}" in guide


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md", "docs/guides/operations.md", "CONTRIBUTING.md"])
def test_commands_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9/_-]+):", makefile, flags=re.MULTILINE))
    told = commands((ROOT / name).read_text(encoding="utf-8"))
    made = {match[1] for line in told if (match := re.match(r"make ([a-z0-9/_-]+)", line))}
    called = {match[1] for line in told if (match := re.match(r"(?:\.venv/bin/)?taskmill ([a-z]+)", line))}
    assert made | called
    assert made <= targets
    assert called <= set(COMMANDS)


def test_variables_that_pages_name_exist() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "platform").rglob("*.py"))
    known = {f"TASKMILL_{name.upper()}" for name in Settings.model_fields} | set(VARIABLE.findall(sources))
    told = {
        name
        for page in pages()
        for name in VARIABLE.findall(page.read_text(encoding="utf-8"))
        if not name.startswith(("TASKMILL_PLUGIN_", "TASKMILL_TEST_")) or name in known
    }
    assert "TASKMILL_DATABASE_URL" in told
    assert told <= known


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("concepts/delivery.md", f"at most {c.STREAM_WINDOW:,} tickets"),
        ("concepts/delivery.md", " : ".join(str(c.PRIORITY_WEIGHTS[p]) for p in c.PRIORITIES)),
        ("concepts/delivery.md", f"lease of {c.LEASE_S:g} s (`TASKMILL_LEASE_S`) every {c.HEARTBEAT_S:g} s"),
        ("concepts/delivery.md", f"Outcomes are collected for {ec.SETTLE_DELAY_S * 1000:g} ms or up to {ec.SETTLE_MAX:,}"),
        ("concepts/delivery.md", f"more than {c.LOST_TICKET_MARGIN_S:g} s older"),
        ("concepts/delivery.md", f"the rescuer takes the row {c.DEADLINE_GRACE_S:g} s after its deadline"),
        ("concepts/time.md", f"up to {c.CRON_LATE_S:g} s late"),
        ("concepts/time.md", f"default {c.CATCH_UP_DEFAULT_S:g}"),
        ("concepts/time.md", f"default {c.TIMEOUT_DEFAULT_S / 60:g} minutes"),
        ("concepts/time.md", f"every {c.STAGER_PERIOD_S * 1000:g} ms"),
        ("guides/api-client.md", f"at most {c.BATCH_MAX_TASKS:,} tasks and {c.BATCH_BODY_MAX_BYTES >> 20} MiB"),
        ("guides/api-client.md", f"at most {c.ARGS_MAX_BYTES >> 10} KiB and {c.ARGS_MAX_DEPTH} levels"),
        ("guides/api-client.md", f"kept for {c.RETENTION_DAYS} days"),
        ("guides/operations.md", f"| api | {c.POOL_SIZE} | {c.ORM_POOL_SIZE} | – | {c.POOL_SIZE + c.ORM_POOL_SIZE} |"),
        ("guides/operations.md", f"`TASKMILL_DRAIN_GRACE_S` | {c.DRAIN_GRACE_S:g} |"),
        ("guides/plugin-author.md", f"longer than {c.PLUGIN_START_BUDGET_S:g} s to come up"),
        ("adr/0004-adaptive-group-commit.md", f"At most {svc.GROUP_COMMIT_QUEUE_MAX:,} submits wait"),
        ("adr/0007-prefetch-by-expected-wait.md", f"within {ec.PREFETCH_TARGET_S * 1000:g} ms"),
    ],
)
def test_numbers_are_those_of_the_code(page: str, words: str) -> None:
    assert words in " ".join((DOCS / page).read_text(encoding="utf-8").split())


def test_the_readme_shows_the_example() -> None:
    block = re.search(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    assert block[1] in (ROOT / "examples" / "hello-plugin" / "hello.py").read_text(encoding="utf-8")


def test_the_changelog_has_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(project['version'])}\] - \d{{4}}-\d\d-\d\d$", changelog, flags=re.MULTILINE)


def test_every_decision_is_listed() -> None:
    folder = DOCS / "adr"
    listed = links((folder / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in folder.glob("0*.md"))


def constants() -> Iterator[ModuleType]:
    """Give every module of constants, the shared one and the packages' own."""
    for path in PACKAGE.rglob("constants.py"):
        yield import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))


def test_the_table_of_waits_has_the_values_of_the_constants() -> None:
    rows = re.findall(
        r"^\|.*\| ([\d.]+) m?s \| `([A-Z_]+)` \|$", (DOCS / "concepts" / "waits.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) >= 15
    numbers = {name: value for module in constants() for name, value in vars(module).items()}
    assert {name: float(value) for value, name in rows} == {name: float(numbers[name]) for _, name in rows}
