//go:build e2e

package kind

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/release"
)

// ctConfig is what ct.yaml says, see https://github.com/helm/chart-testing/blob/main/doc/ct_install.md. Strict reading names an option
// that these tests know nothing of.
type ctConfig struct {
	Remote               string   `json:"remote"`
	TargetBranch         string   `json:"target-branch"`
	ChartDirs            []string `json:"chart-dirs"`
	ValidateMaintainers  bool     `json:"validate-maintainers"`
	CheckVersionIncrease bool     `json:"check-version-increment"`
	Upgrade              bool     `json:"upgrade"`
	Namespace            string   `json:"namespace"`
	ReleaseLabel         string   `json:"release-label"`
	HelmExtraArgs        string   `json:"helm-extra-args"`
}

// laneLabel divides the nodes among releases that are tried at the same time.
const laneLabel = "dragonfly-e2e/lane"

// lane is a part of the nodes, for one release after the other.
type lane struct {
	name  string
	nodes []string
	files []string
}

// chartTesting does what `ct lint` and `ct install` do with the charts of ct.yaml, for each ci values file: on half of the nodes, one of each
// container runtime, while the other half does the same with another file.
func (e *env) chartTesting(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(e.root, "ct.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config ctConfig
	if err := yaml.UnmarshalStrict(b, &config); err != nil {
		t.Fatalf("ct.yaml: %v", err)
	}
	before := e.nodeFiles(t)
	image, _ := e.push(t, 1<<20)
	for _, dir := range config.ChartDirs {
		charts, err := filepath.Glob(filepath.Join(e.root, dir, "*", "Chart.yaml"))
		if err != nil || len(charts) == 0 {
			t.Fatalf("%s holds %d charts (%v)", dir, len(charts), err)
		}
		for _, chart := range charts {
			e.chartTested(t, config, filepath.Dir(chart), image)
		}
	}
	same(t, before, e.nodeFiles(t))
}

func (e *env) chartTested(t *testing.T, config ctConfig, dir, image string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%s has %d ci values files (%v)", dir, len(files), err)
	}
	lanes := e.lanes(t, files)
	t.Run(filepath.Base(dir), func(t *testing.T) {
		for _, l := range lanes {
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				for _, file := range l.files {
					e.run(t, strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
						c := &ctInstall{env: e, config: config, dir: dir, name: filepath.Base(dir) + "-" + strings.ToLower(rand.Text()[:10]), lane: l}
						c.install(t, e.here(c.linted(t, file), l.name, image))
					})
				}
			})
		}
	})
}

// lanes labels every other node until the test ends, and divides the files: what needs the control plane, and the other one that makes the
// Secret which those make, goes to the lane with the control plane.
func (e *env) lanes(t *testing.T, files []string) []lane {
	t.Helper()
	lanes := []lane{{name: "control-plane"}, {name: "workers"}}
	for i, n := range e.nodes {
		l := &lanes[i%len(lanes)]
		l.nodes = append(l.nodes, n)
	}
	for _, l := range lanes {
		e.label(t, l.nodes, l.name)
	}
	for _, file := range files {
		values, err := chartutil.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		supernode, _ := values["supernode"].(map[string]any)
		i := 1
		if supernode["kind"] == "StaticPod" || supernode["kind"] == "External" || supernode["nodeSelector"] != nil {
			i = 0
		}
		lanes[i].files = append(lanes[i].files, file)
	}
	return lanes
}

// label labels nodes with their lane, until the test ends.
func (e *env) label(t *testing.T, nodes []string, value string) {
	t.Helper()
	args := append([]string{"label", "nodes"}, nodes...)
	t.Cleanup(func() {
		if _, err := e.Cluster.Kubectl(cleanupContext(t), append(slices.Clone(args), laneLabel+"-")...); err != nil {
			t.Error(err)
		}
	})
	if _, err := e.Cluster.Kubectl(t.Context(), append(slices.Clone(args), laneLabel+"="+value)...); err != nil {
		t.Fatal(err)
	}
}

// here adds to a ci values file what ct gets by helm-extra-set-args: this place's registry, an image of it for `helm test`, and the nodes.
func (e *env) here(values map[string]any, lane, image string) map[string]any {
	on := func() map[string]any { return map[string]any{laneLabel: lane} }
	dfdaemon, _ := values["dfdaemon"].(map[string]any)
	allowed, _ := dfdaemon["allowUpstream"].([]any)
	return chartutil.CoalesceTables(map[string]any{
		"supernode": map[string]any{"nodeSelector": on()},
		"dfdaemon": map[string]any{
			"nodeSelector":  on(),
			"allowUpstream": append(slices.Clone(allowed), e.Origin.Addr),
			"plainHTTP":     []any{e.Origin.Addr},
		},
		"test": map[string]any{"image": image},
	}, values)
}

// ctInstall is one run of ct install: a release of a random name, waited for, tested and deleted.
type ctInstall struct {
	*env
	config    ctConfig
	dir, name string
	lane      lane
}

// linted reads a values file and fails when `ct lint` would.
func (c *ctInstall) linted(t *testing.T, file string) map[string]any {
	t.Helper()
	values, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range lint.All(c.dir, values, c.config.Namespace, true).Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
	return values
}

func (c *ctInstall) install(t *testing.T, values map[string]any) {
	t.Helper()
	start := time.Now()
	r, err := release.Open(c.Cluster.Kubeconfig, c.dir, c.name, c.config.Namespace, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Uninstall(); err != nil {
			t.Error(err)
		}
		c.gone(t)
		t.Logf("installed, tested and uninstalled in %.1f s", time.Since(start).Seconds())
	})
	notes, err := r.Install(t.Context(), values)
	if err != nil {
		t.Fatal(err)
	}
	supernode, _ := values["supernode"].(map[string]any)
	switch supernode["kind"] {
	case "StaticPod":
		c.staticPodByNotes(t, notes)
	case "External":
		c.externalByNotes(t, notes)
	}
	if c.config.Upgrade {
		// From the previous revision, which here is this one: what changes with a second run of the same chart would restart nodes.
		if err := r.Upgrade(t.Context(), values); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Test(); err != nil {
		t.Error(err)
	}
}

// gone fails when an object of the release outlives it.
func (c *ctInstall) gone(t *testing.T) {
	t.Helper()
	const kinds = "all,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,endpointslices,roles,rolebindings"
	err := c.Cluster.Until(cleanupContext(t), "nothing is left of the release", func(ctx context.Context) string {
		out, err := c.Cluster.Kubectl(ctx, "get", kinds, "-n", c.config.Namespace, "-l", c.config.ReleaseLabel+"="+c.name, "-o", "name")
		if err != nil {
			return err.Error()
		}
		return out
	})
	if err != nil {
		t.Error(err)
	}
}

// commands are the block of commands in the chart's notes that follows a line.
func commands(t *testing.T, notes, line string) string {
	t.Helper()
	_, after, ok := strings.Cut(notes, line+"\n")
	if !ok {
		t.Fatalf("the notes have no line %q:\n%s", line, notes)
	}
	block, _, _ := strings.Cut(strings.TrimLeft(after, "\n"), "\n\n")
	return block + "\n"
}

// staticPodByNotes does on the control plane what the chart's notes say.
func (c *ctInstall) staticPodByNotes(t *testing.T, notes string) {
	t.Helper()
	node := c.controlPlane()
	script := commands(t, notes, "The supernodes are yours to start. On each node that is to run one, with kubectl, as root:")
	t.Cleanup(func() {
		remove := "rm -r /etc/dragonfly /etc/kubernetes/manifests/*" + c.name + "*.yaml"
		if _, err := c.Cluster.Exec(cleanupContext(t), node, "sh", "-c", remove); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Cluster.Exec(t.Context(), node, "sh", "-e", "-c", script); err != nil {
		t.Fatal(err)
	}
	pod := c.name + "-supernode-" + node
	if err := c.Cluster.PodReady(t.Context(), c.config.Namespace, pod); err != nil {
		t.Fatal(err)
	}
}

// externalByNotes does on a host with Docker what the chart's notes say. The host gets the first of the addresses in the ci values file; the
// others stay dead.
func (c *ctInstall) externalByNotes(t *testing.T, notes string) {
	t.Helper()
	const address = "192.0.2.10"
	h := c.host(t, "external", "")
	if _, err := h.Exec(t.Context(), "ip", "address", "add", address+"/32", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.lane.nodes {
		if _, err := c.Cluster.Exec(t.Context(), n, "ip", "route", "replace", address, "via", h.IP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := c.Cluster.Exec(cleanupContext(t), n, "ip", "route", "delete", address); err != nil {
				t.Error(err)
			}
		})
	}
	if err := c.giveKubectl(t, h.Name); err != nil {
		t.Fatal(err)
	}
	script := "export PATH=$PATH:/kube KUBECONFIG=/kube/config\n" +
		commands(t, notes, "The supernodes are yours to start. On each of these hosts, with kubectl, as root:") + commands(t, notes, "on "+address+":")
	if _, err := h.Shell(t.Context(), script); err != nil {
		t.Fatal(err)
	}
	c.healthy(t, h.IP+":8001")
}

// giveKubectl copies it and its configuration from the control plane to a container.
func (e *env) giveKubectl(t *testing.T, container string) error {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "kube")
	copies := [][]string{
		{"cp", e.controlPlane() + ":/usr/bin/kubectl", dir + "/kubectl"},
		{"cp", e.controlPlane() + ":/etc/kubernetes/admin.conf", dir + "/config"},
		{"cp", dir, container + ":/kube"},
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, args := range copies {
		if _, err := e.Engine.Docker(t.Context(), command.New("", args...)); err != nil {
			return fmt.Errorf("give %s kubectl: %w", container, err)
		}
	}
	return nil
}
