"""Tables, one per file: with this package all of them are imported, and so `models.base.metadata` is complete."""

from importlib import import_module
from pkgutil import iter_modules

for _table in iter_modules(__path__):
    import_module(f"{__name__}.{_table.name}")
