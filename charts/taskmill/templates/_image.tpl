{{/* 镜像：摘要优先于标签，全局的镜像站优先 */}}
{{- define "taskmill.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" (trimSuffix "/" $registry) .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* 别人的镜像换到全局镜像站：docker.io/library/postgres:18 → registry/library/postgres:18 */}}
{{- define "taskmill.foreignImage" -}}
{{- if .root.Values.global.imageRegistry -}}
{{- printf "%s/%s" (trimSuffix "/" .root.Values.global.imageRegistry) (regexReplaceAll "^[^/]+[.:][^/]*/" .image "") -}}
{{- else -}}
{{- .image -}}
{{- end -}}
{{- end -}}

{{- define "taskmill.pull" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "taskmill.container" -}}
image: {{ include "taskmill.image" . }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
securityContext:
  {{- include "taskmill.containerSecurity" . | nindent 2 }}
{{- end -}}
