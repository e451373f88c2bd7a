package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Cost is what a program of one to one needs for a GB.
type Cost struct {
	Program string
	// CPU seconds: User is outside the kernel, which for dfget is hashing above all; Copying is between programs, sockets and files; Pages is
	// taking and giving back the memory of files; Rest is the rest of the kernel.
	User, Copying, Pages, Rest float64
	// Calls are system calls.
	Calls float64
}

// rate of samples, in Hz, of each processor.
const sampleRate = 1999

// profile runs a client under perf and its sender as well, twice: for samples and for system calls.
func (f *field) profile(ctx context.Context, size int64, sender string, pid int, client string, args ...string) ([]Cost, error) {
	names := []string{sender, filepath.Base(client)}
	file := func(name, kind string) string { return filepath.Join(f.Dir, "local", name+"."+kind) }
	out := args[len(args)-1] // -o, its file
	watch := func(kind string, how ...string) error {
		// perf watches the sender while another perf runs the client.
		all := append(append([]string{}, how...), "-o", file(names[0], kind), "-p", strconv.Itoa(pid), "--", "perf")
		all = append(append(all, how...), "-o", file(names[1], kind), "--", client)
		c := command.New("perf", append(all, args...)...)
		if _, err := c.Run(ctx); err != nil {
			return err
		}
		return os.Remove(out)
	}
	if err := watch("samples", "record", "-q", "-F", strconv.Itoa(sampleRate), "-e", "cpu-clock"); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := watch("calls", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter"); err != nil {
		return nil, fmt.Errorf("count system calls: %w", err)
	}
	var costs []Cost
	for _, name := range names {
		report, err := command.New("perf", "report", "-i", file(name, "samples"), "--stdio", "--no-children", "-F", "sample,sym", "-t", "|", "-q").Run(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the profile of %s: %w", name, err)
		}
		calls, err := os.ReadFile(file(name, "calls"))
		if err != nil {
			return nil, err
		}
		costs = append(costs, cost(name, float64(size)/gb, report, string(calls)))
	}
	return costs, nil
}

// cost sorts the samples of a report, "COUNT|[k] SYMBOL" a line, by what the kernel did, and reads perf stat's count.
func cost(program string, gigabytes float64, report, calls string) Cost {
	c := Cost{Program: program}
	for line := range strings.Lines(report) {
		count, symbol, ok := strings.Cut(strings.TrimSpace(line), "|")
		n, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
		if !ok || err != nil {
			continue
		}
		cpu := n / sampleRate / gigabytes
		kernel, isKernel := strings.CutPrefix(strings.TrimSpace(symbol), "[k]")
		switch {
		case !isKernel:
			c.User += cpu
		case strings.Contains(kernel, "copy"):
			c.Copying += cpu
		case containsAny(kernel, "page", "folio", "shmem", "charge", "lru", "clear_", "xas_", "filemap", "ext4"):
			c.Pages += cpu
		default:
			c.Rest += cpu
		}
	}
	for line := range strings.Lines(calls) {
		count, _, _ := strings.Cut(line, ",")
		if n, err := strconv.ParseFloat(count, 64); err == nil && strings.Contains(line, "sys_enter") {
			c.Calls = n / gigabytes
		}
	}
	return c
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
