"""Which of the watched namespaces can be read: one that goes away, or loses its RoleBinding, costs itself alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskmill.kube.apiserver.failures import ForbiddenError
from taskmill.log import get_logger

log = get_logger(__name__)


class Tenants:
    """The namespaces of the settings (empty: the whole cluster, which cannot be lost). `lost` may be read in any thread.

    `found` is called with a namespace that can be read again.
    """

    def __init__(self, namespaces: Sequence[str], found: Callable[[str], None] = lambda _: None) -> None:
        self.all = tuple(namespaces) or ("",)
        self._found = found
        self.lost: frozenset[str] = frozenset()
        self._errors: dict[str, ForbiddenError] = {}

    def error(self, namespace: str) -> ForbiddenError | None:
        """Return what the API server said of a namespace that is lost."""
        return self._errors.get(namespace)

    def lose(self, namespace: str, error: ForbiddenError) -> None:
        """Note that something in a namespace may not be read."""
        if namespace not in self._errors:
            log.error("读不了这个命名空间，先照看别的", namespace=namespace, error=str(error))
        self._errors[namespace] = error
        self.lost = frozenset(self._errors)

    def find(self, namespace: str) -> None:
        """Note that a namespace can be read."""
        if self._errors.pop(namespace, None) is not None:
            log.info("命名空间又能读了", namespace=namespace)
            self.lost = frozenset(self._errors)
            self._found(namespace)
