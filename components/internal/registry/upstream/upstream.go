// Package upstream chooses which registry a request to the mirror means, and whether the mirror may reach it by name. It does no
// I/O; what an allowed name resolves to is package egress's business.
package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// dockerHub is where the images named docker.io live.
const dockerHub = "registry-1.docker.io"

// ErrDenied says that the mirror may not reach an upstream. Errors that wrap it say which, and what to do.
var ErrDenied = errors.New("upstream not allowed")

// Host is what the operator says of one registry.
type Host struct {
	// PlainHTTP reaches it without TLS.
	PlainHTTP bool
	// ClientCert says that this host shows the registry a certificate, so that only this host can read it.
	ClientCert bool
}

// Config of a Policy.
type Config struct {
	// Registry is the URL of the upstream for requests that name none, default https://registry-1.docker.io. With a path that starts
	// with /v2/ the path stands for the API's root (https://harbor.example/v2/dockerhub), with another it goes before /v2.
	Registry string
	// Hosts lists registries by host[:port]; without port, for every port of that host. They, and Registry, may have any address.
	Hosts map[string]Host
	// Allow bounds the upstreams: patterns of path.Match on host[:port]. Empty allows every host. An entry without wildcard may have
	// any address.
	Allow []string
	// Shared lists upstreams that are believed when they say that they hold a digest, as patterns in which * stands for one label of a
	// name. Content of these is one task, whichever of them and whichever repository it comes from; content of any other upstream is a task of its own.
	// Without that line, an upstream of an attacker's could claim to hold the digest of a private blob, and so open it.
	// nil means DefaultShared. Registry and Hosts are always shared.
	Shared []string
}

// DefaultShared are registries that answer for a digest only where they hold its bytes.
func DefaultShared() []string {
	return []string{
		dockerHub, "ghcr.io", "quay.io", "registry.k8s.io", "gcr.io", "*.gcr.io", "*.pkg.dev", "mcr.microsoft.com", "*.azurecr.io",
		"public.ecr.aws", "*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn", "registry.gitlab.com", "registry.access.redhat.com", "registry.redhat.io",
	}
}

// Upstream is a registry to read from.
type Upstream struct {
	// Host is host[:port] in lower case.
	Host string
	// Base is the URL of the API's root, without a slash at its end: "https://ghcr.io/v2". It names the upstream uniquely.
	Base string
	// Shared: see Config.
	Shared bool
	// ClientCert: see Host.
	ClientCert bool
}

// URL of a path below the API's root. query is raw, "" for none.
func (u Upstream) URL(path, query string) string {
	s := u.Base + "/" + path
	if query != "" {
		s += "?" + query
	}
	return s
}

// Policy knows the upstreams. It is immutable.
type Policy struct {
	registry Upstream
	hosts    map[string]Host
	allow    []string
	exact    map[string]bool // entries of allow without wildcard
	shared   []string
}

// New checks cfg and makes the policy.
func New(cfg Config) (*Policy, error) {
	p := &Policy{hosts: make(map[string]Host), exact: make(map[string]bool), shared: cfg.Shared}
	if p.shared == nil {
		p.shared = DefaultShared()
	}
	for name, h := range cfg.Hosts {
		host, err := Canonical(name)
		if err != nil {
			return nil, fmt.Errorf("registries: %w", err)
		}
		p.hosts[host] = h
	}
	for _, pattern := range cfg.Allow {
		pattern = strings.ToLower(pattern)
		if !strings.ContainsAny(pattern, `*?[\`) {
			host, err := Canonical(pattern)
			if err != nil {
				return nil, fmt.Errorf("allowed upstreams: %w", err)
			}
			p.exact[host] = true
			pattern = host
		}
		p.allow = append(p.allow, pattern)
	}
	for _, pattern := range append(p.allow, p.shared...) {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("upstream pattern %q: %w", pattern, err)
		}
	}
	var err error
	p.registry, err = p.parseRegistry(cfg.Registry)
	return p, err
}

func (p *Policy) parseRegistry(raw string) (Upstream, error) {
	if raw == "" {
		raw = "https://" + dockerHub
	}
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Upstream{}, fmt.Errorf("registry: %w", redact(err))
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Upstream{}, fmt.Errorf("registry %q: want http(s)://host[:port][/path], without user, query and fragment", u.Redacted())
	}
	host, err := Canonical(u.Host)
	if err != nil {
		return Upstream{}, fmt.Errorf("registry: %w", err)
	}
	root := strings.TrimSuffix(u.EscapedPath(), "/")
	if root != "/v2" && !strings.HasPrefix(root, "/v2/") {
		root += "/v2"
	}
	listed, _ := p.listed(host)
	return Upstream{Host: host, Base: u.Scheme + "://" + host + root, Shared: true, ClientCert: listed.ClientCert}, nil
}

// redact drops the URL that *url.Error repeats: it may hold a password.
func redact(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// Default is the upstream of requests that name none.
func (p *Policy) Default() Upstream { return p.registry }

// Named returns the upstream called name, "host[:port]" as in an image's name. It wraps ErrDenied where the mirror may not reach it.
func (p *Policy) Named(name string) (Upstream, error) {
	host, err := Canonical(name)
	if err != nil {
		return Upstream{}, err
	}
	if host == p.registry.Host && strings.HasSuffix(p.registry.Base, host+"/v2") {
		return p.registry, nil
	}
	h, listed := p.listed(host)
	if !listed && host != p.registry.Host && len(p.allow) > 0 && !matches(p.allow, host) {
		return Upstream{}, fmt.Errorf("%w: %s is not in the list of allowed upstreams; name it in --allow-upstream", ErrDenied, host)
	}
	scheme := "https"
	if h.PlainHTTP || !listed && host == p.registry.Host && strings.HasPrefix(p.registry.Base, "http:") {
		scheme = "http"
	}
	return Upstream{
		Host: host, Base: scheme + "://" + host + "/v2", ClientCert: h.ClientCert,
		Shared: listed || host == p.registry.Host || slices.ContainsFunc(p.shared, func(s string) bool { return matchLabels(s, host) }),
	}, nil
}

// AnyAddress reports whether the operator named host[:port], so that it may have any address: loopback, say.
func (p *Policy) AnyAddress(host string) bool {
	_, listed := p.listed(host)
	return listed || host == p.registry.Host || p.exact[host]
}

// listed finds the operator's entry for host[:port]. An entry without port speaks for every port.
func (p *Policy) listed(host string) (Host, bool) {
	if h, ok := p.hosts[host]; ok {
		return h, true
	}
	bare, _, err := SplitPort(host)
	h, ok := p.hosts[bare]
	return h, ok && err == nil
}

// matchLabels is path.Match with dots for slashes.
func matchLabels(pattern, host string) bool {
	ok, _ := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(host, ".", "/"))
	return ok
}

func matches(patterns []string, host string) bool {
	for _, pattern := range patterns {
		if ok, _ := path.Match(pattern, host); ok {
			return true
		}
		if ok, _ := path.Match(pattern, "docker.io"); ok && host == dockerHub {
			return true
		}
	}
	return false
}
