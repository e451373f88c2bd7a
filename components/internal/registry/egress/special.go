package egress

import "net/netip"

// metadata are services of clouds to their machines that are not link-local: AWS over IPv6, Azure's wire server, Alibaba, Oracle.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true,
	netip.MustParseAddr("168.63.129.16"):   true,
	netip.MustParseAddr("100.100.100.200"): true,
	netip.MustParseAddr("192.0.0.192"):     true,
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")    // reaches the machine itself on Linux
	nat64       = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes are an IPv4 address
)

// special says why an address is not that of a registry, "" if nothing speaks against it. Private networks are fine: that is where
// most registries are.
func special(a netip.Addr) string {
	a = embedded(a)
	switch {
	case !a.IsValid():
		return "no address"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsUnspecified(), a.Is4() && thisNetwork.Contains(a):
		return "an unspecified address"
	case a.IsLinkLocalUnicast():
		return "a link-local address (cloud metadata is there)"
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a multicast or broadcast address"
	case metadata[a]:
		return "a cloud metadata address"
	}
	return ""
}

// embedded returns the IPv4 address that an IPv6 one stands for, else the address without its zone.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}
