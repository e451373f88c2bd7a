//go:build e2e

package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/links"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/stack"
)

const started = "process_start_time_seconds"

// comingAndGoing proves that nodes need no care: one that joins later, and one that is rebooted.
func (e *env) comingAndGoing(t *testing.T) {
	image, layers := e.push(t, 30<<20, 10<<20, 1<<20)
	p := e.start(t, "before-nodes", image, layers, e.nodes)
	p.end(t)
	p.remove(t)
	e.run(t, "a node that joins later is configured and pulls from the others", func(t *testing.T) { e.joins(t, image, layers) })
	e.run(t, "a node comes back from a reboot with its cache", func(t *testing.T) { e.reboots(t, image, layers) })
}

func (e *env) joins(t *testing.T, image string, layers []v1.Layer) {
	name, like := e.Cluster.Name+"-later", e.nodes[len(e.nodes)-1]
	t.Cleanup(func() {
		ctx := cleanupContext(t)
		if err := e.Cluster.Leave(ctx, name); err != nil {
			t.Error(err)
		}
		// The pods of the node that is gone must not count for the next case.
		if err := e.Cluster.DaemonSetReady(ctx, namespace, daemonSet); err != nil {
			t.Error(err)
		}
	})
	start := time.Now()
	if err := e.Cluster.Join(t.Context(), name, like, func() error { return e.provide(t, name) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is ready after %.1f s", name, time.Since(start).Seconds())
	e.healthy(t, e.addresses(t)[name]+":"+adminPort)
	if err := e.Cluster.DaemonSetReady(t.Context(), namespace, daemonSet); err != nil {
		t.Fatal(err)
	}
	e.registers(t, e.addresses(t)[name]+":"+adminPort)
	hosts, err := e.Cluster.Exec(t.Context(), name, "cat", stack.Hosts(e.Origin.Addr))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(hosts, "http://127.0.0.1:65001") {
		t.Errorf("the mirror is not in the new node's hosts.toml:\n%s", hosts)
	}
	e.link(t, name)
	p := e.start(t, "after-join", image, layers, []string{name})
	p.end(t)
	m, err := scrape.Get(t.Context(), e.addresses(t)[name]+":"+adminPort)
	if err != nil {
		t.Fatal(err)
	}
	from := func(source string) float64 { return m.Sum(received, map[string]string{"from": source}) }
	t.Logf("pod after %.1f s: %.0f bytes from the seed, %.0f from peers, %.0f from the registry", p.took.Seconds(), from("seed"), from("peers"), from("origin"))
	if n := p.copies(t, layers); n != 0 || len(p.failures) > 0 {
		t.Errorf("the registry sent %.3f copies, want none; %d tries failed", n, len(p.failures))
	}
	if from("peers") < float64(p.size)/2 {
		t.Errorf("want more than half of %d bytes from peers", p.size)
	}
	p.remove(t)
}

// registers waits until a dfdaemon knows a supernode that lives. A node counts as ready before its kube-proxy has made the cluster's DNS
// reachable from it: what is pulled in that second comes from the registry.
func (e *env) registers(t *testing.T, addr string) {
	t.Helper()
	err := e.Cluster.Until(t.Context(), "the dfdaemon at "+addr+" knows a supernode", func(ctx context.Context) string {
		s, err := scrape.Status(ctx, addr)
		switch {
		case err != nil:
			return err.Error()
		case !slices.ContainsFunc(s.Supernodes, func(n api.SupernodeStatus) bool { return n.Alive }):
			return fmt.Sprintf("%+v", s.Supernodes)
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
}

// provide gives a node what the others were given by hand: our images, and the settings of registries.
func (e *env) provide(t *testing.T, node string) error {
	t.Helper()
	for _, archive := range e.archives {
		if err := e.Cluster.Load(t.Context(), archive, node); err != nil {
			return err
		}
	}
	return e.Prepare(t.Context(), node, false)
}

// link shapes a node's link as those of the others are.
func (e *env) link(t *testing.T, node string) {
	t.Helper()
	if err := links.Shape(t.Context(), e.Engine, linkRate, node); err != nil {
		t.Fatal(err)
	}
}

func (e *env) reboots(t *testing.T, image string, layers []v1.Layer) {
	node := e.nodes[1] // the first worker
	if !strings.HasSuffix(node, "-worker") {
		t.Fatalf("%s is no worker", node)
	}
	address := e.addresses(t)[node] + ":" + adminPort
	before, err := scrape.Get(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Cluster.Kubectl(t.Context(), "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"); err != nil {
		t.Fatal(err)
	}
	uncordon := func(ctx context.Context) error {
		_, err := e.Cluster.Kubectl(ctx, "uncordon", node)
		return err
	}
	t.Cleanup(func() {
		if err := uncordon(cleanupContext(t)); err != nil {
			t.Error(err)
		}
	})
	start := time.Now()
	if err := e.Cluster.Restart(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	err = e.Cluster.Until(t.Context(), "dfdaemon is there again", func(ctx context.Context) string {
		m, err := scrape.Get(ctx, address)
		switch {
		case err != nil:
			return err.Error()
		case m.Sum(started, nil) == before.Sum(started, nil):
			return "it is the one from before"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("dfdaemon of %s runs %.1f s after the reboot began", node, time.Since(start).Seconds())
	for _, wait := range []func() error{
		func() error { return e.Cluster.NodeReady(t.Context(), node) },
		func() error { return uncordon(t.Context()) },
		func() error { return e.Cluster.DaemonSetReady(t.Context(), namespace, daemonSet) },
		func() error { return e.Cluster.DeploymentReady(t.Context(), namespace, supernodeDeployment) },
	} {
		if err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	e.link(t, node)
	e.again(t, "after-reboot", image, layers, []string{node})
}
