{{/* The chart's name. */}}
{{- define "dragonfly.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/*
The start of all names: at most 40 characters, so that what is put behind it fits into a label. A release's name may have dots and begin with a
digit, a Service's may not.
*/}}
{{- define "dragonfly.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Release.Name -}}
{{- if not (contains $name .Release.Name) -}}
{{- $full = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $full = default $full .Values.fullnameOverride | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "r%s" $full -}}
{{- end -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "dragonfly.supernode" -}}{{ include "dragonfly.fullname" . }}-supernode{{- end -}}
{{- define "dragonfly.headless" -}}{{ include "dragonfly.fullname" . }}-supernode-headless{{- end -}}
{{- define "dragonfly.dfdaemon" -}}{{ include "dragonfly.fullname" . }}-dfdaemon{{- end -}}
{{- define "dragonfly.undo" -}}{{ include "dragonfly.fullname" . }}-node-config-undo{{- end -}}

{{- define "dragonfly.secret" -}}
{{- default (printf "%s-secret" (include "dragonfly.fullname" .)) .Values.secret.existingSecret -}}
{{- end -}}

{{- define "dragonfly.tls" -}}
{{- default (printf "%s-tls" (include "dragonfly.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{- define "dragonfly.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dragonfly.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The labels that a selector has; the argument is a list of the context and a component. */}}
{{- define "dragonfly.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dragonfly.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* The labels of a pod; the argument is a list of the context and a component. The chart's version is not among them: it alone replaces no pod. */}}
{{- define "dragonfly.podLabels" -}}
{{- $root := first . -}}
{{ include "dragonfly.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: dragonfly
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* All labels of an object; the argument is a list of the context and a component. */}}
{{- define "dragonfly.labels" -}}
{{- $root := first . -}}
{{ include "dragonfly.podLabels" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* An image; the argument is a list of the context and the image's values. */}}
{{- define "dragonfly.image" -}}
{{- $root := first . -}}
{{- $image := last . -}}
{{- $repository := printf "%s/%s" (default $image.registry $root.Values.global.imageRegistry) $image.repository -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
