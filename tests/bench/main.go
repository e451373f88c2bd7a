// Command bench measures how fast nodes pull over links of a known rate, beside what one link allows and beside other ways to pull. It needs
// Linux, root, nginx and curl, and the programs that `make build` makes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/local"
	"github.com/dragonfly-kube/dragonfly/tests/bench/system"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal kills.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, io streams) error {
	o, err := parse(args, io.err)
	if err != nil {
		return err
	}
	unlock, err := lock(io)
	if err != nil {
		return err
	}
	defer unlock()
	dir, unmount, err := o.workDir(ctx)
	if err != nil {
		return err
	}
	defer unmount()
	logs := filepath.Join(dir, "logs")
	if o.logs != "" {
		logs = o.logs
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	scenarios, onLoopback, err := o.scenarios()
	if err != nil {
		return err
	}
	err = o.swarm(ctx, io, lab.New(bin, dir, logs, io.err), scenarios)
	if err == nil && onLoopback {
		err = o.local(ctx, io, local.Bench{Bin: bin, Dir: dir, Logs: logs, Talk: io.err, Times: max(3, o.repeat), Large: o.large << 20, Profile: o.profile})
	}
	return err
}

// swarm runs the scenarios and writes their table, also when one of them fails.
func (o options) swarm(ctx context.Context, io streams, l *lab.Lab, scenarios []lab.Scenario) error {
	var rows []row
	var failed error
	for _, s := range scenarios {
		runs, err := l.Run(ctx, s, o.repeat)
		switch {
		case errors.Is(err, system.ErrMissing):
			rows = append(rows, row{s, nil, err.Error()})
		case len(runs) > 0:
			rows = append(rows, row{s, runs, ""})
		}
		if err != nil && !errors.Is(err, system.ErrMissing) {
			failed = err
			break
		}
	}
	if len(rows) == 0 {
		return failed
	}
	return errors.Join(failed, writeSwarm(io.out, rows), writeGrowth(io.out, rows))
}

func (o options) local(ctx context.Context, io streams, b local.Bench) error {
	found, costs, err := b.Run(ctx)
	return errors.Join(err, writeLocal(io.out, found), writeCosts(io.out, costs))
}
