package swarm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
)

func TestTheFirstByteComesWhileTheOriginStillSends(t *testing.T) {
	const size, rate = 24 << 20, 8 << 20
	c := newCluster(t, 1)
	digest := c.origin.add(2, size)
	c.origin.throttle(rate)
	resp, err := c.get(c.nodes[0], digest, "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	_, sent := c.origin.count(digest)
	t.Logf("when the first byte came, %.1f %% had left the origin", 100*float64(sent)/size)
	if sent > size/10 {
		t.Errorf("the first byte came after %d of %d bytes had left the origin, want at most a tenth", sent, size)
	}
	if err := check(io.MultiReader(bytes.NewReader(first), resp.Body), digest); err != nil {
		t.Error(err)
	}
}

// progress counts what was read through it.
type progress struct {
	r  io.Reader
	mu sync.Mutex // guards n
	n  int64
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += int64(n)
	return n, err
}

func (p *progress) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func TestANodeThatJoinsMidWayFinishesWithTheFirst(t *testing.T) {
	// One origin part, so that the content leaves the origin in order.
	const size, rate = 16 << 20, 4 << 20
	c := newCluster(t, 2)
	digest := c.origin.add(3, size)
	c.origin.throttle(rate)
	early, err := c.get(c.nodes[0], digest, "")
	if err != nil {
		t.Fatal(err)
	}
	defer early.Body.Close()
	half := make([]byte, size/2)
	if _, err := io.ReadFull(early.Body, half); err != nil {
		t.Fatal(err)
	}
	late, err := c.get(c.nodes[1], digest, "")
	if err != nil {
		t.Fatal(err)
	}
	defer late.Body.Close()
	p := &progress{r: late.Body}
	done := make(chan error, 1)
	go func() { done <- check(p, digest) }()
	if err := check(io.MultiReader(bytes.NewReader(half), early.Body), digest); err != nil {
		t.Errorf("early node: %v", err)
	}
	got := p.count()
	t.Logf("when the early node had all, the one that joined at the half had %.0f %%", 100*float64(got)/size)
	if got < size*8/10 {
		t.Errorf("when the early node had all, the late one had %d of %d bytes, want at least 80 %%", got, size)
	}
	if err := <-done; err != nil {
		t.Errorf("late node: %v", err)
	}
	if _, sent := c.origin.count(digest); sent != size {
		t.Errorf("%d bytes left the origin, want %d", sent, size)
	}
}

func TestEightRangesOfAColdBlobAreOneDownload(t *testing.T) {
	const size, ranges = 16<<20 + 11, 8
	c := newCluster(t, 1)
	digest := c.origin.add(4, size)
	parts := make([][]byte, ranges)
	var wg sync.WaitGroup
	for i := range ranges {
		wg.Go(func() {
			first, last := i*size/ranges, (i+1)*size/ranges-1
			resp, err := c.get(c.nodes[0], digest, fmt.Sprintf("bytes=%d-%d", first, last))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if want := fmt.Sprintf("bytes %d-%d/%d", first, last, size); resp.StatusCode != http.StatusPartialContent || resp.Header.Get("Content-Range") != want {
				t.Errorf("range %d: got %s with Content-Range %q, want 206 and %q", i, resp.Status, resp.Header.Get("Content-Range"), want)
			}
			if parts[i], err = io.ReadAll(resp.Body); err != nil {
				t.Errorf("range %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(bytes.Join(parts, nil))); got != digest {
		t.Errorf("the ranges together have digest %s, want %s", got, digest)
	}
	if _, sent := c.origin.count(digest); sent != size {
		t.Errorf("%d bytes left the origin, want %d", sent, size)
	}
}

func TestTwoRequestsOnOneHostAreOneDownloadAndTheFirstMayLeave(t *testing.T) {
	const size, rate = 16 << 20, 8 << 20
	c := newCluster(t, 1)
	digest := c.origin.add(5, size)
	c.origin.throttle(rate)
	first, err := c.get(c.nodes[0], digest, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, first.Body, size/8); err != nil {
		t.Fatal(err)
	}
	second, err := c.get(c.nodes[0], digest, "")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Body.Close()
	first.Body.Close()
	if err := check(second.Body, digest); err != nil {
		t.Errorf("the second client: %v", err)
	}
	if _, sent := c.origin.count(digest); sent != size {
		t.Errorf("%d bytes left the origin, want %d", sent, size)
	}
	if st := c.settled(c.nodes[0]); st.Received.FromSeed+st.Received.FromPeers+st.Received.FromOrigin != size {
		t.Errorf("the host received %+v, want the blob once", st.Received)
	}
}

func TestTheSwarmServesWhatItHoldsWithoutTheOrigin(t *testing.T) {
	const size = 8 << 20
	c := newCluster(t, 2)
	big, small := c.origin.add(6, size), c.origin.add(7, 1000)
	c.pullAll(big, small)
	c.origin.set(func() { c.origin.down = true })
	late := c.join()
	for _, digest := range []string{big, small} {
		if err := c.pull(late, digest); err != nil {
			t.Errorf("%s: %v", digest, err)
		}
	}
}
