"""The CRD files are those of the code, small enough for `kubectl apply`, bounded, and explained field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskmill.kube.crd import documents as crds
from taskmill.kube.crd import page as crd_page

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "examples" / "kubernetes").rglob("*.yaml"))
SIZE_MAX = 120 * 1024  # kubectl apply 把整个对象放进一个注解，上限 256 KiB
NAMES = list(crds.documents())


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a schema with its path; items of lists and values of maps included."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    for inner, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(inner), dict):
            yield f"{path}{mark}", schema[inner]
            yield from fields(schema[inner], f"{path}{mark}")


def spec_and_status(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field that we define."""
    root = crds.documents()[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield from ((path, field) for path, field in fields(root) if path.startswith((".spec", ".status")))


def test_the_files_are_current() -> None:
    assert crds.stale(ROOT) == [], "make generate"


def test_an_old_file_is_noticed(tmp_path: Path) -> None:
    crds.write(tmp_path)
    assert crds.stale(tmp_path) == []
    (tmp_path / "crds" / "taskqueues.yaml").write_text("old")
    (tmp_path / "charts" / "taskmill-crds" / "templates" / "taskschedules.yaml").unlink()
    assert crds.stale(tmp_path) == ["charts/taskmill-crds/templates/taskschedules.yaml", "crds/taskqueues.yaml"]


@pytest.mark.parametrize("path", list(crds.files()))
def test_a_file_holds_the_crd_and_nothing_that_helm_would_run(path: str) -> None:
    text = crds.files()[path]
    assert "{{" not in text
    crd = crds.documents()[Path(path).name]
    read = yaml.safe_load(text)
    kept = read["metadata"]["annotations"].pop("helm.sh/resource-policy", None)
    assert kept == ("keep" if path.startswith("charts/") else None)
    assert read == crd


@pytest.mark.parametrize("name", NAMES)
def test_a_crd_is_small(name: str) -> None:
    assert len(json.dumps(crds.documents()[name])) <= SIZE_MAX


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_explained(name: str) -> None:
    silent = [path for path, field in spec_and_status(name) if not path.endswith("{}") and not field.get("description")]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_bounded(name: str) -> None:
    loose: list[str] = []
    for path, field in spec_and_status(name):
        kind = field.get("type")
        text = kind == "string" and not field.keys() & {"enum", "maxLength"} and field.get("format") != "date-time"
        listing = kind == "array" and not field.keys() >= {"maxItems", "x-kubernetes-list-type"}
        mapping = "additionalProperties" in field and "maxProperties" not in field
        loose += [path] if text or listing or mapping else []
    assert loose == []


@pytest.mark.parametrize("name", NAMES)
def test_a_default_lists_those_of_all_fields_below(name: str) -> None:
    for path, field in spec_and_status(name):
        inner = {key: value["default"] for key, value in field.get("properties", {}).items() if "default" in value}
        if field.get("type") == "object" and inner and not field.get("required"):
            assert field["default"] == inner, path


def test_a_rule_says_what_is_wrong_and_where() -> None:
    for name in NAMES:
        root = crds.documents()[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert [check for check in root["x-kubernetes-validations"] if "fieldPath" in check] == []
        for path, field in fields(root):
            for check in field.get("x-kubernetes-validations", ()):
                assert check["message"], path
                assert check["reason"], path
                leaf = field.get("type") not in {"object", "array"} or "oldSelf" in check["rule"]
                assert leaf or "fieldPath" in check, path


def test_the_page_names_every_field() -> None:
    page = crd_page.page()
    for name in NAMES:
        for path, _ in spec_and_status(name):
            if path not in {".spec", ".status"} and not path.endswith(("]", "}")) and ".conditions[]" not in path:
                assert f"| `{path[1:]}` |" in page, path
    assert re.search(r"^\| `spec.scaling.minReplicas` \| .*minReplicas must not be above", page, flags=re.MULTILINE)


def test_the_samples_use_fields_that_exist() -> None:
    known = {name: {path for path, _ in spec_and_status(name)} for name in NAMES}
    kinds = {crd["spec"]["names"]["kind"]: name for name, crd in crds.documents().items()}
    seen: set[str] = set()
    for file in SAMPLES:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if document["apiVersion"] == crds.API_VERSION:
                name = kinds[document["kind"]]
                seen.add(document["kind"])
                top = {f".spec.{key}" for key in document["spec"]}
                assert top <= known[name], file
    assert seen == set(kinds)


def test_the_full_sample_has_every_field_but_those_of_other_modes() -> None:
    full = yaml.safe_load((ROOT / "examples" / "kubernetes" / "full.yaml").read_text(encoding="utf-8"))

    def paths(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
        for key, field in schema.get("properties", {}).items():
            if key not in value:
                yield f"{path}.{key}"
            elif isinstance(value[key], dict):
                yield from paths(value[key], field, f"{path}.{key}")

    root = crds.task_queue()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(paths(full["spec"], root, "")) == [".replicas"]
