package origin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates and writes them to PEM files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", x509.ExtKeyUsageAny)
	return a
}

// issue makes a certificate for 127.0.0.1, of itself if the authority has none yet, in dir/name.crt and dir/name.key.
func (a *authority) issue(name string, use x509.ExtKeyUsage) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{use}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		cert.IsCA, cert.KeyUsage = true, x509.KeyUsageCertSign
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(a.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// serve starts an HTTPS server with a certificate of the authority.
func (a *authority) serve(h http.Handler, adjust func(*httptest.Server)) *httptest.Server {
	a.t.Helper()
	a.issue("server", x509.ExtKeyUsageServerAuth)
	cert, err := tls.LoadX509KeyPair(a.file("server.crt"), a.file("server.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if adjust != nil {
		adjust(srv)
	}
	srv.StartTLS()
	a.t.Cleanup(srv.Close)
	return srv
}

// realClient makes a client on the real network. It gives up at the first failure.
func realClient(tb testing.TB, cfg Config) *Client {
	tb.Helper()
	if cfg.Retries == 0 {
		cfg.Retries = -1
	}
	c, err := New(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func fetch(t *testing.T, c *Client, url string) error {
	t.Helper()
	s := &sink{t: t}
	err := c.Fetch(t.Context(), Request{URL: url}, nil, s)
	if err == nil {
		s.check(bytesOf(100_000), nil)
	}
	return err
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	other := newAuthority(t)
	ca.issue("client", x509.ExtKeyUsageClientAuth)
	other.issue("client", x509.ExtKeyUsageClientAuth)
	o := &server{data: bytesOf(100_000)}
	plain := ca.serve(o, nil)
	http2 := ca.serve(o, func(s *httptest.Server) { s.EnableHTTP2 = true })
	old := ca.serve(o, func(s *httptest.Server) { s.TLS.MinVersion, s.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	mutual := ca.serve(o, func(s *httptest.Server) {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(ca.cert)
	})
	trust := Registry{CAFile: ca.file("ca.crt")}
	with := func(a *authority) Registry {
		return Registry{CAFile: ca.file("ca.crt"), ClientCert: a.file("client.crt"), ClientKey: a.file("client.key")}
	}
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "https://") }
	for _, row := range []struct {
		name string
		srv  *httptest.Server
		cfg  Config
		bad  string // in the error, "" for none
	}{
		{"a private authority of the registry", plain, Config{Registries: map[string]Registry{host(plain): trust}}, ""},
		{"a private authority of the host, whatever the port", plain, Config{Registries: map[string]Registry{"127.0.0.1": trust}}, ""},
		{"a private authority for all", plain, Config{CAFile: trust.CAFile}, ""},
		{
			"a private authority for all beside one of the registry", plain,
			Config{CAFile: trust.CAFile, Registries: map[string]Registry{host(plain): {CAFile: other.file("ca.crt")}}},
			"",
		},
		{"an unknown authority", plain, Config{}, "certificate"},
		{"a private authority of another registry", plain, Config{Registries: map[string]Registry{"127.0.0.1:1": trust}}, "certificate"},
		{"another private authority", plain, Config{CAFile: other.file("ca.crt")}, "certificate"},
		{"HTTP/2", http2, Config{CAFile: trust.CAFile}, ""},
		{"an old TLS", old, Config{CAFile: trust.CAFile}, "protocol version"},
		{"a client certificate", mutual, Config{Registries: map[string]Registry{host(mutual): with(ca)}}, ""},
		{"no client certificate", mutual, Config{CAFile: trust.CAFile}, "certificate"},
		{"another authority's client certificate", mutual, Config{Registries: map[string]Registry{host(mutual): with(other)}}, "certificate"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			err := fetch(t, realClient(t, row.cfg), row.srv.URL+"/x")
			if (err == nil) != (row.bad == "") || err != nil && !strings.Contains(err.Error(), row.bad) {
				t.Errorf("got %v, want %q", err, row.bad)
			}
		})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.seen {
		if h2 := "https://"+r.Host == http2.URL; h2 != (r.ProtoMajor == 2) {
			t.Errorf("%s was asked by %s", r.Host, r.Proto)
		}
	}
}

func TestUntrustedCertificateIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	shakes := make(chan struct{}, 100)
	srv := newAuthority(t).serve(&server{}, func(s *httptest.Server) {
		s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { shakes <- struct{}{}; return nil, nil }
	})
	err := fetch(t, realClient(t, Config{Retries: 5}), srv.URL)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || len(shakes) != 1 {
		t.Errorf("got %v after %d handshakes, want a certificate error after one", err, len(shakes))
	}
	plain := httptest.NewServer(&server{})
	t.Cleanup(plain.Close)
	if err := fetch(t, realClient(t, Config{Retries: 5}), "https"+strings.TrimPrefix(plain.URL, "http")); !errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("plain server: got %v, want %v", err, http.ErrSchemeMismatch)
	}
}

func TestRenewedClientCertificateNeedsNoRestart(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	ca.issue("client", x509.ExtKeyUsageClientAuth)
	var serials []string
	o := &server{data: bytesOf(100_000)}
	o.do = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		serials = append(serials, r.TLS.PeerCertificates[0].SerialNumber.String())
		return false
	}
	srv := ca.serve(o, func(s *httptest.Server) { s.TLS.ClientAuth = tls.RequireAnyClientCert })
	c := realClient(t, Config{Registries: map[string]Registry{
		"127.0.0.1": {CAFile: ca.file("ca.crt"), ClientCert: ca.file("client.crt"), ClientKey: ca.file("client.key")},
	}})
	for range 2 {
		if err := fetch(t, c, srv.URL); err != nil {
			t.Fatal(err)
		}
		c.Close() // the next needs a handshake
		ca.issue("client", x509.ExtKeyUsageClientAuth)
	}
	if len(serials) != 2 || serials[0] == serials[1] {
		t.Errorf("certificates seen: %q, want two", serials)
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(&server{data: bytesOf(100_000)})
	t.Cleanup(srv.Close)
	c := realClient(t, Config{Registries: map[string]Registry{"127.0.0.1": {PlainHTTP: true}, "a:5000": {PlainHTTP: true}, "[::1]": {PlainHTTP: true}}})
	for host, want := range map[string]string{
		"127.0.0.1:5000": "http", "127.0.0.1": "http", "A:5000": "http", "a": "https", "a:5001": "https",
		"[::1]:80": "http", "[::1]": "http", "[::2]": "https", "b": "https", "": "https",
	} {
		if got := c.Scheme(host); got != want {
			t.Errorf("scheme of %q: got %s, want %s", host, got, want)
		}
	}
	if err := fetch(t, c, c.Scheme("127.0.0.1")+strings.TrimPrefix(srv.URL, "http")); err != nil {
		t.Error(err)
	}
}

func TestCheckAddr(t *testing.T) {
	t.Parallel()
	o := &server{data: bytesOf(100_000)}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	from := httptest.NewServer(http.RedirectHandler(srv.URL, http.StatusTemporaryRedirect))
	t.Cleanup(from.Close)
	ok := netip.MustParseAddrPort(strings.TrimPrefix(from.URL, "http://"))
	c := realClient(t, Config{Retries: 5, CheckAddr: func(host string, addr netip.AddrPort) error {
		if host != "127.0.0.1" && host != "localhost" {
			t.Errorf("asked about host %q", host)
		}
		if addr != ok {
			return errors.New("not that one")
		}
		return nil
	}})
	for _, u := range []string{srv.URL, from.URL, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)} {
		if err := fetch(t, c, u); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not that one") {
			t.Errorf("%s: got %v, want it refused", u, err)
		}
	}
	if len(o.seen) != 0 {
		t.Errorf("%d requests reached a refused address", len(o.seen))
	}
}

func TestProxyFromEnvironment(t *testing.T) {
	o := &server{data: bytesOf(100_000)}
	srv := httptest.NewServer(o)
	defer srv.Close()
	t.Setenv("HTTP_PROXY", srv.URL)
	t.Setenv("NO_PROXY", "")
	t.Setenv("REQUEST_METHOD", "") // it would turn the proxy off
	c := realClient(t, Config{CheckAddr: func(string, netip.AddrPort) error { return errors.New("a proxy is not asked about") }})
	if err := fetch(t, c, "http://origin.invalid/x"); err != nil || o.seen[0].Host != "origin.invalid" {
		t.Errorf("through the proxy: got %v", err)
	}
	n := len(o.seen)
	direct := httptest.NewServer(&server{data: bytesOf(100_000)})
	defer direct.Close()
	if err := fetch(t, realClient(t, Config{}), direct.URL); err != nil || len(o.seen) != n {
		t.Errorf("loopback: got %v, %d requests at the proxy, want none", err, len(o.seen)-n)
	}
}
