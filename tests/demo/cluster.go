package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
)

// cluster is one supernode and some dfdaemons, each a process.
type cluster struct {
	supernode node
	nodes     []node
	processes []*process // the supernode first
}

// startCluster starts everything and waits until it is ready. bin is the folder of the programs, upstream the registry that the
// dfdaemons mirror. What was started is in the cluster even when there is an error: the caller stops it.
func startCluster(ctx context.Context, bin, dir, upstream string, supernode node, nodes []node) (*cluster, error) {
	c := &cluster{supernode: supernode, nodes: nodes}
	secret, config := filepath.Join(dir, "secret"), filepath.Join(dir, "empty.yaml")
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	if err := os.WriteFile(secret, []byte(hex.EncodeToString(key)), 0o600); err != nil {
		return c, err
	}
	if err := os.WriteFile(config, nil, 0o600); err != nil { // keeps this machine's own configuration out
		return c, err
	}
	p, err := start(ctx, supernode.name, filepath.Join(bin, "supernode"), supernode.dir,
		"--config", config, "--secret-file", secret, "--data-dir", supernode.dir,
		"--register-addr", supernode.admin, "--download-addr", supernode.pieces, "--advertise-addr", supernode.host)
	if err != nil {
		return c, err
	}
	c.processes = append(c.processes, p)
	if err := p.ready(ctx, "http://"+supernode.admin+"/readyz"); err != nil {
		return c, err
	}
	for _, n := range nodes {
		p, err := start(ctx, n.name, filepath.Join(bin, "dfdaemon"), n.dir,
			"--config", config, "--secret-file", secret, "--data-dir", n.dir,
			"--registry", upstream, "--supernode", supernode.admin,
			"--mirror-addr", n.mirror, "--peer-addr", n.peer, "--admin-addr", n.admin, "--advertise-addr", n.host,
			"--socket", filepath.Join(n.dir, "dfdaemon.sock"))
		if err != nil {
			return c, err
		}
		c.processes = append(c.processes, p)
	}
	for i, n := range nodes {
		if err := c.processes[i+1].ready(ctx, "http://"+n.admin+"/readyz"); err != nil {
			return c, err
		}
	}
	return c, nil
}

// watch cancels with the reason when a process ends by itself before ctx does.
func (c *cluster) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for _, p := range c.processes {
		go func() {
			select {
			case <-ctx.Done():
			case <-p.ended:
				cancel(p.died())
			}
		}()
	}
}

// stop ends all processes: the nodes at once, then the supernode.
func (c *cluster) stop() {
	if len(c.processes) == 0 {
		return
	}
	var wg sync.WaitGroup
	for _, p := range c.processes[1:] {
		wg.Go(p.stop)
	}
	wg.Wait()
	c.processes[0].stop()
}
