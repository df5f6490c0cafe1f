"""The API description: Litestar's, with our own schemas, bodies, query parameters, errors and security put in.

A route says what Litestar cannot know in its `opt`: `body` and `query` (Structs), `errors` (codes beyond the usual), `also`
(a second status of success), `example` (the `data` of an answer). A router says there what its tag is `about`; of several with the same tag one does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from taskmill.api.envelope import SUCCESS, Failure
from taskmill.errors import ERRORS, Code

Json = dict[str, Any]
PREFIX = "#/components/schemas/"
REF = PREFIX + "{name}"
JSON_TYPE = "application/json"
_REFERENCE = re.compile(rb'("#/components/schemas/)([^"]+)"')
_TYPED = re.compile(r":\w+}")  # 路径参数的类型：{task_id:str}
_PATH = re.compile(r"(?:\w+\.)+(?=\w)")
_MODULE = re.compile(rb"_(?:[a-z0-9_]+\.)+")
# 任何路由都可能给出的错误；公开的路由没有后两个
ANY_ERRORS = (Code.INTERNAL, Code.DATABASE_UNAVAILABLE)
ACCESS_ERRORS = (Code.UNAUTHORIZED, Code.FORBIDDEN)
INPUT_ERRORS = (Code.INVALID_REQUEST,)
BODY_ERRORS = (Code.MALFORMED_JSON, Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.INVALID_REQUEST)


def complete(app: Litestar, litestar_document: Json) -> Json:
    """Return the OpenAPI 3.1 document of `app`, made from Litestar's."""
    found: Json = msgspec.json.decode(msgspec.json.encode(litestar_document))
    handlers = _handlers(app)
    described = [
        handlers[path, method]
        for path, methods in found["paths"].items()
        for method in methods
        if (path, method) in handlers
    ]
    names, own = _schemas(described)
    tags: dict[str, str] = {}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            if (path, method) in handlers:
                handler = handlers[path, method]
                _complete(operation, path, method, handler, names)
                if "about" in handler.opt:
                    tags |= dict.fromkeys(operation["tags"], handler.opt["about"])
    components = found.setdefault("components", {})
    foreign = {name: schema for name, schema in components.get("schemas", {}).items() if name not in own}
    components["schemas"] = own | _reachable(found["paths"], foreign)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "tmk_…"}}
    found["tags"] = [{"name": name, "description": words} for name, words in sorted(tags.items())]
    return found


def _handlers(app: Litestar) -> dict[tuple[str, str], HTTPRouteHandler]:
    """按路径与方法找：插件的路由多半没有自己的 operationId。"""
    return {
        (_TYPED.sub("}", route.path), method.lower()): handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def _schemas(handlers: Sequence[HTTPRouteHandler]) -> tuple[dict[Any, str], Json]:
    """一次生成全部模式；返回 类型 → 组件名，以及组件。"""
    types: list[Any] = [Failure]
    for handler in handlers:
        types += [_returned(handler)] if _is_envelope(handler) else []
        types += [handler.opt["body"]] if "body" in handler.opt else []
    unique = list(dict.fromkeys(types))
    references, components = msgspec.json.schema_components(unique, ref_template=REF)
    written = msgspec.json.encode(components)
    renamed: Json = msgspec.json.decode(_REFERENCE.sub(lambda match: match[1] + _plain(match[2]) + b'"', written))
    names = {kind: _name(ref["$ref"].removeprefix(PREFIX)) for kind, ref in zip(unique, references, strict=True)}
    own: Json = {
        _name(name): {**schema, "title": _name(name)} if "title" in schema else schema for name, schema in renamed.items()
    }
    return names, own


def _plain(name: bytes) -> bytes:
    """Msgspec 的泛型名带模块路径与下划线：Envelope_pkg.mod.Page_X__ → EnvelopePageX。"""
    return _MODULE.sub(b"", name).replace(b"_", b"")


def _name(name: str) -> str:
    return _plain(name.encode()).decode()


def _given(schema: Json) -> Json:
    """可空字段的非空一支。"""
    return next((part for part in schema.get("anyOf", ()) if part != {"type": "null"}), schema)


def _returned(handler: HTTPRouteHandler) -> Any:
    return handler.parsed_fn_signature.return_type.annotation


def _is_envelope(handler: HTTPRouteHandler) -> bool:
    return getattr(_returned(handler), "__origin__", None).__class__ is type(msgspec.Struct)


def _complete(operation: Json, path: str, method: str, handler: HTTPRouteHandler, names: Mapping[Any, str]) -> None:
    options = handler.opt
    answers = {status: answer for status, answer in operation.get("responses", {}).items() if status.startswith("2")}
    if "also" in options:
        answers[str(options["also"])] = dict(next(iter(answers.values())))
    if _is_envelope(handler):
        for answer in answers.values():
            answer["description"] = "OK"
            answer["content"] = {JSON_TYPE: {"schema": _ref(names[_returned(handler)])} | _example(options)}
    codes: list[Code] = [*ANY_ERRORS, *options.get("errors", ())]
    if handler.resolve_guards():
        codes += ACCESS_ERRORS
        operation["security"] = [{"key": []}]
    if "{" in path or "query" in options:
        codes += INPUT_ERRORS
    if "body" in options:
        codes += BODY_ERRORS
        operation["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": _ref(names[options["body"]])}}}
    elif method != "get":
        codes += (Code.BODY_TOO_LARGE, Code.INVALID_REQUEST)
    if "query" in options:
        operation.setdefault("parameters", []).extend(_parameters(options["query"]))
    operation["responses"] = answers | _errors(codes)


def _example(options: Mapping[str, Any]) -> Json:
    """路由只写 `data`，信封由这里包上。"""
    if "example" not in options:
        return {}
    return {
        "example": {
            "code": "OK",
            "message": msgspec.to_builtins(SUCCESS),
            "data": options["example"],
            "request_id": "0190a5c8-7d3f-7aaa-8000-0000000000ff",
            "timestamp": "2026-11-29T20:30:00.000Z",
        }
    }


def _ref(name: str) -> Json:
    return {"$ref": PREFIX + name}


def _errors(codes: Iterable[Code]) -> Json:
    by_status: dict[int, set[Code]] = {}
    for code in codes:
        by_status.setdefault(ERRORS[code].status, set()).add(code)
    content = {JSON_TYPE: {"schema": _ref(Failure.__name__)}}
    return {str(s): {"description": ", ".join(sorted(found)), "content": content} for s, found in sorted(by_status.items())}


def _parameters(form: type[msgspec.Struct]) -> Iterable[Json]:
    _, components = msgspec.json.schema_components([form], ref_template=REF)
    for name, schema in components[form.__name__]["properties"].items():
        given = _given(schema)
        words = given.pop("description", "")
        yield {"name": name, "in": "query", "required": False, "description": words, "schema": given}


def _title(schema: Json, key: str) -> str:
    """Litestar 与 msgspec 的泛型标题带模块路径：那是实现，不是名字。"""
    return _PATH.sub("", str(schema.get("title", key)))


def _reachable(paths: Json, schemas: Json) -> Json:
    """插件路由用到的、Litestar 生成的模式；其余的已由我们自己的取代。"""
    kept: Json = {}
    todo = [paths]
    while todo:
        for match in _REFERENCE.finditer(msgspec.json.encode(todo.pop())):
            key = match[2].decode()
            if key in schemas and key not in kept:
                kept[key] = {**schemas[key], "title": _title(schemas[key], key)}
                todo.append(schemas[key])
    return kept
