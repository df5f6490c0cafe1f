"""`spec.pod` and `spec.plugins`: what runs in a worker pod. Curated fields with an escape hatch, never all of PodTemplateSpec."""

from __future__ import annotations

from taskmill.kube.crd import schema as s
from taskmill.kube.crd.schema import Schema

RESERVED_ENV = "TASKMILL_"  # 由控制器设置的变量
ENV_NAME = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
PLUGIN_NAME = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"


def plugins() -> Schema:
    """Return `spec.plugins`."""
    # 没有 type 的值不能再分支；限制对象与数组为空，就只剩标量
    scalar = {"x-kubernetes-preserve-unknown-fields": True, "maxProperties": 0, "maxItems": 0, "maxLength": 4096}
    config = s.mapping(
        "Settings of the plugin: text, number or boolean by field name. Each becomes the variable `TASKMILL_PLUGIN_<NAME>_<FIELD>`; "
        "lists and mappings are written as JSON text.", scalar, limit=64,
    )  # fmt: skip
    item = s.record(
        "One plugin.",
        {
            "name": s.string("Name of an installed plugin.", limit=s.LABEL_MAX, pattern=PLUGIN_NAME, least=1),
            "config": config,
            "configSecretRef": s.reference(
                "Secret whose keys are variables of the plugin, such as TASKMILL_PLUGIN_EMAIL_PASSWORD: for what must stay secret."
            ),
        },
        required=["name"],
    )
    return s.keyed(
        "Plugins that the workers load, and no others. Absent: all plugins that are installed in the image.",
        item, key="name", limit=64,
    )  # fmt: skip


def pod() -> Schema:
    """Return `spec.pod`."""
    label = s.string("Value.", limit=s.LABEL_MAX)
    return s.record(
        "What the pods of the workers need besides what the operator sets. A change rolls the workers, each after its tasks are done.",
        {
            "labels": s.mapping("More labels of the pods. Labels under taskmill.dev/ belong to the operator.", label, limit=64),
            "annotations": s.mapping("More annotations of the pods.", s.string("Value.", limit=16384), limit=64),
            "resources": _resources(),
            "env": _env(),
            "envFrom": _env_from(),
            "volumes": s.keyed("Volumes, as in a Pod.", _named("One volume, as in a Pod.", "name"), key="name", limit=32),
            "volumeMounts": s.keyed(
                "Mounts of the volumes in the container of the worker, as in a Pod.",
                _mount(), key="mountPath", limit=32,
            ),
            "nodeSelector": s.mapping("Labels that a node must have.", label, limit=32),
            "tolerations": s.atomic("Taints that the pods tolerate.", _toleration(), limit=32),
            "affinity": s.opaque("Affinity, as in a Pod."),
            "topologySpreadConstraints": s.atomic(
                "How the pods spread over nodes and zones, as in a Pod. Absent: evenly over both where possible.",
                s.opaque("One constraint, as in a Pod."), limit=8,
            ),
            "serviceAccountName": s.string(
                "ServiceAccount of the pods. Absent: one that the operator makes, without any rights and without a token.",
                pattern=s.OBJECT_NAME, least=1,
            ),
            "priorityClassName": s.string("PriorityClass of the pods.", pattern=s.OBJECT_NAME, least=1),
            "runtimeClassName": s.string("RuntimeClass of the pods.", pattern=s.OBJECT_NAME, least=1),
            "securityContext": s.opaque("Security context of the pod. Absent: not root, the default seccomp profile."),
            "containerSecurityContext": s.opaque(
                "Security context of the container. Absent: no privileges, no capabilities, a root file system that is read-only."
            ),
            "overrides": s.opaque(
                "Part of a PodTemplateSpec (metadata, spec), merged last over all the operator made, lists of named things by name. "
                "For what has no field here; wrong fields show as Ready=False, reason InvalidSpec."
            ),
        },
    )  # fmt: skip


def _resources() -> Schema:
    quantity = {
        "x-kubernetes-int-or-string": True, "description": "A quantity such as 500m or 1Gi.", "maxLength": 32,
        "pattern": s.QUANTITY,
    }  # fmt: skip
    return s.record(
        "CPU and memory of one worker pod, which runs `concurrency` tasks at once.",
        {
            "requests": s.mapping("What the scheduler sets aside.", quantity, limit=16),
            "limits": s.mapping("What the pod may use at most. Over the memory limit it is killed.", quantity, limit=16),
        },
    )


def _env() -> Schema:
    item = s.record(
        "One variable.",
        {
            "name": s.string("Name of the variable.", pattern=ENV_NAME, least=1),
            "value": s.string("Its value.", limit=32768),
            "valueFrom": s.opaque("Where the value comes from, as in a Pod: secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef."),
        },
        required=["name"],
        rules=[
            s.rule(
                f"!self.name.startsWith('{RESERVED_ENV}')",
                f"names beginning with {RESERVED_ENV} are set by the operator: use the fields of this spec, or a ConfigMap in pod.envFrom "
                "for a setting of the worker that has no field",
                path=".name", reason="FieldValueForbidden",
            ),
            s.rule("!(has(self.value) && has(self.valueFrom))", "give value or valueFrom, not both", path=".valueFrom"),
        ],
    )  # fmt: skip
    return s.keyed("Variables for the handlers.", item, key="name", limit=100)


def _env_from() -> Schema:
    def source(kind: str) -> Schema:
        fields = {
            "name": s.string(f"Name of the {kind}, in the namespace of this object.", pattern=s.OBJECT_NAME, least=1),
            "optional": s.boolean(f"Whether the {kind} may be missing."),
        }
        return s.record(f"All keys of a {kind} as variables.", fields, required=["name"])

    item = s.record(
        "One source of variables.",
        {
            "prefix": s.string("Text before each name.", limit=64),
            "configMapRef": source("ConfigMap"),
            "secretRef": source("Secret"),
        },
        rules=[
            s.rule("has(self.configMapRef) != has(self.secretRef)", "give configMapRef or secretRef, exactly one of them",
                   path=".configMapRef"),
        ],
    )  # fmt: skip
    return s.atomic(
        "ConfigMaps and Secrets whose keys become variables; what the operator sets wins over them.", item, limit=32
    )


def _named(about: str, key: str) -> Schema:
    fields = {key: s.string("Name.", limit=s.LABEL_MAX, pattern=s.OBJECT_NAME, least=1)}
    return s.record(about, fields, required=[key]) | {"x-kubernetes-preserve-unknown-fields": True}


def _mount() -> Schema:
    fields = {
        "name": s.string("Name of the volume.", limit=s.LABEL_MAX, least=1),
        "mountPath": s.string("Where it appears.", limit=512, least=1),
    }
    made = s.record("One mount, as in a Pod.", fields, required=list(fields))
    return made | {"x-kubernetes-preserve-unknown-fields": True}


def _toleration() -> Schema:
    return s.record(
        "One toleration, as in a Pod.",
        {
            "key": s.string("Key of the taint."),
            "operator": s.string("Exists or Equal.", limit=16),
            "value": s.string("Value of the taint."),
            "effect": s.choice("Effect of the taint.", "NoSchedule", "PreferNoSchedule", "NoExecute"),
            "tolerationSeconds": {"type": "integer", "format": "int64", "description": "For how long, for NoExecute."},
        },
    )
