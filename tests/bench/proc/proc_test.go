package proc

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestProcessorTimeIsRead(t *testing.T) {
	t.Parallel()
	const rest = " S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1"
	tests := map[string]struct {
		stat string
		want time.Duration
		fail bool
	}{
		"a plain name":                        {"7 (nginx)" + rest, 2 * time.Second, false},
		"a name with spaces and parentheses":  {"7 (a) S 1 (b c)" + rest, 2 * time.Second, false},
		"nothing":                             {"", 0, true},
		"a line cut off":                      {"7 (nginx) S 1 2", 0, true},
		"words in the place of numbers":       {"7 (x) S 1 2 3 4 5 6 7 8 9 10 many more 0 0", 0, true},
		"a name without its last parenthesis": {"7 (nginx S 1 2 3", 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat(tt.stat)
			if got != tt.want || (err != nil) != tt.fail {
				t.Errorf("parseStat(%q) = %v, %v; want %v, an error: %v", tt.stat, got, err, tt.want, tt.fail)
			}
		})
	}
}

func TestPeakMemoryIsRead(t *testing.T) {
	t.Parallel()
	if got, err := parseStatus("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t  20 kB\nVmRSS:\t  10 kB\n"); err != nil || got != 20<<10 {
		t.Errorf("parseStatus = %d, %v; want 20 KiB", got, err)
	}
	for _, s := range []string{"", "VmHWM:\n", "VmHWM:\tmany kB\n"} {
		if got, err := parseStatus(s); err == nil {
			t.Errorf("parseStatus(%q) = %d, want an error", s, got)
		}
	}
}

func TestTheMachinesShareIsWhatWasBusyBetween(t *testing.T) {
	t.Parallel()
	//                             user nice system idle iowait irq softirq steal guest
	before, err := parseMachine("cpu  100    0     50  800     50   0       0     0     0 0\ncpu0 1 2\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseMachine("cpu  140   15     60  825     60   0      25     0     7 0\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Share(before); got != 0.6 {
		t.Errorf("share = %v, want 0.6: 75 of 125, low priority and waiting counted as idle", got)
	}
	if got := after.Share(after); got != 0 {
		t.Errorf("share of no time = %v, want 0", got)
	}
	for _, s := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h i"} {
		if m, err := parseMachine(s); err == nil {
			t.Errorf("parseMachine(%q) = %+v, want an error", s, m)
		}
	}
}

func TestThisProcessIsThere(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Log("no /proc: nothing to read here")
		return
	}
	if _, err := CPU(os.Getpid()); err != nil {
		t.Error(err)
	}
	if rss, err := PeakRSS(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("PeakRSS = %d, %v; want more than 1 MiB", rss, err)
	}
	if m, err := ReadMachine(); err != nil || m.Busy <= 0 {
		t.Errorf("ReadMachine = %+v, %v; want some work", m, err)
	}
	if _, err := CPU(-1); err == nil || !strings.Contains(err.Error(), "/proc/-1") {
		t.Errorf("CPU of no process: %v, want an error that names it", err)
	}
}
