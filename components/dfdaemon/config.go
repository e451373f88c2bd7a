// Package dfdaemon is the program on every node: a registry mirror for the container runtime, fed by the swarm, and a peer of the
// swarm for the other nodes.
package dfdaemon

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/config"
	"github.com/dragonfly-kube/dragonfly/components/internal/engine"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
	"github.com/dragonfly-kube/dragonfly/components/internal/secret"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// Config of a dfdaemon.
type Config struct {
	// Registry is the upstream for requests that name none, a URL; "" means Docker Hub.
	Registry string
	// Supernodes are HOST or HOST:PORT. None means that every pull goes to its registry.
	Supernodes []string

	// Bind and Port are where the registry mirror listens. Whoever reaches it pulls with this node's rights at the registries, so Bind
	// is a loopback address unless the node's runtime is elsewhere.
	Bind string
	Port int
	// PeerAddr serves pieces to other peers, AdminAddr health and metrics, both "host:port".
	PeerAddr  string
	AdminAddr string
	// Socket is the Unix socket for dfget and dfctl on this node, "" for none.
	Socket string
	// Advertise is the IP address at which other peers reach PeerAddr; "" means the one that packets to a supernode leave from,
	// or to anywhere while there is none.
	Advertise string
	// Zone is the node's topology zone; peers of one zone are preferred as parents.
	Zone string

	// DataDir keeps pieces; DiskQuota bounds them and MinFree is what stays free on the file system, in bytes.
	DataDir   string
	DiskQuota int64
	MinFree   int64

	// UploadRate and DownloadRate bound the exchange with other peers, OriginRate what is read from registries, in bytes a second. 0
	// means no limit.
	UploadRate, DownloadRate, OriginRate int64
	// UploadSlots is how many piece requests are served at once.
	UploadSlots int

	// AllowUpstreams bounds the registries that may be reached: patterns as "*.example.com" on host[:port]. Empty allows all but the
	// node's own and special addresses.
	AllowUpstreams []string
	// PlainHTTP lists registries, host[:port], that speak HTTP.
	PlainHTTP []string
	// RegistryCA are "host[:port]=FILE", a PEM file with roots for that registry; without "host=" for every registry.
	RegistryCA []string
	// RegistryCert are "host[:port]=CERT:KEY", a client certificate for that registry.
	RegistryCert []string
	// StaleTags are patterns of tags that may be answered with the last digest seen while the registry cannot be reached.
	StaleTags []string

	// SecretFile holds the cluster secret; Insecure allows other machines in without one.
	SecretFile string
	Insecure   bool
	// SupernodeCA is a PEM file; with it the supernodes are spoken to over TLS.
	SupernodeCA string
}

// Default is the configuration of a program without options.
func Default() Config {
	return Config{
		Bind: "127.0.0.1", Port: api.MirrorPort,
		PeerAddr:  ":" + strconv.Itoa(api.PeerPort),
		AdminAddr: ":" + strconv.Itoa(api.AdminPort),
		Socket:    api.SocketPath,
		DataDir:   "/var/lib/dragonfly",
		DiskQuota: 50 << 30, MinFree: 2 << 30,
		UploadSlots: 5,
	}
}

// Validate says what in c can't work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Port < 0 || c.Port > 65535 {
		bad("option %q: %d is no port", "port", c.Port)
	}
	if net.ParseIP(c.Bind) == nil {
		bad("option %q: %q is no IP address", "bind", c.Bind)
	}
	if c.DataDir == "" {
		bad("option %q: want a directory", "data-dir")
	}
	if c.UploadSlots < 1 {
		bad("option %q: %d, want 1 or more", "upload-slots", c.UploadSlots)
	}
	for name, n := range map[string]int64{
		"disk-quota": c.DiskQuota, "disk-min-free": c.MinFree, "upload-rate": c.UploadRate, "download-rate": c.DownloadRate, "origin-rate": c.OriginRate,
	} {
		if n < 0 {
			bad("option %q: %d is negative", name, n)
		}
	}
	if c.Advertise != "" && net.ParseIP(c.Advertise) == nil {
		bad("option %q: %q is no IP address", "advertise-addr", c.Advertise)
	}
	if _, err := c.origins(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// origins says how registries are reached, each by the one name that the mirror has for it.
func (c Config) origins() (origin.Config, error) {
	o := origin.Config{RateLimit: c.OriginRate}
	if err := (origin.Options{CA: c.RegistryCA, Cert: c.RegistryCert, PlainHTTP: c.PlainHTTP}).Apply(&o); err != nil {
		return o, err
	}
	named := map[string]origin.Registry{}
	for _, host := range slices.Sorted(maps.Keys(o.Registries)) {
		r := o.Registries[host]
		name, err := upstream.Canonical(host)
		if err != nil {
			return o, fmt.Errorf("options %q, %q, %q: %w", "registry-ca", "registry-cert", "plain-http", err)
		}
		was := named[name] // Docker Hub has several names
		named[name] = origin.Registry{
			CAFile:     cmp.Or(r.CAFile, was.CAFile),
			ClientCert: cmp.Or(r.ClientCert, was.ClientCert),
			ClientKey:  cmp.Or(r.ClientKey, was.ClientKey),
			PlainHTTP:  r.PlainHTTP || was.PlainHTTP,
		}
	}
	o.Registries = named
	return o, nil
}

// engine is the part of c that makes this node a peer.
func (c Config) engine(keys *secret.Keyring, log *slog.Logger) (engine.Config, error) {
	if err := config.CheckExposure(config.Exposure{
		Option: "peer-addr", Addr: c.PeerAddr, HasSecret: keys != nil, Insecure: c.Insecure,
	}, log); err != nil {
		return engine.Config{}, err
	}
	origins, err := c.origins()
	if err != nil {
		return engine.Config{}, err
	}
	e := engine.Config{
		Supernodes: c.Supernodes, SupernodeCA: c.SupernodeCA,
		PeerAddr: c.PeerAddr, Advertise: c.Advertise, Zone: c.Zone,
		DataDir: c.DataDir, Disk: store.DiskConfig{Quota: c.DiskQuota, MinFree: c.MinFree},
		Keys:       keys,
		Origin:     origins,
		UploadRate: c.UploadRate, DownloadRate: c.DownloadRate,
	}
	e.Upload.Slots = c.UploadSlots
	return e, nil
}

// mirror is the part of c that concerns the registry mirror.
func (c Config) mirror() (registry.Config, error) {
	origins, err := c.origins()
	if err != nil {
		return registry.Config{}, err
	}
	m := registry.Config{
		Upstreams: upstream.Config{Registry: c.Registry, Hosts: map[string]upstream.Host{}, Allow: c.AllowUpstreams},
		StaleTags: c.StaleTags,
	}
	for host, r := range origins.Registries {
		m.Upstreams.Hosts[host] = upstream.Host{PlainHTTP: r.PlainHTTP, ClientCert: r.ClientCert != ""}
	}
	// Whether credentials may go to a supernode is decided by the connection to each.
	m.ForwardCredentials = true
	return m, m.Validate()
}

// shutdownTime is how long requests may take to end when the program stops.
const shutdownTime = 10 * time.Second
