// Package version is the command "dfctl version": the version of dfctl and of what answers.
package version

import (
	"os"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/components/version"
	"github.com/dragonfly-kube/dragonfly/dfctl/ask"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// Answer is what the command writes with -o json.
type Answer struct {
	Client version.Info `json:"client"`
	// Daemon is null where none answers.
	Daemon     *Daemon         `json:"dfdaemon"`
	Supernodes []ask.Supernode `json:"supernodes"`
}

// Daemon is the host's dfdaemon.
type Daemon struct {
	Addr    string `json:"addr"`
	Version string `json:"version"`
}

// NewCommand returns the command.
func NewCommand(streams cli.Streams) *cobra.Command {
	var cfg ask.Config
	var output cli.Output
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of dfctl, and of the dfdaemon and the supernodes that answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := cfg.Client(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			a := Answer{Client: version.Get(), Supernodes: []ask.Supernode{}}
			if !clientOnly {
				a.add(client.Ask(cmd.Context()))
			}
			return output.Write(streams.Out, a, text())
		},
	}
	cfg.Flags(cmd.Flags())
	output.Flag(cmd.Flags())
	cmd.Flags().BoolVar(&clientOnly, "client", false, "ask nobody")
	return cmd
}

func (a *Answer) add(all ask.Answer) {
	if all.Daemon != nil {
		a.Daemon = &Daemon{all.Daemon.Addr, all.Daemon.Version}
	}
	a.Supernodes = all.Supernodes
}

const layout = `dfctl      {{.Client}}
{{with .Daemon}}dfdaemon   {{plain .Version}} at {{plain .Addr}}
{{end}}{{range .Supernodes}}supernode  {{if .Version}}{{plain .Version}}{{else}}unknown{{end}} at {{plain .Addr}}{{with .Error}}: {{plain .}}{{end}}
{{end}}`

func text() *template.Template {
	return template.Must(template.New("version").Funcs(template.FuncMap{"plain": cli.Plain}).Parse(layout))
}
