// Package process runs programs for the demo and the end-to-end tests: output in a log file, ready when a URL answers, stopped by
// their id, never left behind.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Time limits, far above what a loaded machine with two cores needs.
const (
	readyTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// Spec says what to run.
type Spec struct {
	// Name of the process in errors, as "node 1".
	Name    string
	Program string
	Args    []string
	// Log is the file for what the program writes to both streams. Its folder exists.
	Log string
	// Stdout is a file for the standard output alone, if that is wanted apart.
	Stdout string
	// Unset lists prefixes of environment variables that the program must not see.
	Unset []string
}

// Process is a running program.
type Process struct {
	spec  Spec
	cmd   *exec.Cmd
	ended chan struct{}
}

// Start runs the program. It lives until it ends by itself or Stop is called.
func Start(s Spec) (*Process, error) {
	log, err := os.Create(s.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close() // the program has its own copy
	cmd := exec.CommandContext(context.Background(), s.Program, s.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	if s.Stdout != "" {
		out, err := os.Create(s.Stdout)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", s.Name, err)
		}
		defer out.Close()
		cmd.Stdout = out
	}
	for _, kv := range os.Environ() {
		if !hasAnyPrefix(kv, s.Unset) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Process{spec: s, cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.ended)
	}()
	return p, nil
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Ready waits until url answers 200, and fails when the process ends before or takes too long.
func (p *Process) Ready(ctx context.Context, url string) error {
	return p.ReadyWhen(ctx, func(ctx context.Context) bool { return status(ctx, url) == http.StatusOK })
}

// ReadyWhen waits until ready says so, and fails when the process ends before or takes too long.
func (p *Process) ReadyWhen(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("not ready in time"))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx) {
			return nil
		}
		select {
		case <-p.ended:
			return p.Died()
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the end of its log:\n%s", p.spec.Name, context.Cause(ctx), p.Tail())
		case <-tick.C:
		}
	}
}

// status is the HTTP status that url answers, 0 for none.
func status(ctx context.Context, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	// A client of its own: no idle connection outlives the call, and no proxy stands before loopback.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Died is the error of a process that ended by itself. It may be called once Ended is closed.
func (p *Process) Died() error {
	return fmt.Errorf("%s ended by itself (%s); the end of its log:\n%s", p.spec.Name, p.cmd.ProcessState, p.Tail())
}

// Tail is the end of the log, for an error message.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.spec.Log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.SplitAfter(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-10):], nil)) + "\n(" + filepath.Base(p.spec.Log) + ")"
}

// Signal sends a signal, as SIGSTOP to freeze the process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end, kills it when it does not, and returns when it has ended.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
