package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// blockSize is what disk space is counted in, in bytes.
const blockSize = 4096

// onDisk is the disk space that n bytes take.
func onDisk(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

// system is what tests replace of the operating system.
type system struct {
	writeAt func(f *os.File, p []byte, off int64) (int, error)
	// free is the space left for us on the file system of dir, in bytes.
	free func(dir string) (int64, error)
	now  func() time.Time
	// boot names this boot of the machine; "" where that can't be told.
	boot func() string
}

func realSystem() system {
	return system{writeAt: (*os.File).WriteAt, free: freeSpace, now: time.Now, boot: bootID}
}

// bootID reads random(4)'s boot_id, which containers see as well.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // of another type on other systems
}

// allocated is the disk space a file takes, in bytes: less than its size where it is sparse.
func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512 //nolint:unconvert // likewise; 512 is the unit of st_blocks, whatever the block size
	}
	return onDisk(info.Size())
}

// lockDir makes this process the only one to use dir until unlock.
func lockDir(dir *os.Root) (*os.File, error) {
	f, err := dir.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		return nil, fmt.Errorf("in use by process %s: give each process a directory of its own", holder)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprint(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

// unlock ends what lockDir began. Closing the file would do, but for a process that is being forked and has it open until it runs
// another program.
func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
