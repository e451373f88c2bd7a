package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// The journal of a task, its file "pieces", is a run of records of one size, each with a checksum of its own. Each is written by one
// write, behind the previous one, after the bytes of its piece are in the data file. So whatever moment the process is killed at, the
// journal tells no piece that is not there, and a record torn or lost with the power harms none but its own piece.
//
//	0  uint32  index, little-endian like all below; the kind in the highest byte
//	4  uint32  bytes of the piece
//	8  uint64  epoch in which the piece was verified
//	16 [32]    SHA-256 of the piece
//	48 uint32  CRC-32C of the above
const recordSize = 52

type recordKind byte

const (
	recordHeld    recordKind = 1 // the piece is held; of several the last counts
	recordDropped recordKind = 2 // the piece is not held any more
)

// record is one line of the journal.
type record struct {
	kind  recordKind
	index int
	bytes int64
	// epoch is the store's when the piece was verified. In another one the piece is suspect.
	epoch  uint64
	digest piece.Digest
}

func (r record) encode() []byte {
	b := make([]byte, 0, recordSize)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.kind)<<24|uint32(r.index))
	b = binary.LittleEndian.AppendUint32(b, uint32(r.bytes))
	b = binary.LittleEndian.AppendUint64(b, r.epoch)
	b = append(b, r.digest[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// decodeRecord reads a record; ok is false where b is none.
func decodeRecord(b []byte) (r record, ok bool) {
	if len(b) != recordSize {
		return record{}, false
	}
	body, sum := b[:recordSize-4], binary.LittleEndian.Uint32(b[recordSize-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return record{}, false
	}
	first := binary.LittleEndian.Uint32(b)
	r = record{
		kind:   recordKind(first >> 24),
		index:  int(first & (piece.MaxCount - 1)),
		bytes:  int64(binary.LittleEndian.Uint32(b[4:])),
		epoch:  binary.LittleEndian.Uint64(b[8:]),
		digest: piece.Digest(b[16:48]),
	}
	return r, r.kind == recordHeld || r.kind == recordDropped
}

// readJournal calls each with every good record in order and returns where the next record belongs. Bad ones are skipped, a torn one
// at the end is to be overwritten.
func readJournal(r io.Reader, each func(record)) (end int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	buf := make([]byte, recordSize)
	for {
		switch _, err := io.ReadFull(in, buf); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return end, nil
		case err != nil:
			return end, err
		}
		end += recordSize
		if rec, ok := decodeRecord(buf); ok {
			each(rec)
		}
	}
}

// replay makes the ledger hold what a journal tells, as far as it fits the content and lies in the first size bytes. Pieces that were
// not verified in this epoch become suspect.
func (l *ledger) replay(journal io.Reader, size int64, epoch uint64) (end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end, err = readJournal(journal, func(r record) {
		i := uint(r.index)
		if l.held.Test(i) {
			l.unput(r.index)
		}
		if r.kind == recordDropped || r.index*int(l.meta.PieceSize)+int(r.bytes) > int(size) || l.fits(r.index, r.bytes) != nil {
			return
		}
		l.put(r.index, r.bytes, r.digest)
		l.suspect.SetTo(i, r.epoch != epoch)
	})
	l.log = l.log[:0]
	for i := range l.held.EachSet() {
		l.log = append(l.log, int(i))
	}
	return end, err
}
