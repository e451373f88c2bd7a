package egress

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// names is a resolver with a table.
type names struct {
	table map[string][]string
	asked int
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.asked++
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var out []netip.Addr
	for _, s := range n.table[host] {
		out = append(out, netip.MustParseAddr(s))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

func newGuard(t *testing.T, table map[string][]string, trusted ...string) (*Guard, *names, *time.Time) {
	t.Helper()
	r, now := &names{table: table}, time.Unix(0, 0)
	g, err := New(Config{
		Resolver: r,
		Trusted: func(host string) bool {
			return slices.Contains(trusted, host)
		},
		Proxies: []string{"proxy.local:3128"},
		Own: func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2001:db8::7")}, nil
		},
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, r, &now
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	g, _, _ := newGuard(t, map[string][]string{
		"public.example":  {"93.184.216.34"},
		"private.corp":    {"10.9.9.9", "fd00::5"},
		"rebind.example":  {"127.0.0.1"},
		"mixed.example":   {"93.184.216.34", "169.254.169.254"},
		"metadata.google": {"169.254.169.254"},
		"self.corp":       {"10.1.2.3"},
		"2130706433":      {"127.0.0.1"}, // what getaddrinfo makes of such a number
		"registry.local":  {"127.0.0.1"},
	}, "registry.local:5000", "[::1]:5000", "plain.local")
	for _, row := range []struct {
		host string
		ok   bool
	}{
		{"public.example", true},
		{"private.corp:5000", true},
		{"unknown.example", true},
		{"8.8.8.8", true},
		{"192.168.1.1:5000", true},
		{"[2001:db8::8]:443", true},
		{"registry.local:5000", true},
		{"[::1]:5000", true},
		{"registry.local:5001", false},
		{"rebind.example", false},
		{"mixed.example", false},
		{"metadata.google", false},
		{"2130706433", false},
		{"self.corp", false},
		{"127.0.0.1:65001", false},
		{"127.255.255.254", false},
		{"[::1]", false},
		{"[::]:80", false},
		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"169.254.169.254", false},
		{"[::ffff:169.254.169.254]", false},
		{"[::ffff:127.0.0.1]:80", false},
		{"[64:ff9b::a9fe:a9fe]", false},
		{"[64:ff9b::7f00:1]", false},
		{"[fe80::2]", false},
		{"[fd00:ec2::254]", false},
		{"100.100.100.200", false},
		{"168.63.129.16", false},
		{"224.0.0.1", false},
		{"[ff02::1]", false},
		{"255.255.255.255", false},
		{"10.1.2.3:10255", false},
		{"[2001:db8::7]:10255", false},
		{"[fe80::1]", false},
	} {
		err := g.CheckHost(t.Context(), row.host)
		if (err == nil) != row.ok {
			t.Errorf("CheckHost(%q): got %v, want allowed %v", row.host, err, row.ok)
		}
		if err != nil && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), row.host) || !strings.Contains(err.Error(), "--allow-upstream")) {
			t.Errorf("CheckHost(%q): error %q should name the host and say what to do", row.host, err)
		}
	}
}

func TestTheDialIsCheckedToo(t *testing.T) {
	t.Parallel()
	g, _, _ := newGuard(t, nil, "registry.local:5000", "[::1]:5000", "plain.local")
	for _, row := range []struct {
		name, host, addr string
		ok               bool
	}{
		{"the node's own proxy", "proxy.local", "127.0.0.1:3128", true},
		{"another port of the proxy's host", "proxy.local", "127.0.0.1:65003", false},
		{"a public address", "cdn.example", "93.184.216.34:443", true},
		{"a redirect to the metadata service", "cdn.example", "169.254.169.254:80", false},
		{"a name that changed its mind since the check", "rebind.example", "127.0.0.1:443", false},
		{"a trusted registry", "registry.local", "127.0.0.1:5000", true},
		{"another port of a trusted registry's host", "registry.local", "127.0.0.1:6000", false},
		{"a trusted registry named without port, at HTTPS", "plain.local", "127.0.0.1:443", true},
		{"a trusted registry named without port, at HTTP", "plain.local", "127.0.0.1:80", true},
		{"a trusted address with brackets", "[::1]", "[::1]:5000", true},
		{"a trusted address without brackets", "::1", "[::1]:5000", true},
		{"the address of a trusted name by another name", "other.local", "127.0.0.1:5000", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if err := g.CheckAddr(row.host, netip.MustParseAddrPort(row.addr)); (err == nil) != row.ok {
				t.Errorf("CheckAddr(%q, %s): got %v, want allowed %v", row.host, row.addr, err, row.ok)
			}
		})
	}
}

func TestVerdictsAreRememberedForAWhile(t *testing.T) {
	t.Parallel()
	table := map[string][]string{"app.example": {"93.184.216.34"}}
	g, r, now := newGuard(t, table)
	for range 3 {
		if err := g.CheckHost(t.Context(), "app.example"); err != nil {
			t.Fatal(err)
		}
	}
	if r.asked != 1 {
		t.Errorf("three checks asked the resolver %d times, want once", r.asked)
	}
	for range 3 {
		if err := g.CheckHost(t.Context(), "gone.example"); err != nil {
			t.Fatal(err)
		}
	}
	if r.asked != 2 {
		t.Errorf("three checks of a name that does not resolve asked the resolver %d times, want once", r.asked-1)
	}
	table["app.example"] = []string{"127.0.0.1"}
	*now = now.Add(verdictTTL)
	if err := g.CheckHost(t.Context(), "app.example"); err == nil {
		t.Error("after the verdict's time, a name that now is loopback passes")
	}
}

func TestProxiesOfTheEnvironment(t *testing.T) {
	for _, row := range []struct{ name, http, https, want string }{
		{"none", "", "", ""},
		{"with ports", "http://127.0.0.1:3128", "http://user:pw@proxy.local:8080/", "127.0.0.1:3128 proxy.local:8080"},
		{"with the ports of their schemes", "http://proxy.local", "https://proxy.local", "proxy.local:80 proxy.local:443"},
		{"without scheme", "proxy.local:3128", "[::1]:3128", "proxy.local:3128 [::1]:3128"},
		{"what is none", "http://", "http://%zz", ""},
	} {
		t.Setenv("HTTP_PROXY", row.http)
		t.Setenv("HTTPS_PROXY", row.https)
		if got := strings.Join(proxies(), " "); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestAProxyIsNoUpstream(t *testing.T) {
	t.Parallel()
	g, _, _ := newGuard(t, map[string][]string{"proxy.local": {"127.0.0.1"}})
	if err := g.CheckHost(t.Context(), "proxy.local:3128"); err == nil {
		t.Error("the node's proxy may be pulled from")
	}
}
