// Package swarm tests whole programs against each other on loopback: what docs/architecture.md promises of a pull by many nodes.
package swarm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
)

// local is a supernode and dfdaemons in this process.
type local struct {
	t      *testing.T
	origin *origin
	super  *supernode.Server
	nodes  []*dfdaemon.Server
}

func quiet(t *testing.T, name string) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", name)
	}
	return slog.New(slog.DiscardHandler)
}

// start runs f until stop is called or the test ends, and waits for its end.
func start(t *testing.T, what string, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func newCluster(t *testing.T, nodes int) *local {
	t.Helper()
	c := &local{t: t, origin: newOrigin(t)}
	c.super, _ = newSupernode(t)
	for range nodes {
		c.join()
	}
	return c
}

// newSupernode starts a supernode.
func newSupernode(t *testing.T) (s *supernode.Server, stop func()) {
	t.Helper()
	cfg := supernode.DefaultConfig()
	cfg.RegisterAddr, cfg.DownloadAddr, cfg.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	cfg.DiskMinFree = 0
	s, err := supernode.New(cfg, quiet(t, "supernode"))
	if err != nil {
		t.Fatal(err)
	}
	return s, start(t, "supernode", s.Run)
}

// join adds a dfdaemon.
func (c *local) join() *dfdaemon.Server {
	c.t.Helper()
	d, _ := c.joinWith(func(*dfdaemon.Config) {})
	return d
}

// joinWith adds a dfdaemon with other settings.
func (c *local) joinWith(change func(*dfdaemon.Config)) (d *dfdaemon.Server, stop func()) {
	c.t.Helper()
	cfg := dfdaemon.Default()
	cfg.Registry = c.origin.URL
	if c.super != nil {
		cfg.Supernodes = []string{c.super.RegisterAddr().String()}
	}
	cfg.Port, cfg.PeerAddr, cfg.AdminAddr, cfg.Socket = 0, "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.DataDir, cfg.MinFree = c.t.TempDir(), 0
	change(&cfg)
	d, err := dfdaemon.New(cfg, quiet(c.t, fmt.Sprint("node-", len(c.nodes))))
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes = append(c.nodes, d)
	return d, start(c.t, "dfdaemon", d.Run)
}

// get opens a blob through a node's mirror.
func (c *local) get(d *dfdaemon.Server, digest, rng string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+d.MirrorAddr()+"/v2/team/app/blobs/"+digest, nil)
	if err != nil {
		return nil, err
	}
	if rng != "" {
		req.Header.Set("Range", rng)
	}
	return http.DefaultClient.Do(req)
}

// pull reads a blob through a node's mirror and checks every byte of it.
func (c *local) pull(d *dfdaemon.Server, digest string) error {
	resp, err := c.get(d, digest, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", resp.Status)
	}
	return check(resp.Body, digest)
}

// check reads content to its end and compares its digest.
func check(r io.Reader, digest string) error {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("%d bytes have digest %s, want %s", n, got, digest)
	}
	return nil
}

// pullAll pulls on all nodes at once, on each as many blobs side by side as container runtimes do (3 is the default of Docker and
// containerd).
func (c *local) pullAll(digests ...string) {
	c.t.Helper()
	c.pullBeside(3, digests...)
}

// pullBeside pulls on all nodes at once, on each so many blobs side by side.
func (c *local) pullBeside(many int, digests ...string) {
	c.t.Helper()
	var wg sync.WaitGroup
	for i, d := range c.nodes {
		wg.Go(func() {
			var group errgroup.Group
			group.SetLimit(many)
			for _, digest := range digests {
				group.Go(func() error { return c.pull(d, digest) })
			}
			if err := group.Wait(); err != nil {
				c.t.Errorf("node %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
