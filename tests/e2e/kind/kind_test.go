//go:build e2e

// Package kind proves Dragonfly in a real Kubernetes: a cluster of kind, whose nodes pull from a real registry, whose access log is the
// witness. See `make e2e` and docs/development.md.
package kind

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/links"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/origin"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/payload"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/stack"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/workload"
)

const (
	// teardown is for what has to happen when the test's time is over.
	teardown   = 5 * time.Minute
	repository = "library/app"
	// linkRate is far below what two cores move between four nodes, so that it is the links that a pull waits for.
	linkRate = 100 * links.Mbit
)

// env is what all cases share.
type env struct {
	*stack.Stack
	root  string
	nodes []string
	// archives hold our images.
	archives []string
	// mirrorsForAll are the nodes whose operator has a mirror for all registries.
	mirrorsForAll []string
	times         []timed
	logs          logs
}

func TestKind(t *testing.T) {
	e := setUp(t)
	e.bare(t)
	e.shape(t)
	e.run(t, "pods on every node pull straight from the registry", e.direct)
	if timesWanted() {
		e.run(t, "pull times without Dragonfly", e.timeDirect)
	}
	e.loadOurs(t)
	e.run(t, "helm install", e.helm)
	e.run(t, "kubectl apply -k", e.overlays)
	e.run(t, "chart-testing", e.chartTesting)
}

// setUp brings the stack up. A cluster that was up before stays; one that was not goes at the end.
func setUp(t *testing.T) *env {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	options := stack.Options{Root: root, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	s, err := stack.Up(t.Context(), options)
	if s != nil && !s.Found {
		t.Cleanup(func() {
			if err := stack.Down(cleanupContext(t), options); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		if s != nil {
			(&env{Stack: s}).keepLogs(t)
		}
		t.Fatal(err)
	}
	e := &env{Stack: s, root: root}
	nodes, err := s.Cluster.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.mirrorsForAll = stack.MirrorsForAll(nodes)
	for _, n := range nodes {
		t.Logf("node %s at %s has %s", n.Name, n.IP, n.Runtime)
		e.nodes = append(e.nodes, n.Name)
	}
	return e
}

// shape gives the nodes links until the test ends.
func (e *env) shape(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if err := links.Shape(cleanupContext(t), e.Engine, 0, e.nodes...); err != nil {
			t.Error(err)
		}
	})
	if err := links.Shape(t.Context(), e.Engine, linkRate, e.nodes...); err != nil {
		t.Fatal(err)
	}
}

// cleanupContext is for what has to be done when the test's own context is over.
func cleanupContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), teardown)
	t.Cleanup(cancel)
	return ctx
}

// pushed is an image in a registry.
type pushed struct{ name, tag, digest string }

// push makes an image of layers that no node has seen and pushes it.
func (e *env) push(t *testing.T, sizes ...int64) (image string, layers []v1.Layer) {
	t.Helper()
	p, layers := e.pushTo(t, e.Origin, sizes...)
	return p.name, layers
}

// pushTo makes an image of layers that no node has seen and pushes it to a registry.
func (e *env) pushTo(t *testing.T, registry *origin.Origin, sizes ...int64) (image pushed, layers []v1.Layer) {
	t.Helper()
	tag := strings.ToLower(strings.NewReplacer("/", "-", " ", "-", ",", "").Replace(t.Name())) + time.Now().Format("-150405.000000")
	image.tag = strings.Trim(tag[max(0, len(tag)-100):], "-")
	img, err := payload.New(t.Context(), payload.Spec{Dir: t.TempDir(), Root: e.root, Mark: image.tag, Sizes: sizes})
	if err != nil {
		t.Fatal(err)
	}
	if image.name, err = registry.Push(t.Context(), repository, image.tag, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	image.digest = digest.String()
	if layers, err = img.Layers(); err != nil {
		t.Fatal(err)
	}
	return image, layers
}

// deploy runs the image on every node, and returns how long it took and what the registry was asked for meanwhile.
func (e *env) deploy(t *testing.T, name, image string) (time.Duration, map[string]origin.Gets) {
	t.Helper()
	mark, err := e.Origin.Mark()
	if err != nil {
		t.Fatal(err)
	}
	took := e.roll(t, workload.OnePerNode(name, image, len(e.nodes)))
	counts, err := e.Origin.Since(mark)
	if err != nil {
		t.Fatal(err)
	}
	return took, counts
}

// roll makes a deployment that has a pod for every node, waits for all of them, and returns how long it took. It is gone when the test ends.
func (e *env) roll(t *testing.T, d *appsv1.Deployment) time.Duration {
	t.Helper()
	start := time.Now()
	deployments := e.Cluster.Client.AppsV1().Deployments(workload.Namespace)
	if _, err := deployments.Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deployments.Delete(cleanupContext(t), d.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	if err := e.Cluster.DeploymentReady(t.Context(), workload.Namespace, d.Name); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	on, err := workload.Nodes(t.Context(), e.Cluster.Client, d.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range e.nodes {
		if !on[n] {
			t.Errorf("no pod of %s runs on node %s", d.Name, n)
		}
	}
	pulls, err := workload.PullTimes(t.Context(), e.Cluster.Client, d.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range slices.Sorted(maps.Keys(pulls)) {
		t.Logf("%s pulled it in %.1f s", n, pulls[n].Seconds())
	}
	return took
}

// copies is how often the registry sent each layer, by bytes.
func copies(t *testing.T, layers []v1.Layer, counts map[string]origin.Gets) []float64 {
	t.Helper()
	var all []float64
	for i, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		size, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		g := counts[digest.String()]
		all = append(all, float64(g.Bytes)/float64(size))
		t.Logf("layer %d: %9d bytes, %d requests, %.3f copies from the registry", i, size, g.Requests, float64(g.Bytes)/float64(size))
	}
	return all
}

func (e *env) direct(t *testing.T) {
	image, layers := e.push(t, 10<<20, 1<<20)
	took, counts := e.deploy(t, "direct", image)
	t.Logf("%d pods after %.1f s", len(e.nodes), took.Seconds())
	for i, c := range copies(t, layers, counts) {
		if want := float64(len(e.nodes)); c != want {
			t.Errorf("layer %d: the registry sent %.3f copies, want %.0f: one for each node", i, c, want)
		}
	}
}
