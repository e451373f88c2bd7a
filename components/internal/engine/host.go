package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// describeHost tells how other peers reach this host.
func describeHost(cfg Config, listening net.Addr) (api.Host, error) {
	h := api.Host{ID: cfg.HostID, Zone: cfg.Zone}
	var err error
	if h.ID == "" {
		if h.ID, err = hostID(cfg.DataDir); err != nil {
			return api.Host{}, err
		}
	}
	if h.Name, err = os.Hostname(); err != nil {
		h.Name = "" // for people only
	}
	tcp, ok := listening.(*net.TCPAddr)
	if !ok {
		return api.Host{}, fmt.Errorf("peer port: %s is no TCP address", listening)
	}
	ip := cfg.Advertise
	switch {
	case ip != "":
		if net.ParseIP(ip) == nil {
			return api.Host{}, fmt.Errorf("advertised address %q is no IP address", ip)
		}
	case !tcp.IP.IsUnspecified():
		ip = tcp.IP.String()
	default:
		ip = outbound(cfg.Supernodes)
	}
	h.Addrs = []string{net.JoinHostPort(ip, strconv.Itoa(tcp.Port))}
	return h, nil
}

// hostID returns the id kept in dir, making one the first time.
func hostID(dir string) (string, error) {
	file := filepath.Join(dir, "host-id")
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); err == nil && uuid.Validate(id) == nil {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the host id: %w", err)
	}
	id := uuid.NewString()
	if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the host id: %w", err)
	}
	return id, nil
}

// anywhere are addresses that nobody has (RFC 5737, RFC 3849), so that the way to them is the default route.
var anywhere = []string{"192.0.2.1:9", "[2001:db8::1]:9"}

// outbound returns the address that packets to a supernode leave from. While no supernode has an address it is that of the default route,
// and the loopback address where there is none either. Connecting a UDP socket sends nothing.
func outbound(supernodes []string) string {
	for _, addr := range slices.Concat(supernodes, anywhere) {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), strconv.Itoa(api.RegisterPort))
		}
		c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(context.Background(), "udp", addr) // a name server may not answer
		if err != nil {
			continue
		}
		ip := c.LocalAddr().(*net.UDPAddr).IP
		c.Close()
		return ip.String()
	}
	return "127.0.0.1"
}
