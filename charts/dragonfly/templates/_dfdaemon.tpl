{{/* dragonfly.conf, read by dfdaemon and dfget. */}}
{{- define "dragonfly.conf" -}}
{{- $d := .Values.dfdaemon -}}
secret-file = /etc/dragonfly/secret
{{- if .Values.tls.enabled }}
tls-ca = /etc/dragonfly/tls/ca.crt
{{- end }}
{{- range splitList "\n" (include "dragonfly.registryCA" . | trim) | compact }}
registry-ca = {{ . }}
{{- end }}
{{- range splitList "\n" (include "dragonfly.registryCert" . | trim) | compact }}
registry-cert = {{ . }}
{{- end }}

[node]
address={{ include "dragonfly.address" . }}

[dfdaemon]
port = {{ $d.ports.mirror }}
peer-addr = :{{ $d.ports.peer }}
admin-addr = :{{ $d.ports.admin }}
data-dir = /var/lib/dragonfly/repo
{{- with $d.registry }}
registry = {{ . }}
{{- end }}
{{- with $d.zone }}
zone = {{ . }}
{{- end }}
{{- with $d.allowUpstream }}
allow-upstream = {{ join "," . }}
{{- end }}
{{- with $d.plainHTTP }}
plain-http = {{ join "," . }}
{{- end }}
{{- with $d.staleTags }}
stale-tags = {{ join "," . }}
{{- end }}
disk-quota = {{ include "dragonfly.size" $d.diskQuota }}
disk-min-free = {{ include "dragonfly.size" $d.diskMinFree }}
upload-rate = {{ include "dragonfly.size" $d.uploadRate }}
download-rate = {{ include "dragonfly.size" $d.downloadRate }}
origin-rate = {{ include "dragonfly.size" $d.originRate }}
log-level = {{ $d.logLevel }}
log-format = {{ $d.logFormat }}
{{- end -}}

{{/* The command line of node-config apply. */}}
{{- define "dragonfly.applyArgs" -}}
{{- $n := .Values.nodeConfig -}}
- --host-root=/host
# A node that can't be configured gets its dfdaemon all the same; the log says why.
- --keep-going
- --mirror={{ default (printf "http://127.0.0.1:%v" .Values.dfdaemon.ports.mirror) $n.mirror }}
{{- range $n.runtimes }}
- --runtime={{ . }}
{{- end }}
{{- range $n.registries }}
- --registry={{ . }}
{{- end }}
{{- if $n.restart }}
- --restart
{{- end }}
{{- with $n.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The container that changes the runtime's files; the argument is a list of the context, the subcommand and its arguments. The host's root is there to
look at, /etc and node-config's own directory to write.
*/}}
{{- define "dragonfly.nodeConfig" -}}
{{- $root := first . -}}
name: node-config
image: {{ include "dragonfly.image" (list $root $root.Values.dfdaemon.image) }}
imagePullPolicy: {{ $root.Values.dfdaemon.image.pullPolicy }}
command: [dfctl, node-config, {{ index . 1 }}]
args:
  {{- last . | nindent 2 }}
securityContext:
  {{- $capabilities := list "CHOWN" "DAC_OVERRIDE" "FOWNER" }}
  {{- if $root.Values.nodeConfig.restart }}
  {{- /* systemctl is the host's */}}
  {{- $capabilities = append $capabilities "SYS_CHROOT" }}
  {{- end }}
  {{- include "dragonfly.rootContext" (list $root $capabilities) | nindent 2 }}
resources:
  {{- include "dragonfly.initResources" . | nindent 2 }}
volumeMounts:
  - name: host
    mountPath: /host
    readOnly: true
  - name: host-etc
    mountPath: /host/etc
  - name: host-state
    mountPath: /host/var/lib/dragonfly
{{- end -}}

{{/* The volumes of that container. */}}
{{- define "dragonfly.nodeConfigVolumes" -}}
- name: host
  hostPath:
    path: /
    type: Directory
- name: host-etc
  hostPath:
    path: /etc
    type: Directory
- name: host-state
  hostPath:
    path: /var/lib/dragonfly
    type: DirectoryOrCreate
{{- end -}}

{{/* The command line of node-config rollback; the argument is a list of the context and whether a failure is a warning. */}}
{{- define "dragonfly.rollbackArgs" -}}
- --host-root=/host
{{- if last . }}
- --keep-going
{{- end }}
{{- if (first .).Values.nodeConfig.restart }}
- --restart
{{- end }}
{{- end -}}
