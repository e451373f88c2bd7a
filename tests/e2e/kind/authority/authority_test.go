package authority

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestAClientThatTrustsTheAuthorityTrustsTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := Open(dir, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("no certificate in:\n%s", ca)
	}
	for name, test := range map[string]struct {
		roots *x509.CertPool
		want  string
	}{
		"with the authority":    {roots, ""},
		"without the authority": {x509.NewCertPool(), "unknown authority"},
	} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: test.roots}, DisableKeepAlives: true}}
		resp, err := client.Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	if again, err := Open(dir, "127.0.0.1"); err != nil || again != files {
		t.Errorf("opened again: %v, %v", again, err)
	}
	if now, err := os.ReadFile(files.CA); err != nil || string(now) != string(ca) {
		t.Errorf("opened again, the authority is another one (%v)", err)
	}
}

func TestAServerNeedsAnAddress(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.TempDir(), "registry.example"); err == nil || !strings.Contains(err.Error(), "no IP address") {
		t.Errorf("got %v, want no IP address", err)
	}
}
