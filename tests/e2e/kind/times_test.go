//go:build e2e

package kind

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/links"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/rollout"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/workload"
)

// timesWanted tells whether to take pull times, which prove nothing and take two minutes.
func timesWanted() bool { return os.Getenv("E2E_TIMES") != "" }

// timed is one row of the table of pull times.
type timed struct {
	way   string
	nodes int
	// last is what the last node's kubelet needed for the pull.
	last time.Duration
	// copies that the registry sent, by bytes.
	copies float64
}

// timedImage has 64 MiB.
func timedImage() []int64 { return []int64{44 << 20, 16 << 20, 4 << 20} }

// timeDirect takes the times without Dragonfly.
func (e *env) timeDirect(t *testing.T) {
	for _, nodes := range [][]string{e.nodes[1:2], e.nodes} {
		image, layers := e.pushTo(t, e.Origin, timedImage()...)
		e.time(t, "from the registry", image, layers, nodes)
	}
}

// timeShared takes the times with Dragonfly, at first when nobody has the image, then when the nodes' container runtime has lost it, and
// writes the table. It stands in docs/e2e.md.
func (e *env) timeShared(t *testing.T) {
	seeds, err := workload.NodesOf(t.Context(), e.Cluster.Client, supernodes)
	if err != nil {
		t.Fatal(err)
	}
	alone := slices.IndexFunc(e.nodes, func(n string) bool { return !seeds[n] })
	if alone < 0 {
		t.Fatal("every node runs a supernode")
	}
	var size int64
	for _, nodes := range [][]string{e.nodes[alone : alone+1], e.nodes} {
		image, layers := e.pushTo(t, e.Origin, timedImage()...)
		size = sizeOf(t, layers)
		e.time(t, "Dragonfly, cold", image, layers, nodes)
		for _, n := range nodes {
			if err := e.Cluster.ForgetImage(t.Context(), n, image.digest); err != nil {
				t.Fatal(err)
			}
		}
		e.time(t, "Dragonfly, warm", image, layers, nodes)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| pull of %.0f MB, links of %d Mbit/s | nodes | last node | registry sent |\n|---|---|---|---|\n", float64(size)/1e6, linkRate/links.Mbit)
	for _, r := range e.times {
		fmt.Fprintf(&table, "| %s | %d | %.1f s | %.2f copies |\n", r.way, r.nodes, r.last.Seconds(), r.copies)
	}
	t.Logf("\n%s", table.String())
}

// time runs the image on some nodes and removes the pods again.
func (e *env) time(t *testing.T, way string, image pushed, layers []v1.Layer, nodes []string) {
	t.Helper()
	mark, err := e.Origin.Mark()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("times-%d", len(e.times))
	r, err := rollout.Start(t.Context(), e.Cluster, name, image.name, nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Remove(cleanupContext(t)); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	pulls, err := workload.PullTimes(t.Context(), e.Cluster.Client, name)
	if err != nil {
		t.Fatal(err)
	}
	row := timed{way: way, nodes: len(nodes)}
	for _, n := range nodes {
		took, ok := pulls[n]
		if !ok {
			t.Errorf("node %s says nothing of a pull of %s", n, image.name)
		}
		row.last = max(row.last, took)
	}
	counts, err := e.Origin.Since(mark)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		row.copies += float64(counts[digest.String()].Bytes)
	}
	row.copies /= float64(sizeOf(t, layers))
	e.times = append(e.times, row)
	if err := r.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}
