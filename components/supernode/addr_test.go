package supernode

import (
	"net"
	"testing"
)

// addrOnly is a listener that has an address and nothing else.
type addrOnly struct{ net.Listener }

func (addrOnly) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 8002} }

func TestPeersAreToldTheAddressAtWhichTheyReachTheSeed(t *testing.T) {
	t.Parallel()
	local := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8001}
	for _, tc := range []struct {
		name, advertise, want string
		local                 net.Addr
	}{
		{"where they came in", "", "10.1.2.3:8002", local},
		{"where they came in by IPv6", "", "[2001:db8::1]:8002", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 8001}},
		{"the address advertised", "192.0.2.7", "192.0.2.7:8002", local},
		{"the IPv6 address advertised", "2001:db8::7", "[2001:db8::7]:8002", local},
		{"the address and port advertised", "192.0.2.7:18002", "192.0.2.7:18002", local},
		{"nothing known", "", "0.0.0.0:8002", nil},
	} {
		cfg := DefaultConfig()
		cfg.AdvertiseAddr = tc.advertise
		if got := cfg.seedAddr(tc.local, addrOnly{}.Addr()); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}
