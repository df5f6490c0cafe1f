{{/* 每个 Pod 都符合 restricted；镜像里已是数字的非 root 用户，所以不写死 UID（OpenShift 会自己分配） */}}
{{- define "taskmill.podSecurity" -}}
runAsNonRoot: true
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "taskmill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* 角色共有的 Pod 字段：(dict "root" $ "component" "api" "token" 可选) */}}
{{- define "taskmill.podCommon" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "taskmill.serviceAccountName" . }}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
{{- include "taskmill.pull" .root }}
securityContext:
  {{- include "taskmill.podSecurity" . | nindent 2 }}
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{- include "taskmill.placement" $values }}
topologySpreadConstraints:
{{- if $values.topologySpreadConstraints }}
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "taskmill.selector" $ | nindent 8 }}
{{- end }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: { sizeLimit: 256Mi }
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* 在哪里跑：(values 里的一段) */}}
{{- define "taskmill.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* 做完就走的 Pod 的卷：(dict "values" values 里的一段 "size" 上限) */}}
{{- define "taskmill.jobVolumes" -}}
- name: tmp
  emptyDir: { sizeLimit: {{ .size }} }
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Recreate 不许带 rollingUpdate，而默认值里有它 */}}
{{- define "taskmill.strategy" -}}
{{- if eq .type "Recreate" -}}
type: Recreate
{{- else -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* 不带 chart 的版本：chart 变了而内容没变时，Pod 不必重来 */}}
{{- define "taskmill.podMetadata" -}}
{{- $values := default (index .root.Values .component) .values -}}
labels:
  {{- include "taskmill.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: taskmill
  {{- with .root.Values.global.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) $values.podAnnotations .root.Values.global.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "taskmill.mounts" -}}
- { name: tmp, mountPath: /tmp }
{{- with .extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "taskmill.databaseSecret" -}}
{{- default (printf "%s-dev" (include "taskmill.fullname" .)) .Values.database.existingSecret -}}
{{- end -}}

{{- define "taskmill.databaseKey" -}}
{{- ternary .Values.database.key "database-url" (ne .Values.database.existingSecret "") -}}
{{- end -}}

{{- define "taskmill.brokerSecret" -}}
{{- default (printf "%s-dev" (include "taskmill.fullname" .)) .Values.broker.existingSecret -}}
{{- end -}}

{{- define "taskmill.brokerKey" -}}
{{- ternary .Values.broker.key "broker-url" (ne .Values.broker.existingSecret "") -}}
{{- end -}}

{{/* settings 里的变量，后写的不会重复：(dict "settings" … ) */}}
{{- define "taskmill.settings" -}}
{{- range $name, $value := merge (dict) .settings (dict "TASKMILL_LOG_FORMAT" "json") }}
{{- /* values 里的整数是浮点数：1048576 不许变成 1.048576e+06 */}}
{{- if kindIs "float64" $value }}{{- if eq (float64 (int64 $value)) $value }}{{- $value = int64 $value }}{{- end }}{{- end }}
- { name: {{ $name }}, value: {{ $value | toString | quote }} }
{{- end }}
{{- end -}}

{{/* 只连数据库的命令（迁移、等待、做密钥）所需；插件的迁移随插件的名单而定 */}}
{{- define "taskmill.databaseEnv" -}}
{{- $plugins := dict }}
{{- range $name, $value := .Values.settings }}
{{- if hasPrefix "TASKMILL_PLUGIN" $name }}{{- $_ := set $plugins $name $value }}{{- end }}
{{- end -}}
- name: TASKMILL_DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ include "taskmill.databaseSecret" . }}, key: {{ include "taskmill.databaseKey" . }} } }
{{- include "taskmill.settings" (dict "settings" $plugins) }}
{{- end -}}

{{/* 接口与调度器的探针端口：settings 里写了就用那里的。工作进程是 8801，控制器是 8802 */}}
{{- define "taskmill.healthSetting" -}}
{{- printf "TASKMILL_%s_HEALTH_PORT" (upper .component) -}}
{{- end -}}

{{- define "taskmill.healthPort" -}}
{{- $given := int (index .root.Values.settings (include "taskmill.healthSetting" .)) -}}
{{- default (index (dict "api" 8803 "scheduler" 8804) .component) $given -}}
{{- end -}}

{{/* 启动最多等数据库 TASKMILL_DATABASE_WAIT_S（60 秒）、每个点了名的插件 TASKMILL_PLUGIN_START_BUDGET_S（5 秒），
     然后自己带着原因退出：探针不该抢在它前面，再留 25 秒；两个设置写在 settings 里，别处来的这里看不见 */}}
{{- define "taskmill.startupSeconds" -}}
{{- $plugins := compact (splitList "," (default "one" .Values.settings.TASKMILL_PLUGINS_ALLOW | toString)) -}}
{{- $wait := default 60 .Values.settings.TASKMILL_DATABASE_WAIT_S -}}
{{- $budget := default 5 .Values.settings.TASKMILL_PLUGIN_START_BUDGET_S -}}
{{- add 25 (ceil $wait) (ceil (mulf $budget (len $plugins))) -}}
{{- end -}}

{{- define "taskmill.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: health }
  periodSeconds: 1
  failureThreshold: {{ include "taskmill.startupSeconds" . }}
livenessProbe:
  httpGet: { path: /healthz, port: health }
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{/* 接口与调度器的环境变量：(dict "root" $ "component" "api") */}}
{{- define "taskmill.env" -}}
{{- $values := index .root.Values .component -}}
- name: TASKMILL_DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ include "taskmill.databaseSecret" .root }}, key: {{ include "taskmill.databaseKey" .root }} } }
- name: TASKMILL_BROKER_URL
  valueFrom: { secretKeyRef: { name: {{ include "taskmill.brokerSecret" .root }}, key: {{ include "taskmill.brokerKey" .root }} } }
{{- $health := dict (include "taskmill.healthSetting" .) (include "taskmill.healthPort" .) }}
{{- include "taskmill.settings" (dict "settings" (merge $health .root.Values.settings)) }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" "api")；数据库未就绪时角色会拒绝启动；在 init 里等，Pod 不会反复重启，helm --wait、Argo、Flux 都看得懂 */}}
{{- define "taskmill.waitForSchema" -}}
{{- $values := index .root.Values .component -}}
{{- with .root -}}
{{- if ne .Values.migrations.mode "off" -}}
initContainers:
  - name: wait-for-schema
    {{- include "taskmill.container" . | nindent 4 }}
    args: [migrate, wait]
    env:
      {{- include "taskmill.databaseEnv" . | nindent 6 }}
      {{- with $values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with .Values.settingsFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml .Values.migrations.resources | nindent 6 }}
    volumeMounts:
      {{- include "taskmill.mounts" $values | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}
