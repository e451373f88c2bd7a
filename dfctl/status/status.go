// Package status is the command "dfctl status": whether the host's dfdaemon and its supernodes answer, and what they have done.
package status

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/ask"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// NewCommand returns the command.
func NewCommand(streams cli.Streams) *cobra.Command {
	var cfg ask.Config
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether dfdaemon and the supernodes answer, and what they have done",
		Long: "Show whether dfdaemon and the supernodes answer, and what they have done.\n\n" +
			"The exit code is 0 when all that was asked is well, 3 when nothing answers, and 4 when some of it does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := cfg.Client(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			a := client.Ask(cmd.Context())
			if err := output.Write(streams.Out, a, text(time.Now())); err != nil {
				return err
			}
			return verdict(a, len(cfg.Supernodes) > 0)
		},
	}
	cfg.Flags(cmd.Flags())
	output.Flag(cmd.Flags())
	return cmd
}

// verdict is the exit code's error. Who names supernodes may be on a machine without dfdaemon.
func verdict(a ask.Answer, named bool) error {
	ready := 0
	for _, s := range a.Supernodes {
		if s.Ready {
			ready++
		}
	}
	switch {
	case a.Daemon == nil && ready == 0:
		return &cli.Error{Code: cli.ExitNothing, Err: errors.New("nothing answers: is dfdaemon running on this host? " +
			"Supernodes can be asked from anywhere by --supernode")}
	case ready < len(a.Supernodes):
		return &cli.Error{Code: cli.ExitDegraded, Err: fmt.Errorf("%d of %d supernodes are not ready", len(a.Supernodes)-ready, len(a.Supernodes))}
	case a.Daemon == nil && !named:
		return &cli.Error{Code: cli.ExitDegraded, Err: errors.New("dfdaemon does not answer")}
	}
	return nil
}

const layout = `
{{- with .Daemon -}}
dfdaemon    answers at {{plain .Addr}}
  version   {{plain .Version}}, up {{uptime .Started}}
  host      {{with .Host.Name}}{{plain .}}, {{end}}{{plain (join .Host.Addrs)}}{{with .Host.Zone}}, zone {{plain .}}{{end}}, id {{plain .Host.ID}}
  tasks     {{.Tasks}} complete, {{.Downloads}} running
  received  {{shares .Received}}
  sent      {{bytes .Sent}}
  store     {{bytes .Store.Used}}{{if .Store.Quota}} of {{bytes .Store.Quota}}{{end}}
{{else -}}
dfdaemon    does not answer: {{plain .Error}}
{{end -}}
{{if .Supernodes -}}
supernodes  {{ready .Supernodes}}
{{range .Supernodes}}  {{plain .Addr}}  {{if .Ready}}ready, version {{plain .Version}}{{else}}not ready: {{plain .Error}}{{end}}
{{end}}{{else -}}
supernodes  none known{{if .Daemon}}: pulls go to their registry{{end}}
{{end}}`

// text renders an ask.Answer for people, at a time.
func text(now time.Time) *template.Template {
	return template.Must(template.New("status").Funcs(template.FuncMap{
		"plain":  cli.Plain,
		"join":   func(s []string) string { return strings.Join(s, ", ") },
		"uptime": func(t time.Time) string { return max(0, now.Sub(t)).Round(time.Second).String() },
		"bytes":  size,
		"shares": shares,
		"ready": func(all []ask.Supernode) string {
			n := 0
			for _, s := range all {
				if s.Ready {
					n++
				}
			}
			return fmt.Sprintf("%d of %d ready", n, len(all))
		},
	}).Parse(layout))
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

func shares(s api.Shares) string {
	total := s.Total()
	if total <= 0 {
		return "nothing yet"
	}
	percent := func(n int64) int64 { return int64(float64(n) * 100 / float64(total)) }
	return fmt.Sprintf("%s: %d %% from peers, %d %% from seed, %d %% from origin",
		size(total), percent(s.FromPeers), percent(s.FromSeed), percent(s.FromOrigin))
}
