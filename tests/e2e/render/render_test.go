//go:build e2e

// Package render compares what dfctl render writes with the real helm and kubectl: make charts builds the three programs and runs it.
package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
)

// root is the top directory of the sources.
const root = "../../.."

// run runs a program of bin/ in the top directory and returns what it wrote to standard output.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin", program))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = root
	// Nothing of the machine's own configuration.
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+home+"/none")
	var talk bytes.Buffer
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, talk.String())
	}
	return string(out)
}

// modes are values that the chart is rendered with beside its examples. A Secret is named, since one that is made differs each time.
func modes(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{
		"nothing else":       nil,
		"other capabilities": {"--kube-version", "1.27", "--api-versions", "monitoring.coreos.com/v1", "--no-hooks"},
		"another namespace":  {"--namespace", "elsewhere"},
		"values by --set":    {"--set", "supernode.replicas=3,dfdaemon.allowUpstream={a.example.com,b.example.com}", "--set-string", "dfdaemon.zone=1"},
	}
	examples, err := filepath.Glob(filepath.Join(root, "charts/dragonfly/ci/*-values.yaml"))
	if err != nil || len(examples) < 3 {
		t.Fatalf("found %d examples of values, %v", len(examples), err)
	}
	for _, file := range examples {
		out[filepath.Base(file)] = []string{"-f", strings.TrimPrefix(file, root+"/")}
	}
	return out
}

func TestChartIsThatOfHelm(t *testing.T) {
	t.Parallel()
	for name, args := range modes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What the chart would make itself would be another in each run.
			args = append(args, "--set", "secret.existingSecret=dragonfly-secret")
			if name == "hardened-values.yaml" { // the one with TLS
				args = append(args, "--set", "tls.existingSecret=dragonfly-tls")
			}
			ours := run(t, "dfctl", append([]string{"render", "chart"}, args...)...)
			// The defaults of dfctl come first: the last of two options counts.
			theirs := run(t, "tools/helm", append([]string{
				"template", "dragonfly", "charts/dragonfly", "--namespace", "kube-system",
				"--kube-version", helm.KubeVersion,
			}, args...)...)
			if diff := cmp.Diff(theirs, ours); diff != "" || len(ours) < 1000 {
				t.Errorf("%d bytes (-helm +dfctl):\n%s", len(ours), diff)
			}
		})
	}
}

func TestOverlaysAreThoseOfKubectl(t *testing.T) {
	t.Parallel()
	overlays, err := filepath.Glob(filepath.Join(root, "kustomize/overlays/*"))
	if err != nil || len(overlays) != 3 {
		t.Fatalf("found %d overlays, %v", len(overlays), err)
	}
	for _, dir := range overlays {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			ours := run(t, "dfctl", "render", "overlay", filepath.Base(dir))
			theirs := run(t, "tools/kubectl", "kustomize", strings.TrimPrefix(dir, root+"/"))
			if diff := cmp.Diff(theirs, ours); diff != "" || len(ours) < 1000 {
				t.Errorf("%d bytes (-kubectl +dfctl):\n%s", len(ours), diff)
			}
		})
	}
}

func TestHelmLint(t *testing.T) {
	t.Parallel()
	run(t, "tools/helm", "lint", "--strict", "--kube-version", helm.KubeVersion, "charts/dragonfly")
}

func TestStaticPodIsThatOfTheOverlay(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join(root, "kustomize/overlays/static-pod/supernode.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// kubectl reads both, without a server.
	dir := t.TempDir()
	path := filepath.Join(dir, "pod.yaml")
	if err := os.WriteFile(path, []byte(run(t, "dfctl", "render", "static-pod")), 0o600); err != nil {
		t.Fatal(err)
	}
	label := func(file string) string {
		return run(t, "tools/kubectl", "label", "--local", "-f", file, "-o", "yaml", "app.kubernetes.io/managed-by-", "helm.sh/chart-")
	}
	ours := label(path)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(label(path), ours); diff != "" {
		t.Errorf("(-file +dfctl render static-pod):\n%s", diff)
	}
}
