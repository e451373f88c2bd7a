//go:build e2e

package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/origin"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/rollout"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/stack"
)

const (
	supernodeDeployment = releaseName + "-supernode"
	daemonSet           = releaseName + "-dfdaemon"
	supernodePods       = "app.kubernetes.io/instance=" + releaseName + ",app.kubernetes.io/component=supernode"
	daemonPods          = "app.kubernetes.io/instance=" + releaseName + ",app.kubernetes.io/component=dfdaemon"
	mirrored            = "dragonfly_mirror_sent_bytes_total"
)

// brokenImage is what is pulled while something breaks.
func brokenImage() []int64 { return []int64{24 << 20, 10 << 20, 2 << 20} }

// chaos breaks what a pull goes through. Pods come up every time, and not much later than by a direct pull.
func (e *env) chaos(t *testing.T) {
	c := &chaos{env: e}
	c.direct = c.straight(t)
	c.row("direct pull", c.direct, nil, c.size, float64(len(e.nodes)))
	e.run(t, "supernodes are deleted during a pull", c.supernodesDeleted)
	e.run(t, "dfdaemon of a node is killed during a pull", c.daemonKilled)
	e.run(t, "no supernode runs during a pull", c.noSupernode)
	e.run(t, "the registry is down after the image is in the swarm", c.registryDown)
	t.Logf("pulls of an image of %d MB on %d nodes:\n%s", c.size>>20, len(e.nodes), strings.Join(c.table, "\n"))
}

// chaos measures pulls that something happens to.
type chaos struct {
	*env
	direct time.Duration
	size   int64
	table  []string
}

func (c *chaos) row(what string, took time.Duration, failures []string, size int64, copies float64) {
	c.size = size
	c.table = append(c.table, fmt.Sprintf("%-52s %6.1f s   direct %6.1f s   %d failed tries   %.2f copies from the registry",
		what, took.Seconds(), c.direct.Seconds(), len(failures), copies))
}

// straight measures a pull that goes by Dragonfly, as before it was installed.
func (c *chaos) straight(t *testing.T) time.Duration {
	t.Helper()
	file := stack.Hosts(c.Origin.Addr)
	for _, node := range c.nodes {
		was, err := c.Cluster.Exec(t.Context(), node, "cat", file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Cluster.WriteFile(t.Context(), node, file, c.plainHosts()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Cluster.WriteFile(t.Context(), node, file, was+"\n"); err != nil {
				t.Error(err)
			}
		}()
	}
	image, layers := c.push(t, brokenImage()...)
	c.size = sizeOf(t, layers)
	p := c.start(t, "chaos-direct", image, layers, c.nodes)
	p.end(t)
	for i, n := range copies(t, layers, p.counts) {
		if want := float64(len(c.nodes)); n != want {
			t.Errorf("layer %d: the registry sent %.3f copies, want %.0f: this pull was not direct", i, n, want)
		}
	}
	p.remove(t)
	return p.took
}

// plainHosts is the hosts.toml of the registry without Dragonfly.
func (e *env) plainHosts() string {
	return fmt.Sprintf("server = %[1]q\n\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+e.Origin.Addr)
}

// pull is a rollout that is looked at while it goes on.
type pull struct {
	*rollout.Rollout
	env   *env
	size  int64
	mark  origin.Mark
	start map[string]scrape.Metrics

	took     time.Duration
	counts   map[string]origin.Gets
	failures []string
}

// start begins a pull on some nodes.
func (e *env) start(t *testing.T, name, image string, layers []v1.Layer, nodes []string) *pull {
	t.Helper()
	mark, err := e.Origin.Mark()
	if err != nil {
		t.Fatal(err)
	}
	p := &pull{env: e, size: sizeOf(t, layers), mark: mark, start: e.metrics(t)}
	if p.Rollout, err = rollout.Start(t.Context(), e.Cluster, name, image, nodes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Remove(cleanupContext(t)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// end waits until the pods run.
func (p *pull) end(t *testing.T) {
	t.Helper()
	var err error
	if p.took, err = p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.failures, err = p.Failures(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.failures {
		t.Logf("a try failed: %s", f)
	}
	if p.counts, err = p.env.Origin.Since(p.mark); err != nil {
		t.Fatal(err)
	}
}

// remove deletes the pods, as the end of the test does if nobody did before.
func (p *pull) remove(t *testing.T) {
	t.Helper()
	if err := p.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// copies is how often the registry sent the layers, on average over their bytes.
func (p *pull) copies(t *testing.T, layers []v1.Layer) float64 {
	t.Helper()
	var sent int64
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		sent += p.counts[d.String()].Bytes
	}
	return float64(sent) / float64(p.size)
}

// during calls act when the nodes have received a part of the layers, and fails when that was no longer in the middle of the pull.
func (p *pull) during(t *testing.T, nodes []string, act func()) {
	t.Helper()
	const least, most = 0.1, 0.9
	addresses := p.env.addresses(t)
	share := func(ctx context.Context) (float64, error) {
		var sum float64
		for _, n := range nodes {
			m, err := scrape.Get(ctx, addresses[n]+":"+adminPort)
			if err != nil {
				return 0, err
			}
			sum += m.Sum(received, nil) - p.start[n].Sum(received, nil)
		}
		return sum / float64(p.size) / float64(len(nodes)), nil
	}
	var at float64
	err := p.env.Cluster.Until(t.Context(), "bytes flow", func(ctx context.Context) (missing string) {
		var err error
		if at, err = share(ctx); err != nil {
			return err.Error()
		}
		if at < least {
			return fmt.Sprintf("%.1f %% received", at*100)
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	moment := time.Now()
	act()
	t.Logf("after %.1f s, with %.0f %% of the bytes on the nodes; it took %.1f s", moment.Sub(p.Began).Seconds(), at*100, time.Since(moment).Seconds())
	p.end(t)
	started, err := p.Started(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if at > most || started[n].Before(moment.Truncate(time.Second)) {
			t.Errorf("%s had %.0f %% of the bytes, and its container started at %v: this was no pull under way", n, at*100, started[n])
		}
	}
}

func (e *env) addresses(t *testing.T) map[string]string {
	t.Helper()
	nodes, err := e.Cluster.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, n := range nodes {
		all[n.Name] = n.IP
	}
	return all
}

// inTime fails when a pull was much slower than a direct one.
func (c *chaos) inTime(t *testing.T, what string, p *pull, layers []v1.Layer) {
	t.Helper()
	c.row(what, p.took, p.failures, p.size, p.copies(t, layers))
	p.remove(t)
	if limit := c.direct*3/2 + 15*time.Second; p.took > limit {
		t.Errorf("pods ran after %v, want %v at most: a direct pull took %v", p.took, limit, c.direct)
	}
}

func (c *chaos) supernodesDeleted(t *testing.T) {
	image, layers := c.push(t, brokenImage()...)
	p := c.start(t, "chaos-supernodes-deleted", image, layers, c.nodes)
	p.during(t, c.nodes, func() { c.deletePods(t, supernodePods) })
	c.inTime(t, "supernodes' pods deleted", p, layers)
	if err := c.Cluster.DeploymentReady(t.Context(), namespace, supernodeDeployment); err != nil {
		t.Fatal(err)
	}
}

// deletePods ends them without a chance to say good-bye.
func (e *env) deletePods(t *testing.T, selector string) {
	t.Helper()
	now := int64(0)
	pods := e.Cluster.Client.CoreV1().Pods(namespace)
	list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("%d pods are %s (%v)", len(list.Items), selector, err)
	}
	for i := range list.Items {
		if err := pods.Delete(t.Context(), list.Items[i].Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *chaos) daemonKilled(t *testing.T) {
	node := c.nodes[len(c.nodes)-1]
	before := c.restarts(t, node)
	image, layers := c.push(t, brokenImage()...)
	p := c.start(t, "chaos-dfdaemon-killed", image, layers, c.nodes)
	p.during(t, []string{node}, func() {
		if _, err := c.Cluster.Exec(t.Context(), node, "sh", "-c", "kill -9 $(pidof dfdaemon)"); err != nil {
			t.Fatal(err)
		}
	})
	c.inTime(t, "a node's dfdaemon killed", p, layers)
	if err := c.Cluster.DaemonSetReady(t.Context(), namespace, daemonSet); err != nil {
		t.Fatal(err)
	}
	if after := c.restarts(t, node); after != before+1 {
		t.Errorf("dfdaemon of %s restarted %d times, want once", node, after-before)
	}
}

// restarts of a node's dfdaemon.
func (e *env) restarts(t *testing.T, node string) int32 {
	t.Helper()
	options := metav1.ListOptions{LabelSelector: daemonPods, FieldSelector: "spec.nodeName=" + node}
	list, err := e.Cluster.Client.CoreV1().Pods(namespace).List(t.Context(), options)
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("node %s has %d pods of dfdaemon (%v)", node, len(list.Items), err)
	}
	statuses := list.Items[0].Status.ContainerStatuses
	i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == "dfdaemon" })
	if i < 0 {
		t.Fatalf("dfdaemon of %s has not started", node)
	}
	return statuses[i].RestartCount
}

func (c *chaos) noSupernode(t *testing.T) {
	was, err := c.scaleTo(t.Context(), supernodeDeployment, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.scaleTo(cleanupContext(t), supernodeDeployment, was); err != nil {
			t.Error(err)
		}
		if err := c.Cluster.DeploymentReady(cleanupContext(t), namespace, supernodeDeployment); err != nil {
			t.Error(err)
		}
	})
	if err := c.Cluster.PodsGone(t.Context(), namespace, supernodePods); err != nil {
		t.Fatal(err)
	}
	image, layers := c.push(t, brokenImage()...)
	p := c.start(t, "chaos-no-supernode", image, layers, c.nodes)
	p.end(t)
	c.inTime(t, "no supernode", p, layers)
}

// scaleTo returns the replicas that there were.
func (e *env) scaleTo(ctx context.Context, deployment string, replicas int32) (was int32, err error) {
	deployments := e.Cluster.Client.AppsV1().Deployments(namespace)
	scale, err := deployments.GetScale(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	was, scale.Spec.Replicas = scale.Spec.Replicas, replicas
	_, err = deployments.UpdateScale(ctx, deployment, scale, metav1.UpdateOptions{})
	return was, err
}

// registryDown pulls by digest: a tag is the registry's to tell. The last node has never seen the image, the others have lost it.
func (c *chaos) registryDown(t *testing.T) {
	image, layers := c.push(t, brokenImage()...)
	digest := c.digest(t, image)
	byDigest := image[:strings.LastIndexByte(image, ':')] + "@" + digest
	warm := c.nodes[:len(c.nodes)-1]
	first := c.start(t, "chaos-registry-up", byDigest, layers, warm)
	first.end(t)
	first.remove(t)
	for _, n := range warm {
		if err := c.Cluster.ForgetImage(t.Context(), n, digest); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Origin.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Origin.Start(cleanupContext(t)); err != nil {
			t.Error(err)
		}
	})
	p := c.start(t, "chaos-registry-down", byDigest, layers, c.nodes)
	p.end(t)
	c.inTime(t, "registry down: three warm nodes and a cold one", p, layers)
	end := c.metrics(t)
	for i, n := range c.nodes {
		got := end[n].Sum(received, nil) - p.start[n].Sum(received, nil)
		if cold := i == len(warm); cold && got < float64(p.size) || !cold && got != 0 {
			t.Errorf("%s received %.0f bytes, want what it had not: %d if it was cold", n, got, p.size)
		}
	}
}

// digest of the image's manifest.
func (e *env) digest(t *testing.T, image string) string {
	t.Helper()
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}
