"""Parts that worker pods and migration pods share: environment, security, volumes, and the user's overrides."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from taskmill.kube.crd.pod import Pod
from taskmill.kube.crd.task_queue import TaskQueueSpec
from taskmill.plugin.config import env_prefix

Part = dict[str, Any]

TMP: Final = "tmp"
TMP_PATH: Final = "/tmp"  # noqa: S108 - 容器里唯一可写的地方
# 列表按哪个字段认出同一项；其余列表整个换掉
MERGE_KEYS: Final = {
    "containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
}  # fmt: skip
POD_SECURITY: Final[Part] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY: Final[Part] = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
}  # fmt: skip


def variables(values: Mapping[str, str]) -> list[Part]:
    """Return environment variables with plain values."""
    return [{"name": name, "value": value} for name, value in values.items()]


def from_secret(name: str, secret: str, key: str) -> Part:
    """Return a variable whose value is a key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def from_field(name: str, path: str) -> Part:
    """Return a variable whose value is a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def plugin_env(spec: TaskQueueSpec) -> list[Part]:
    """Return the variables that choose and configure the plugins."""
    if not spec.plugins:
        return []
    plugins = sorted(spec.plugins, key=lambda plugin: plugin.name)
    found = {"TASKMILL_PLUGINS_ALLOW": ",".join(plugin.name for plugin in plugins)}
    for plugin in plugins:
        for key, value in sorted(plugin.config.items()):
            found[env_prefix(plugin.name) + key.upper()] = _text(value)
    return variables(found)


def env_from(spec: TaskQueueSpec) -> list[Part]:
    """Return the sources of variables: the plugins' Secrets, then the user's own."""
    plugins = sorted(spec.plugins or (), key=lambda plugin: plugin.name)
    secrets = [{"secretRef": {"name": plugin.config_secret_ref.name}} for plugin in plugins if plugin.config_secret_ref]
    return [*secrets, *spec.pod.env_from]


def pod_spec(spec: TaskQueueSpec, *, token: bool = False) -> Part:
    """Return what any pod of ours needs besides its containers; `token`: its ServiceAccount says whether it gets one."""
    pod = spec.pod
    made: Part = {
        "automountServiceAccountToken": None if token else False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY if pod.security_context is None else pod.security_context,
        "volumes": _volumes(pod),
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets],
        "nodeSelector": pod.node_selector,
        "tolerations": pod.tolerations,
        "affinity": pod.affinity,
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
        "serviceAccountName": pod.service_account_name,
    }
    return copy.deepcopy(present(made))


def container(spec: TaskQueueSpec, name: str, image: str, args: Iterable[str], env: Iterable[Part]) -> Part:
    """Return a container that runs our command line."""
    pod = spec.pod
    made: Part = {
        "name": name,
        "image": image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": ["taskmill"],
        "args": list(args),
        "env": [*env, *pod.env],
        "envFrom": env_from(spec),
        "resources": pod.resources,
        "securityContext": CONTAINER_SECURITY if pod.container_security_context is None else pod.container_security_context,
        "volumeMounts": _mounts(pod),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return copy.deepcopy(present(made))


def merge(base: Any, over: Any, at: str = "") -> Any:
    """Return `base` overridden: mappings by key (null removes), lists of named things by name, the rest as a whole."""
    if isinstance(base, dict) and isinstance(over, dict):
        merged = {**base, **{key: merge(base.get(key), value, str(key)) for key, value in over.items()}}
        return {key: value for key, value in merged.items() if value is not None}
    key = MERGE_KEYS.get(at)
    if key is None or not isinstance(base, list) or not isinstance(over, list):
        return copy.deepcopy(over)
    made = {item.get(key): item for item in base}
    for item in over:
        made[item.get(key)] = merge(made[item.get(key)], item) if item.get(key) in made else item
    return list(made.values())


def present(part: Part) -> Part:
    """Return the mapping without what is empty."""
    return {key: value for key, value in part.items() if value not in (None, {}, [])}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _volumes(pod: Pod) -> list[Part]:
    return [*([{"name": TMP, "emptyDir": {}}] if _needs_tmp(pod) else []), *pod.volumes]


def _mounts(pod: Pod) -> list[Part]:
    return [*([{"name": TMP, "mountPath": TMP_PATH}] if _needs_tmp(pod) else []), *pod.volume_mounts]


def _needs_tmp(pod: Pod) -> bool:
    taken = any(volume.get("name") == TMP for volume in pod.volumes)
    return not taken and all(mount.get("mountPath") != TMP_PATH for mount in pod.volume_mounts)
