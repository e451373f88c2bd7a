// Package network makes machines out of network namespaces: each has one link to a switch, shaped both ways, and an address of its own.
// The switch is a bridge in a namespace of its own. This machine has an unshaped port at the switch, to look after the programs.
package network

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Prefix begins the names of all namespaces that the package makes, and of no others.
const Prefix = "dfbench-"

// Addresses are of the network for benchmarks of RFC 2544, 198.18.0.0, which is nobody's own.
const (
	prefixBits = 16
	maxHosts   = 1 << 14
)

// Rate of a link in bits a second; 0 is not shaped.
type Rate int64

// Mbit is a million bits a second.
const Mbit Rate = 1_000_000

// String is the rate as tc and people write it.
func (r Rate) String() string {
	switch {
	case r == 0:
		return "unshaped"
	case r%Mbit == 0:
		return fmt.Sprintf("%d Mbit/s", r/Mbit)
	default:
		return fmt.Sprintf("%.1f Mbit/s", float64(r)/float64(Mbit))
	}
}

// Time that so many bytes take at least.
func (r Rate) Time(bytes int64) time.Duration {
	if r == 0 {
		return 0
	}
	return time.Duration(float64(bytes) * 8 / float64(r) * float64(time.Second))
}

// Host is a machine of the network.
type Host struct {
	// Name is unique and short: letters, digits and hyphens.
	Name string
	// Rate of its link, each way.
	Rate Rate
}

// endpoint is what the plan gives a host.
type endpoint struct {
	Host
	namespace string
	port      string // at the switch
	addr      netip.Addr
	mac       string
}

const (
	switchNamespace = Prefix + "switch"
	// managementPort is this machine's end of its link to the switch.
	managementPort = "dfbench0"
)

// nth is the i-th place in the network, from 1.
func nth(i int) endpoint {
	hi, lo := byte(i>>8), byte(i)
	return endpoint{
		port: fmt.Sprintf("p%d", i),
		addr: netip.AddrFrom4([4]byte{198, 18, hi, lo}),
		mac:  fmt.Sprintf("02:df:00:00:%02x:%02x", hi, lo),
	}
}

// plan gives each host a namespace, a port at the switch and addresses. The first endpoint is this machine's.
func plan(hosts []Host) (management endpoint, ends []endpoint, err error) {
	if len(hosts) > maxHosts {
		return management, nil, fmt.Errorf("%d hosts are more than the %d that the network has room for", len(hosts), maxHosts)
	}
	seen := map[string]bool{strings.TrimPrefix(switchNamespace, Prefix): true}
	for i, h := range hosts {
		if seen[h.Name] || h.Name == "" {
			return management, nil, fmt.Errorf("host %d: the name %q is empty or taken", i+1, h.Name)
		}
		if h.Rate < 0 {
			return management, nil, fmt.Errorf("host %s: a link of %d bit/s", h.Name, h.Rate)
		}
		seen[h.Name] = true
		e := nth(i + 2)
		e.Host, e.namespace = h, Prefix+h.Name
		ends = append(ends, e)
	}
	return nth(1), ends, nil
}

// The links carry the kernel's big packets whole, as long as they are not too big: cut to Ethernet's size, each of them costs a timer and an
// interrupt, and a machine with a few cores measures nothing but itself.
const (
	maxPacket = 32 << 10 // bytes, headers left out
	burst     = 40 << 10 // bytes: one such packet with the headers of all its parts
	queueTime = 50 * time.Millisecond
)

// shape is the tc command that holds what leaves a device to the rate, "" for none.
func shape(dev string, r Rate) string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("qdisc add dev %s root tbf rate %dbit burst %d latency %dms", dev, r, burst, queueTime.Milliseconds())
}

// hostCommands are the ip commands inside a host's namespace. Neighbours are all known from the start: the kernel's table of learned ones is
// one for all namespaces and too small for many hosts.
func hostCommands(e endpoint, others []endpoint) []string {
	cmds := []string{
		"link set lo up",
		fmt.Sprintf("link set eth0 addrgenmode none gso_max_size %d", maxPacket),
		fmt.Sprintf("addr add %s/%d dev eth0", e.addr, prefixBits),
		"link set eth0 up",
		// Linux's default, whatever this machine has: BBR takes the delay of a queue in front of a virtual link, a thousand times that of
		// the link itself, for a slow link.
		fmt.Sprintf("route replace %s dev eth0 scope link src %s congctl cubic", netip.PrefixFrom(e.addr, prefixBits).Masked(), e.addr),
	}
	for _, o := range others {
		if o.addr != e.addr {
			cmds = append(cmds, fmt.Sprintf("neigh add %s lladdr %s dev eth0 nud permanent", o.addr, o.mac))
		}
	}
	return cmds
}

// switchCommands are the ip commands inside the switch's namespace.
func switchCommands(ports []endpoint) []string {
	cmds := []string{"link add br0 type bridge stp_state 0 mcast_snooping 0", "link set br0 addrgenmode none", "link set br0 up"}
	for _, e := range ports {
		cmds = append(cmds,
			fmt.Sprintf("link set %s addrgenmode none", e.port),
			fmt.Sprintf("link set %s master br0", e.port),
			fmt.Sprintf("link set %s up", e.port))
	}
	return cmds
}

// forwardCommands are the bridge commands that tell the switch who is where, so that it never sends a packet to everybody.
func forwardCommands(ports []endpoint) []string {
	cmds := make([]string, len(ports))
	for i, e := range ports {
		cmds[i] = fmt.Sprintf("fdb replace %s dev %s master static", e.mac, e.port)
	}
	return cmds
}
