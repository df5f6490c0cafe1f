"""A plugin with everything: configuration, a table of its own, a task, a route, a command, a page of the dashboard and a health check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import click
import msgspec
from litestar import Router, post

from taskmill import TaskContext, hookimpl, task
from taskmill.plugin import Dashboard, Health, Manifest, Page, Panel, Registry, Row, Secret, Submit, TaskFacts, Words


class NotesConfig(msgspec.Struct, frozen=True):
    """Read from `TASKMILL_PLUGIN_NOTES_*`."""

    signature: str = "Ada"


class Store:
    """The plugin's own way to the database; `url` is known once the plugin has registered."""

    url: Secret | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Give a connection to Taskmill's database."""
        if self.url is None:
            message = "TASKMILL_DATABASE_URL is not set"
            raise RuntimeError(message)
        connection = await asyncpg.connect(self.url.reveal())
        try:
            yield connection
        finally:
            await connection.close()

    async def count(self) -> int:
        """Return how many notes there are."""
        async with self.connection() as connection:
            return await connection.fetchval("select count(*) from notes.notes")

    async def newest(self) -> list[str]:
        """Return the newest notes."""
        async with self.connection() as connection:
            return [
                row["text"] for row in await connection.fetch("select text from notes.notes order by task_id desc limit 20")
            ]


store = Store()


class Note(msgspec.Struct):
    """What the task takes, and the body of the route."""

    text: str


@hookimpl
def taskmill_manifest() -> Manifest:
    """Return who the plugin is and its config type."""
    return Manifest(
        name="notes",
        version="0.1.0",
        requires_api=">=1.1,<2",
        config=NotesConfig,
        title_en="Notes",
        title_zh="便笺",
        summary_en="Keeps notes, as an example.",
        summary_zh="示例：保存便笺。",
        capabilities=frozenset({"network"}),
    )


@hookimpl
def taskmill_register(registry: Registry, config: NotesConfig) -> None:
    """Add `notes.write`; the handler has its config by being made here."""
    store.url = registry.database_url

    @task("notes.write", timeout="10s")
    async def write(note: Note, ctx: TaskContext) -> str:
        """Write a note; running twice writes it once."""
        text = f"{note.text} ({config.signature})"
        async with store.connection() as connection:
            await connection.execute(
                "insert into notes.notes (task_id, text) values ($1, $2) on conflict do nothing", ctx.id, text
            )
        return text

    registry.add(write)


@hookimpl
def taskmill_migrations() -> Path:
    """Return the folder of the plugin's own migrations."""
    return Path(__file__).parent / "notes_versions"


@post("/", operation_id="takeNote", summary="Take a note")
async def take_note(data: Note, submit: Submit) -> dict[str, str]:
    """Submit a task in the name of the caller; `submit` is filled in by its name."""
    return {"id": str(await submit("notes.write", data, tags=["note"]))}


@hookimpl
def taskmill_routes() -> list[Router]:
    """Return the routes; they are mounted under `/plugins/notes`."""
    return [Router("/", route_handlers=[take_note])]


async def newest_notes() -> list[Row]:
    """Make the rows of the page, each time somebody looks."""
    return [Row(Words("便笺", "note"), text) for text in await store.newest()]


async def written(task: TaskFacts) -> list[Row]:
    """Make the rows on the page of a task: what it wrote."""
    return [Row(Words("写下了", "wrote"), task.result)] if task.result else []


@hookimpl
def taskmill_dashboard() -> Dashboard:
    """Add a page to the rail, and a panel to the page of a task."""
    title = Words("便笺", "Notes")
    return Dashboard(
        pages=[Page("newest", title, [Panel(Words("最近的便笺", "Newest notes"), newest_notes)])],
        task_panels=[Panel(title, written, kinds=("notes.write",))],
    )


@click.command()
def count() -> None:
    """Print how many notes there are."""
    click.echo(asyncio.run(store.count()))


@hookimpl
def taskmill_cli(group: click.Group) -> None:
    """Add `taskmill notes count`."""
    group.add_command(count)


@hookimpl
async def taskmill_health() -> Health:
    """Say whether the table answers."""
    return Health(ok=True, detail=f"{await store.count()} notes")
