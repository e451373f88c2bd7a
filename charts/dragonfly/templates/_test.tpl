{{/* Annotations of a hook of `helm test`; the argument is its place in the order. */}}
{{- define "dragonfly.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
{{- end -}}

{{/* A pod that pulls an image through its node's dfdaemon; the argument is a list of the context and the least share that comes from the swarm. */}}
{{- define "dragonfly.testPod" -}}
{{- $root := first . -}}
{{- $d := $root.Values.dfdaemon -}}
restartPolicy: Never
serviceAccountName: {{ include "dragonfly.serviceAccount" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "dragonfly.pullSecrets" $root }}
{{ . }}
{{- end }}
# The mirror is on the node's 127.0.0.1.
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
securityContext:
  {{- toYaml $d.podSecurityContext | nindent 2 }}
containers:
  - name: verify
    image: {{ include "dragonfly.image" (list $root $d.image) }}
    imagePullPolicy: {{ $d.image.pullPolicy }}
    command: [dfctl, verify]
    args:
      - --mirror=http://127.0.0.1:{{ $d.ports.mirror }}
      - --min-p2p={{ last . }}
      - --timeout=4m
      - {{ default (include "dragonfly.image" (list $root $d.image)) $root.Values.test.image }}
    {{- with $root.Values.global.imagePullSecrets }}
    env:
      - name: DOCKER_CONFIG
        value: /docker
    {{- end }}
    securityContext:
      {{- include "dragonfly.restricted" $root | nindent 6 }}
    resources:
      {{- include "dragonfly.initResources" $root | nindent 6 }}
    volumeMounts:
      - name: run
        mountPath: /run/dragonfly
        readOnly: true
      {{- with $root.Values.global.imagePullSecrets }}
      - name: docker
        mountPath: /docker
        readOnly: true
      {{- end }}
volumes:
  - name: run
    hostPath:
      path: {{ $d.hostPaths.run }}
      type: Directory
  {{- with $root.Values.global.imagePullSecrets }}
  - name: docker
    secret:
      secretName: {{ (first .).name }}
      optional: true
      defaultMode: 0440
      items:
        - key: .dockerconfigjson
          path: config.json
  {{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with $d.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $d.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
