// Package ask asks running programs how they are: the host's dfdaemon by its socket or admin port, supernodes by their control port.
package ask

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// Config says whom to ask, and how long to wait.
type Config struct {
	// Socket and AdminAddr lead to the host's dfdaemon; the socket is tried first. "" leaves one out.
	Socket, AdminAddr string
	// Supernodes are HOST or HOST:PORT; each address of a name is one. None means those that the dfdaemon knows.
	Supernodes []string
	// CA is a PEM file; with it the supernodes are spoken to over TLS.
	CA string
	// Timeout bounds each question.
	Timeout time.Duration
}

// Flags defines the options.
func (c *Config) Flags(f *pflag.FlagSet) {
	f.StringVar(&c.Socket, "socket", api.SocketPath, "Unix socket `FILE` of the host's dfdaemon")
	f.StringVar(&c.AdminAddr, "admin-addr", net.JoinHostPort("127.0.0.1", strconv.Itoa(api.AdminPort)),
		"`HOST:PORT` of dfdaemon's admin port, asked where the socket does not answer")
	f.StringSliceVarP(&c.Supernodes, "supernode", "n", nil,
		"`HOST[:PORT]` of a supernode, default port 8001; may be repeated; unset means those that dfdaemon knows")
	f.StringVar(&c.CA, "tls-ca", "", "PEM `FILE` to verify the supernodes with; they are asked over TLS then")
	f.DurationVar(&c.Timeout, "timeout", 5*time.Second, "longest wait for an answer")
}

// Daemon is what a dfdaemon answered.
type Daemon struct {
	// Addr is the socket or "host:port" that answered.
	Addr string `json:"addr"`
	api.DaemonStatus
}

// Supernode is what a supernode answered, or why it did not.
type Supernode struct {
	// Addr is "ip:port".
	Addr string `json:"addr"`
	// Version is "" where there was no answer.
	Version string `json:"version,omitempty"`
	// Ready says that it takes work.
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// Answer is what all of them answered.
type Answer struct {
	// Daemon is nil where none answers; Error says why.
	Daemon *Daemon `json:"dfdaemon"`
	Error  string  `json:"error,omitempty"`
	// Supernodes are those asked for, else those that the dfdaemon knows. It is not nil.
	Supernodes []Supernode `json:"supernodes"`
}

// Client asks. Safe for concurrent use.
type Client struct {
	cfg   Config
	roots *x509.CertPool // nil for plain HTTP
}

// Client completes the configuration, whose flags have been parsed, from the environment, and makes a Client of it.
func (c *Config) Client(flags *pflag.FlagSet, environ []string) (*Client, error) {
	if err := cli.FromEnviron(flags, environ, "socket", "admin-addr", "supernode", "tls-ca", "timeout"); err != nil {
		return nil, err
	}
	client, err := newClient(*c)
	if err != nil {
		return nil, cli.Usagef("%w", err)
	}
	return client, nil
}

func newClient(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg}
	if cfg.CA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(cfg.CA)
	if err != nil {
		return nil, fmt.Errorf("read the supernodes' CA: %w", err)
	}
	c.roots = x509.NewCertPool()
	if !c.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the supernodes' CA %s holds no PEM certificate", cfg.CA)
	}
	return c, nil
}

// Ask asks the dfdaemon, and the supernodes of the configuration or else those that the dfdaemon knows.
func (c *Client) Ask(ctx context.Context) Answer {
	a := Answer{Supernodes: []Supernode{}}
	d, err := c.Daemon(ctx)
	if err == nil {
		a.Daemon = &d
	} else {
		a.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	names := c.cfg.Supernodes
	seen := map[string]api.SupernodeStatus{}
	if len(names) == 0 {
		for _, s := range d.Supernodes {
			names = append(names, s.Addr)
			seen[s.Addr] = s
		}
	}
	for _, s := range c.supernodes(ctx, names) {
		if known, ok := seen[s.Addr]; ok {
			s = judge(known, s)
		}
		a.Supernodes = append(a.Supernodes, s)
	}
	return a
}

// judge believes the dfdaemon, which is the one that needs the supernode, and may have another certificate authority than we.
func judge(known api.SupernodeStatus, s Supernode) Supernode {
	switch s.Ready = known.Alive; {
	case known.Alive:
		s.Error = ""
	case known.Error != "":
		s.Error = known.Error
	case s.Error == "":
		s.Error = "dfdaemon gets no answer"
	}
	return s
}

// Daemon asks the dfdaemon alone. The error lists what was tried.
func (c *Client) Daemon(ctx context.Context) (Daemon, error) {
	var errs []error
	for _, way := range []struct{ network, addr string }{{"unix", c.cfg.Socket}, {"tcp", c.cfg.AdminAddr}} {
		if way.addr == "" {
			continue
		}
		d := Daemon{Addr: way.addr}
		err := c.get(ctx, &http.Transport{DialContext: dialer(way.network, way.addr)}, "http://dfdaemon"+api.PathStatus, &d.DaemonStatus)
		if err == nil {
			return d, nil
		}
		errs = append(errs, fmt.Errorf("%s: %s", way.addr, reason(err)))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("neither a socket nor an address to ask at"))
	}
	return Daemon{}, errors.Join(errs...)
}

// supernodes asks every supernode that names lead to, all at once, and returns the answers sorted by address.
func (c *Client) supernodes(ctx context.Context, names []string) []Supernode {
	var (
		mu  sync.Mutex // guards all
		all []Supernode
		wg  sync.WaitGroup
	)
	for _, name := range names {
		wg.Go(func() {
			answers := c.supernodesOf(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, answers...)
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b Supernode) int { return strings.Compare(a.Addr, b.Addr) })
	return slices.CompactFunc(all, func(a, b Supernode) bool { return a.Addr == b.Addr })
}

// maxAddrs bounds the addresses of one name that are asked.
const maxAddrs = 64

func (c *Client) supernodesOf(ctx context.Context, name string) []Supernode {
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		host, port = strings.Trim(name, "[]"), strconv.Itoa(api.RegisterPort)
	}
	lookup, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(lookup, host)
	if err != nil {
		return []Supernode{{Addr: net.JoinHostPort(host, port), Error: reason(err)}}
	}
	ips = ips[:min(len(ips), maxAddrs)]
	answers := make([]Supernode, len(ips))
	var wg sync.WaitGroup
	for i, ip := range ips {
		wg.Go(func() { answers[i] = c.supernode(ctx, host, net.JoinHostPort(ip, port)) })
	}
	wg.Wait()
	return answers
}

func (c *Client) supernode(ctx context.Context, host, addr string) Supernode {
	s := Supernode{Addr: addr}
	transport := &http.Transport{DialContext: dialer("tcp", addr)}
	base := "http://" + addr
	if c.roots != nil {
		base = "https://" + addr
		transport.TLSClientConfig = &tls.Config{RootCAs: c.roots, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	var v struct{ Version string }
	err := c.get(ctx, transport, base+api.PathVersion, &v)
	if err == nil {
		s.Version = v.Version
		err = c.get(ctx, transport, base+api.PathReady, nil)
		s.Ready = err == nil
	}
	if err != nil {
		s.Error = reason(err)
	}
	return s
}

func dialer(network, addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 1 << 20

// get asks one question; out takes the JSON of the answer unless it is nil.
func (c *Client) get(ctx context.Context, transport *http.Transport, url string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("read answer: %w", err)
	case resp.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "HTTPS server"):
		return errors.New("it speaks TLS: give its CA by --tls-ca")
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %s", resp.Status)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("something else answers: %w", err)
	}
	return nil
}

// reason is the innermost part of a network error, which says why without repeating whom.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		return sys.Err.Error()
	}
	return err.Error()
}
