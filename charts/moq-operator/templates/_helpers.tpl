{{- define "moq-operator.name" -}}
{{- if contains "moq-operator" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-moq-operator" (.Release.Name | trunc 27 | trimSuffix "-") }}
{{- end -}}
{{- end -}}

{{- define "moq-operator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "moq-operator.name" .) }}
{{- end -}}

{{- define "moq-operator.selector" -}}
app.kubernetes.io/name: moq-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "moq-operator.labels" -}}
{{ include "moq-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: moqrelay
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* image: a repository with a digest, a tag, or the chart's appVersion. */ -}}
{{- define "moq-operator.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "moq-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "moq-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
