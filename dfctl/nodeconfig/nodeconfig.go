// Package nodeconfig is the command "dfctl node-config": it makes a node's container runtime pull through dfdaemon, and undoes that.
package nodeconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/node"
	"github.com/dragonfly-kube/dragonfly/dfctl/node/hostfs"
	"github.com/dragonfly-kube/dragonfly/dfctl/node/ledger"
)

const auto = "auto"

// patience is how long a run waits for another one on the same host. Runs take less than a second, but for what they restart.
const patience = 30 * time.Second

// host is what the command works on and tests replace.
type host struct {
	streams cli.Streams
	now     func() time.Time
	// run runs a command on the host whose root is given.
	run func(ctx context.Context, root, command string) error
	// before is for hostfs.Open.
	before func(op hostfs.Op, name string) error
}

// config is the options.
type config struct {
	request  node.Request
	runtimes []string
	hostRoot string
	restart  bool
	dryRun   bool
	// keepGoing turns what stops a node from being configured, or undone, into a warning.
	keepGoing bool
	output    cli.Output
}

// NewCommand returns the command.
func NewCommand(streams cli.Streams) *cobra.Command {
	return newCommand(host{streams: streams, now: time.Now, run: run(streams)})
}

func newCommand(h host) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node-config",
		Short: "Make the container runtime of this node pull through dfdaemon, and undo it",
		Long: "Make the container runtime of this node pull through dfdaemon, and undo it.\n\n" +
			"It merges its part into the runtime's own files, keeps backups and a record under " + ledger.Dir + ",\n" +
			"and restarts nothing unless it is told to. A file that it cannot read is left alone.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		h.command("print", "Write the files as they should be", "", h.print, (*config).planFlags),
		h.command("diff", "Write what apply would change", "", h.diff, (*config).planFlags),
		h.command("apply", "Write the files", "", h.apply, (*config).planFlags, (*config).changeFlags),
		h.command("verify", "Check that the files are as they should be", "The exit code is 4 where they are not.\n\n", h.verify, (*config).planFlags),
		h.command("rollback", "Undo what apply did", "A file that nobody has changed since is again what it was, byte for byte; from others the part of apply is\n"+
			"taken out, and where that is not possible they stay as they are, and the exit code is 1.\n\n", h.rollback, (*config).changeFlags),
		waitCommand(h.streams, inCluster), holdCommand(),
	)
	return cmd
}

const exitCodes = `Exit codes:
  0  done, or nothing to do
  1  a file cannot be read, written or undone
  2  wrong options
  3  no container runtime was found on this host
  4  something stands in the way, and a runtime was left as it is; verify: the files are not as they should be`

// command makes a subcommand.
func (h host) command(use, short, more string, do func(context.Context, *config) error, flags ...func(*config, *pflag.FlagSet)) *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use: use, Short: short, Long: short + ".\n\n" + more + exitCodes, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return h.verdict(use, &cfg, do(cmd.Context(), &cfg)) },
	}
	cmd.Flags().StringVar(&cfg.hostRoot, "host-root", "/", "`DIR` where the host's root is, from within a container")
	cfg.output.Flag(cmd.Flags())
	for _, define := range flags {
		define(&cfg, cmd.Flags())
	}
	return cmd
}

func (c *config) planFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&c.runtimes, "runtime", []string{auto}, "`RUNTIME` docker, containerd, crio, podman, k3s, rke2, or auto for those that the host has; may be repeated")
	f.StringVar(&c.request.Mirror, "mirror", "http://127.0.0.1:65001", "`URL` of dfdaemon's registry mirror, as the node reaches it")
	f.StringSliceVar(&c.request.Registries, "registry", nil, "`HOST[:PORT]` of a registry to pull through the mirror, or _default for those without a configuration of "+
		"their own; may be repeated; unset means all (crio, podman: "+strings.Join(node.WellKnown(), ", ")+" and what the host has configured)")
	f.StringVar(&c.request.DockerMethod, "docker-method", node.DaemonJSON, "`METHOD` for Docker: daemon-json, or drop-in for an option of dockerd in its systemd unit")
}

func (c *config) changeFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.restart, "restart", false, "reload or restart the runtime where that is needed")
	f.BoolVar(&c.dryRun, "dry-run", false, "write what would change, and change nothing")
	f.BoolVar(&c.keepGoing, "keep-going", false, "end with exit code 0 and a warning where the exit code would be 1, 3 or 4: for an init container, "+
		"whose pod should start on a node that cannot be configured too")
}

// verdict is a command's error, or none where it is to be a warning. Wrong options stay an error: they are wrong on every node.
func (h host) verdict(use string, c *config, err error) error {
	coded, ok := errors.AsType[*cli.Error](err)
	if err == nil || !c.keepGoing || ok && coded.ExitCode() == cli.ExitUsage {
		return err
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(h.streams.Err, "WARNING: node-config %s: %s\n", use, cli.Plain(strings.TrimRight(line, "\n")))
	}
	fmt.Fprintf(h.streams.Err, "WARNING: node-config %s did not do all that was asked of it on this node, and goes on because of --keep-going\n", use)
	return nil
}

// job is a run's host and plan.
type job struct {
	root     *hostfs.Root
	ledger   *ledger.Ledger
	runtimes []node.Runtime
	plan     node.Plan
	writes   []ledger.Write
	stuck    []error
}

func (j *job) close() {
	if j.ledger != nil {
		j.ledger.Close()
	}
	_ = j.root.Close()
}

// open reads a host.
func (h host) open(ctx context.Context, c *config) (*job, error) {
	root, err := hostfs.Open(c.hostRoot, h.before)
	if err != nil {
		return nil, err
	}
	j := &job{root: root}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if j.ledger, err = ledger.Open(ctx, root, h.now); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// prepare reads a host and plans.
func (h host) prepare(ctx context.Context, c *config) (*job, error) {
	if err := c.request.Validate(); err != nil {
		return nil, cli.Usagef("%w", err)
	}
	for _, r := range c.runtimes {
		if r != auto && !slices.Contains(node.Runtimes(), node.Runtime(r)) {
			return nil, cli.Usagef("the runtime %q is not one of auto, docker, containerd, crio, podman, k3s, rke2", r)
		}
	}
	j, err := h.open(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := j.makePlan(c); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

func (j *job) makePlan(c *config) error {
	for _, r := range c.runtimes {
		if r != auto {
			j.runtimes = append(j.runtimes, node.Runtime(r))
			continue
		}
		found, err := node.Detect(j.ledger.Without())
		if err != nil {
			return err
		}
		j.runtimes = append(j.runtimes, found...)
	}
	if len(j.runtimes) == 0 {
		return &cli.Error{Code: cli.ExitNothing, Err: errors.New("no container runtime was found on this host: name it by --runtime, or the host's root by --host-root")}
	}
	slices.Sort(j.runtimes)
	j.runtimes = slices.Compact(j.runtimes)
	var err error
	if j.plan, err = node.New(j.ledger.Without(), c.request, j.runtimes...); err != nil {
		return err
	}
	return j.makeWrites()
}

// makeWrites finds out what it takes to have the plan's files, and no others of ours.
func (j *job) makeWrites() error {
	var err error
	j.writes, j.stuck, err = j.ledger.Writes(j.plan.Changes)
	j.plan.Notes = append(j.plan.Notes, j.ledger.Notes()...)
	return err
}

// obstacles are an error if something stands in the way.
func (j *job) obstacles() error {
	switch {
	case len(j.stuck) > 0:
		return errors.Join(j.stuck...)
	case len(j.plan.Blocked) > 0:
		return &cli.Error{Code: cli.ExitDegraded, Err: fmt.Errorf("left as it is: %s", cli.Plain(strings.Join(j.plan.Blocked, "; ")))}
	}
	return nil
}
