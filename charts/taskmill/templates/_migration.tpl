{{/* 只许出现决定迁移内容的东西：这里变一个字，就是另一个 Job */}}
{{- define "taskmill.migrationSpec" -}}
completions: 1
parallelism: 1
backoffLimit: {{ .Values.migrations.backoffLimit }}
activeDeadlineSeconds: {{ .Values.migrations.activeDeadlineSeconds }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    # 42、43：迁移本身不对，或数据库太新，重试没有用
    - action: FailJob
      onExitCodes: { containerName: migrate, operator: In, values: [42, 43] }
    - action: Ignore
      onPodConditions: [{ type: DisruptionTarget }]
template:
  metadata:
    {{- include "taskmill.podMetadata" (dict "root" $ "component" "migration" "values" .Values.migrations) | nindent 4 }}
  spec:
    restartPolicy: Never
    automountServiceAccountToken: false
    enableServiceLinks: false
    {{- include "taskmill.placement" .Values.migrations | nindent 4 }}
    {{- include "taskmill.pull" . | nindent 4 }}
    securityContext:
      {{- include "taskmill.podSecurity" . | nindent 6 }}
    containers:
      - name: migrate
        {{- include "taskmill.container" . | nindent 8 }}
        {{- if .Values.operator.enabled }}
        # 收缩阶段由控制器做：那时旧的工作进程都已退出
        args: [migrate, up, --phase, expand]
        {{- else }}
        args: [migrate, up]
        {{- end }}
        env:
          {{- include "taskmill.databaseEnv" . | nindent 10 }}
          - { name: TASKMILL_TERMINATION_MESSAGE, value: /dev/termination-log }
          {{- with .Values.migrations.extraEnv }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- with .Values.settingsFrom }}
        # 插件的设置决定插件是否加载，也就决定它的迁移是否要做
        envFrom:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        resources:
          {{- toYaml .Values.migrations.resources | nindent 10 }}
        volumeMounts:
          {{- include "taskmill.mounts" .Values.migrations | nindent 10 }}
    volumes:
      {{- include "taskmill.jobVolumes" (dict "values" .Values.migrations "size" "256Mi") | nindent 6 }}
{{- end -}}
