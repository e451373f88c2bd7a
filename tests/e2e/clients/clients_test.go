//go:build e2e

// Package clients pulls one image with the clients that people have, through Dragonfly and from a real registry, and takes the
// registry's access log as witness. It needs root and the Debian packages docker.io, containerd, docker-registry and skopeo, and
// the programs in bin/ (see `make e2e-clients`).
package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/dragonfly-kube/dragonfly/tests/cluster"
	"github.com/dragonfly-kube/dragonfly/tests/process"
)

const (
	registryAddr = "127.0.0.30:5000"
	firstAddress = 31 // of the supernode; the dfdaemons have the next ones
	repository   = "library/app"
	tag          = "1"
	maxCopies    = 1.02
	// maxRequests for one blob: 2, and the parts in which the seed reads the big layer (16 MiB first, 32 MiB and more then).
	maxRequests = 2 + 8
)

// env is what all steps share.
type env struct {
	dir, logs string
	registry  *registry
	digest    v1.Hash
	layers    []layer
	nodes     []cluster.Node
	supernode *process.Process
	expected  atomic.Bool // the supernode's end is
	times     *times
}

// The nodes and who pulls through them.
const (
	firstDocker = iota
	secondDocker
	containerdNode
	toolsNode
	lateDocker
	slowNode
	nodeCount
)

func TestClientsPullThroughDragonfly(t *testing.T) {
	e := setUp(t)
	t.Run("directly, for comparison", e.direct)
	mark := e.registry.mark(t)
	e.startDragonfly(t)
	t.Run("two Docker engines at once", e.dockers)
	t.Run("containerd with a hosts directory", e.containerd)
	t.Run("skopeo", e.skopeo)
	t.Run("crane", e.crane)
	t.Run("the registry sent everything once", func(t *testing.T) { e.witness(t, mark) })
	t.Run("every node took the image from the swarm", e.shares)
	e.registry.Stop()
	t.Run("a fresh Docker engine after the registry has stopped", e.late)
	t.Run("no registry, and the supernode is killed in the middle of a pull", e.orphaned)
	e.times.print(t)
}

// setUp checks what the test needs, starts the registry and pushes the image.
func setUp(t *testing.T) *env {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("container engines need root: run this as root")
	}
	for _, program := range []string{"docker", "dockerd", "containerd", "ctr", "docker-registry", "skopeo", "dpkg-query"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: apt-get install docker.io containerd docker-registry skopeo", program)
		}
	}
	dir, err := os.MkdirTemp("", "df-e2e-") //nolint:usetesting // t.TempDir is too long a path for the engines' sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := &env{dir: dir, logs: logFolder(t), times: &times{}}
	e.registry = startRegistry(t, registryAddr, e.dir, e.logs)
	ref, err := name.NewTag(registryAddr+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	e.digest, e.layers = pushImage(t, e.dir, ref)
	for i, l := range e.layers {
		t.Logf("layer %d: %9d bytes %s", i, l.size, l.digest)
	}
	if e.layers[0].size < 200_000_000 || len(e.layers) < 3+smallLayers {
		t.Fatalf("the image has %d layers, the first with %d bytes: this machine has too few packages", len(e.layers), e.layers[0].size)
	}
	return e
}

// logFolder is E2E_LOGS, or a folder that stays when the test fails.
func logFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("E2E_LOGS")
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir, err := os.MkdirTemp("", "dragonfly-e2e-logs-") //nolint:usetesting // it stays when the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs are in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// check fails the test when a client got another manifest than was pushed.
func (e *env) check(t *testing.T, got string) {
	t.Helper()
	if got != e.digest.String() {
		t.Errorf("the client has the image %s, want %s", got, e.digest)
	}
}

func (e *env) direct(t *testing.T) {
	image := registryAddr + "/" + repository + ":" + tag
	d := startDocker(t, "docker-direct", e.dir, e.logs, "")
	e.times.measure("docker", "direct", func() { e.check(t, d.pull(t, image)) })
	c := startContainerd(t, "containerd-direct", e.dir, e.logs, registryAddr, "")
	e.times.measure("containerd", "direct", func() { e.check(t, c.pull(t, image)) })
	e.times.measure("skopeo", "direct", func() { e.checkFolder(t, skopeo(t, image)) })
	e.times.measure("crane", "direct", func() { e.craneTo(t, image) })
}

func (e *env) startDragonfly(t *testing.T) {
	t.Helper()
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	plan := cluster.NewPlan(t.Context(), firstAddress, nodeCount, e.dir)
	if err := plan.CheckFree(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan.Nodes[slowNode].Args = []string{"--download-rate", "32MiB/s"} // so that its pull has a middle
	c, err := cluster.Start(t.Context(), cluster.Config{
		Plan: plan, Bin: bin, Dir: e.dir, Logs: e.logs, Registry: "http://" + registryAddr,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	t.Cleanup(func() { cancel(nil) })
	c.Watch(ctx, func(cause error) {
		if !e.expected.Load() {
			t.Errorf("%v", cause)
		}
	})
	e.nodes, e.supernode = plan.Nodes, c.Processes[0]
}

func (e *env) dockers(t *testing.T) {
	for i, n := range []int{firstDocker, secondDocker} {
		name := fmt.Sprintf("docker-%d", i+1)
		d := startDocker(t, name, e.dir, e.logs, e.nodes[n].Mirror)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e.times.measure("docker", fmt.Sprintf("engine %d of two at once", i+1), func() { e.check(t, d.pull(t, "app:"+tag)) })
		})
	}
}

func (e *env) containerd(t *testing.T) {
	c := startContainerd(t, "containerd", e.dir, e.logs, registryAddr, e.nodes[containerdNode].Mirror)
	e.times.measure("containerd", "hosts.toml", func() { e.check(t, c.pull(t, registryAddr+"/"+repository+":"+tag)) })
}

func (e *env) skopeo(t *testing.T) {
	image := e.nodes[toolsNode].Mirror + "/" + repository + ":" + tag
	e.times.measure("skopeo", "cold node", func() { e.checkFolder(t, skopeo(t, image)) })
}

func (e *env) crane(t *testing.T) {
	image := e.nodes[toolsNode].Mirror + "/" + repository + ":" + tag
	e.times.measure("crane", "warm node", func() { e.craneTo(t, image) })
}

func (e *env) late(t *testing.T) {
	d := startDocker(t, "docker-late", e.dir, e.logs, e.nodes[lateDocker].Mirror)
	e.times.measure("docker", "cold node, registry stopped", func() { e.check(t, d.pull(t, "app@"+e.digest.String())) })
	image := e.nodes[lateDocker].Mirror + "/" + repository + "@" + e.digest.String()
	e.times.measure("crane", "warm node, registry stopped", func() { e.craneTo(t, image) })
}

// orphaned kills the supernode when a fresh node has a fifth of the big layer. The rest comes from its peers, in the same response.
func (e *env) orphaned(t *testing.T) {
	big := e.layers[0]
	image := e.nodes[slowNode].Mirror + "/" + repository + "@" + big.digest.String()
	l, err := crane.PullLayer(image, crane.Insecure, crane.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	e.times.measure("crane", "registry stopped, supernode killed", func() {
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		if _, err := io.CopyN(io.Discard, rc, big.size/5); err != nil {
			t.Fatal(err)
		}
		e.expected.Store(true)
		if err := e.supernode.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rc); err != nil { // which checks the digest
			t.Errorf("the rest of the layer: %v", err)
		}
	})
	s, err := e.nodes[slowNode].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes from the seed, %d from peers", s.Received.FromSeed, s.Received.FromPeers)
}

// craneTo pulls with crane's library, which fails a layer that does not match its digest, and throws the content away.
func (e *env) craneTo(t *testing.T, image string) {
	t.Helper()
	img, err := crane.Pull(image, crane.Insecure, crane.WithContext(t.Context()))
	if err != nil {
		t.Errorf("pull %s: %v", image, err)
		return
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != len(e.layers) {
		t.Errorf("%s has %d layers (%v), want %d", image, len(layers), err, len(e.layers))
	}
	for i, l := range layers {
		rc, err := l.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, rc)
			err = errors.Join(err, rc.Close())
		}
		if err != nil {
			t.Errorf("%s, layer %d: %v", image, i, err)
		}
	}
	if d, err := img.Digest(); err != nil || d != e.digest {
		t.Errorf("%s is %s (%v), want %s", image, d, err, e.digest)
	}
}

// checkFolder compares what skopeo stored with what was pushed.
func (e *env) checkFolder(t *testing.T, dir string) {
	t.Helper()
	want := map[string]string{"manifest.json": e.digest.Hex}
	for _, l := range e.layers {
		want[l.digest.Hex] = l.digest.Hex
	}
	for file, hash := range want {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != hash {
			t.Errorf("skopeo's %s has the sha256 %x, want %s", file, sum, hash)
		}
	}
}

// witness reads the registry's log: every layer left it once, whole, and small ones in one request.
func (e *env) witness(t *testing.T, mark int64) {
	t.Helper()
	counts := e.registry.getsSince(t, mark)
	var sent, size int64
	for i, l := range e.layers {
		g := counts[l.digest.String()]
		sent, size = sent+g.bytes, size+l.size
		if copies := float64(g.bytes) / float64(l.size); copies < 1 || copies > maxCopies {
			t.Errorf("layer %d (%d bytes): the registry sent %.3f copies, want 1.00 to %.2f", i, l.size, copies, maxCopies)
		}
		if g.requests > maxRequests {
			t.Errorf("layer %d (%d bytes): the registry was asked %d times, want at most %d", i, l.size, g.requests, maxRequests)
		}
		if l.size < smallLimit && g.requests != 1 {
			t.Errorf("layer %d (%d bytes): the registry was asked %d times, want once", i, l.size, g.requests)
		}
		t.Logf("layer %d: %9d bytes, %d requests, %.3f copies", i, l.size, g.requests, float64(g.bytes)/float64(l.size))
	}
	t.Logf("the registry sent %d bytes for %d bytes of layers: %.3f copies for 4 nodes and 5 clients", sent, size, float64(sent)/float64(size))
}

// shares asks every node that was used where its bytes came from: all of the image, none of it from the registry.
func (e *env) shares(t *testing.T) {
	var size int64
	for _, l := range e.layers {
		size += l.size
	}
	for i, n := range e.nodes[:lateDocker] {
		s, err := n.Status(t.Context())
		if err != nil {
			t.Error(err)
			continue
		}
		r := s.Received
		t.Logf("%s: %d bytes from the seed, %d from peers, %d from the registry; gave %d", n.Name, r.FromSeed, r.FromPeers, r.FromOrigin, s.Sent)
		if r.FromSeed+r.FromPeers < size || r.FromOrigin != 0 {
			t.Errorf("%s: want %d bytes or more from seed and peers, none from the registry", n.Name, size)
		}
		if i > secondDocker && r.FromPeers == 0 {
			t.Errorf("%s: nothing from peers, though others held all of it", n.Name)
		}
	}
}

// times collects how long each pull took. Safe for concurrent use.
type times struct {
	mu   sync.Mutex // guards the fields below
	rows []string
}

func (s *times) measure(client, how string, pull func()) {
	start := time.Now()
	pull()
	took := time.Since(start)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, fmt.Sprintf("%s\t%s\t%.1f s", client, how, took.Seconds()))
}

func (s *times) print(t *testing.T) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "client\thow\ttime")
	fmt.Fprintln(w, strings.Join(s.rows, "\n"))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("time to pull and unpack:\n%s", b.String())
}
