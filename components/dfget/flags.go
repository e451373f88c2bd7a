package dfget

import (
	"context"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/components/internal/config"
)

// NewCommand returns dfget's command line.
func NewCommand() *cobra.Command {
	c := Default()
	return config.Command(config.Program{
		Name:  "dfget",
		Short: "Downloads a file through the swarm",
		Long: "It asks the host's dfdaemon where there is one, and is a peer of its own elsewhere. An interrupted download goes on\n" +
			"with the next call. What the swarm does not deliver comes from the URL itself.",
		Tail:  exitHelp,
		Flags: c.flags,
		Log:   config.Log{Level: "error", Format: "text"},
		Run: func(ctx context.Context, s config.Streams, log *slog.Logger) error {
			return Run(ctx, c, Streams{Out: s.Out, Err: s.Err, Terminal: isTerminal(s.Err)}, log)
		},
	})
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func (c *Config) flags(f *pflag.FlagSet) {
	f.StringVarP(&c.URL, "url", "u", c.URL, "`URL` of the file, http or https")
	f.StringVarP(&c.Output, "output", "o", c.Output, "`FILE` to write, - for standard output; unset means the last part of the URL")
	f.StringSliceVar(&c.Digests, "digest", c.Digests, "`ALGORITHM:HEX` that the file must have: sha256, sha384, sha512 or md5; may be repeated")
	f.StringVarP(&c.MD5, "md5", "m", c.MD5, "`HEX` digits of the MD5 that the file must have")
	f.StringArrayVar(&c.Header, "header", c.Header, "`NAME:VALUE` to send to the origin; may be repeated; in a variable, one a line")
	f.StringSliceVarP(&c.Filters, "filter", "f", c.Filters,
		"`NAMES` of query parameters that don't change the file, such as signatures, joined by , or &")
	f.StringVarP(&c.Tag, "identifier", "i", c.Tag, "`TEXT` that sets files of one URL apart")
	f.StringVarP(&c.Pattern, "pattern", "p", c.Pattern,
		"`MODE` p2p: from seed and peers; cdn: from the seed only; source: from the origin only. The origin helps out where they fail")
	f.BoolVar(&c.NoOrigin, "notbs", c.NoOrigin, "never go to the origin from here: fail where the swarm does not deliver")
	config.Duration(f, &c.Timeout, "timeout", "e", "give up after this time, resumably; 0 is never")
	config.Rate(f, &c.Limit, "locallimit", "s", "most to take for this file; 0 is no limit")
	config.Rate(f, &c.TotalLimit, "totallimit", "", "the same; the lower one counts. What the host takes is dfdaemon's to limit")
	f.BoolVarP(&c.Bar, "showbar", "b", c.Bar, "show a progress bar even where standard error is no terminal")
	f.BoolVar(&c.Lines, "console", c.Lines, "show progress as lines even where standard error is a terminal")
	f.StringVar(&c.Socket, "socket", c.Socket, "Unix socket `FILE` of the host's dfdaemon; empty to do without")
	c.peerFlags(f)
	ignored(f)
}

// peerFlags are for the host without dfdaemon.
func (c *Config) peerFlags(f *pflag.FlagSet) {
	f.StringSliceVarP(&c.Supernodes, "supernode", "n", c.Supernodes,
		"`HOST[:PORT]` of a supernode, default port 8001; may be repeated; this and what follows is for hosts without dfdaemon; --node is the same")
	f.StringVar(&c.SecretFile, "secret-file", c.SecretFile, "`FILE` with the cluster secret")
	f.BoolVar(&c.Insecure, "insecure-no-secret", c.Insecure, "serve pieces to other machines without a cluster secret")
	f.StringVar(&c.SupernodeCA, "tls-ca", c.SupernodeCA, "PEM `FILE` to verify the supernodes with; they are spoken to over TLS then")
	f.StringSliceVar(&c.Hosts.CA, "registry-ca", nil,
		"`[HOST[:PORT]=]FILE` of PEM certificates to trust beside the system's, for one origin or for all; may be repeated")
	f.StringSliceVar(&c.Hosts.Cert, "registry-cert", nil, "`HOST[:PORT]=CERT:KEY`, PEM files of the client certificate for an origin; may be repeated")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "node" {
			name = "supernode"
		}
		return pflag.NormalizedName(name)
	})
}

// ignored are options that old scripts may have and that have no meaning any more. They are taken and told to be so.
func ignored(f *pflag.FlagSet) {
	for _, name := range []string{"callsystem", "clientqueue", "alivetime", "expiretime", "home", "ip", "port"} {
		_ = f.String(name, "", "")
		_ = f.MarkDeprecated(name, "it has no effect")
	}
	for _, name := range []string{"dfdaemon", "verbose"} {
		_ = f.Bool(name, false, "")
		_ = f.MarkDeprecated(name, "it has no effect")
	}
}
