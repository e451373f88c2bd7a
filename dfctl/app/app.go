// Package app puts dfctl together.
package app

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	buildversion "github.com/dragonfly-kube/dragonfly/components/version"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/hostdirs"
	"github.com/dragonfly-kube/dragonfly/dfctl/nodeconfig"
	"github.com/dragonfly-kube/dragonfly/dfctl/status"
	"github.com/dragonfly-kube/dragonfly/dfctl/verify"
	"github.com/dragonfly-kube/dragonfly/dfctl/version"
)

// NewCommand returns dfctl's command line.
func NewCommand(out, talk io.Writer) *cobra.Command {
	streams := cli.Streams{Out: out, Err: talk}
	cmd := &cobra.Command{
		Use:           "dfctl",
		Short:         "Look after a Dragonfly cluster",
		Version:       buildversion.Get().String(),
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetOut(out)
	cmd.SetErr(talk)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return cli.Usagef("%w", err) })
	cmd.AddCommand(hostdirs.NewCommand(streams), nodeconfig.NewCommand(streams), status.NewCommand(streams), version.NewCommand(streams))
	cmd.AddCommand(verify.NewCommand(streams))
	cmd.AddCommand(forClusters(streams)...)
	usage(cmd)
	return cmd
}

// usage makes wrong arguments of every command an error of the caller's, and documents the variables.
func usage(cmd *cobra.Command) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return cli.Usagef("%w; see dfctl --help", err)
		}
		return nil
	}
	if cmd.Flags().Lookup("socket") != nil { // what changes a host takes nothing from the environment
		cmd.SetUsageTemplate(cmd.UsageTemplate() + fmt.Sprintf(
			"\nAn option that is not given comes from its environment variable, if that is set: %s for --socket.\n", cli.EnvName("socket")))
	}
	for _, sub := range cmd.Commands() {
		usage(sub)
	}
}
