package verify

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// maxManifest bounds a manifest, in bytes, as registries do.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
const maxManifest = 4 << 20

// mirror sends what is meant for one registry to dfdaemon's mirror, as containerd does, and counts the content by where it came from.
// Anything else, as a request for a token, goes where it is meant to go.
type mirror struct {
	base     *url.URL
	registry string // host[:port] of the requests that are led to the mirror
	ns       string // the registry, as containerd names it
	next     http.RoundTripper

	mu      sync.Mutex       // guards the field below
	sources map[string]int64 // bytes by api.HeaderSource, "" for answers without it
}

func newMirror(base string, registry name.Registry, next http.RoundTripper) (*mirror, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, cli.Usagef("option \"mirror\": %q is no address of a mirror, want for example http://127.0.0.1:65001", base)
	}
	ns := registry.RegistryStr()
	if ns == name.DefaultRegistry {
		ns = "docker.io" // its name in images
	}
	return &mirror{base: u, registry: registry.RegistryStr(), ns: ns, next: next, sources: map[string]int64{}}, nil
}

// RoundTrip implements http.RoundTripper.
func (m *mirror) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != m.registry || !strings.HasPrefix(req.URL.Path, "/v2/") {
		return m.next.RoundTrip(req)
	}
	led := req.Clone(req.Context())
	led.URL.Scheme, led.URL.Host, led.Host = m.base.Scheme, m.base.Host, m.base.Host
	query := led.URL.Query()
	query.Set("ns", m.ns)
	led.URL.RawQuery = query.Encode()
	resp, err := m.next.RoundTrip(led)
	if err != nil {
		return nil, fmt.Errorf("ask the mirror %s: %w", m.base.Host, err)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: the mirror %s sends on to another address", errNotDfdaemon, m.base.Host)
	}
	resp.Request = req
	if req.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
		m.count(req.URL.Path, resp)
	}
	return resp, nil
}

// errNotDfdaemon says that something else answers.
var errNotDfdaemon = errors.New("this is no dfdaemon")

// count makes the body tell how much of it was read.
func (m *mirror) count(path string, resp *http.Response) {
	manifest, blob := strings.Contains(path, "/manifests/"), strings.Contains(path, "/blobs/")
	if !manifest && !blob {
		return
	}
	body := &counted{ReadCloser: resp.Body, mirror: m, source: resp.Header.Get(api.HeaderSource), left: -1}
	if manifest {
		body.left = maxManifest
	}
	resp.Body = body
}

// counted is a body of content.
type counted struct {
	io.ReadCloser
	mirror *mirror
	source string
	left   int64 // bytes that may still come, negative for any number
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.mirror.mu.Lock()
	c.mirror.sources[c.source] += int64(n)
	c.mirror.mu.Unlock()
	if c.left >= 0 {
		if c.left -= int64(n); c.left < 0 {
			return 0, fmt.Errorf("a manifest of more than %d bytes", maxManifest)
		}
	}
	return n, err
}

// counts returns the bytes of content by source.
func (m *mirror) counts() Sources {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Sources{Cache: m.sources["cache"], Swarm: m.sources["swarm"], Origin: m.sources["origin"]}
	for _, n := range m.sources {
		s.Unknown += n
	}
	s.Unknown -= s.Cache + s.Swarm + s.Origin
	return s
}
