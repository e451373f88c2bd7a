package engine

import (
	"net"
	"testing"
)

func TestTheAddressForOtherPeers(t *testing.T) {
	t.Parallel()
	route := outbound(nil)
	tests := map[string]struct {
		config Config
		bound  string
		want   string // "" for an error
	}{
		"the one of the configuration":                    {Config{Advertise: "192.0.2.7", Supernodes: []string{"127.0.0.1"}}, "0.0.0.0", "192.0.2.7:65002"},
		"one of IPv6":                                     {Config{Advertise: "2001:db8::7"}, "::", "[2001:db8::7]:65002"},
		"a name is none":                                  {Config{Advertise: "node"}, "::", ""},
		"the one that the port is bound to":               {Config{Supernodes: []string{"192.0.2.1"}}, "127.0.0.2", "127.0.0.2:65002"},
		"the one by which a supernode is reached":         {Config{Supernodes: []string{"127.0.0.1:8001"}}, "::", "127.0.0.1:65002"},
		"the default route while there is no supernode":   {Config{Supernodes: []string{"supernode.invalid"}}, "::", route + ":65002"},
		"the default route while there are no supernodes": {Config{}, "0.0.0.0", route + ":65002"},
		"a supernode after one that is not there yet":     {Config{Supernodes: []string{"supernode.invalid", "127.0.0.1"}}, "::", "127.0.0.1:65002"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.config.HostID = "a"
			h, err := describeHost(test.config, &net.TCPAddr{IP: net.ParseIP(test.bound), Port: 65002})
			if (err == nil) != (test.want != "") || err == nil && h.Addrs[0] != test.want {
				t.Errorf("got %v, %v, want %q", h.Addrs, err, test.want)
			}
		})
	}
	if ip := net.ParseIP(route); ip == nil {
		t.Errorf("the default route's address is %q", route)
	}
}
