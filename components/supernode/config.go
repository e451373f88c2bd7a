// Package supernode is the program in the middle of a cluster: it knows who holds what, reads each content once from its origin, and
// gives its first pieces to the swarm.
package supernode

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/config"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
)

// Config of a supernode. DefaultConfig has the defaults.
type Config struct {
	// RegisterAddr is where the control plane listens, "host:port". Default ":8001".
	RegisterAddr string
	// DownloadAddr is where pieces are served, "host:port". Default ":8002".
	DownloadAddr string
	// AdvertiseAddr is what peers are told as the seed's address: an IP, or IP:port where the port differs from DownloadAddr's. Default
	// "": the address at which a peer reached the supernode.
	AdvertiseAddr string

	// DataDir holds the pieces. Default "/home/admin/supernode/repo".
	DataDir string
	// DiskQuota is the disk space pieces may take, in bytes; 0 means no bound. Default 100 GiB.
	DiskQuota int64
	// DiskMinFree is the space to leave free on DataDir's file system, in bytes. Default 1 GiB.
	DiskMinFree int64

	// SecretFile holds the cluster secret; "" means none.
	SecretFile string
	// InsecureNoSecret allows to listen on other than loopback addresses without a secret.
	InsecureNoSecret bool
	// TLSCert and TLSKey are PEM files. With them the control plane speaks TLS, and DownloadAddr serves pieces and health only.
	TLSCert, TLSKey string

	// UploadRate limits what the seed sends, in bytes a second over all peers; 0 means no limit, the default.
	UploadRate int64
	// UploadSlots is how many requests the seed serves at once. Default 5.
	UploadSlots int
	// Origin says how registries and file servers are reached.
	Origin origin.Config
	// Swarm holds the time-outs and bounds of the swarms.
	Swarm swarm.Config

	// ShutdownTimeout is how long requests under way may take to end at a stop. Default 10 s.
	ShutdownTimeout time.Duration
	// Version is told to peers and people.
	Version string
}

// DefaultConfig is what a supernode runs with unless told otherwise.
func DefaultConfig() Config {
	return Config{
		RegisterAddr:    fmt.Sprintf(":%d", api.RegisterPort),
		DownloadAddr:    fmt.Sprintf(":%d", api.DownloadPort),
		DataDir:         "/home/admin/supernode/repo",
		DiskQuota:       100 << 30,
		DiskMinFree:     1 << 30,
		UploadSlots:     5,
		ShutdownTimeout: 10 * time.Second,
	}
}

// Validate says what can't work. What is dangerous but wanted goes to log as a warning.
func (c *Config) Validate(log *slog.Logger) error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for option, addr := range map[string]string{"register-addr": c.RegisterAddr, "download-addr": c.DownloadAddr} {
		errs = append(errs, config.CheckExposure(config.Exposure{
			Option: option, Addr: addr, HasSecret: c.SecretFile != "", Insecure: c.InsecureNoSecret,
		}, log))
	}
	if c.AdvertiseAddr != "" {
		_, err := netip.ParseAddr(c.AdvertiseAddr)
		_, errPort := netip.ParseAddrPort(c.AdvertiseAddr)
		bad(err != nil && errPort != nil, "option \"advertise-addr\": %q is no IP address and no IP:port", c.AdvertiseAddr)
	}
	bad(c.DataDir == "", "option \"data-dir\": want a folder for the pieces")
	bad(c.DiskQuota < 0, "option \"disk-quota\": %d is negative, want 0 for no bound or a size", c.DiskQuota)
	bad(c.DiskMinFree < 0, "option \"disk-min-free\": %d is negative, want 0 or a size", c.DiskMinFree)
	bad((c.TLSCert == "") != (c.TLSKey == ""), "options \"tls-cert\" and \"tls-key\" belong together: give both or none")
	bad(c.UploadRate < 0, "option \"upload-rate\": %d is negative, want 0 for no limit or a rate", c.UploadRate)
	bad(c.UploadSlots < 1, "option \"upload-slots\": %d, want 1 or more", c.UploadSlots)
	bad(c.ShutdownTimeout < 0, "option \"shutdown-timeout\": %v is negative", c.ShutdownTimeout)
	errs = append(errs, c.Origin.Validate())
	return errors.Join(errs...)
}

// seedAddr is the address of the seed to tell a peer that reached the supernode at local.
func (c *Config) seedAddr(local, download net.Addr) string {
	port := portOf(download)
	if c.AdvertiseAddr != "" {
		if ap, err := netip.ParseAddrPort(c.AdvertiseAddr); err == nil {
			return ap.String()
		}
		return net.JoinHostPort(c.AdvertiseAddr, port)
	}
	if local == nil {
		return download.String()
	}
	if host, _, err := net.SplitHostPort(local.String()); err == nil {
		return net.JoinHostPort(host, port)
	}
	return download.String()
}

func portOf(a net.Addr) string {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return port
}

// probeWritable proves that a file can be made in the folder of the store.
func probeWritable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return fmt.Errorf("probe the data directory: %w", err)
	}
	_, err = f.WriteString("ok")
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
