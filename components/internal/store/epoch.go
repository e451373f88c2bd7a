package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// An epoch is a run of lives of a store on one boot of the machine, between which every stop was clean. What was verified in it needs no
// second look: whatever its processes wrote is in the kernel's memory or on the disk. A stop of the machine ends the epoch as nobody
// waited for the disk: flushing after each piece, or all of a busy node's at the stop, takes longer than verifying what is used later.

const cleanName = "clean"

// takeEpoch returns the epoch to live in: that of the last life when it stopped cleanly on this boot, else a new one, in which all pieces
// on disk are suspect. The mark of the clean stop is gone before anything else changes.
func takeEpoch(dir *os.Root, boot string) (uint64, error) {
	f, err := dir.Open(cleanName)
	if errors.Is(err, os.ErrNotExist) {
		return newEpoch(), nil
	}
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	if err := errors.Join(err, f.Close(), dir.Remove(cleanName)); err != nil {
		return 0, err
	}
	var epoch uint64
	var on string
	if _, err := fmt.Sscanf(string(text), "%x %s", &epoch, &on); err == nil && epoch != 0 && on == boot {
		return epoch, nil
	}
	return newEpoch(), nil
}

// newEpoch is random, so that no lost or restored file can bring an old one back. It is never 0.
func newEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return max(1, binary.LittleEndian.Uint64(b[:]))
}

// writeEpoch marks a clean stop. It need not outlive the boot.
func writeEpoch(dir *os.Root, epoch uint64, boot string) error {
	if boot == "" {
		return nil // never trusted
	}
	f, err := dir.Create(cleanName)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%016x %s\n", epoch, boot)
	return errors.Join(err, f.Close())
}
