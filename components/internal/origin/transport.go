package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// transports is one http.Transport for each registry with settings of its own, and one for all other hosts.
type transports struct {
	other *site
	sites map[string]*site // by Config.Registries' keys in lower case
}

type site struct {
	Registry
	*http.Transport
}

func newTransports(cfg Config) (*transports, error) {
	roots, err := rootsWith(nil, cfg.CAFile)
	if err != nil {
		return nil, err
	}
	env := httpproxy.FromEnvironment() // read at each New, and like the standard library's it leaves out loopback
	proxies := proxies(env)
	t := &transports{other: &site{Transport: newTransport(cfg, tlsConfig(roots), env, proxies)}, sites: map[string]*site{}}
	for host, r := range cfg.Registries {
		own, err := rootsWith(roots, r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", host, err)
		}
		conf := tlsConfig(own)
		if r.ClientCert != "" {
			load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				cert, err := tls.LoadX509KeyPair(r.ClientCert, r.ClientKey)
				return &cert, err
			}
			if _, err := load(nil); err != nil {
				return nil, fmt.Errorf("registry %s: client certificate: %w", host, err)
			}
			conf.GetClientCertificate = load
		}
		t.sites[strings.ToLower(host)] = &site{r, newTransport(cfg, conf, env, proxies)}
	}
	return t, nil
}

// site returns what speaks for host, which may have a port.
func (t *transports) site(host string) *site {
	host = strings.ToLower(host)
	if s, ok := t.sites[host]; ok {
		return s
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if s, ok := t.sites[host[:i]]; ok {
			return s
		}
	}
	return t.other
}

func (t *transports) closeIdle() {
	t.other.CloseIdleConnections()
	for _, s := range t.sites {
		s.CloseIdleConnections()
	}
}

// rootsWith adds the certificates of file to base, or, when that is nil, to the system's roots. A nil result means the system's.
func rootsWith(base *x509.CertPool, file string) (*x509.CertPool, error) {
	if file == "" {
		return base, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if base != nil {
		roots = base.Clone()
	} else if system, err := x509.SystemCertPool(); err == nil {
		roots = system // a machine without roots of its own may still have ours
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority: no certificate in %s", file)
	}
	return roots, nil
}

func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func newTransport(cfg Config, conf *tls.Config, env *httpproxy.Config, proxies []string) *http.Transport {
	proxy := env.ProxyFunc()
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:            dialer(cfg, proxies),
		TLSClientConfig:        conf,
		ForceAttemptHTTP2:      true, // own dialer and TLS settings would turn it off
		DisableCompression:     true, // the bytes asked for are those of the content as stored
		TLSHandshakeTimeout:    cfg.HeaderTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		MaxResponseHeaderBytes: 256 << 10, // tokens and cookies can be long, but not that long
		MaxConnsPerHost:        cfg.MaxConnsPerHost,
		MaxIdleConnsPerHost:    min(cfg.MaxConnsPerHost, 16),
		MaxIdleConns:           64,
		IdleConnTimeout:        time.Minute,
	}
}

// proxies lists the "host:port" of the environment's proxies: the operator chose them, CheckAddr has no say. As in the standard library one that
// is no URL counts as none.
func proxies(env *httpproxy.Config) []string {
	all := (&httpproxy.Config{HTTPProxy: env.HTTPProxy, HTTPSProxy: env.HTTPSProxy}).ProxyFunc()
	var addrs []string
	for _, scheme := range []string{"http", "https"} {
		if u, err := all(&url.URL{Scheme: scheme, Host: "origin.invalid"}); err == nil && u != nil {
			addrs = append(addrs, net.JoinHostPort(u.Hostname(), port(u)))
		}
	}
	return addrs
}

func dialer(cfg Config, proxies []string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: cfg.ConnectTimeout}
		if cfg.CheckAddr == nil || slices.Contains(proxies, addr) {
			return d.DialContext(ctx, network, addr)
		}
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(resolved)
			if err == nil {
				err = cfg.CheckAddr(host, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
			}
			if err != nil {
				return fmt.Errorf("%w: %w", ErrRefused, err)
			}
			return nil
		}
		return d.DialContext(ctx, network, addr)
	}
}
