package swarm

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
)

func (c *local) status(d *dfdaemon.Server) api.DaemonStatus {
	c.t.Helper()
	resp, err := http.Get("http://" + d.AdminAddr() + api.PathStatus)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var st api.DaemonStatus
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		c.t.Fatal(err)
	}
	return st
}

// settled is the status of a node when its downloads have ended. A client has its last byte a moment before the node has counted it.
func (c *local) settled(d *dfdaemon.Server) api.DaemonStatus {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		st := c.status(d)
		if st.Downloads == 0 {
			return st
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("%d downloads are still running", st.Downloads)
		}
	}
}

func TestEightNodesAtOnceCostTheOriginOneCopy(t *testing.T) {
	const size = 200 << 20
	c := newCluster(t, 8)
	digest := c.origin.add(1, size)
	c.pullAll(digest)
	gets, sent := c.origin.count(digest)
	copies := float64(sent) / size
	// The first part is 16 MiB, the others 32 MiB.
	const parts = 1 + (size-16<<20+32<<20-1)/(32<<20)
	t.Logf("origin: %d GETs for %d parts, %.3f copies", gets, parts, copies)
	if copies > 1.02 {
		t.Errorf("the origin sent %.3f copies, want at most 1.02", copies)
	}
	if gets > 2+parts {
		t.Errorf("the origin got %d GETs, want at most %d", gets, 2+parts)
	}
	for i, d := range c.nodes {
		st := c.status(d)
		t.Logf("node %d: from seed %d, peers %d, origin %d; gave %d", i, st.Received.FromSeed, st.Received.FromPeers, st.Received.FromOrigin, st.Sent)
		if st.Sent == 0 {
			t.Errorf("node %d gave nothing to others", i)
		}
		if st.Received.FromOrigin != 0 {
			t.Errorf("node %d read %d bytes from the origin itself, want none", i, st.Received.FromOrigin)
		}
	}
}

func TestSmallBlobsLeaveTheOriginOnce(t *testing.T) { smallBlobs(t, 3) }

// smallBlobs pulls 30 blobs of 50 KiB on 8 nodes, so many side by side on each.
func smallBlobs(t *testing.T, beside int) {
	t.Helper()
	c := newCluster(t, 8)
	var digests []string
	for i := range 30 {
		digests = append(digests, c.origin.add(uint64(100+i), 50<<10))
	}
	c.pullBeside(beside, digests...)
	for _, d := range digests {
		if gets, sent := c.origin.count(d); gets != 1 || sent != 50<<10 {
			t.Errorf("%s: %d GETs and %d bytes left the origin, want one GET and %d bytes", d, gets, sent, 50<<10)
		}
	}
}
