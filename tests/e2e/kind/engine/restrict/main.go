// Command restrict is an OCI runtime for machines whose root lacks CAP_SYS_RESOURCE, as some small virtual machines and CI runners: it
// takes what needs that capability out of a container's specification and hands over to runc. Without it, a privileged container, and
// so a node of kind, does not start there ("unable to apply caps").
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "restrict:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	// Files that runc is about to read: what `create` and `run` start, and what `exec` starts.
	if bundle := option(args, "--bundle", "-b"); bundle != "" {
		if err := rewrite(filepath.Join(bundle, "config.json"), specification); err != nil {
			return err
		}
	}
	if file := option(args, "--process", "-p"); file != "" {
		if err := rewrite(file, process); err != nil {
			return err
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("find the real runtime: %w", err)
	}
	return syscall.Exec(runc, append([]string{runc}, args[1:]...), os.Environ())
}

// option is the argument after one of the names.
func option(args []string, names ...string) string {
	for i := 1; i < len(args)-1; i++ {
		if slices.Contains(names, args[i]) {
			return args[i+1]
		}
	}
	return ""
}

// rewrite replaces the file by what edit makes of it.
func rewrite(file string, edit func([]byte) ([]byte, error)) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // runc has a better message
	}
	if err != nil {
		return err
	}
	b, err = edit(b)
	if err != nil {
		return fmt.Errorf("edit %s: %w", file, err)
	}
	return os.WriteFile(file, b, 0o600)
}
