{{- define "sluice.name" -}}
{{- printf "%s" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sluice.server" -}}
[server]
listen = "0.0.0.0:8080"
probe_listen = "0.0.0.0:9181"
drain_timeout = "{{ int .Values.drainTimeoutSeconds }}s"
{{- range $key, $value := .Values.server }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end -}}
