{{- define "name" -}}{{ .Release.Name }}-toy{{- end -}}
