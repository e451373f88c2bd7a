package supernode

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/egress"
)

func TestWhereTheSupernodeMayRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		serves     string
		host, addr string
		listed     string
		allowed    bool
	}{
		{"a public registry", "0.0.0.0", "ghcr.io", "140.82.121.33:443", "", true},
		{"a registry in the private network", "0.0.0.0", "registry.lan", "10.1.2.3:5000", "", true},
		{"the cloud's metadata", "0.0.0.0", "169.254.169.254", "169.254.169.254:80", "", false},
		{"the cloud's metadata by a name", "0.0.0.0", "evil.example", "169.254.169.254:80", "", false},
		{"the cloud's metadata by way of IPv6", "0.0.0.0", "evil.example", "[::ffff:169.254.169.254]:80", "", false},
		{"its own loopback", "0.0.0.0", "127.0.0.1", "127.0.0.1:22", "", false},
		{"its own loopback by a name", "0.0.0.0", "evil.example", "127.0.0.1:22", "", false},
		{"its own loopback, listed", "0.0.0.0", "127.0.0.1", "127.0.0.1:5000", "127.0.0.1:5000", true},
		{"its own loopback, another port listed", "0.0.0.0", "127.0.0.1", "127.0.0.1:22", "127.0.0.1:5000", false},
		{"its own loopback, with peers on this machine only", "127.0.0.1", "127.0.0.2", "127.0.0.2:5000", "", true},
		{"loopback by a foreign name, with peers on this machine only", "127.0.0.1", "evil.example", "127.0.0.1:22", "", false},
		{"the cloud's metadata, with peers on this machine only", "127.0.0.1", "169.254.169.254", "169.254.169.254:80", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := DefaultConfig()
			c.RegisterAddr, c.DownloadAddr = tc.serves+":8001", tc.serves+":8002"
			if tc.listed != "" {
				c.Origin.Registries = map[string]origin.Registry{tc.listed: {}}
			}
			o, err := c.guarded()
			if err != nil {
				t.Fatal(err)
			}
			err = o.CheckAddr(tc.host, netip.MustParseAddrPort(tc.addr))
			if (err == nil) != tc.allowed || err != nil && !errors.Is(err, egress.ErrRefused) {
				t.Errorf("got %v, want allowed %v", err, tc.allowed)
			}
		})
	}
}

func TestTheSupernodeFollowsNoRedirectToTheMetadataService(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	err := s.origin.Fetch(t.Context(), origin.Request{URL: "http://169.254.169.254/latest/meta-data/"}, nil, nil)
	if !errors.Is(err, origin.ErrRefused) {
		t.Errorf("got %v, want the address refused before it is dialled", err)
	}
}
