//go:build e2e

package kind

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	// supernodePort has the supernodes' metrics.
	supernodePort = "8001"
	received      = "dragonfly_transfer_bytes_total"
	answered      = "dragonfly_mirror_requests_total"
	// supernodes selects their pods.
	supernodes = "app.kubernetes.io/component=supernode"
)

// bigImage has 200 MB and more in several layers.
func bigImage() []int64 { return []int64{140 << 20, 50 << 20, 10 << 20, 1 << 20, 100 << 10} }

// overlayImage is what the overlays are tried with.
func overlayImage() []int64 { return []int64{30 << 20, 12 << 20, 4 << 20, 1 << 20} }

// loadOurs builds our images and loads them into the nodes, tagged as the chart names them.
func (e *env) loadOurs(t *testing.T) {
	t.Helper()
	c, err := loader.Load(e.root + "/charts/dragonfly")
	if err != nil {
		t.Fatal(err)
	}
	e.archives, err = images.Build(t.Context(), e.root, t.TempDir(), c.AppVersion())
	if err != nil {
		t.Fatal(err)
	}
	for _, archive := range e.archives {
		if err := e.Cluster.Load(t.Context(), archive, e.nodes...); err != nil {
			t.Fatal(err)
		}
	}
}

// authorityMap is a ConfigMap with the private authority's certificate.
const authorityMap = "private-authority"

// values are what a cluster with private registries has to say: one over plain HTTP, one with a certificate of its own authority.
func (e *env) values() map[string]any {
	return map[string]any{
		"dfdaemon": map[string]any{
			"plainHTTP": []any{e.Origin.Addr}, "allowUpstream": []any{e.Origin.Addr, e.Private.Addr},
			// For upgrade and rollback: half of the nodes at a time.
			"updateStrategy": map[string]any{"rollingUpdate": map[string]any{"maxUnavailable": "50%"}},
		},
		"registries": map[string]any{
			"ca": []any{map[string]any{"host": e.Private.Addr, "configMap": authorityMap, "key": "ca.crt"}},
		},
	}
}

// openRelease opens the chart's place in the cluster, with the objects that values need.
func (e *env) openRelease(t *testing.T) *release.Release {
	t.Helper()
	ca, err := os.ReadFile(e.Private.TLS.CA)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Cluster.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: authorityMap}, Data: map[string]string{"ca.crt": string(ca)}}
	maps := e.Cluster.Client.CoreV1().ConfigMaps(namespace)
	if err := maps.Delete(t.Context(), authorityMap, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if _, err := maps.Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := release.Open(e.Cluster.Kubeconfig, e.root+"/charts/dragonfly", releaseName, namespace, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (e *env) helm(t *testing.T) {
	r := e.openRelease(t)
	before, hosts := e.nodeFiles(t), e.hostsFiles(t)
	values := e.values()
	testImage, _ := e.push(t, 1<<20)
	values["test"] = map[string]any{"image": testImage}
	notes, err := r.Install(t.Context(), values)
	if err = errors.Join(err, e.allReady(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Logf("notes of the chart:\n%s", notes)

	e.run(t, "what operators configured is there", func(t *testing.T) { merged(t, hosts, e.hostsFiles(t)) })
	e.run(t, "pods on every node get an image from each other", func(t *testing.T) { e.shared(t, "shared", bigImage()) })
	e.run(t, "helm test passes", func(t *testing.T) {
		if err := r.Test(); err != nil {
			t.Error(err)
		}
	})
	if timesWanted() {
		e.run(t, "pull times", e.timeShared)
	}
	e.run(t, "mirrors of operators are used", e.mirrors)
	e.run(t, "a private image is for those with the secret", e.private)
	e.run(t, "pulls outlive what breaks on the way", e.chaos)
	e.run(t, "releases change while pods start", e.upgrade)
	e.run(t, "nodes come and go", e.comingAndGoing)
	e.run(t, "what operators configured is there at the end", func(t *testing.T) { merged(t, hosts, e.hostsFiles(t)) })
	e.run(t, "helm uninstall leaves the nodes as they were", func(t *testing.T) {
		if err := r.Uninstall(); err != nil {
			t.Fatal(err)
		}
		same(t, before, e.nodeFiles(t))
		e.nothingLeft(t)
	})
	e.run(t, "pulls go straight to the registry again", e.direct)
}

// shared runs a new image on every node: the registry sends it once, and the nodes get most of it from each other.
func (e *env) shared(t *testing.T, name string, sizes []int64) {
	image, layers := e.push(t, sizes...)
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

// mostFromPeers fails when a node, or all together, got less than half of the layers' bytes from other nodes since start, or anything from the
// registry. A node that runs a supernode takes from that one by its own memory, which no link has to carry, so for it alone nothing is said.
func (e *env) mostFromPeers(t *testing.T, layers []v1.Layer, start map[string]scrape.Metrics) {
	t.Helper()
	size := sizeOf(t, layers)
	end := e.metrics(t)
	seeds, err := workload.NodesOf(t.Context(), e.Cluster.Client, supernodes)
	if err != nil {
		t.Fatal(err)
	}
	var all float64
	for _, n := range slices.Sorted(maps.Keys(end)) {
		from := func(source string) float64 { return since(start[n], end[n], source) }
		t.Logf("%s (supernode: %t): %.0f bytes from the seed, %.0f from peers, %.0f from the registry", n, seeds[n], from("seed"), from("peers"), from("origin"))
		all += from("peers")
		if !seeds[n] && from("peers") <= float64(size)/2 {
			t.Errorf("%s: want more than half of %d bytes from peers", n, size)
		}
		if from("origin") != 0 {
			t.Errorf("%s: want nothing from the registry", n)
		}
	}
	if share := all / float64(size) / float64(len(end)); share <= 0.5 {
		t.Errorf("all nodes together got %.0f %% from peers, want more than half", share*100)
	}
}

// since is what a node received from "seed", "peers" or "origin" between two moments, in bytes.
func since(start, end scrape.Metrics, source string) float64 {
	labels := map[string]string{"from": source}
	return end.Sum(received, labels) - start.Sum(received, labels)
}

func sizeOf(t *testing.T, layers []v1.Layer) int64 {
	t.Helper()
	var size int64
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	return size
}
