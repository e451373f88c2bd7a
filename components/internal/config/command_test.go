package config

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// testCommand is a program with one option, and where its value and its streams went.
func testCommand(run func(ctx context.Context, s Streams, log *slog.Logger) error) (cmd *cobra.Command, wait *time.Duration) {
	wait = new(time.Duration)
	cmd = Command(Program{
		Name: "dfget", Short: "gets", Long: "It gets.", Tail: "That's all.\n",
		Log:   Log{Level: "info", Format: "text"},
		Flags: func(flags *pflag.FlagSet) { Duration(flags, wait, "timeout", "e", "how long") },
		Run:   run,
	})
	return cmd, wait
}

func TestCommandRuns(t *testing.T) {
	t.Setenv("DRAGONFLY_TIMEOUT", "7s")
	t.Setenv("DRAGONFLY_SOMETHING_ELSE", "x")
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte("log-format=json\ntimeout=1s"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := errors.New("done")
	cmd, wait := testCommand(func(_ context.Context, s Streams, log *slog.Logger) error {
		log.Info("hello")
		_, _ = io.WriteString(s.Out, "data")
		return want
	})
	var out, talk bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&talk)
	cmd.SetArgs([]string{"--config", file})
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, want) {
		t.Fatalf("Execute: got %v, want what Run returned", err)
	}
	if *wait != 7*time.Second {
		t.Errorf("timeout: got %v, want the variable's 7s", *wait)
	}
	if got := out.String(); got != "data" {
		t.Errorf("standard output: got %q, want only the data", got)
	}
	for _, part := range []string{`"msg":"hello"`, "DRAGONFLY_SOMETHING_ELSE"} {
		if !strings.Contains(talk.String(), part) {
			t.Errorf("standard error: got %q, want %q in it", talk.String(), part)
		}
	}
}

func TestBadCallsAreUsageErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":    {[]string{"--timeuot=1"}, "unknown flag: --timeuot"},
		"a bad value":        {[]string{"--timeout=x"}, `"x" is no duration`},
		"a word":             {[]string{"http://x"}, `unexpected argument "http://x"`},
		"a bad log level":    {[]string{"--log-level=x", "--config="}, "none of debug"},
		"a missing file":     {[]string{"--config=/does/not/exist"}, "no such file"},
		"a flag cut short":   {[]string{"--timeout"}, "needs an argument"},
		"an unknown command": {[]string{"completion"}, "unexpected argument"},
	} {
		cmd, _ := testCommand(func(context.Context, Streams, *slog.Logger) error {
			t.Errorf("%s: ran", name)
			return nil
		})
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(tc.args)
		err := cmd.ExecuteContext(t.Context())
		var usage *UsageError
		if !errors.As(err, &usage) || usage.ExitCode() != 2 || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want a usage error with %q", name, err, tc.want)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for arg, wants := range map[string][]string{
		"--help": {
			"gets\n\nIt gets.\n", "dfget [option...]", "-e, --timeout duration", "how long [DRAGONFLY_TIMEOUT]",
			"--log-level", "[DRAGONFLY_LOG_FORMAT] (default \"text\")", "[DRAGONFLY_CONFIG]", "\nThat's all.\n",
		},
		"--version": {"dfget version ", "/"},
	} {
		cmd, _ := testCommand(nil)
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{arg})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%s: %v", arg, err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: got\n%s\nwant %q in it", arg, out.String(), want)
			}
		}
	}
}
