// Command gotest runs `go test` with the arguments given, passes its output on (as go test does: what passing tests print only with
// -v), and ends with one line that says how many tests in how many packages passed, failed and were skipped. Its exit code is that
// of go test.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	os.Exit(code)
}

// run returns go test's exit code, and an error when there is none to return or its output could not be read.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	start := time.Now()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	// go test stops its children on an interrupt; a kill would leave them running.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	s := newSummary(stdout)
	s.verbose = slices.Contains(args, "-v")
	readErr := s.read(out)
	waitErr := cmd.Wait()
	s.print(args, time.Since(start))

	var exit *exec.ExitError
	switch {
	case readErr != nil:
		return 1, fmt.Errorf("read go test's output: %w", readErr)
	case errors.As(waitErr, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	case waitErr != nil:
		return 1, waitErr
	case s.failed > 0:
		return 1, nil
	}
	return 0, nil
}

// event is one line of `go test -json` (see go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// summary counts the events and keeps the output of a test until it is known whether the test failed.
type summary struct {
	w        io.Writer
	verbose  bool
	held     map[string]*strings.Builder // by package and test
	packages map[string]int              // tests that failed, by package with at least one test
	passed   int
	failed   int
	skipped  int
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, held: map[string]*strings.Builder{}, packages: map[string]int{}}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		fmt.Fprint(s.w, line) // not an event: go itself talks
		return
	}
	if e.Test != "" {
		s.packages[e.Package] += 0
	}
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.w, e.Output)
	case "output":
		s.output(key, e)
	case "pass", "fail", "skip":
		s.end(key, e)
	}
}

// output passes everything on when it is wanted. Else it passes a package's result lines on at once and holds back what a test
// prints. A line of the package itself that is neither ("PASS", a panic, a log) is held as well: it matters only when the package
// fails.
func (s *summary) output(key string, e event) {
	if s.verbose || e.Test == "" && (strings.HasPrefix(e.Output, "ok  ") || strings.HasPrefix(e.Output, "FAIL\t")) {
		fmt.Fprint(s.w, e.Output)
		return
	}
	if strings.HasPrefix(e.Output, "=== ") {
		return // "=== RUN" and the like: the order of tests, which nobody asked for
	}
	b := s.held[key]
	if b == nil {
		b = &strings.Builder{}
		s.held[key] = b
	}
	b.WriteString(e.Output)
}

func (s *summary) end(key string, e event) {
	if b := s.held[key]; b != nil && e.Action == "fail" {
		fmt.Fprint(s.w, b.String())
	}
	delete(s.held, key)
	if e.Test == "" {
		if e.Action == "fail" && s.packages[e.Package] == 0 {
			s.failed++ // did not build, or broke outside of its tests
		}
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.packages[e.Package]++
	case "skip":
		s.skipped++
	}
}

func (s *summary) print(args []string, took time.Duration) {
	how := ""
	if slices.Contains(args, "-race") {
		how = " under the race detector"
	}
	fmt.Fprintf(s.w, "\n%d packages tested%s in %s:\n", len(s.packages), how, took.Round(time.Second))
	fmt.Fprintf(s.w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
}
