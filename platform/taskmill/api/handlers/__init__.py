"""The resources of the API, one per file: what is called `router` there is served below the prefix."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from litestar import Router


def routers() -> list[Router]:
    """Return the routers of all resources, by file name; `health` and `schema` stand elsewhere and have none."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return [module.router for module in modules if hasattr(module, "router")]
