package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryHostHasPlacesOfItsOwn(t *testing.T) {
	t.Parallel()
	hosts := make([]Host, 600)
	for i := range hosts {
		hosts[i] = Host{Name: fmt.Sprintf("node-%d", i), Rate: Mbit}
	}
	management, ends, err := plan(hosts)
	if err != nil {
		t.Fatal(err)
	}
	network := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), prefixBits)
	seen := map[string]bool{}
	for _, e := range append(ends, management) {
		for _, s := range []string{e.addr.String(), e.mac, e.port, "namespace " + e.namespace} {
			if seen[s] {
				t.Fatalf("%s is used twice", s)
			}
			seen[s] = true
		}
		if !network.Contains(e.addr) || e.addr == network.Addr() {
			t.Errorf("%s is no host of %s", e.addr, network)
		}
		if len(e.port) > 15 { // IFNAMSIZ
			t.Errorf("%s is too long for a device", e.port)
		}
	}
}

func TestImpossiblePlansAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hosts []Host
		want  string
	}{
		"two hosts of a name":     {[]Host{{Name: "a"}, {Name: "a"}}, `host 2: the name "a" is empty or taken`},
		"a host without a name":   {[]Host{{}}, `host 1: the name "" is empty or taken`},
		"the name of the switch":  {[]Host{{Name: "switch"}}, `host 1: the name "switch" is empty or taken`},
		"a rate below zero":       {[]Host{{Name: "a", Rate: -1}}, "host a: a link of -1 bit/s"},
		"more hosts than numbers": {make([]Host, maxHosts+1), "are more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := plan(tt.hosts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("plan = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestALinkIsShapedAtBothEnds(t *testing.T) {
	t.Parallel()
	if got, want := shape("eth0", 40*Mbit), "qdisc add dev eth0 root tbf rate 40000000bit burst 40960 latency 50ms"; got != want {
		t.Errorf("shape = %q, want %q", got, want)
	}
	if got := shape("eth0", 0); got != "" {
		t.Errorf("shape of a link without a rate = %q, want none", got)
	}
}

func TestNeighboursAreTheOthers(t *testing.T) {
	t.Parallel()
	management, ends, err := plan([]Host{{Name: "a"}, {Name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	cmds := strings.Join(hostCommands(ends[0], append([]endpoint{management}, ends...)), "\n")
	for addr, want := range map[string]int{"198.18.0.1": 1, "198.18.0.2": 0, "198.18.0.3": 1} {
		if got := strings.Count(cmds, "neigh add "+addr+" "); got != want {
			t.Errorf("%s is a neighbour %d times, want %d:\n%s", addr, got, want, cmds)
		}
	}
}

func TestOnlyOurNamespacesAreRemoved(t *testing.T) {
	t.Parallel()
	const list = "dfbench-node-1 (id: 3)\ncni-5 (id: 1)\ndfbench-switch\nmy-dfbench-x\n\n"
	if got, want := namespaces(list), []string{"dfbench-node-1", "dfbench-switch"}; !slices.Equal(got, want) {
		t.Errorf("namespaces = %q, want %q", got, want)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	for rate, want := range map[Rate]string{0: "unshaped", 40 * Mbit: "40 Mbit/s", 2_500_000: "2.5 Mbit/s"} {
		if got := rate.String(); got != want {
			t.Errorf("%d bit/s is %q, want %q", int64(rate), got, want)
		}
	}
	if got, want := (8 * Mbit).Time(3_000_000), 3*time.Second; got != want {
		t.Errorf("3 MB at 8 Mbit/s take %v, want %v", got, want)
	}
}
