//go:build e2e

package kind

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/images"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/origin"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/release"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/workload"
)

const (
	releaseName = "dragonfly"
	namespace   = "dragonfly-system"
	adminPort   = "65003"
	received    = "dragonfly_transfer_bytes_total"
	// supernodes selects their pods.
	supernodes = "app.kubernetes.io/component=supernode"
)

// bigImage has 200 MB and more in several layers.
func bigImage() []int64 { return []int64{140 << 20, 50 << 20, 10 << 20, 1 << 20, 100 << 10} }

// loadOurs builds our images and loads them into the nodes, tagged as the chart names them.
func (e *env) loadOurs(t *testing.T) {
	t.Helper()
	c, err := loader.Load(e.root + "/charts/dragonfly")
	if err != nil {
		t.Fatal(err)
	}
	archives, err := images.Build(t.Context(), e.root, t.TempDir(), c.AppVersion())
	if err != nil {
		t.Fatal(err)
	}
	for _, archive := range archives {
		if err := e.Cluster.Load(t.Context(), archive); err != nil {
			t.Fatal(err)
		}
	}
}

// values are what a cluster with a private registry over plain HTTP has to say.
func (e *env) values() map[string]any {
	return map[string]any{
		"dfdaemon": map[string]any{"plainHTTP": []any{e.Origin.Addr}, "allowUpstream": []any{e.Origin.Addr}},
	}
}

func (e *env) helm(t *testing.T) {
	r, err := release.Open(e.Cluster.Kubeconfig, e.root+"/charts/dragonfly", releaseName, namespace, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	before := e.nodeFiles(t)
	values := e.values()
	testImage, _ := e.push(t, 1<<20)
	values["test"] = map[string]any{"image": testImage}
	notes, err := r.Install(t.Context(), values)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("notes of the chart:\n%s", notes)

	t.Run("pods on every node get an image from each other", func(t *testing.T) { e.shared(t, "shared") })
	t.Run("helm test passes", func(t *testing.T) {
		if err := r.Test(); err != nil {
			t.Error(err)
		}
	})
	t.Run("helm uninstall leaves the nodes as they were", func(t *testing.T) {
		if err := r.Uninstall(); err != nil {
			t.Fatal(err)
		}
		same(t, before, e.nodeFiles(t))
	})
	t.Run("pulls go straight to the registry again", e.direct)
}

// shared runs a new image on every node: the registry sends it once, and the nodes get most of it from each other.
func (e *env) shared(t *testing.T, name string) {
	image, layers := e.push(t, bigImage()...)
	start := e.metrics(t)
	took, counts := e.deploy(t, name, image)
	t.Logf("%d pods after %.1f s", len(e.nodes), took.Seconds())
	sentOnce(t, layers, counts)
	e.mostFromPeers(t, layers, start)
}

// sentOnce fails when the registry sent a layer more than once.
func sentOnce(t *testing.T, layers []v1.Layer, counts map[string]origin.Gets) {
	t.Helper()
	const most = 1.02
	for i, c := range copies(t, layers, counts) {
		if c < 1 || c > most {
			t.Errorf("layer %d: the registry sent %.3f copies, want 1.00 to %.2f", i, c, most)
		}
	}
}

// metrics asks every node's dfdaemon.
func (e *env) metrics(t *testing.T) map[string]scrape.Metrics {
	t.Helper()
	nodes, err := e.Cluster.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]scrape.Metrics{}
	for _, n := range nodes {
		if all[n.Name], err = scrape.Get(t.Context(), n.IP+":"+adminPort); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// mostFromPeers fails when a node got less than half of the layers' bytes from other nodes since start, or anything from the registry. A node
// that runs a supernode has most from that one, by its own memory and not by a link, as soon as the supernode itself has it.
func (e *env) mostFromPeers(t *testing.T, layers []v1.Layer, start map[string]scrape.Metrics) {
	t.Helper()
	var size int64
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	end := e.metrics(t)
	seeds, err := workload.NodesOf(t.Context(), e.Cluster.Client, supernodes)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range slices.Sorted(maps.Keys(end)) {
		from := func(source string) float64 {
			labels := map[string]string{"from": source}
			return end[n].Sum(received, labels) - start[n].Sum(received, labels)
		}
		t.Logf("%s (supernode: %t): %.0f bytes from the seed, %.0f from peers, %.0f from the registry", n, seeds[n], from("seed"), from("peers"), from("origin"))
		if !seeds[n] && from("peers") <= float64(size)/2 {
			t.Errorf("%s: want more than half of %d bytes from peers", n, size)
		}
		if from("origin") != 0 {
			t.Errorf("%s: want nothing from the registry", n)
		}
	}
}

// nodeFiles are the files of every node that a program may have changed: mode, owner and content, a line each.
func (e *env) nodeFiles(t *testing.T) map[string]string {
	t.Helper()
	const list = `cd / && find etc usr/local opt -xdev -printf '%M %u:%g %p %l\n' && find etc usr/local opt -xdev -type f -exec sha256sum {} +`
	all := map[string]string{}
	for _, n := range e.nodes {
		out, err := e.Cluster.Exec(t.Context(), n, "sh", "-c", list)
		if err != nil {
			t.Fatal(err)
		}
		all[n] = out
	}
	return all
}

// same compares the files of nodes.
func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for node := range before {
		was, is := lines(before[node]), lines(after[node])
		for line := range was {
			if !is[line] {
				t.Errorf("%s: gone or changed: %s", node, line)
			}
		}
		for line := range is {
			if !was[line] {
				t.Errorf("%s: new or changed: %s", node, line)
			}
		}
	}
}

func lines(s string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(s) {
		set[strings.TrimSpace(line)] = true
	}
	return set
}
