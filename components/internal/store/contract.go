package store

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// What every implementation answers alike.

// noSpace is ErrNoSpace for what could not be done. The cause is told but not wrapped: to callers all causes are one.
func noSpace(cause error, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrNoSpace, fmt.Sprintf(format, args...), cause.Error())
}

var errClosed = fmt.Errorf("store: %w", os.ErrClosed)

func errTooLong(i int, limit int64) error {
	return fmt.Errorf("store: piece %d has more than %d bytes", i, limit)
}

func errNegative(off int64) error { return fmt.Errorf("store: offset %d is negative", off) }

func errNotHeld(i int) error { return fmt.Errorf("%w: piece %d", ErrNotHeld, i) }

// endsEarly turns the end of the content into the error of one who asked for more.
func endsEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func checkNew(id string, m api.Meta) error {
	if !api.ValidTaskID(id) {
		return fmt.Errorf("store: %.80q is no task id: want 64 lower-case hexadecimal digits", id)
	}
	return checkMeta(m)
}

// serves says whether what is held can be part of the content that m describes: a complete task always, else where neither the piece
// size nor the length differs.
func (l *ledger) serves(m api.Meta) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.meta.Length >= 0 && m.Length >= 0
	return l.complete || l.meta.PieceSize == m.PieceSize && (!known || l.meta.Length == m.Length)
}

// mark is a complete task's part of a store's revision. The revision is the exclusive or of all marks: it costs the same at any
// number of tasks, and a restart that changes no task changes no revision.
func mark(id string, length int64) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", id, length)
	return h.Sum64()
}

// errNoMore is the answer to writers after Close: like a full disk, the caller goes on without keeping.
var errNoMore = fmt.Errorf("%w: the store is closed", ErrNoSpace)
