package transfer

import (
	"bytes"
	"io"
	"sync"
	"testing"
)

// pull reads the whole content through a handle.
func pull(t *testing.T, p *testPeer, sp Spec) ([]byte, Stats) {
	t.Helper()
	h, err := p.Open(t.Context(), sp)
	if err != nil {
		t.Error(err)
		return nil, Stats{}
	}
	defer h.Close()
	if _, err := h.Meta(t.Context()); err != nil {
		t.Errorf("meta: %v", err)
		return nil, Stats{}
	}
	r := h.Reader(0, -1)
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Errorf("read: %v", err)
	}
	if err := h.Wait(t.Context()); err != nil {
		t.Errorf("wait: %v", err)
	}
	return b.Bytes(), h.Stats()
}

func TestPeersPullAtOnceAndEachGivesToOthers(t *testing.T) {
	t.Parallel()
	body := content(1, 8<<20)
	s := newSupernode(t, body)
	o := newOrigin(t, body)
	var peers []*testPeer
	for _, name := range names(8) {
		peers = append(peers, newPeer(t, name, s, o))
	}
	var wg sync.WaitGroup
	stats := make([]Stats, len(peers))
	for i, p := range peers {
		wg.Go(func() {
			got, st := pull(t, p, spec(s, o))
			stats[i] = st
			if !bytes.Equal(got, body) {
				t.Errorf("peer %d: got %d bytes that differ from the content's %d", i, len(got), len(body))
			}
		})
	}
	wg.Wait()
	var fromSeed int64
	for i, st := range stats {
		t.Logf("peer %d: %+v", i, st)
		fromSeed += st.FromSeed
	}
	if copies := float64(fromSeed) / float64(len(body)); copies > 1.3 {
		t.Errorf("the seed sent %.2f copies, want at most 1.3", copies)
	}
	if n := o.count(); n != 0 {
		t.Errorf("the origin was asked %d times, want never", n)
	}
}
