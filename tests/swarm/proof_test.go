package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
)

// answer asks a supernode and decodes what it says into out.
func answer(t *testing.T, s *supernode.Server, method, path string, in, out any) int {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.RegisterAddr().String()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if out != nil && resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode
}

// until waits for something that has to come, looking now and then.
func until(t *testing.T, what string, come func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !come() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not come", what)
		}
	}
}

// liar is a parent that claims to hold everything and sends something else, with proofs that it made itself under the supernode's name.
type liar struct {
	mu   sync.Mutex // guards the fields below
	meta api.Meta
	key  []byte
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	meta, key := l.meta, l.key
	l.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/pieces") {
		count := int((meta.Length + meta.PieceSize - 1) / meta.PieceSize)
		fmt.Fprintf(w, "have 0-%d %d 0\n", count-1, count)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	var first, last int64
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body := bytes.Repeat([]byte("lies"), int(last-first)/4+1)[:last-first+1]
	var proofs []string
	for off := int64(0); off < int64(len(body)); off += meta.PieceSize {
		sum := sha256.Sum256(body[off:min(off+meta.PieceSize, int64(len(body)))])
		proof := append(append(sum[:], key[:8]...), make([]byte, 64)...)
		proofs = append(proofs, base64.RawURLEncoding.EncodeToString(proof))
	}
	w.Header().Set(api.HeaderProof, strings.Join(proofs, ","))
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, meta.Length))
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(body)
}

// lie makes a liar a member of a blob's swarm.
func (c *local) lie(digest string) {
	c.t.Helper()
	l := &liar{}
	srv := httptest.NewServer(l)
	c.t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	task := strings.TrimPrefix(digest, "sha256:")
	var u api.Update
	status := answer(c.t, c.super, http.MethodPost, api.RegisterPath(task), api.RegisterRequest{
		Peer: "liar", Host: api.Host{ID: "liar", Addrs: []string{strings.TrimPrefix(srv.URL, "http://")}}, Proofs: true,
		Origin: api.Origin{URL: c.origin.URL + "/v2/team/app/blobs/" + digest, Digest: digest},
	}, &u)
	if status != http.StatusOK || u.Meta == nil || len(u.Key) == 0 {
		c.t.Fatalf("the liar registered with %d, meta %v, a key of %d bytes", status, u.Meta, len(u.Key))
	}
	l.mu.Lock()
	l.meta, l.key = *u.Meta, u.Key
	l.mu.Unlock()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.super.RegisterAddr().String()+api.EventsPath(task, "liar", 0), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
	c.t.Cleanup(func() {
		resp.Body.Close()
		wg.Wait()
	})
}

// complaints of wrong bytes that the supernode has heard.
func (c *local) complaints() string {
	c.t.Helper()
	resp, err := http.Get("http://" + c.super.RegisterAddr().String() + api.PathMetrics)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), `dragonfly_swarm_complaints_total{reason="digest"} `); ok {
			return n
		}
	}
	return "0"
}

// noneFromOrigin fails where a node read the origin itself.
func (c *local) noneFromOrigin() {
	c.t.Helper()
	for i, d := range c.nodes {
		st := c.settled(d).Received
		c.t.Logf("node %d: from seed %d, peers %d, origin %d", i, st.FromSeed, st.FromPeers, st.FromOrigin)
		if st.FromOrigin != 0 {
			c.t.Errorf("node %d read %d bytes from the origin itself, want none", i, st.FromOrigin)
		}
	}
}

func TestAParentThatLiesInItsProofsHurtsNobody(t *testing.T) {
	const size, rate = 16 << 20, 8 << 20
	c := newCluster(t, 3)
	digest := c.origin.add(200, size)
	c.origin.throttle(rate)
	c.lie(digest)
	c.pullAll(digest)
	c.noneFromOrigin()
	until(t, "a complaint about the liar", func() bool { return c.complaints() != "0" })
	if _, sent := c.origin.count(digest); sent != size {
		t.Errorf("%d bytes left the origin, want %d", sent, size)
	}
}

func TestASupernodeThatIsReplacedDuringAPullStallsNobody(t *testing.T) {
	const size, rate, nodes = 24 << 20, 8 << 20, 3
	c := &local{t: t, origin: newOrigin(t)}
	first, stopFirst := newSupernode(t)
	second, stopSecond := newSupernode(t)
	atBoth := func(cfg *dfdaemon.Config) {
		cfg.Supernodes = []string{first.RegisterAddr().String(), second.RegisterAddr().String()}
	}
	for range nodes {
		c.joinWith(atBoth)
	}
	digest := c.origin.add(201, size)
	c.origin.throttle(rate)
	task := strings.TrimPrefix(digest, "sha256:")
	var once sync.Once
	replace := func() {
		once.Do(func() {
			if answer(t, first, http.MethodGet, api.PathTasks+"/"+task, nil, nil) == http.StatusOK {
				stopFirst()
			} else {
				stopSecond()
			}
		})
	}
	var wg sync.WaitGroup
	for i, d := range c.nodes {
		wg.Go(func() {
			m := watch(t.Context(), d.MirrorAddr(), digest, size/3, replace)
			t.Logf("node %d: first byte after %v, longest stall %v", i, m.first.Round(time.Millisecond), m.stall.Round(time.Millisecond))
			if m.err != nil {
				t.Errorf("node %d: %v", i, m.err)
			}
		})
	}
	wg.Wait()
	_, sent := c.origin.count(digest)
	t.Logf("the origin sent %.2f copies to %d nodes", float64(sent)/size, nodes)
	if sent > 2*size {
		t.Errorf("the origin sent %.2f copies, want less than one for each supernode", float64(sent)/size)
	}
	// Who comes now gets proofs of both supernodes from the others, and has one key.
	c.origin.set(func() { c.origin.down = true })
	late, _ := c.joinWith(atBoth)
	if err := c.pull(late, digest); err != nil {
		t.Errorf("the late node: %v", err)
	}
}

// oldStyle is a supernode's address for a dfdaemon of a version that knows nothing of proofs: it registers without.
func oldStyle(t *testing.T, s *supernode.Server) string {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: s.RegisterAddr().String()}
	srv := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		if r.Out.Method != http.MethodPost || !strings.HasSuffix(r.Out.URL.Path, "/peers") {
			return
		}
		body, err := io.ReadAll(r.In.Body)
		if err != nil {
			t.Error(err)
		}
		plain := bytes.Replace(body, []byte(`,"proofs":true`), nil, 1)
		if len(plain) == len(body) {
			t.Errorf("a registration has no proofs to leave out: %s", body)
		}
		r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(plain)), int64(len(plain))
	}})
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestOldAndNewNodesShareASwarm(t *testing.T) {
	const size, rate = 16 << 20, 8 << 20
	c := newCluster(t, 2)
	old, _ := c.joinWith(func(cfg *dfdaemon.Config) { cfg.Supernodes = []string{oldStyle(t, c.super)} })
	digest := c.origin.add(202, size)
	c.origin.throttle(rate)
	c.pullAll(digest)
	if st := c.settled(old); st.Sent == 0 {
		t.Error("the old node gave nothing to the others")
	}
	late := c.join()
	if err := c.pull(late, digest); err != nil {
		t.Errorf("the late node: %v", err)
	}
	c.noneFromOrigin()
	if n := c.complaints(); n != "0" {
		t.Errorf("%s complaints of wrong bytes, want none", n)
	}
	if _, sent := c.origin.count(digest); sent != size {
		t.Errorf("%d bytes left the origin, want %d", sent, size)
	}
}

func TestANodeThatWasRestartedStillGivesWhatItHolds(t *testing.T) {
	const size = 16 << 20
	c := newCluster(t, 0)
	dir, addr := t.TempDir(), "127.0.0.1:0"
	restart := func() (*dfdaemon.Server, func()) {
		return c.joinWith(func(cfg *dfdaemon.Config) { cfg.DataDir, cfg.PeerAddr = dir, addr })
	}
	node, stop := restart()
	digest := c.origin.add(203, size)
	if err := c.pull(node, digest); err != nil {
		t.Fatal(err)
	}
	addr = c.settled(node).Host.Addrs[0]
	stop()
	node, _ = restart()
	c.nodes = []*dfdaemon.Server{node}
	c.origin.set(func() { c.origin.down = true })
	late := c.join()
	if err := c.pull(late, digest); err != nil {
		t.Fatal(err)
	}
	c.noneFromOrigin()
	if st := c.settled(late).Received; st.FromPeers == 0 {
		t.Errorf("the late node received %+v, want something of the restarted one", st)
	}
}
