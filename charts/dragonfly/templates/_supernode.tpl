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
- --disk-quota={{ include "dragonfly.size" $s.diskQuota }}
- --disk-min-free={{ include "dragonfly.size" $s.diskMinFree }}
- --upload-rate={{ include "dragonfly.size" $s.uploadRate }}
- --origin-rate={{ include "dragonfly.size" $s.originRate }}
- --log-level={{ $s.logLevel }}
- --log-format={{ $s.logFormat }}
{{- with $s.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The pod of a supernode, without what differs between Deployment and static pod. */}}
{{- define "dragonfly.supernodePod" -}}
{{- $s := .Values.supernode -}}
enableServiceLinks: false
{{- if or $s.hostNetwork (eq $s.kind "StaticPod") }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- with $s.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: 30
securityContext:
  {{- toYaml $s.podSecurityContext | nindent 2 }}
initContainers:
  - {{ include "dragonfly.hostDirs" (list . (dict "data" "/home/admin/supernode/repo" "log" "/home/admin/supernode/logs")) | nindent 4 | trim }}
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
{{- $p := .Values.supernode.ports -}}
- name: register
  protocol: TCP
  port: {{ $p.register }}
  targetPort: {{ $p.register }}
- name: download
  protocol: TCP
  port: {{ $p.download }}
  targetPort: {{ $p.download }}
{{- end -}}

{{/* Commands that copy the supernode's Secrets to a host; the argument is a list of the context and the directory. */}}
{{- define "dragonfly.copyFiles" -}}
{{- $root := first . -}}
{{- $dir := last . -}}
{{- $files := list (list (include "dragonfly.secret" $root) "secret" "secret") -}}
{{- if $root.Values.tls.enabled -}}
{{- range list "tls.crt" "tls.key" -}}
{{- $files = append $files (list (include "dragonfly.tls" $root) . (printf "tls/%s" .)) -}}
{{- end -}}
{{- end -}}
{{- range $i, $f := $files }}
{{- if $i }}
{{ end -}}
install -m 0400 -o 65532 -g 65532 /dev/null {{ $dir }}/{{ last $f }}
kubectl -n {{ $root.Release.Namespace }} get secret {{ first $f }} -o jsonpath='{.data.{{ index $f 1 | replace "." "\\." }}}' | base64 -d > {{ $dir }}/{{ last $f }}
{{- end -}}
{{- end -}}

{{/* The command that starts a supernode outside the cluster; the argument is a list of the context and the host's address. */}}
{{- define "dragonfly.dockerRun" -}}
{{- $root := first . -}}
{{- $s := $root.Values.supernode -}}
{{- $address := last . -}}
{{- if contains ":" $address }}{{ $address = printf "[%s]" $address }}{{ end -}}
docker run -d --name supernode --restart unless-stopped \
    -p {{ $s.ports.register }}:{{ $s.ports.register }} -p {{ $s.ports.download }}:{{ $s.ports.download }} \
    -v {{ $s.hostPaths.logs }}:/home/admin/supernode/logs -v {{ $s.hostPaths.data }}:/home/admin/supernode/repo -v /etc/dragonfly:/etc/dragonfly:ro \
    --read-only --cap-drop ALL --security-opt no-new-privileges \
    {{ include "dragonfly.image" (list $root $s.image) }} \
    {{- range include "dragonfly.supernodeArgs" $root | fromYamlArray }}
    {{ . }} \
    {{- end }}
    --advertise-addr={{ $address }}:{{ $s.ports.download }}
{{- end -}}
