{{/* The context of a container that has no right but to run. */}}
{{- define "dragonfly.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
GOMEMLIMIT is 90 % of the memory limit, in bytes, so that the collector works harder before the kernel kills. A limit that is not written as a number
with a usual unit has none.
*/}}
{{- define "dragonfly.memoryLimit" -}}
{{- $limit := dig "limits" "memory" "" . | toString -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?([kMGT]|[KMGT]i)?$" $limit -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $unit := regexFind "[A-Za-z]*$" $limit -}}
{{- mulf (trimSuffix $unit $limit | float64) (get $units $unit) 0.9 | floor | int64 -}}
{{- end -}}
{{- end -}}

{{/* A size or rate. Helm has numbers of a values file as floats, which templates write as 5.36870912e+10. */}}
{{- define "dragonfly.size" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* The environment of a container; the argument is a dict of resources and extraEnv. */}}
{{- define "dragonfly.env" -}}
{{- with include "dragonfly.memoryLimit" .resources -}}
- name: GOMEMLIMIT
  value: {{ . | quote }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What dfdaemon and supernode read from Secrets and ConfigMaps, below /etc/dragonfly; the argument is a list of the context and a component. */}}
{{- define "dragonfly.filesVolume" -}}
{{- $root := first . -}}
name: files
projected:
  defaultMode: 0440
  sources:
    - secret:
        name: {{ include "dragonfly.secret" $root }}
        items:
          - key: secret
            path: secret
    {{- if $root.Values.tls.enabled }}
    - secret:
        name: {{ include "dragonfly.tls" $root }}
        items:
          - key: ca.crt
            path: tls/ca.crt
          {{- if eq (last .) "supernode" }}
          - key: tls.crt
            path: tls/tls.crt
          - key: tls.key
            path: tls/tls.key
          {{- end }}
    {{- end }}
    {{- range $i, $ca := $root.Values.registries.ca }}
    - {{ ternary "configMap" "secret" (hasKey $ca "configMap") }}:
        name: {{ get $ca "configMap" | default (get $ca "secret") }}
        items:
          - key: {{ get $ca "key" | default "ca.crt" }}
            path: registries/ca-{{ $i }}.crt
    {{- end }}
    {{- range $i, $cert := $root.Values.registries.clientCertificates }}
    - secret:
        name: {{ $cert.secret }}
        items:
          - key: tls.crt
            path: registries/client-{{ $i }}.crt
          - key: tls.key
            path: registries/client-{{ $i }}.key
    {{- end }}
{{- end -}}

{{/* The values of the option registry-ca, one a line. */}}
{{- define "dragonfly.registryCA" -}}
{{- range $i, $ca := .Values.registries.ca }}
{{- with get $ca "host" }}{{ . }}={{ end }}/etc/dragonfly/registries/ca-{{ $i }}.crt
{{ end }}
{{- end -}}

{{/* The values of the option registry-cert, one a line. */}}
{{- define "dragonfly.registryCert" -}}
{{- range $i, $cert := .Values.registries.clientCertificates }}
{{- $cert.host }}=/etc/dragonfly/registries/client-{{ $i }}.crt:/etc/dragonfly/registries/client-{{ $i }}.key
{{ end }}
{{- end -}}

{{/* The init container that makes host directories for the user 65532; the argument is a list of the context and a dict of volumes and paths. */}}
{{- define "dragonfly.hostDirs" -}}
{{- $root := first . -}}
name: host-dirs
image: {{ include "dragonfly.image" (list $root $root.Values.dfdaemon.image) }}
imagePullPolicy: {{ $root.Values.dfdaemon.image.pullPolicy }}
command: [dfctl, host-dirs, "--owner=65532:65532"]
args:
  {{- range $path := values (last .) | sortAlpha }}
  - {{ $path }}
  {{- end }}
securityContext:
  {{- include "dragonfly.rootContext" (list $root (list "CHOWN" "DAC_OVERRIDE" "FOWNER")) | nindent 2 }}
resources:
  {{- include "dragonfly.initResources" . | nindent 2 }}
volumeMounts:
  {{- range $volume, $path := last . }}
  - name: {{ $volume }}
    mountPath: {{ $path }}
  {{- end }}
{{- end -}}

{{/* The context of a container that changes the host's files as root; the argument is a list of the context and the capabilities. */}}
{{- define "dragonfly.rootContext" -}}
runAsNonRoot: false
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: {{ last . | toJson }}
{{- with (first .).Values.nodeConfig.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Resources of the containers that run for a moment. */}}
{{- define "dragonfly.initResources" -}}
requests:
  cpu: 10m
  memory: 32Mi
limits:
  memory: 128Mi
{{- end -}}

{{/* The image pull secrets of a pod. */}}
{{- define "dragonfly.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
