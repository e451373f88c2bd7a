//go:build e2e

package kind

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/rollout"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/stack"
)

// nodeFiles are the files of every node that a program may have changed: mode, owner and content, a line each. A node of kind gets another
// machine-id with every start.
func (e *env) nodeFiles(t *testing.T) map[string]string {
	t.Helper()
	const list = `cd / && find etc usr/local opt -xdev -printf '%M %u:%g %p %l\n' &&
find etc usr/local opt -xdev -type f ! -path etc/machine-id -exec sha256sum {} +`
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

// hostsFiles are the hosts.toml files of operators, by node and file.
func (e *env) hostsFiles(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, node := range e.nodes {
		registries := []string{e.Origin.Addr, e.Private.Addr, stack.Mirrored}
		if slices.Contains(e.mirrorsForAll, node) {
			registries = append(registries, "_default")
		}
		for _, registry := range registries {
			content, err := e.Cluster.Exec(t.Context(), node, "cat", stack.Hosts(registry))
			if err != nil {
				t.Fatal(err)
			}
			all[node+": "+stack.Hosts(registry)] = content
		}
	}
	return all
}

// ours is what Dragonfly adds to a hosts.toml: a table that comes before the others, as it is asked first.
var ours = regexp.MustCompile(`(?m)^\[host\."http://127\.0\.0\.1:65001"\]$`)

var anyHost = regexp.MustCompile(`(?m)^\[host\.`)

// merged fails when the files have not all that they had, in the same order, with Dragonfly's mirror before every other host.
func merged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		is := after[name]
		rest := is
		for line := range strings.Lines(was) {
			_, found, ok := strings.Cut(rest, strings.TrimSuffix(line, "\n"))
			if !ok {
				t.Errorf("%s has lost %q, or its place:\n%s", name, line, is)
				break
			}
			rest = found
		}
		own, first := ours.FindStringIndex(is), anyHost.FindStringIndex(is)
		if own == nil || own[0] != first[0] {
			t.Errorf("%s does not have Dragonfly's mirror as its first host:\n%s", name, is)
		}
	}
}

// documented are the folders that docs/install.md says to remain.
const documented = `^(/var/lib/dragonfly|/var/lib/dragonfly/repo|/run/dragonfly|/data|/data/supernode|/data/supernode/repo|/data/log|/data/log/supernode)$`

// nothingLeft fails when a node has files or processes of ours that docs/install.md does not name, or the cluster has objects.
func (e *env) nothingLeft(t *testing.T) {
	t.Helper()
	// Pods end after the objects that made them.
	err := e.Cluster.Until(t.Context(), "no object is left in the cluster", func(ctx context.Context) string {
		objects, err := e.objects(ctx)
		if err != nil {
			return err.Error()
		}
		return objects
	})
	if err != nil {
		t.Error(err)
	}
	const list = `for d in /var/lib/dragonfly /run/dragonfly /etc/dragonfly /data; do
  [ ! -e $d ] || find $d -path /var/lib/dragonfly/repo -prune -print -o -path /data/supernode/repo -prune -print -o -path /data/log/supernode -prune -print -o -print
done
pgrep -l 'dfdaemon|supernode|dfctl|dfget' || true`
	known := regexp.MustCompile(documented)
	for _, node := range e.nodes {
		out, err := e.Cluster.Exec(t.Context(), node, "sh", "-c", list)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.FieldsFuncSeq(out, func(r rune) bool { return r == '\n' }) {
			if !known.MatchString(line) {
				t.Errorf("%s: there is still %s", node, line)
			}
		}
	}
}

// objects are those of ours in the cluster, by chart or overlay.
func (e *env) objects(ctx context.Context) (string, error) {
	const kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,endpointslices"
	return e.Cluster.Kubectl(ctx, "get", kinds, "--all-namespaces", "--output=name", "--selector=app.kubernetes.io/instance="+releaseName)
}

// bare ends the test in a cluster that a run which was killed has left with something of ours: nothing would be as before.
func (e *env) bare(t *testing.T) {
	t.Helper()
	objects, err := e.objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if objects != "" {
		t.Fatalf("the cluster is not bare (make e2e-down removes it): %s", objects)
	}
}

// mirrors runs images that nodes get by what their operators configured only: Dragonfly does not know the way there.
func (e *env) mirrors(t *testing.T) {
	for registry, nodes := range map[string][]string{stack.Mirrored: e.nodes, stack.Unknown: e.mirrorsForAll} {
		image, layers := e.pushTo(t, e.Mirror, 1<<20)
		mark, err := e.Mirror.Mark()
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(registry, ".", "-")
		r, err := rollout.Start(t.Context(), e.Cluster, name, registry+"/"+repository+":"+image.tag, nodes)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Remove(cleanupContext(t)); err != nil {
				t.Error(err)
			}
		})
		took, err := r.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d pods after %.1f s", registry, len(nodes), took.Seconds())
		counts, err := e.Mirror.Since(mark)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range copies(t, layers, counts) {
			if c != float64(len(nodes)) {
				t.Errorf("layer %d: the mirror sent %.3f copies, want %d: one for each node", i, c, len(nodes))
			}
		}
	}
}
