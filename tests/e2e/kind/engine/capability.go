package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// sysResource is the number of CAP_SYS_RESOURCE, see capabilities(7).
const sysResource = 24

// lacksSysResource reports whether no process started from here can have CAP_SYS_RESOURCE.
func lacksSysResource() (bool, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	return lacks(string(b), sysResource)
}

// lacks reads the bounding set in a /proc/PID/status.
func lacks(status string, capability uint) (bool, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return false, fmt.Errorf("read the capabilities of this process: %w", err)
			}
			return set&(1<<capability) == 0, nil
		}
	}
	return false, fmt.Errorf("read the capabilities of this process: its status has no CapBnd")
}
