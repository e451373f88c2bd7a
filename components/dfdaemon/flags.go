package dfdaemon

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/internal/config"
)

// NewCommand returns dfdaemon's command line.
func NewCommand() *cobra.Command {
	c := Default()
	return config.Command(config.Program{
		Name:  "dfdaemon",
		Short: "The node's part of a Dragonfly cluster: a registry mirror for its container runtime, and a peer for the other nodes",
		Long: "Point the container runtime at http://127.0.0.1:65001. A pull that the cluster can't help with goes to the registry,\n" +
			"so that nothing fails which worked before.",
		Flags:   c.flags,
		Log:     config.Log{Level: "info", Format: "text"},
		LogFile: true,
		Run: func(ctx context.Context, _ config.Streams, log *slog.Logger) error {
			if err := c.Validate(); err != nil {
				return &config.UsageError{Err: err}
			}
			server, err := New(c, log)
			if err != nil {
				return err
			}
			return server.Run(ctx)
		},
	})
}

func (c *Config) flags(f *pflag.FlagSet) {
	f.StringVar(&c.Registry, "registry", c.Registry, "`URL` of the registry for pulls that name none, as Docker's do; unset means Docker Hub")
	f.StringSliceVar(&c.Supernodes, "supernode", c.Supernodes,
		"`HOST[:PORT]` of a supernode, default port 8001; every address of a name is one; may be repeated; without any, pulls go to their registry")
	c.listenFlags(f)
	c.keepFlags(f)
	c.registryFlags(f)
	f.StringVar(&c.SecretFile, "secret-file", c.SecretFile,
		"`FILE` with the cluster secret, 32 bytes or more, the same on every node; a second line is accepted too")
	f.BoolVar(&c.Insecure, "insecure-no-secret", c.Insecure,
		"serve other machines without a cluster secret: whoever reaches the peer port can read all content")
	f.StringVar(&c.SupernodeCA, "tls-ca", c.SupernodeCA, "PEM `FILE` to verify the supernodes with; they are spoken to over TLS then")
}

func (c *Config) listenFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Bind, "bind", c.Bind, "`IP` of the registry mirror; whoever reaches it pulls with this node's rights")
	f.IntVar(&c.Port, "port", c.Port, "`PORT` of the registry mirror")
	f.StringVar(&c.PeerAddr, "peer-addr", c.PeerAddr, "`HOST:PORT` that serves pieces to other nodes")
	f.StringVar(&c.AdminAddr, "admin-addr", c.AdminAddr, "`HOST:PORT` of health, status and metrics")
	f.StringVar(&c.Socket, "socket", c.Socket, "Unix socket `FILE` for dfget and dfctl on this node; empty for none")
	f.StringVar(&c.Advertise, "advertise-addr", c.Advertise,
		"`IP` at which other nodes reach the peer port; unset means the one that packets to a supernode leave from, or to anywhere while there is none")
	f.StringVar(&c.Zone, "zone", c.Zone, "topology `ZONE` of the node; peers of the same zone are preferred")
}

func (c *Config) keepFlags(f *pflag.FlagSet) {
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "`DIR` for the pieces")
	config.Size(f, &c.DiskQuota, "disk-quota", "most disk space that pieces take; the least recently used go first; 0 is no bound")
	config.Size(f, &c.MinFree, "disk-min-free", "space to leave free on the file system of the data directory")
	config.Rate(f, &c.UploadRate, "upload-rate", "", "most that is sent to other nodes; 0 is no limit")
	config.Rate(f, &c.DownloadRate, "download-rate", "", "most that is received from other nodes; 0 is no limit")
	config.Rate(f, &c.OriginRate, "origin-rate", "", "most that is read from registries; 0 is no limit")
	f.IntVar(&c.UploadSlots, "upload-slots", c.UploadSlots, "piece requests served at once")
}

func (c *Config) registryFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&c.AllowUpstreams, "allow-upstream", c.AllowUpstreams,
		"`PATTERN` of registries that may be reached, as *.example.com or host:port; may be repeated; unset means any public one")
	f.StringSliceVar(&c.PlainHTTP, "plain-http", c.PlainHTTP, "`HOST[:PORT]` of a registry that speaks HTTP; may be repeated")
	f.StringSliceVar(&c.RegistryCA, "registry-ca", c.RegistryCA,
		"`[HOST[:PORT]=]FILE` of PEM certificates to trust beside the system's, for one registry or for all; may be repeated")
	f.StringSliceVar(&c.RegistryCert, "registry-cert", c.RegistryCert,
		"`HOST[:PORT]=CERT:KEY`, PEM files of the client certificate for a registry; may be repeated")
	f.StringSliceVar(&c.StaleTags, "stale-tags", c.StaleTags,
		"`PATTERN` of tags for which the last digest seen will do while their registry can't be reached; * is all but latest; may be repeated")
}
