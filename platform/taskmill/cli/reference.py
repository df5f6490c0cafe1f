"""Writes docs/reference and the CRD files from the code: `python -m taskmill.cli.reference --write`; `--check` compares."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli import reference_pages as pages
from taskmill.cli.failure import EXIT_FAILED
from taskmill.cli.language import in_language
from taskmill.kube.crd import documents as crds
from taskmill.kube.crd import page as crd_page

FOLDER = Path(__file__).parents[3] / "docs" / "reference"
PAGES = {
    "settings.md": pages.settings,
    "errors.md": pages.errors,
    "cli.md": pages.commands,
    "redis-keys.md": pages.redis_keys,
    "metrics.md": pages.metrics,
    "hooks.md": pages.hooks,
    "crds.md": crd_page.page,
    "controls.md": pages.controls,
}
BY_HAND = {"conditions.md"}  # 手写，另有测试对照代码里的原因


def render() -> dict[str, str]:
    """Return every page by file name."""
    return {name: page() for name, page in PAGES.items()}


def stale(folder: Path) -> list[str]:
    """Return the names of pages in `folder` that are missing, outdated, or not made by this program."""
    wanted = render()
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md") if path.name not in BY_HAND}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


@click.command()
@click.option("--write/--check", "write", required=True, help="Write the pages, or fail if one is out of date.")
@click.pass_context
def main(ctx: click.Context, write: bool) -> None:
    """Write the reference pages and the CRD files, or check them.

    Example: python -m taskmill.cli.reference --check
    """
    if write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in render().items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        crds.write(crds.ROOT)
        return
    old = [*(f"docs/reference/{name}" for name in stale(FOLDER)), *crds.stale(crds.ROOT)]
    for name in old:
        click.echo(in_language(phrases.OUT_OF_DATE(name=name)), err=True)
    ctx.exit(EXIT_FAILED if old else 0)


if __name__ == "__main__":
    sys.exit(main())
