package program

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

type codedError int

func (codedError) Error() string   { return "refused" }
func (c codedError) ExitCode() int { return int(c) }

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		code int
		text string
	}{
		"done":                 {nil, 0, ""},
		"any error":            {errors.New("no"), 1, "x: no\n"},
		"an error with a code": {codedError(3), 3, "x: refused\n"},
		"one that is wrapped":  {fmt.Errorf("get: %w", codedError(5)), 5, "x: get: refused\n"},
	} {
		var talk bytes.Buffer
		cmd := &cobra.Command{Use: "x", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return tc.err }}
		cmd.SetErr(&talk)
		cmd.SetArgs([]string{})
		if got := Main(cmd); got != tc.code || talk.String() != tc.text {
			t.Errorf("%s: got code %d and %q, want %d and %q", name, got, talk.String(), tc.code, tc.text)
		}
	}
}

// TestMain also plays the program that TestSignals signals.
func TestMain(m *testing.M) {
	if mode := os.Getenv("PROGRAM_TEST_MODE"); mode != "" {
		os.Exit(Main(waiting(mode)))
	}
	os.Exit(m.Run())
}

// waiting is a program that tells what it lives through: it stops when asked to, or is stubborn.
func waiting(mode string) *cobra.Command {
	return &cobra.Command{Use: "x", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error {
		fmt.Fprintln(cmd.OutOrStdout(), "ready")
		<-cmd.Context().Done()
		fmt.Fprintln(cmd.OutOrStdout(), "stopping")
		if mode == "stubborn" {
			select {}
		}
		return nil
	}}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for mode, signals := range map[string][]syscall.Signal{
		"graceful":     {syscall.SIGTERM},
		"by interrupt": {syscall.SIGINT},
		"stubborn":     {syscall.SIGTERM, syscall.SIGINT},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "PROGRAM_TEST_MODE="+mode)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for i, want := range []string{"ready", "stopping"} {
				if !lines.Scan() || strings.TrimSpace(lines.Text()) != want {
					t.Fatalf("the program said %q, want %q", lines.Text(), want)
				}
				if i < len(signals) {
					if err := cmd.Process.Signal(signals[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			err = cmd.Wait()
			var exit *exec.ExitError
			switch {
			case mode != "stubborn" && err != nil:
				t.Errorf("got %v, want exit code 0", err)
			case mode == "stubborn" && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT):
				t.Errorf("got %v, want death by the second signal", err)
			}
		})
	}
}
