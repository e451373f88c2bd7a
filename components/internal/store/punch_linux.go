package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// punch gives the disk space of n bytes at off back. Where the file system can't, the space is used again by the next writer there.
func punch(f *os.File, off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}
