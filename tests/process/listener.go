package process

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Listener names the process that listens on an IPv4 address, as " by dfdaemon (pid 7)", or "" where /proc does not tell.
func Listener(addr string) string {
	want, err := netip.ParseAddrPort(addr)
	if err != nil || !want.Addr().Is4() {
		return ""
	}
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if inode := listenerInode(lines.Text(), want); inode != "" {
				inodes["socket:["+inode+"]"] = true
			}
		}
		_ = f.Close()
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && inodes[link] {
			pid := strings.Split(fd, "/")[2]
			comm, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
			return fmt.Sprintf(" by %s (pid %s)", strings.TrimSpace(string(comm)), pid)
		}
	}
	return ""
}

// listenerInode returns the inode of a line of /proc/net/tcp or tcp6 (see proc(5)) that listens on want's port, at its address or at all.
func listenerInode(line string, want netip.AddrPort) string {
	const listening = "0A"
	fields := strings.Fields(line)
	if len(fields) < 10 || fields[3] != listening {
		return ""
	}
	host, port, ok := strings.Cut(fields[1], ":")
	if !ok || port != fmt.Sprintf("%04X", want.Port()) {
		return ""
	}
	b := want.Addr().As4()
	own := fmt.Sprintf("%02X%02X%02X%02X", b[3], b[2], b[1], b[0]) // little-endian, as the kernel prints it on the machines we run on
	if strings.Trim(host, "0") == "" || strings.HasSuffix(host, own) {
		return fields[9]
	}
	return ""
}
