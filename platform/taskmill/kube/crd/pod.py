"""`spec.pod` and `spec.plugins`: what runs in a worker pod. Curated fields with an escape hatch, never all of PodTemplateSpec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, field

from taskmill.kube.crd.schema import (
    INT_OR_STRING,
    KEEP,
    LABEL_MAX,
    OBJECT_NAME,
    Checks,
    Object,
    Record,
    Rule,
    about,
    atomic,
    keyed,
    mapping,
    object_name,
    opaque,
    text,
)

RESERVED_ENV: Final = "TASKMILL_"  # 由控制器设置的变量
ENV_NAME: Final = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
PLUGIN_NAME: Final = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
QUANTITY: Final = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
ONE_ENV_VALUE: Final = "give value or valueFrom, not both"
ONE_SOURCE: Final = "give configMapRef or secretRef, exactly one of them"
ENV_RESERVED: Final = (
    f"names beginning with {RESERVED_ENV} are set by the operator: use the fields of this spec, or a ConfigMap in pod.envFrom "
    "for a setting of the worker that has no field"
)

Label = Annotated[str, text("Value.", limit=LABEL_MAX)]
Quantity = Annotated[
    Annotated[str, text("", limit=32, pattern=QUANTITY)] | int,
    about("A quantity such as 500m or 1Gi.", **{INT_OR_STRING: True}),
]
# 没有 type 的值不能再分支；限制对象与数组为空，就只剩标量
Scalar = Annotated[
    Annotated[str, Meta(max_length=4096)] | bool | int | float,
    Meta(extra_json_schema={KEEP: True, "maxProperties": 0, "maxItems": 0}),
]


class Reference(Record, frozen=True):
    """A Secret in the same namespace."""

    name: Annotated[str, object_name("Name of the Secret, in the namespace of this object.")]


class Plugin(Record, frozen=True):
    """One plugin."""

    name: Annotated[str, text("Name of an installed plugin.", limit=LABEL_MAX, pattern=PLUGIN_NAME, least=1)]
    config: Annotated[
        dict[str, Scalar],
        mapping(
            "Settings of the plugin: text, number or boolean by field name. Each becomes the variable "
            "`TASKMILL_PLUGIN_<NAME>_<FIELD>`; lists and mappings are written as JSON text.",
            limit=64,
        ),
    ] = field(default_factory=dict)
    config_secret_ref: (
        Annotated[
            Reference,
            about(
                "Secret whose keys are variables of the plugin, such as TASKMILL_PLUGIN_EMAIL_PASSWORD: for what must stay secret."
            ),
        ]
        | None
    ) = None


class Resources(Record, frozen=True):
    """CPU and memory of one worker pod, which runs `concurrency` tasks at once."""

    requests: Annotated[dict[str, Quantity], mapping("What the scheduler sets aside.", limit=16)] = field(
        default_factory=dict
    )
    limits: Annotated[
        dict[str, Quantity], mapping("What the pod may use at most. Over the memory limit it is killed.", limit=16)
    ] = field(default_factory=dict)


class Variable(Record, frozen=True):
    """One variable."""

    CHECKS: ClassVar[Checks] = (
        Rule(
            f"!self.name.startsWith('{RESERVED_ENV}')", ENV_RESERVED, ".name", reason="FieldValueForbidden",
            holds=lambda it: not it.name.startswith(RESERVED_ENV),
        ),
        Rule(
            "!(has(self.value) && has(self.valueFrom))", ONE_ENV_VALUE, ".valueFrom",
            holds=lambda it: it.value is None or it.value_from is None,
        ),
    )  # fmt: skip

    name: Annotated[str, text("Name of the variable.", pattern=ENV_NAME, least=1)]
    value: Annotated[str, text("Its value.", limit=32768)] | None = None
    value_from: (
        Annotated[
            Object,
            opaque("Where the value comes from, as in a Pod: secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef."),
        ]
        | None
    ) = None


class ConfigMapSource(Record, frozen=True):
    """All keys of a ConfigMap as variables."""

    name: Annotated[str, object_name("Name of the ConfigMap, in the namespace of this object.")]
    optional: Annotated[bool, about("Whether the ConfigMap may be missing.")] | None = None


class SecretSource(Record, frozen=True):
    """All keys of a Secret as variables."""

    name: Annotated[str, object_name("Name of the Secret, in the namespace of this object.")]
    optional: Annotated[bool, about("Whether the Secret may be missing.")] | None = None


class VariableSource(Record, frozen=True):
    """One source of variables."""

    CHECKS: ClassVar[Checks] = (
        Rule(
            "has(self.configMapRef) != has(self.secretRef)", ONE_SOURCE, ".configMapRef",
            holds=lambda it: (it.config_map_ref is None) != (it.secret_ref is None),
        ),
    )  # fmt: skip

    prefix: Annotated[str, text("Text before each name.", limit=64)] | None = None
    config_map_ref: ConfigMapSource | None = None
    secret_ref: SecretSource | None = None


class Volume(Record, frozen=True):
    """One volume, as in a Pod."""

    OPEN: ClassVar[bool] = True

    name: Annotated[str, text("Name.", limit=LABEL_MAX, pattern=OBJECT_NAME, least=1)]


class Mount(Record, frozen=True):
    """One mount, as in a Pod."""

    OPEN: ClassVar[bool] = True

    name: Annotated[str, text("Name of the volume.", limit=LABEL_MAX, least=1)]
    mount_path: Annotated[str, text("Where it appears.", limit=512, least=1)]


class Toleration(Record, frozen=True):
    """One toleration, as in a Pod."""

    key: Annotated[str, text("Key of the taint.")] | None = None
    operator: Annotated[str, text("Exists or Equal.", limit=16)] | None = None
    value: Annotated[str, text("Value of the taint.")] | None = None
    effect: Annotated[Literal["NoSchedule", "PreferNoSchedule", "NoExecute"], about("Effect of the taint.")] | None = None
    toleration_seconds: Annotated[int, about("For how long, for NoExecute.", format="int64")] | None = None


class _Item(msgspec.Struct):
    name: str


class _Mount(msgspec.Struct, rename="camel"):
    mount_path: str


class _Container(_Item, rename="camel"):
    env: list[_Item] | None = None
    volume_mounts: list[_Mount] | None = None


class _PodPart(msgspec.Struct, rename="camel"):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    volumes: list[_Item] | None = None
    image_pull_secrets: list[_Item] | None = None


class _MetadataPart(msgspec.Struct):
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None


class Overrides(msgspec.Struct):
    """As much of a PodTemplateSpec as merging needs to know; the rest is the API server's to judge. null removes a field."""

    metadata: _MetadataPart | None = None
    spec: _PodPart = msgspec.field(default_factory=_PodPart)


class Pod(Record, frozen=True):
    """What the pods of the workers need besides what the operator sets. A change rolls the workers, each after its
    tasks are done.
    """

    # 渲染要用户写下的原样；记录只管形状
    SHAPES: ClassVar[Mapping[str, type[msgspec.Struct]]] = {
        "resources": Resources, "env": Variable, "env_from": VariableSource, "volumes": Volume, "volume_mounts": Mount,
        "tolerations": Toleration,
    }  # fmt: skip

    OPAQUE: ClassVar[Mapping[str, type[msgspec.Struct]]] = {"overrides": Overrides}

    labels: Annotated[
        dict[str, Label], mapping("More labels of the pods. Labels under taskmill.dev/ belong to the operator.", limit=64)
    ] = field(default_factory=dict)
    annotations: Annotated[
        dict[str, Annotated[str, text("Value.", limit=16384)]], mapping("More annotations of the pods.", limit=64)
    ] = field(default_factory=dict)
    resources: Annotated[Object, about("CPU and memory of one worker pod, which runs `concurrency` tasks at once.")] = field(
        default_factory=dict
    )
    env: Annotated[list[Object], keyed("Variables for the handlers.", "name", limit=100)] = field(default_factory=list)
    env_from: Annotated[
        list[Object],
        atomic("ConfigMaps and Secrets whose keys become variables; what the operator sets wins over them.", limit=32),
    ] = field(default_factory=list)
    volumes: Annotated[list[Object], keyed("Volumes, as in a Pod.", "name", limit=32)] = field(default_factory=list)
    volume_mounts: Annotated[
        list[Object], keyed("Mounts of the volumes in the container of the worker, as in a Pod.", "mountPath", limit=32)
    ] = field(default_factory=list)
    node_selector: Annotated[dict[str, Label], mapping("Labels that a node must have.", limit=32)] = field(
        default_factory=dict
    )
    tolerations: Annotated[list[Object], atomic("Taints that the pods tolerate.", limit=32)] = field(default_factory=list)
    affinity: Annotated[Object, opaque("Affinity, as in a Pod.")] | None = None
    topology_spread_constraints: (
        Annotated[
            list[Annotated[Object, opaque("One constraint, as in a Pod.")]],
            atomic(
                "How the pods spread over nodes and zones, as in a Pod. Absent: evenly over both where possible.", limit=8
            ),
        ]
        | None
    ) = None
    service_account_name: (
        Annotated[
            str,
            object_name(
                "ServiceAccount of the pods. Absent: one that the operator makes, without any rights and without a token."
            ),
        ]
        | None
    ) = None
    priority_class_name: Annotated[str, object_name("PriorityClass of the pods.")] | None = None
    runtime_class_name: Annotated[str, object_name("RuntimeClass of the pods.")] | None = None
    security_context: (
        Annotated[Object, opaque("Security context of the pod. Absent: not root, the default seccomp profile.")] | None
    ) = None
    container_security_context: (
        Annotated[
            Object,
            opaque(
                "Security context of the container. Absent: no privileges, no capabilities, a root file system that is read-only."
            ),
        ]
        | None
    ) = None
    overrides: Annotated[
        Object,
        opaque(
            "Part of a PodTemplateSpec (metadata, spec), merged last over all the operator made, lists of named things by name. "
            "For what has no field here; wrong fields show as Ready=False, reason InvalidSpec."
        ),
    ] = field(default_factory=dict)
