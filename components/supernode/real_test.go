package supernode

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

func complete(u *api.Update) bool { return u.Complete || u.Failed != nil }

func TestPiecesLeaveTheSeedWhileTheOriginStillSends(t *testing.T) {
	t.Parallel()
	blob := content(4 << 20)
	id := idOf(blob)
	goOn := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(blob)))
		_, _ = w.Write(blob[:200<<10])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-goOn:
			_, _ = w.Write(blob[200<<10:])
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(origin.Close)
	s := start(t, nil)
	var first api.Update
	call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", origin.URL, "sha256:"+id), &first)
	got := make([]byte, len(blob))
	for i := range 3 {
		if n := pick(t, s.DownloadAddr().String(), id, 1, got); n != piece.MinSize {
			t.Fatalf("pick %d gave %d bytes while the origin waits, want a piece", i, n)
		}
	}
	sum := follow(t, s, id, "p1", first, func(u *api.Update) bool { return len(u.Pieces) >= 3 })
	if sum.Complete {
		t.Error("complete while the origin waits")
	}
	close(goOn)
	follow(t, s, id, "p1", first, complete)
	for pick(t, s.DownloadAddr().String(), id, 1<<20, got) > 0 {
	}
	if !bytes.Equal(got, blob) {
		t.Error("the bytes picked are not the blob")
	}
}

func TestAFileThatChangedAtTheOriginIsFetchedAnew(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[[]byte]
	var full atomic.Int32
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := *now.Load()
		w.Header().Set("Etag", `"`+idOf(b)+`"`)
		if r.Header.Get("Range") != "bytes=0-0" {
			full.Add(1)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}))
	t.Cleanup(origin.Close)
	s := start(t, func(c *Config) { c.Swarm.Recheck = 1 })
	id := idOf([]byte("the URL"))
	old, changed := content(200<<10), content(201<<10)
	for i, step := range []struct {
		blob    []byte
		fetches int32
	}{{old, 1}, {old, 1}, {changed, 2}, {changed, 2}} {
		now.Store(&step.blob)
		peer := "p" + strconv.Itoa(i)
		var u api.Update
		call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration(peer, origin.URL, ""), &u)
		u = follow(t, s, id, peer, u, complete)
		if u.Meta.Length != int64(len(step.blob)) || len(u.Pieces) != 4 {
			t.Errorf("step %d: heard of %d bytes in %d pieces, want %d", i, u.Meta.Length, len(u.Pieces), len(step.blob))
		}
		if n := full.Load(); n != step.fetches {
			t.Errorf("step %d: the content was fetched %d times, want %d", i, n, step.fetches)
		}
		call(t, http.MethodPost, base(s)+api.ReportsPath(id, peer), api.Report{Complete: true, Left: true}, nil)
		for { // the stream that follow closed has to be gone, and the fetch, which ends after its last piece was told
			if info, err := s.swarm.Task(id); err != nil || info.Streams == 0 && info.State == api.TaskReady {
				break
			}
			runtime.Gosched()
		}
	}
}

func TestTinyContentIsInTheAnswerOfARealSeed(t *testing.T) {
	t.Parallel()
	blob := content(1000)
	id := idOf(blob)
	url, gets := serveOrigin(t, blob)
	s := start(t, nil)
	for _, peer := range []string{"p1", "p2", "p3"} {
		var u api.Update
		call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration(peer, url, "sha256:"+id), &u)
		u = follow(t, s, id, peer, u, func(u *api.Update) bool { return u.Content != nil || u.Failed != nil })
		if !bytes.Equal(u.Content, blob) {
			t.Errorf("%s got %d bytes, failure %v", peer, len(u.Content), u.Failed)
		}
	}
	if n := gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
}

func TestWrongContentFailsThePeersAndIsNotServed(t *testing.T) {
	t.Parallel()
	url, _ := serveOrigin(t, content(300<<10))
	id := idOf([]byte("something else"))
	s := start(t, nil)
	var u api.Update
	call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", url, "sha256:"+id), &u)
	u = follow(t, s, id, "p1", u, func(u *api.Update) bool { return u.Failed != nil })
	if u.Failed.Code != api.CodeInvalid {
		t.Errorf("heard failure %v, want INVALID", u.Failed)
	}
	if got := call(t, http.MethodGet, "http://"+s.DownloadAddr().String()+api.DownloadPath(id), nil, nil); got != http.StatusNotFound {
		t.Errorf("the download answers %d, want 404", got)
	}
}

func TestTheOriginsRefusalReachesThePeer(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(origin.Close)
	s := start(t, nil)
	id := idOf([]byte("x"))
	var u api.Update
	call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", origin.URL, "sha256:"+id), &u)
	u = follow(t, s, id, "p1", u, func(u *api.Update) bool { return u.Failed != nil })
	if u.Failed.Code != api.CodeOrigin || u.Failed.Status != http.StatusForbidden {
		t.Errorf("heard failure %v with status %d, want ORIGIN 403", u.Failed, u.Failed.Status)
	}
}

func TestARestartKeepsWhatTheSeedHas(t *testing.T) {
	blob := content(3 << 20)
	id := idOf(blob)
	url, gets := serveOrigin(t, blob)
	dir := t.TempDir()
	for life := range 2 {
		t.Run("life "+strconv.Itoa(life+1), func(t *testing.T) {
			s := start(t, func(c *Config) { c.DataDir = dir })
			var u api.Update
			call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", url, "sha256:"+id), &u)
			if life == 1 && (!u.Complete || len(u.Pieces) != 3<<20/piece.MinSize) {
				t.Errorf("after the restart the answer has %d pieces, complete %v, want all at once", len(u.Pieces), u.Complete)
			}
			u = follow(t, s, id, "p1", u, complete)
			got := make([]byte, len(blob))
			for pick(t, s.DownloadAddr().String(), id, 1<<20, got) > 0 {
			}
			if !bytes.Equal(got, blob) {
				t.Error("the bytes picked are not the blob")
			}
		})
	}
	if n := gets.Load(); n != 1 {
		t.Errorf("the origin was asked %d times in two lives, want once", n)
	}
}

func TestANewSupernodeLearnsFromAHostsInventory(t *testing.T) {
	t.Parallel()
	blob := content(700 << 10)
	id := idOf(blob)
	url, gets := serveOrigin(t, blob)
	host := serveHost(t, id, blob)
	s := start(t, nil)
	beat := api.Heartbeat{
		Host: api.Host{ID: "h1", Addrs: []string{host}}, Revision: 1, Inventory: []api.HeldTask{{ID: id, Length: int64(len(blob))}},
	}
	var need api.HeartbeatAnswer
	short := api.Heartbeat{Host: beat.Host, Revision: 1}
	if got := call(t, http.MethodPut, base(s)+api.HostPath("h1"), short, &need); got != http.StatusOK || !need.NeedInventory {
		t.Fatalf("heartbeat without inventory: %d, needs inventory %v; want 200, true", got, need.NeedInventory)
	}
	if got := call(t, http.MethodPut, base(s)+api.HostPath("h1"), beat, nil); got != http.StatusNoContent {
		t.Fatalf("heartbeat: %d, want 204: the supernode needs nothing more", got)
	}
	var u api.Update
	call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", url, "sha256:"+id), &u)
	u = follow(t, s, id, "p1", u, complete)
	if len(u.Pieces) != 11 || u.Failed != nil {
		t.Errorf("heard of %d pieces, failure %v, want 11", len(u.Pieces), u.Failed)
	}
	if len(u.Parents) != 2 || u.Parents[0].Addrs[0] != host {
		t.Errorf("has parents %+v, want the host and the seed", u.Parents)
	}
	if n := gets.Load(); n != 0 {
		t.Errorf("the origin was asked %d times, want never", n)
	}
}

// serveHost is a peer's piece server that holds the blob.
func serveHost(t *testing.T, id string, blob []byte) (addr string) {
	t.Helper()
	st := store.NewMemory()
	task, err := st.Create(id, api.Meta{Length: int64(len(blob)), PieceSize: piece.Size(int64(len(blob)))})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Release()
	for i := range task.Layout().Count() {
		off, n := task.Layout().Range(i)
		w, err := task.Writer(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(blob[off : off+n]); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.Complete(); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(upload.New(upload.Config{}, upload.Deps{
		Store: st, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func TestWithASecretPiecesWantTheTicketOfTheirTask(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(strings.Repeat("s", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	blob := content(100)
	id := idOf(blob)
	url, _ := serveOrigin(t, blob)
	s := start(t, func(c *Config) { c.SecretFile = file })
	if got := call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", url, "sha256:"+id), nil); got != http.StatusUnauthorized {
		t.Errorf("registration without a token: %d, want 401", got)
	}
	u, err := s.swarm.Register(t.Context(), id, &api.RegisterRequest{
		Peer: "p1", Host: api.Host{ID: "h1"}, Origin: api.Origin{URL: url, Digest: "sha256:" + id},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if u.Content == nil {
		t.Fatal("the answer to the registration has no content") // so the task is complete
	}
	get := func(ticket string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.DownloadAddr().String()+api.DownloadPath(id), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(api.HeaderTicket, ticket)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	other, _ := s.keys.Ticket(idOf([]byte("other")), time.Minute)
	for ticket, want := range map[string]int{u.Ticket: 206, "": 401, other: 401, "v1.9999999999.AAAA": 401} {
		if got := get(ticket); got != want {
			t.Errorf("download with ticket %q: %d, want %d", ticket, got, want)
		}
	}
}

func TestWithTLSThePlainPortServesPiecesAndHealthOnly(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificateFiles(t)
	blob := content(100)
	id := idOf(blob)
	url, _ := serveOrigin(t, blob)
	s := start(t, func(c *Config) { c.TLSCert, c.TLSKey = cert, key })
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	secure, plain := "https://"+s.RegisterAddr().String(), "http://"+s.DownloadAddr().String()
	body := registerBody(func(r *api.RegisterRequest) { r.Origin.URL, r.Origin.Digest = url, "sha256:"+id })
	for _, tc := range []struct {
		name, method, url string
		want              int
	}{
		{"register over TLS", "POST", secure + api.RegisterPath(id), 200},
		{"register over the plain port", "POST", plain + api.RegisterPath(id), 404},
		{"tasks over the plain port", "GET", plain + api.PathTasks, 404},
		{"metrics over the plain port", "GET", plain + api.PathMetrics, 404},
		{"health over the plain port", "GET", plain + api.PathHealthy, 200},
		{"readiness over the plain port", "GET", plain + api.PathReady, 200},
		{"pieces over the plain port", "GET", plain + api.DownloadPath(id), 206},
		{"pieces over TLS", "GET", secure + api.DownloadPath(id), 206},
		{"plain HTTP to the TLS port", "GET", "http://" + s.RegisterAddr().String() + api.PathHealthy, 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, tc.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, resp.StatusCode, tc.want)
		}
	}
}

// certificateFiles makes a certificate for 127.0.0.1 that signs itself.
func certificateFiles(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "supernode"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(cert, certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, key, roots
}

func TestARenewedCertificateIsTakenAndABrokenOneIsNot(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificateFiles(t)
	c, err := loadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	get := func() string {
		c.at = time.Time{}
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(pair.Certificate[0])
	}
	old := get()
	newCert, newKey, _ := certificateFiles(t)
	if err := os.Rename(newCert, cert); err != nil {
		t.Fatal(err)
	}
	if get() != old {
		t.Error("a certificate without its key was taken")
	}
	if err := os.Rename(newKey, key); err != nil {
		t.Fatal(err)
	}
	if get() == old {
		t.Error("the renewed certificate was not taken")
	}
}

func TestAStopEndsStreamsAndReleasesThePortsAndTheStore(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.RegisterAddr, cfg.DownloadAddr, cfg.DataDir, cfg.DiskMinFree = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	asking := make(chan struct{})
	var once atomic.Bool
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if once.CompareAndSwap(false, true) {
			close(asking)
		}
		<-r.Context().Done() // an origin that never answers
	}))
	t.Cleanup(origin.Close)
	id := idOf([]byte("x"))
	var u api.Update
	call(t, http.MethodPost, base(s)+api.RegisterPath(id), registration("p1", origin.URL, "sha256:"+id), &u)
	<-asking
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base(s)+api.EventsPath(id, "p1", 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream ended with %v, want a clean end", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	cfg.RegisterAddr = s.RegisterAddr().String()
	again, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("port or store are not released: %v", err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}

func TestAConfigThatCanNotWorkIsRefusedWithItsOption(t *testing.T) {
	t.Parallel()
	for option, change := range map[string]func(*Config){
		"register-addr":    func(c *Config) { c.RegisterAddr = "0.0.0.0:8001" },
		"download-addr":    func(c *Config) { c.DownloadAddr = "8002" },
		"advertise-addr":   func(c *Config) { c.AdvertiseAddr = "node1" },
		"data-dir":         func(c *Config) { c.DataDir = "" },
		"disk-quota":       func(c *Config) { c.DiskQuota = -1 },
		"disk-min-free":    func(c *Config) { c.DiskMinFree = -1 },
		"tls-key":          func(c *Config) { c.TLSCert = "tls.crt" },
		"upload-rate":      func(c *Config) { c.UploadRate = -1 },
		"upload-slots":     func(c *Config) { c.UploadSlots = 0 },
		"shutdown-timeout": func(c *Config) { c.ShutdownTimeout = -1 },
		"parallel":         func(c *Config) { c.Origin.Parallel = -1 },
	} {
		cfg := DefaultConfig()
		cfg.RegisterAddr, cfg.DownloadAddr = "127.0.0.1:8001", "127.0.0.1:8002"
		if err := cfg.Validate(slog.New(slog.DiscardHandler)); err != nil {
			t.Fatalf("the defaults on loopback: %v", err)
		}
		change(&cfg)
		if err := cfg.Validate(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s: got %v, want an error that names it", option, err)
		}
	}
	cfg := DefaultConfig()
	cfg.InsecureNoSecret = true
	if err := cfg.Validate(slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("the defaults, insecure: %v", err)
	}
}
