package system

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
)

// pullers are the clients of the nodes, one each.
type pullers struct {
	clients []*http.Client
	blobs   []origin.Blob
}

func newPullers(site Site, blobs []origin.Blob) pullers {
	p := pullers{blobs: blobs}
	for _, host := range site.Nodes {
		p.clients = append(p.clients, site.Net.Client(host))
	}
	return p
}

// pull reads all blobs at once from a base URL as the client of the i-th node.
func (p pullers) pull(ctx context.Context, i int, base string) error {
	errs := make([]error, len(p.blobs))
	var wg sync.WaitGroup
	for k, b := range p.blobs {
		wg.Go(func() { errs[k] = get(ctx, p.clients[i], base+b.Path(), b.Size) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p pullers) close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// direct has every node ask the origin.
type direct struct {
	Site
	pullers
}

func (d *direct) Start(_ context.Context, blobs []origin.Blob) error {
	d.pullers = newPullers(d.Site, blobs)
	return nil
}

func (d *direct) Pull(ctx context.Context, i int) error { return d.pull(ctx, i, d.Origin.URL()) }

func (d *direct) Cost(context.Context) (Cost, error) {
	return Cost{Seed: -1, Peers: -1, Wasted: -1}, nil
}

func (d *direct) Stop() { d.close() }
