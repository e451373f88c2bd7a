package system

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/cluster"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
)

// dragonfly has a supernode on the center and a dfdaemon on every node; clients ask their node's.
type dragonfly struct {
	Site
	pullers
	plan    cluster.Plan
	cluster *cluster.Cluster
}

func (d *dragonfly) Start(ctx context.Context, blobs []origin.Blob) error {
	d.pullers = newPullers(d.Site, blobs)
	d.plan = d.Site.plan()
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return err
	}
	var err error
	d.cluster, err = cluster.Start(ctx, cluster.Config{Plan: d.plan, Bin: d.Bin, Dir: d.Dir, Logs: d.Logs, Registry: d.Origin.URL()})
	return err
}

// plan has every program on a host of its own. The folders may be on a small file system, so no room is kept free.
func (s Site) plan() cluster.Plan {
	node := func(host int, name string) cluster.Node {
		return cluster.Node{
			Name: name, Host: s.Net.Addr(host), Dir: filepath.Join(s.Dir, name), Via: s.Net.Via(host), Args: []string{"--disk-min-free", "0"},
		}
	}
	at := func(host, port int) string { return fmt.Sprintf("%s:%d", s.Net.Addr(host), port) }
	p := cluster.Plan{Supernode: node(s.Center, "supernode")}
	p.Supernode.Admin, p.Supernode.Pieces = at(s.Center, api.RegisterPort), at(s.Center, api.DownloadPort)
	for i, host := range s.Nodes {
		n := node(host, fmt.Sprintf("node-%d", i+1))
		n.Mirror, n.Peer, n.Admin = at(host, api.MirrorPort), at(host, api.PeerPort), at(host, api.AdminPort)
		p.Nodes = append(p.Nodes, n)
	}
	return p
}

func (d *dragonfly) Pull(ctx context.Context, i int) error {
	return d.pull(ctx, i, "http://"+d.plan.Nodes[i].Mirror)
}

func (d *dragonfly) Cost(ctx context.Context) (Cost, error) {
	var c Cost
	sent := 0.0
	for i, p := range d.cluster.Processes {
		c.Processes = append(c.Processes, p.PID())
		addr := d.plan.Supernode.Admin
		if i > 0 {
			addr = d.plan.Nodes[i-1].Admin
		}
		m, err := scrape.Get(ctx, addr)
		if err != nil {
			return c, err
		}
		sent += m.Sum("dragonfly_upload_bytes_total", nil)
		if i > 0 {
			c.Seed += int64(m.Sum("dragonfly_transfer_bytes_total", map[string]string{"from": "seed"}))
			c.Peers += int64(m.Sum("dragonfly_transfer_bytes_total", map[string]string{"from": "peers"}))
		}
	}
	c.Wasted = max(0, int64(sent)-c.Seed-c.Peers)
	return c, nil
}

func (d *dragonfly) Stop() {
	d.close()
	if d.cluster != nil {
		d.cluster.Stop()
	}
}
