{{/* 名字与标签。参数都是根上下文，或 (dict "root" $ "component" "api")。 */}}

{{- define "taskmill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 留出后缀的位置：最长的是 -operator 与 Pod 的随机后缀 */}}
{{- define "taskmill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "taskmill.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "taskmill.selector" -}}
app.kubernetes.io/name: {{ include "taskmill.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "taskmill.labels" -}}
{{ include "taskmill.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: taskmill
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* 整个 metadata：(dict "root" $ "component" "api" "name" "x" "namespace" 可选 "labels" 可选 "annotations" 可选) */}}
{{- define "taskmill.metadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ default .root.Release.Namespace .namespace }}
{{- end }}
labels:
  {{- include "taskmill.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.global.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "taskmill.serviceAccountName" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.serviceAccount.create -}}
{{- default (printf "%s-%s" (include "taskmill.fullname" .root) .component) $values.serviceAccount.name -}}
{{- else -}}
{{- default "default" $values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* 可能同时有两个 Pod */}}
{{- define "taskmill.many" -}}
{{- $values := index .root.Values .component -}}
{{- $most := int $values.replicas -}}
{{- if and (hasKey $values "autoscaling") $values.autoscaling.enabled -}}{{- $most = int $values.autoscaling.maxReplicas -}}{{- end -}}
{{- if gt $most 1 -}}true{{- end -}}
{{- end -}}
