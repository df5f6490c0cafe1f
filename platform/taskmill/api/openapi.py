"""The API description: Litestar's, completed with bodies, query parameters, errors and security of our routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.routes import HTTPRoute

from taskmill import __version__
from taskmill.api.envelope import Failure
from taskmill.errors import ERRORS, Code

REF = "#/components/schemas/{name}"
Json = dict[str, Any]
# 任何路由都可能给出的错误；公开的路由没有前两个
ACCESS_ERRORS = (Code.UNAUTHORIZED, Code.FORBIDDEN)
ANY_ERRORS = (Code.INTERNAL, Code.DATABASE_UNAVAILABLE)
PATH_ERRORS = (Code.INVALID_REQUEST,)
BODY_ERRORS = (Code.MALFORMED_JSON, Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.INVALID_REQUEST)
TAGS = {
    "tasks": "Units of durable work", "queues": "Lanes of tasks", "scaling": "Numbers for autoscalers",
    "catalog": "Kinds and plugins", "overview": "Workers and sums", "health": "Probes and metrics",
}


def config() -> OpenAPIConfig:
    """Return what Litestar needs to know; we serve the document and its page ourselves."""
    return OpenAPIConfig(title="Taskmill", version=__version__, path="/schema", render_plugins=[])


def document(app: Litestar) -> Json:
    """Return the OpenAPI 3.1 document of `app`."""
    found: Json = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    components = found.setdefault("components", {})
    _, own = msgspec.json.schema_components(list(_structs(app)), ref_template=REF)
    components.setdefault("schemas", {}).update(own)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "tmk_…"}}
    found["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            _complete(operation, path, method, _options(app, operation.get("operationId")))
    return found


def _complete(operation: Json, path: str, method: str, options: Mapping[str, Any]) -> None:
    operation["responses"] = {
        status: answer for status, answer in operation.get("responses", {}).items() if status.startswith("2")
    }
    codes = [*ANY_ERRORS, *options.get("errors", ())]
    if not options.get("public", False):
        codes += ACCESS_ERRORS
        operation["security"] = [{"key": []}]
    if "{" in path:
        codes += PATH_ERRORS
    if (body := options.get("body")) is not None:
        codes += BODY_ERRORS
        content = {"application/json": {"schema": {"$ref": REF.format(name=body.__name__)}}}
        operation["requestBody"] = {"required": True, "content": content}
    elif method == "post":
        codes += (Code.BODY_TOO_LARGE, Code.INVALID_REQUEST)
    if (query := options.get("query")) is not None:
        codes += PATH_ERRORS
        operation.setdefault("parameters", []).extend(_parameters(query))
    _errors(operation["responses"], codes)


def _errors(responses: Json, codes: Iterable[Code]) -> None:
    by_status: dict[int, set[Code]] = {}
    for code in codes:
        by_status.setdefault(ERRORS[code].status, set()).add(code)
    for status, found in sorted(by_status.items()):
        schema = {"$ref": REF.format(name=Failure.__name__)}
        responses[str(status)] = {
            "description": ", ".join(sorted(found)), "content": {"application/json": {"schema": schema}}
        }


def _parameters(form: type[msgspec.Struct]) -> Iterable[Json]:
    _, components = msgspec.json.schema_components([form], ref_template=REF)
    for name, schema in components[form.__name__]["properties"].items():
        words = schema.pop("description", "")
        yield {"name": name, "in": "query", "required": False, "description": words, "schema": schema}


def _structs(app: Litestar) -> Iterable[type[msgspec.Struct]]:
    yield Failure
    seen: set[type[msgspec.Struct]] = set()
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                body = handler.opt.get("body")
                if body is not None and body not in seen:
                    seen.add(body)
                    yield body


def _options(app: Litestar, operation_id: str | None) -> Mapping[str, Any]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.operation_id == operation_id:
                    return {"public": not handler.resolve_guards(), **handler.opt}
    return {}


