{{- define "moq-operator.name" -}}
{{- $chart := .Values.nameOverride | default "moq-operator" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $chart .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" (.Release.Name | trunc 27 | trimSuffix "-") $chart | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "moq-operator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "moq-operator.name" .) }}
{{- end -}}

{{- /*
selector is fixed, whatever nameOverride says: the NetworkPolicies of relays let
pods in by this name, and a Deployment keeps its selector for life.
*/ -}}
{{- define "moq-operator.selector" -}}
app.kubernetes.io/name: moq-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /*
demoSelector has another name: to relays, pods of the first one are operators.
*/ -}}
{{- define "moq-operator.demoSelector" -}}
app.kubernetes.io/name: moq-demo
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "moq-operator.labels" -}}
{{- $own := include "moq-operator.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "moqrelay" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version) -}}
{{ toYaml (merge $own .Values.commonLabels) }}
{{- end -}}

{{- /*
metadata of an object: called with a dict of root, the context; name, and what
else there is of namespace, labels and annotations.
*/ -}}
{{- define "moq-operator.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- toYaml (merge (include "moq-operator.labels" .root | fromYaml) (.labels | default dict)) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* image: called with a dict of root and image. */ -}}
{{- define "moq-operator.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "moq-operator.imagePullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.imagePullSecrets .Values.global.imagePullSecrets -}}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $secrets -}}
imagePullSecrets:
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "moq-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "moq-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* exampleNamespace is where the notes make a RelayCluster. */ -}}
{{- define "moq-operator.exampleNamespace" -}}
{{ first (append .Values.watchNamespaces "default") }}
{{- end -}}

{{- define "moq-operator.testNamespace" -}}
{{ .Values.test.namespace | default (include "moq-operator.exampleNamespace" .) }}
{{- end -}}

{{- /* testContainer is what both containers of the test have in common. */ -}}
{{- define "moq-operator.testContainer" -}}
volumeMounts:
- name: trust
  mountPath: /trust
  readOnly: true
resources:
  requests: {cpu: 50m, memory: 32Mi}
  limits: {memory: 256Mi}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}
