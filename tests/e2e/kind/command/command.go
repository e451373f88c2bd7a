// Package command runs external programs to their end: bounded in time and output, with what they said in the error.
package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Command is a program with its arguments. The zero values of the other fields mean: this folder, this environment, no input.
type Command struct {
	Program string
	Args    []string
	Dir     string
	// Env is added to the environment of this process.
	Env   []string
	Stdin io.Reader
	// Stdout takes the standard output instead of the return value.
	Stdout io.Writer
	// Limit on the time it may take; 5 minutes when zero.
	Limit time.Duration
}

// New is a command with nothing but arguments.
func New(program string, args ...string) Command { return Command{Program: program, Args: args} }

const (
	defaultLimit = 5 * time.Minute
	// killDelay is for children that keep the output open after the program was killed.
	killDelay = 10 * time.Second
	maxSaid   = 4 << 10 // bytes of output in an error
)

// Run returns the standard output, without white space around it. The error holds the end of what the program said.
func (c Command) Run(ctx context.Context) (string, error) {
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Program, c.Args...)
	cmd.Dir, cmd.Stdin, cmd.WaitDelay = c.Dir, c.Stdin, killDelay
	cmd.Env = append(os.Environ(), c.Env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	err := cmd.Run()
	if err == nil {
		return strings.TrimSpace(stdout.String()), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return "", fmt.Errorf("%s: %w: %s", c, err, end(stdout.String()+stderr.String()))
}

// String is the command as a person would type it, shortened.
func (c Command) String() string {
	const longest = 200
	s := strings.Join(append([]string{c.Program}, c.Args...), " ")
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

func end(said string) string {
	said = strings.TrimSpace(said)
	return said[max(0, len(said)-maxSaid):]
}
