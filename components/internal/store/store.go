// Package store keeps tasks' pieces on a node: one sparse file per task beside small metadata, verified pieces only.
package store

import (
	"errors"
	"io"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

var (
	// ErrNotFound says that the store has nothing of a task.
	ErrNotFound = errors.New("store: task not found")
	// ErrNotHeld says that some byte asked for lies in a piece that is not held.
	ErrNotHeld = errors.New("store: piece not held")
	// ErrDigest says that bytes do not match their digest. What was written of the piece is gone.
	ErrDigest = errors.New("store: digest mismatch")
	// ErrNoSpace says that disk or quota is full and nothing can be evicted. It wraps nothing: callers go on without keeping.
	ErrNoSpace = errors.New("store: no space")
)

// Store holds tasks by id. All methods are safe for concurrent use. Every implementation passes storetest.Run.
type Store interface {
	// Get returns a task of which the store has something, else ErrNotFound. The caller releases it.
	Get(id string) (Task, error)
	// Create returns the task, making it when the store has nothing of it. meta.PieceSize must be set; where the task exists with
	// another piece size or known length and no complete content, it is removed first. Else its metadata stay as they are. ErrNoSpace
	// when there is no room. The caller releases it.
	Create(id string, meta api.Meta) (Task, error)
	// Remove forgets the task and its bytes, at once when nobody holds it, else when the last holder releases it: until then Get
	// does not find it. Removing what is not there is no error.
	Remove(id string) error
	// Tasks lists complete tasks, and a revision that changes whenever that list does.
	Tasks() (tasks []api.HeldTask, revision uint64)
	// Usage is the disk space taken by pieces, in bytes, and the number of tasks.
	Usage() (bytes int64, tasks int)
	// Close marks the stop as clean. Tasks still held stay readable but take no more pieces.
	Close() error
}

// Task is one content, pinned from Get or Create until Release. All methods are safe for concurrent use.
type Task interface {
	ID() string
	Meta() api.Meta
	Layout() piece.Layout
	// SetMeta replaces the metadata, durably against a kill of the process. The piece size can't change, nor a known length: that is an error.
	SetMeta(api.Meta) error
	// Has reports whether piece i is held.
	Has(i int) bool
	// Have returns a copy of the set of held pieces.
	Have() *bitset.BitSet
	// Count is the number of held pieces.
	Count() int
	// Digest of a held piece.
	Digest(i int) (piece.Digest, bool)
	// Prove keeps a proof of piece i, whether that is held yet or not, in place of an earlier one. Proofs are in memory, while the
	// task is: a restart loses them.
	Prove(i int, p *proof.Proof)
	// Proof returns the proof of a held piece, nil where there is none for the digest that the piece has.
	Proof(i int) *proof.Proof
	// News returns the pieces gained from the since-th on, in the order gained, and a channel closed at the next change of anything:
	// a piece gained or dropped, the metadata, completion. A dropped piece that is gained again is told again; one that is told may be
	// dropped meanwhile.
	News(since int) (gained []int, changed <-chan struct{})
	// Writer starts piece i. A nil want takes whatever digest the bytes have. Several writers of one piece may be open: none sees or
	// harms the bytes of another, and the first good Commit wins. ErrNoSpace when there is no room.
	Writer(i int, want *piece.Digest) (PieceWriter, error)
	// Drop forgets a piece, say because its digest turned out wrong.
	Drop(i int)
	// Reader opens the content for reading. The caller closes it, before Release.
	Reader() (Reader, error)
	// Complete records that all pieces are held and the whole is verified. Error when one is missing.
	Complete() error
	// IsComplete reports whether Complete was called, in this life or one before.
	IsComplete() bool
	// Release ends this holder's pin. Nothing of the Task may be used after.
	Release()
}

// PieceWriter takes one piece's bytes in order. Not safe for concurrent use.
type PieceWriter interface {
	// Write takes bytes; more than the piece has is an error. ErrNoSpace as with Task.Writer.
	io.Writer
	// Commit verifies length and digest, makes the piece durable against a kill of the process, and holds it. ErrDigest on a
	// mismatch; any other error says that the piece is not kept. One that is held already stays as it is, and the digest returned is
	// its. No call may follow.
	Commit() (piece.Digest, error)
	// Abort drops what was written. Harmless after Commit. A writer takes disk space and holds the task until one of the two.
	Abort()
}

// Reader reads held pieces. After an unclean stop, or a boot, a piece is verified again before its first byte is given out; one that fails
// is dropped and ErrNotHeld returned. Safe for one user at a time; open more for more.
type Reader interface {
	io.ReaderAt
	// Send writes n bytes from off to w, by sendfile where w can.
	Send(w io.Writer, off, n int64) (int64, error)
	io.Closer
}
