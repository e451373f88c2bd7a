// Package system has the ways to bring content to nodes that the benchmark compares: each is started on the hosts of a network, told to pull
// on one node after the other or at once, asked what it cost, and stopped.
package system

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/network"
	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
)

// Site is where a system runs.
type Site struct {
	Net    *network.Network
	Origin *origin.Origin
	// Center is the host for what there is one of, Nodes are the hosts that pull.
	Center int
	Nodes  []int
	// Bin is the folder of our programs, Dir one for the system's files, which the caller removes, Logs one for its logs.
	Bin, Dir, Logs string
}

// Cost is what a system counted since it started. A value that it does not count is -1.
type Cost struct {
	// Seed and Peers are bytes of content that nodes received from the center and from each other, Wasted bytes sent to nodes that were not used.
	Seed, Peers, Wasted int64
	// Processes of the system: the center's first, -1 where there is none, then the nodes'.
	Processes []int
}

// System is one way to bring content to nodes.
type System interface {
	// Start starts all programs and returns when they are ready. The blobs exist at the origin; some systems must know them before.
	Start(ctx context.Context, blobs []origin.Blob) error
	// Pull brings the blobs to the i-th node, all at once, and returns when the last byte has arrived. Nodes pull concurrently.
	Pull(ctx context.Context, i int) error
	// Cost may be asked until Stop.
	Cost(ctx context.Context) (Cost, error)
	// Stop ends all programs, also after an error of Start.
	Stop()
}

// New makes a system by its name.
func New(name string, site Site) (System, error) {
	switch name {
	case Dragonfly:
		return &dragonfly{Site: site}, nil
	case Direct:
		return &direct{Site: site}, nil
	case Cache:
		return &cache{Site: site}, nil
	case LibTorrent:
		return &torrent{Site: site}, nil
	default:
		return nil, fmt.Errorf("no system is called %q", name)
	}
}

// Names of the systems.
const (
	Dragonfly  = "dragonfly"
	Direct     = "direct"
	Cache      = "cache"
	LibTorrent = "libtorrent"
)

// Names of all systems.
func Names() []string { return []string{Dragonfly, Direct, Cache, LibTorrent} }

// get reads url as one client on a node and checks the length.
func get(ctx context.Context, client *http.Client, url string, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, resp.Body, make([]byte, 64<<10))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d", n, size)
	}
	if err != nil {
		return fmt.Errorf("get %s, after %v and %d of %d bytes: %w", url, time.Since(start).Round(time.Millisecond), n, size, err)
	}
	return nil
}

// onlyWriter hides what else a writer can do, so that the buffer is used.
type onlyWriter struct{ io.Writer }
