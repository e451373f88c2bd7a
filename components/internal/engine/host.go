package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
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

// outbound returns the address that packets to a supernode leave from, the loopback address when there is no way to any. Connecting
// a UDP socket sends nothing.
func outbound(supernodes []string) string {
	for _, addr := range supernodes {
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
