// Package daemon runs programs that outlive this process and are stopped by a later one: a Docker engine, a registry. Each has a record on
// disk by which it is found again, so that no other process is ever ended in its place.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Time limits, far above what a loaded machine with two cores needs.
const (
	readyLimit = time.Minute
	stopLimit  = 30 * time.Second
	interval   = 50 * time.Millisecond
)

// Spec says what to run.
type Spec struct {
	// Name in errors, and of the files NAME.pid and NAME.log in Dir.
	Name, Dir string
	Program   string
	Args      []string
	// Env is the whole environment; that of this process when nil.
	Env []string
	// Ready is asked until it says yes.
	Ready func(context.Context) bool
}

func (s Spec) record() string { return filepath.Join(s.Dir, s.Name+".pid") }

// LogFile is where the program's output goes.
func (s Spec) LogFile() string { return filepath.Join(s.Dir, s.Name+".log") }

// Start runs the program in a session of its own, so that Ctrl-C does not reach it, and waits until it is ready. One that runs already is
// left as it is.
func Start(ctx context.Context, s Spec) error {
	if pid, _ := running(s.record()); pid != 0 {
		return s.wait(ctx, pid)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	log, err := os.Create(s.LogFile())
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close() // the program has its own copy
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.Program, s.Args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, s.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	pid := cmd.Process.Pid
	go func() { _ = cmd.Wait() }() // no zombie: its end is seen in /proc
	record := fmt.Sprintf("%d %s\n", pid, startTime(pid))
	if err := os.WriteFile(s.record(), []byte(record), 0o600); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", s.Name, err), cmd.Process.Kill())
	}
	return s.wait(ctx, pid)
}

func (s Spec) wait(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, errors.New("not ready in time"))
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if s.Ready(ctx) {
			return nil
		}
		if startTime(pid) == "" {
			return fmt.Errorf("%s ended; the end of %s:\n%s", s.Name, s.LogFile(), s.tail())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the end of %s:\n%s", s.Name, context.Cause(ctx), s.LogFile(), s.tail())
		case <-tick.C:
		}
	}
}

func (s Spec) tail() []byte {
	b, err := os.ReadFile(s.LogFile())
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(bytes.TrimSpace(b), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], nil)
}

// Running reports whether a program that Start has started runs still.
func Running(s Spec) bool {
	pid, _ := running(s.record())
	return pid != 0
}

// Stop ends the program: SIGTERM, then SIGKILL. It returns when it has ended; one that does not run is no error.
func Stop(s Spec) error {
	pid, err := running(s.record())
	if err != nil || pid == 0 {
		return err
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s: %w", s.Name, err)
		}
		if s.endsWithin(stopLimit) {
			return os.Remove(s.record())
		}
	}
	return fmt.Errorf("stop %s: process %d does not end", s.Name, pid)
}

func (s Spec) endsWithin(limit time.Duration) bool {
	end := time.After(limit)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if !Running(s) {
			return true
		}
		select {
		case <-end:
			return false
		case <-tick.C:
		}
	}
}

// running is the id of the recorded process, 0 when it has ended. The start time tells it from another one that got its id.
func running(record string) (int, error) {
	b, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	id, start, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, err := strconv.Atoi(id)
	if err != nil {
		return 0, fmt.Errorf("%s is no record of a process: %w", record, err)
	}
	if start == "" || startTime(pid) != start {
		return 0, nil
	}
	return pid, nil
}

// startTime is when the process started, in ticks since boot (field 22 of /proc/PID/stat, see proc(5)); "" when it has ended.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name, the second field, is in parentheses and may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}
