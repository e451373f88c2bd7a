package supernode

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a supernode with real parts on loopback until the test ends.
func start(t *testing.T, change func(*Config)) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.RegisterAddr, cfg.DownloadAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.DataDir = t.TempDir()
	cfg.DiskMinFree = 0
	cfg.Version = "v0-test"
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// content is the same for the same size.
func content(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rng.Read(b)
	return b
}

func idOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// serveOrigin counts the requests for blob.
func serveOrigin(t *testing.T, blob []byte) (url string, gets *atomic.Int32) {
	t.Helper()
	gets = &atomic.Int32{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gets.Add(1)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/blob", gets
}

func registration(peer, url, digest string) api.RegisterRequest {
	return api.RegisterRequest{
		Peer:   peer,
		Host:   api.Host{ID: "host-" + peer, Addrs: []string{"127.0.0.9:65002"}},
		Origin: api.Origin{URL: url, Digest: digest},
	}
}

func call(t *testing.T, method, url string, in, out any) int {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			t.Fatalf("%s %s answered %s with %.200q: %v", method, url, resp.Status, raw, err)
		}
	}
	return resp.StatusCode
}

// follow reads a peer's event stream until done says so, and returns all updates as one.
func follow(t *testing.T, s *Server, task, peer string, first api.Update, done func(*api.Update) bool) api.Update {
	t.Helper()
	if done(&first) {
		return first
	}
	return followAt(t, base(s)+api.EventsPath(task, peer, first.Seq), first, done)
}

// followAt is follow of the stream at an address.
func followAt(t *testing.T, url string, sum api.Update, done func(*api.Update) bool) api.Update {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var u api.Update
		if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
			t.Fatalf("update %.200q: %v", lines.Bytes(), err)
		}
		merge(&sum, &u)
		if done(&sum) {
			return sum
		}
	}
	t.Fatalf("the stream at %s ended before what was waited for; so far: %d pieces, complete %v: %v", url, len(sum.Pieces), sum.Complete, lines.Err())
	return sum
}

func merge(sum, u *api.Update) {
	sum.Pieces = append(sum.Pieces, u.Pieces...)
	sum.Complete = sum.Complete || u.Complete
	sum.Source = sum.Source || u.Source
	if u.Seq > 0 {
		sum.Seq = u.Seq
	}
	if u.Signed != "" {
		sum.Signed += u.Signed + " "
	}
	if u.Key != nil {
		sum.Key = u.Key
	}
	if u.Meta != nil {
		sum.Meta = u.Meta
	}
	if u.Content != nil {
		sum.Content = u.Content
	}
	if u.Parents != nil {
		sum.Parents = u.Parents
	}
	if u.Ticket != "" {
		sum.Ticket = u.Ticket
	}
	if u.Failed != nil {
		sum.Failed = u.Failed
	}
}

func base(s *Server) string { return "http://" + s.RegisterAddr().String() }

func TestOnePeerGetsABlobFromTheSeedAndTheOriginIsAskedOnce(t *testing.T) {
	blob := content(5<<20 + 7)
	url, gets := serveOrigin(t, blob)
	s := start(t, nil)
	id := idOf(blob)
	var first api.Update
	if got := call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", url, "sha256:"+id), &first); got != http.StatusOK {
		t.Fatalf("register: status %d", got)
	}
	if first.Meta == nil || first.Meta.Length != int64(len(blob)) || !first.Meta.Public {
		t.Fatalf("register: meta is %+v, want the length %d, public", first.Meta, len(blob))
	}
	sum := follow(t, s, id, "p1", first, func(u *api.Update) bool { return u.Complete })
	seed := sum.Parents[len(sum.Parents)-1]
	if !seed.Seed || seed.Addrs[0] != s.DownloadAddr().String() {
		t.Fatalf("the last parent is %+v, want the seed at %s", seed, s.DownloadAddr())
	}
	got := make([]byte, len(blob))
	for picks := 0; ; picks++ {
		n := pick(t, seed.Addrs[0], id, 300<<10, got)
		if n == 0 {
			break
		}
		if picks > 200 {
			t.Fatal("the seed gives more than there is")
		}
	}
	if !bytes.Equal(got, blob) {
		t.Fatal("the bytes picked are not the blob")
	}
	if n := gets.Load(); n != 1 {
		t.Fatalf("the origin was asked %d times, want once", n)
	}
}

// pick asks the seed for a run of its choice, into content.
func pick(t *testing.T, addr, id string, limit int64, content []byte) int {
	t.Helper()
	resp, err := http.Get("http://" + addr + api.PickPath(id, limit))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return 0
	}
	var off, last, total int
	if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &off, &last, &total); err != nil {
		t.Fatalf("pick answered %s with Content-Range %q: %v", resp.Status, resp.Header.Get("Content-Range"), err)
	}
	n, err := io.ReadFull(resp.Body, content[off:last+1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
