// Package program is what the main functions share: signals and exit codes.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs a command until it is done and returns the process's exit code. The first SIGINT or SIGTERM ends the command's
// context, so that it stops in order; the second kills the process.
func Main(cmd *cobra.Command) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals) // before the context ends: from here on, a signal kills
			cancel()
		case <-ctx.Done():
		}
	}()
	return report(cmd.ErrOrStderr(), cmd.Name(), cmd.ExecuteContext(ctx))
}

// report tells an error, and which exit code is its own: 1 unless it has an ExitCode.
func report(w io.Writer, name string, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(w, "%s: %v\n", name, err)
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}
