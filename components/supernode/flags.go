package supernode

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/internal/config"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/version"
)

// options are a Config and what its flags need besides.
type options struct {
	Config
	hosts origin.Options
}

// NewCommand returns the supernode's command line.
func NewCommand() *cobra.Command {
	o := &options{Config: DefaultConfig()}
	return config.Command(config.Program{
		Name:  "supernode",
		Short: "The middle of a Dragonfly cluster: reads content from its origin once and starts it on its way through the peers",
		Long: "It needs no database: after a restart, peers tell it what they hold. Several supernodes share the work when every\n" +
			"peer knows all of them.",
		Flags:   o.flags,
		Log:     config.Log{Level: "info", Format: "text"},
		LogFile: true,
		Run:     o.run,
	})
}

func (o *options) run(ctx context.Context, _ config.Streams, log *slog.Logger) error {
	if err := o.hosts.Apply(&o.Origin); err != nil {
		return &config.UsageError{Err: err}
	}
	o.Version = version.Get().Version
	if err := o.Validate(slog.New(slog.DiscardHandler)); err != nil {
		return &config.UsageError{Err: err}
	}
	server, err := New(o.Config, log)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

func (o *options) flags(f *pflag.FlagSet) {
	f.StringVar(&o.RegisterAddr, "register-addr", o.RegisterAddr, "`HOST:PORT` of the control plane, metrics and health")
	f.StringVar(&o.DownloadAddr, "download-addr", o.DownloadAddr, "`HOST:PORT` that serves pieces")
	f.StringVar(&o.AdvertiseAddr, "advertise-addr", o.AdvertiseAddr,
		"`IP[:PORT]` at which peers reach the download port; unset means the address at which they reached the supernode")
	f.StringVar(&o.DataDir, "data-dir", o.DataDir, "`DIR` for the pieces")
	config.Size(f, &o.DiskQuota, "disk-quota", "most disk space that pieces take; the least recently used go first; 0 is no bound")
	config.Size(f, &o.DiskMinFree, "disk-min-free", "space to leave free on the file system of the data directory")
	config.Rate(f, &o.UploadRate, "upload-rate", "", "most that is sent to all peers together; 0 is no limit")
	f.IntVar(&o.UploadSlots, "upload-slots", o.UploadSlots, "piece requests served at once")
	config.Rate(f, &o.Origin.RateLimit, "origin-rate", "", "most that is read from all origins together; 0 is no limit")
	f.StringSliceVar(&o.hosts.CA, "registry-ca", nil,
		"`[HOST[:PORT]=]FILE` of PEM certificates to trust beside the system's, for one origin or for all; may be repeated")
	f.StringSliceVar(&o.hosts.Cert, "registry-cert", nil, "`HOST[:PORT]=CERT:KEY`, PEM files of the client certificate for an origin; may be repeated")
	f.StringVar(&o.SecretFile, "secret-file", "", "`FILE` with the cluster secret, 32 bytes or more, the same on every node; a second line is accepted too")
	f.BoolVar(&o.InsecureNoSecret, "insecure-no-secret", false, "serve other machines without a cluster secret: whoever reaches the ports can read all content")
	f.StringVar(&o.TLSCert, "tls-cert", "", "PEM `FILE` of the certificate for the control plane; the download port then serves pieces and health only")
	f.StringVar(&o.TLSKey, "tls-key", "", "PEM `FILE` of its key")
	config.Duration(f, &o.ShutdownTimeout, "shutdown-timeout", "", "how long requests under way may take to end when the program stops")
}
