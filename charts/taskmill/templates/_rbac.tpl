{{/* 控制器在一个命名空间里要的权限；与它真正用过的动词的比对见 tests/cluster/test_chart_install.py */}}
{{- define "taskmill.operatorRules" -}}
- apiGroups: [taskmill.dev]
  resources: [taskqueues, taskschedules]
  verbs: [list, watch, patch]
- apiGroups: [taskmill.dev]
  resources: [taskqueues/status, taskschedules/status, taskqueues/scale]
  verbs: [patch]
# 设了 blockOwnerDeletion 的 ownerReference 在有的集群上要这一条
- apiGroups: [taskmill.dev]
  resources: [taskqueues/finalizers]
  verbs: [update]
# 服务端 apply 在对象还不存在时，除 patch 外还要 create
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch, list]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# 工作进程所用的 ConfigMap 变了，就换一遍工作进程
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# 哪个控制器管这个命名空间
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [taskmill-operator-claim]
  verbs: [get, update]
{{- end -}}

{{- define "taskmill.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end -}}

{{- define "taskmill.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ printf "%s-operator" (include "taskmill.fullname" .) }}]
  verbs: [get, update]
{{- end -}}

{{/* RoleBinding 的后半：(dict "root" $ "role" "Role" "name" "x") */}}
{{- define "taskmill.binding" -}}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: {{ .role }}, name: {{ .name }} }
subjects:
  - { kind: ServiceAccount, name: {{ include "taskmill.serviceAccountName" (dict "root" .root "component" "operator") }}, namespace: {{ .root.Release.Namespace }} }
{{- end -}}
