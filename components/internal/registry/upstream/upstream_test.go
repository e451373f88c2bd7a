package upstream

import (
	"errors"
	"strings"
	"testing"
)

func TestTheDefaultRegistry(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, registry, base string }{
		{"is Docker Hub when nothing is said", "", "https://registry-1.docker.io/v2"},
		{"may be docker.io by its short name", "https://docker.io", "https://registry-1.docker.io/v2"},
		{"may lack a scheme", "mirror.corp:5000", "https://mirror.corp:5000/v2"},
		{"may be plain HTTP", "http://10.0.0.7:5000/", "http://10.0.0.7:5000/v2"},
		{"may live below a path", "https://nexus.corp/repository/docker", "https://nexus.corp/repository/docker/v2"},
		{"may name the API's root itself", "https://harbor.corp/v2/dockerhub/", "https://harbor.corp/v2/dockerhub"},
		{"may be an IPv6 address", "http://[FD00::0:1]:5000", "http://[fd00::1]:5000/v2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := New(Config{Registry: row.registry})
			if err != nil {
				t.Fatalf("New(%q): %v", row.registry, err)
			}
			if got := p.Default(); got.Base != row.base || !got.Shared {
				t.Errorf("Default() with registry %q: got %+v, want base %q, shared", row.registry, got, row.base)
			}
		})
	}
}

func TestBadConfigurationIsToldAtStart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		cfg  Config
	}{
		{"a registry with a password", Config{Registry: "https://user:hunter2@host"}},
		{"a registry of another scheme", Config{Registry: "ftp://host"}},
		{"a registry with a query", Config{Registry: "https://host/?a=b"}},
		{"a registry without a host", Config{Registry: "https://"}},
		{"a registry with a port too large", Config{Registry: "https://host:70000"}},
		{"a registry that is no URL and has a password", Config{Registry: "https://user:hunter2@host:port\x7f"}},
		{"a listed host with a path", Config{Hosts: map[string]Host{"host/path": {}}}},
		{"an allowed upstream that is no host", Config{Allow: []string{"https://host"}}},
		{"an allowed pattern that is malformed", Config{Allow: []string{"[a-"}}},
		{"a shared pattern that is malformed", Config{Shared: []string{"[a-"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(row.cfg)
			if err == nil {
				t.Fatalf("New(%+v): got no error", row.cfg)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error tells the password: %v", err)
			}
		})
	}
}

func TestNamedUpstreams(t *testing.T) {
	t.Parallel()
	cfg := Config{
		Registry: "http://mirror.corp:5000",
		Hosts:    map[string]Host{"plain.corp:5001": {PlainHTTP: true}, "anyport.corp": {PlainHTTP: true}, "cert.corp": {ClientCert: true}},
	}
	for _, row := range []struct {
		name, in, base string
		shared, cert   bool
	}{
		{"docker.io is its registry's host", "docker.io", "https://registry-1.docker.io/v2", true, false},
		{"upper case is the same host", "GHCR.io", "https://ghcr.io/v2", true, false},
		{"the default registry keeps its scheme", "mirror.corp:5000", "http://mirror.corp:5000/v2", true, false},
		{"another port of its host is another registry", "mirror.corp:5001", "https://mirror.corp:5001/v2", false, false},
		{"a listed host may be plain", "plain.corp:5001", "http://plain.corp:5001/v2", true, false},
		{"a host listed without port stands for each port", "anyport.corp:8080", "http://anyport.corp:8080/v2", true, false},
		{"a listed host may want a certificate", "cert.corp", "https://cert.corp/v2", true, true},
		{"a host of a pattern is shared", "europe-docker.pkg.dev", "https://europe-docker.pkg.dev/v2", true, false},
		{"a host of a pattern in the middle is, too", "123456.dkr.ecr.eu-west-1.amazonaws.com", "https://123456.dkr.ecr.eu-west-1.amazonaws.com/v2", true, false},
		{"a star is one label", "x.dkr.ecr.y.s3.amazonaws.com", "https://x.dkr.ecr.y.s3.amazonaws.com/v2", false, false},
		{"a host nobody knows is not", "evil.example", "https://evil.example/v2", false, false},
		{"a host that looks like a known one is not", "ghcr.io.evil.example", "https://ghcr.io.evil.example/v2", false, false},
		{"a known host at an odd port is not", "ghcr.io:444", "https://ghcr.io:444/v2", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Named(row.in)
			if err != nil || got.Base != row.base || got.Shared != row.shared || got.ClientCert != row.cert {
				t.Errorf("Named(%q): got %+v, %v; want base %q, shared %v, certificate %v", row.in, got, err, row.base, row.shared, row.cert)
			}
		})
	}
}

func TestNoHost(t *testing.T) {
	t.Parallel()
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{
		"", ".", "..", "-", "a/b", "user@host", "host:", "host:0", "host:70000", "host:port", "host:1:2", "host name", "host%41", "host\r\nx",
		"host?x", "host#x", "[::1", "::1", "[::1%25eth0]:80", "[1.2.3.4]", "[]", "[", "]", "[[::1]]", "hôst", "host.", strings.Repeat("a", 254),
	} {
		if got, err := p.Named(in); err == nil {
			t.Errorf("Named(%q): got %+v, want an error", in, got)
		}
	}
}

func TestTheAllowList(t *testing.T) {
	t.Parallel()
	p, err := New(Config{Registry: "https://mirror.corp", Allow: []string{"docker.io", "*.corp", "local.test:5000"}, Hosts: map[string]Host{"listed.example": {}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		in          string
		ok, anyAddr bool
	}{
		{"docker.io", true, true},
		{"index.docker.io", true, true},
		{"a.corp", true, false},
		{"mirror.corp", true, true},
		{"listed.example", true, true},
		{"local.test:5000", true, true},
		{"local.test", false, false},
		{"local.test:5001", false, false},
		{"ghcr.io", false, false},
		{"corp", false, false},
		{"a.corp.evil.example", false, false},
	} {
		_, err := p.Named(row.in)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("Named(%q): got error %v, want allowed %v", row.in, err, row.ok)
		}
		host, err := Canonical(row.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.AnyAddress(host); got != row.anyAddr {
			t.Errorf("AnyAddress(%q): got %v, want %v", host, got, row.anyAddr)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"docker.io", "Host:5000", "[::1]:80", "a@b", "x/y", "127.1", "[fe80::1%eth0]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := Canonical(s)
		if err != nil {
			return
		}
		if again, err := Canonical(host); err != nil || again != host {
			t.Errorf("Canonical(%q) is %q, and Canonical of that %q, %v", s, host, again, err)
		}
		if strings.ContainsAny(host, "/@?#% \r\n\\") {
			t.Errorf("Canonical(%q) is %q", s, host)
		}
	})
}
