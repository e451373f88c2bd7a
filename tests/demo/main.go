// Command demo shows Dragonfly at work on one machine: a registry with a slow link, one supernode and five dfdaemons, each a
// process with a loopback address of its own, and five clients that pull one image at the same moment.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// options of the demo. The variables are for `make demo`.
type options struct {
	bin     string // folder of the programs
	image   string // DEMO_IMAGE: a real image to pull instead of the generated one
	keep    bool   // DEMO_KEEP: leave everything running until it is interrupted
	daemons int
	link    int // MiB/s that the registry sends in all
}

func main() {
	o := options{image: os.Getenv("DEMO_IMAGE"), keep: os.Getenv("DEMO_KEEP") == "1"}
	flag.StringVar(&o.bin, "bin", "bin", "folder with the programs supernode and dfdaemon")
	flag.IntVar(&o.daemons, "nodes", 5, "dfdaemons, and clients")
	flag.IntVar(&o.link, "link", 50, "MiB/s that the demo's registry can send in all")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal kills
	err := run(ctx, o, os.Stdout, term.IsTerminal(int(os.Stdout.Fd())))
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted; all that it started has stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run does the whole demo and leaves nothing behind. An error says what went wrong or what the demo could not prove.
func run(ctx context.Context, o options, w io.Writer, terminal bool) (err error) {
	dir, err := os.MkdirTemp("", "dragonfly-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{options: o, dir: dir, w: w, terminal: terminal}
	return d.run(ctx)
}
