package supernode

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
)

func pod(spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec: " + spec + "\n"
}

func TestDockerRunRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		manifest, want string
		options        bool
	}{
		"what is no YAML":                  {"a: b: c", "read the pod", false},
		"a field that a pod does not have": {pod("{containers: [{name: a, imag: b}]}"), `unknown field "imag"`, false},
		"another kind":                     {"apiVersion: v1\nkind: Secret\n", "no manifest of a static pod", false},
		"two containers":                   {pod("{containers: [{name: a}, {name: b}]}"), "no manifest of a static pod", false},
		"a volume of the cluster": {
			pod("{containers: [{name: a, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, secret: {secretName: s}}]}"), `the volume "v"`, true,
		},
		"a volume that there is not": {pod("{containers: [{name: a, volumeMounts: [{name: v, mountPath: /v}]}]}"), `the volume "v"`, true},
		"a variable of the cluster": {
			pod("{containers: [{name: a, env: [{name: V, valueFrom: {fieldRef: {fieldPath: x}}}]}]}"), "the variable V", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script, err := DockerRun(tc.manifest, "")
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, helm.ErrOptions) != tc.options || script != "" {
				t.Errorf("got %q, %v; want an error with %q", script, err, tc.want)
			}
		})
	}
}

func TestDockerRun(t *testing.T) {
	t.Parallel()
	script, err := DockerRun(pod("{containers: [{name: a, image: i:1, ports: [{containerPort: 81}], volumeMounts: [{name: v, mountPath: /v, subPath: s}, "+
		"{name: w, mountPath: /w, readOnly: true}]}], volumes: [{name: v, hostPath: {path: /host v}}, {name: w, hostPath: {path: /host/w}}]}"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"install -d -o 65532 -g 65532 '/host v'\n", "address=$(hostname -I | cut -d ' ' -f 1)\n", "-p 81:81 \\\n", "-v '/host v/s:/v' -v /host/w:/w:ro \\\n", "  i:1\n",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("%q is not in:\n%s", want, script)
		}
	}
}

func TestAChartWithoutStaticPod(t *testing.T) {
	t.Parallel()
	chart := fstest.MapFS{
		"Chart.yaml":       &fstest.MapFile{Data: []byte("apiVersion: v2\nname: x\nversion: 1.0.0\n")},
		"templates/a.yaml": &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  a.yaml: 'no pod'\n")},
	}
	if got, err := StaticPod(chart, helm.Options{Release: "x"}); !errors.Is(err, errNoManifest) {
		t.Errorf("got %q, %v", got, err)
	}
}
