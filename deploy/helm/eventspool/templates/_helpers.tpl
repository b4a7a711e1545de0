{{/* What every object of a part (worker, metrics) is found by. Called with a dict of `root` and `part`. */}}
{{- define "eventspool.selector" -}}
app.kubernetes.io/name: eventspool-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "eventspool.labels" -}}
{{ include "eventspool.selector" . }}
app.kubernetes.io/part-of: eventspool
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "eventspool.fullname" -}}
{{- $name := ternary .root.Release.Name (printf "%s-eventspool" .root.Release.Name) (contains "eventspool" .root.Release.Name) -}}
{{ printf "%s-%s" ($name | trunc 50 | trimSuffix "-") .part }}
{{- end }}

{{- define "eventspool.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The queue, for both parts. */}}
{{- define "eventspool.queueEnv" -}}
- name: EVENTSPOOL_QUEUE
  valueFrom:
    secretKeyRef: {name: {{ .Values.existingSecret }}, key: queue}
- name: EVENTSPOOL_ENCRYPTION_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.existingSecret }}, key: encryption-key, optional: true}
- name: EVENTSPOOL_QUEUE_NAME
  value: {{ .Values.queue.name | quote }}
- name: EVENTSPOOL_PREFIX
  value: {{ .Values.queue.prefix | quote }}
{{- with .Values.queue.maxJobs }}
- name: EVENTSPOOL_MAX_JOBS
  value: {{ int64 . | quote }}
{{- end }}
{{- with .Values.queue.maxBytes }}
- name: EVENTSPOOL_MAX_BYTES
  value: {{ int64 . | quote }}
{{- end }}
{{- end }}

{{- define "eventspool.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "eventspool.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "eventspool.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* 1 while processors deliver, 0 while any of them is paused: then more workers would only probe more. */}}
{{- define "eventspool.flows" -}}
(1 - clamp_max(sum(max by (queue, reason) (eventspool_processor_paused{queue="{{ .Values.queue.name }}"})) or vector(0), 1))
{{- end }}
