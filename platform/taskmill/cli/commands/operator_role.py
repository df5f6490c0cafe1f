"""`taskmill operator`: the controller of TaskQueue and TaskSchedule objects in a Kubernetes cluster."""

from __future__ import annotations

import asyncio
import os
import socket

import rich_click as click

from taskmill.cli import phrases
from taskmill.cli.commands.roles import configured, first_of
from taskmill.cli.ending import until_signal
from taskmill.errors import Code, SetupError
from taskmill.settings import Settings

EVERYWHERE = "*"


@click.command()
@click.option(
    "--namespace", "namespaces", multiple=True, metavar="NAME", help="Namespace to serve; repeatable; `*` for all."
)
@click.option("--health-port", type=click.IntRange(0, 65535), default=None, help="Port of the probes and metrics.")
def operator(namespaces: tuple[str, ...], health_port: int | None) -> None:
    """Run the operator until SIGTERM: it makes, scales, drains and migrates the workers of TaskQueue objects.

    Inside a pod it uses the pod's service account, elsewhere KUBECONFIG. Example: taskmill operator --namespace jobs
    """
    settings = configured(operator_namespaces=list(namespaces), operator_health_port=health_port)

    async def work(stop: asyncio.Event, now: asyncio.Event) -> None:
        await first_of(_run(settings, stop), now)

    until_signal(work)


async def _run(settings: Settings, stop: asyncio.Event) -> None:
    try:
        from taskmill.kube.apiserver.access import own_namespace
        from taskmill.kube.runtime import OperatorConfig, run_operator
    except ImportError as error:
        reason = phrases.MISSING_PACKAGE(name=error.name)
        raise SetupError(Code.CONFIG_INVALID, field="operator", reason=reason) from error
    home = os.environ.get("TASKMILL_POD_NAMESPACE") or own_namespace()
    wanted = tuple(settings.operator_namespaces) or (home,)
    config = OperatorConfig(
        namespaces=() if EVERYWHERE in wanted else wanted,
        home=home,
        identity=os.environ.get("TASKMILL_POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
        default_image=settings.operator_image,
        lease_name=settings.operator_lease_name,
        health_host=settings.bind_host,
        health_port=settings.operator_health_port,
        tick_s=settings.operator_tick_s,
        workers=settings.operator_workers,
        rollouts=settings.operator_rollouts,
    )
    await run_operator(config, stop)
