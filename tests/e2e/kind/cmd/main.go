// Command kind keeps a cluster for a developer: `make e2e-up` and `make e2e-down`.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/stack"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		return 1 // cobra has said why
	}
	return 0
}

func newCommand() *cobra.Command {
	options := stack.Options{Root: ".", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	root := &cobra.Command{Use: "kind", Short: "Keep a cluster for the end-to-end tests", SilenceUsage: true, Args: cobra.NoArgs}
	root.AddCommand(
		&cobra.Command{
			Use: "up", Short: "Bring the cluster up", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return up(cmd, options) },
		},
		&cobra.Command{
			Use: "down", Short: "Remove the cluster; the cache stays", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return stack.Down(cmd.Context(), options) },
		},
		&cobra.Command{
			Use: "logs DIR", Short: "Collect the logs of pods, nodes, registry and engine", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				s, err := stack.Up(cmd.Context(), options)
				if s == nil {
					return err
				}
				return errors.Join(err, s.CollectLogs(cmd.Context(), args[0]))
			},
		},
	)
	return root
}

func up(cmd *cobra.Command, o stack.Options) error {
	s, err := stack.Up(cmd.Context(), o)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG=%s\n", s.Cluster.Kubeconfig)
	if s.Engine.Host != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "export DOCKER_HOST=%s\n", s.Engine.Host)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "The registry is %s, and the nodes pull from it. `make e2e-down` removes all.\n", s.Origin.Addr)
	return nil
}
