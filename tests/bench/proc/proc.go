// Package proc reads what processes and the machine used, from Linux's /proc: see proc(5).
package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc, on all machines that Go runs on.
const tick = time.Second / 100

// CPU is the processor time of a process so far, in the kernel and outside.
func CPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

// parseStat reads /proc/PID/stat. The name, in parentheses, may hold anything.
func parseStat(s string) (time.Duration, error) {
	const user, system = 11, 12 // fields after the name
	_, after, ok := cutLast(s, ")")
	fields := strings.Fields(after)
	if !ok || len(fields) <= system {
		return 0, fmt.Errorf("not a process's stat: %q", s)
	}
	u, err1 := strconv.ParseInt(fields[user], 10, 64)
	k, err2 := strconv.ParseInt(fields[system], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(u+k) * tick, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// PeakRSS is the most memory that a process has had resident so far, in bytes (VmHWM). Files read and written by system calls don't count.
func PeakRSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseStatus(string(b))
}

func parseStatus(s string) (int64, error) {
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmHWM in a process's status")
}

// Machine is the processor time of the whole machine since it started.
type Machine struct {
	Busy, Idle time.Duration
}

// ReadMachine reads it.
func ReadMachine() (Machine, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, err
	}
	return parseMachine(string(b))
}

// parseMachine reads the first line of /proc/stat. Waiting for a disk is idle, and so is what programs of low priority (nice) do, for they
// give way; time taken by other virtual machines is busy, for it is gone.
func parseMachine(s string) (Machine, error) {
	const nice, idle, iowait, counted = 1, 3, 4, 8
	line, _, _ := strings.Cut(s, "\n")
	fields := strings.Fields(line)
	if len(fields) <= counted || fields[0] != "cpu" {
		return Machine{}, fmt.Errorf("not the machine's stat: %q", line)
	}
	var m Machine
	for i, f := range fields[1 : counted+1] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return Machine{}, fmt.Errorf("processor time: %w", err)
		}
		if i == nice || i == idle || i == iowait {
			m.Idle += time.Duration(n) * tick
		} else {
			m.Busy += time.Duration(n) * tick
		}
	}
	return m, nil
}

// Share of the machine that was busy since an earlier moment, 0 to 1.
func (m Machine) Share(since Machine) float64 {
	busy, idle := m.Busy-since.Busy, m.Idle-since.Idle
	if busy+idle <= 0 {
		return 0
	}
	return float64(busy) / float64(busy+idle)
}
