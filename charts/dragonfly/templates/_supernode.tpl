{{/* The name at which nodes find all supernodes. */}}
{{- define "dragonfly.address" -}}
{{- include "dragonfly.headless" . }}.{{ .Release.Namespace }}.svc
{{- with .Values.supernode.ports.register }}{{ if ne (int .) 8001 }}:{{ . }}{{ end }}{{ end }}
{{- end -}}

{{/* The supernode's command line. */}}
{{- define "dragonfly.supernodeArgs" -}}
{{- $s := .Values.supernode -}}
- --register-addr=:{{ $s.ports.register }}
- --download-addr=:{{ $s.ports.download }}
- --data-dir=/home/admin/supernode/repo
- --log-dir=/home/admin/supernode/logs
- --secret-file=/etc/dragonfly/secret
{{- if .Values.tls.enabled }}
- --tls-cert=/etc/dragonfly/tls/tls.crt
- --tls-key=/etc/dragonfly/tls/tls.key
{{- end }}
{{- range splitList "\n" (include "dragonfly.registryCA" . | trim) | compact }}
- {{ printf "--registry-ca=%s" . | quote }}
{{- end }}
{{- range splitList "\n" (include "dragonfly.registryCert" . | trim) | compact }}
- {{ printf "--registry-cert=%s" . | quote }}
{{- end }}
- --disk-quota={{ $s.diskQuota }}
- --disk-min-free={{ $s.diskMinFree }}
- --upload-rate={{ $s.uploadRate }}
- --origin-rate={{ $s.originRate }}
- --log-level={{ $s.logLevel }}
- --log-format={{ $s.logFormat }}
{{- with $s.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The pod of a supernode, without what differs between Deployment and static pod. */}}
{{- define "dragonfly.supernodePod" -}}
{{- $s := .Values.supernode -}}
{{- if or $s.hostNetwork (eq $s.kind "StaticPod") }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
enableServiceLinks: false
{{- with $s.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: 30
securityContext:
  {{- toYaml $s.podSecurityContext | nindent 2 }}
initContainers:
  - {{- include "dragonfly.hostDirs" (list . (dict "data" "/home/admin/supernode/repo" "log" "/home/admin/supernode/logs")) | nindent 4 }}
containers:
  - name: supernode
    image: {{ include "dragonfly.image" (list . $s.image) }}
    imagePullPolicy: {{ $s.image.pullPolicy }}
    args:
      {{- include "dragonfly.supernodeArgs" . | nindent 6 }}
    {{- with include "dragonfly.env" $s }}
    env:
      {{- trim . | nindent 6 }}
    {{- end }}
    ports:
      - name: register
        containerPort: {{ $s.ports.register }}
      - name: download
        containerPort: {{ $s.ports.download }}
    {{- $scheme := ternary "HTTPS" "HTTP" .Values.tls.enabled }}
    startupProbe:
      httpGet: {path: /healthz, port: register, scheme: {{ $scheme }}}
      periodSeconds: 2
      failureThreshold: 60
    livenessProbe:
      httpGet: {path: /healthz, port: register, scheme: {{ $scheme }}}
      periodSeconds: 15
      timeoutSeconds: 5
      failureThreshold: 4
    readinessProbe:
      httpGet: {path: /readyz, port: register, scheme: {{ $scheme }}}
      periodSeconds: 5
      timeoutSeconds: 3
    securityContext:
      {{- include "dragonfly.restricted" . | nindent 6 }}
    resources:
      {{- toYaml $s.resources | nindent 6 }}
    volumeMounts:
      - name: files
        mountPath: /etc/dragonfly
        readOnly: true
      - name: data
        mountPath: /home/admin/supernode/repo
      - name: log
        mountPath: /home/admin/supernode/logs
volumes:
  - name: data
    hostPath:
      path: {{ $s.hostPaths.data }}
      type: DirectoryOrCreate
  - name: log
    hostPath:
      path: {{ $s.hostPaths.logs }}
      type: DirectoryOrCreate
{{- end -}}

{{/* The ports of the Services. */}}
{{- define "dragonfly.supernodePorts" -}}
{{- range list "register" "download" }}
- name: {{ . }}
  protocol: TCP
  port: {{ get $.Values.supernode.ports . }}
  targetPort: {{ get $.Values.supernode.ports . }}
{{- end }}
{{- end -}}
