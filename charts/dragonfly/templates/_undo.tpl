{{/*
Annotations of a hook that helm runs when it has removed the release: a dfdaemon pod that starts meanwhile, as after a restart of Docker, would
configure its node again. The argument is its place in the order.
*/}}
{{- define "dragonfly.undoHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* The metadata of a hook's object; the argument is a list of the context and its place in the order. */}}
{{- define "dragonfly.undoMetadata" -}}
{{- $root := first . -}}
name: {{ include "dragonfly.undo" $root }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "dragonfly.labels" (list $root "node-config-undo") | nindent 2 }}
annotations:
  {{- include "dragonfly.undoHook" (last .) | nindent 2 }}
{{- end -}}
