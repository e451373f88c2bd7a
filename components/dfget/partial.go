package dfget

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
)

const (
	partialSuffix = ".dfget-partial"      // the beginning of the content
	noteSuffix    = ".dfget-partial.json" // what it is the beginning of
	// syncEvery is how many bytes a power cut may cost.
	syncEvery = 64 << 20
)

// note is the file beside a partial one.
type note struct {
	identity
	// Synced is how many bytes survive a power cut.
	Synced int64 `json:"synced"`
}

// partial writes beside the target, and renames when all is there. The beginning of an earlier call is taken up.
type partial struct {
	target string
	f      *os.File // locked
	sums   *checker
	off    int64
	note   note
	file   localapi.File // to be moved to the target, nil where bytes are written
	done   bool
}

func openPartial(path string, sums *checker) (*partial, error) {
	target, err := filepath.EvalSymlinks(path) // so that a link stays one
	if errors.Is(err, fs.ErrNotExist) {
		target, err = path, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOutput, err)
	}
	p := &partial{target: target, sums: sums}
	if p.f, err = lockFile(target + partialSuffix); err != nil {
		return nil, fmt.Errorf("%w: %w", errOutput, err)
	}
	if err := p.takeUp(); err != nil {
		p.f.Close()
		return nil, fmt.Errorf("%w: %w", errOutput, err)
	}
	return p, nil
}

// lockFile opens a file that no other process writes.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) //nolint:gosec // a download has the rights that the umask leaves, as with any other tool
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return nil, fmt.Errorf("%s is being written by another dfget: %w", path, err)
		}
		// Between open and lock the other one may have renamed or removed it.
		mine, err := f.Stat()
		now, errNow := os.Stat(path)
		if err == nil && errNow == nil && os.SameFile(mine, now) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// takeUp finds what an earlier call left. Bytes that its note does not vouch for are cut off.
func (p *partial) takeUp() error {
	text, err := os.ReadFile(p.target + noteSuffix)
	if err != nil || json.Unmarshal(text, &p.note) != nil || p.note.Task == "" || p.note.Synced < 0 {
		return p.truncate()
	}
	info, err := p.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < p.note.Synced {
		return p.truncate()
	}
	p.off = p.note.Synced
	if err := p.f.Truncate(p.off); err != nil {
		return err
	}
	if err := p.sums.readAll(io.NewSectionReader(p.f, 0, p.off)); err != nil {
		return err
	}
	_, err = p.f.Seek(p.off, io.SeekStart)
	return err
}

func (p *partial) truncate() error {
	p.off, p.note, p.file = 0, note{}, nil
	p.sums.reset()
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// lend has content go to its place without a copy, which takes all of it. False when a part was written before.
func (p *partial) lend(f localapi.File) bool {
	if p.off > 0 || f == nil {
		return false
	}
	p.file = f
	return true
}

// skip counts n bytes that are in the file.
func (p *partial) skip(n int64) { p.off += n }

// Offset implements output.
func (p *partial) Offset() int64 { return p.off }

// Accept implements output.
func (p *partial) Accept(id identity) (bool, error) {
	if p.off > 0 && !id.continues(p.note.identity) {
		return false, nil
	}
	p.note.identity = id
	return true, nil
}

// Restart implements output.
func (p *partial) Restart() error {
	if err := p.truncate(); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// Write implements io.Writer.
func (p *partial) Write(b []byte) (int, error) {
	if p.file != nil {
		_, _ = p.sums.Write(b)
		p.off += int64(len(b))
		return len(b), nil
	}
	n, err := p.f.Write(b)
	_, _ = p.sums.Write(b[:n])
	p.off += int64(n)
	if err == nil && p.off-p.note.Synced >= syncEvery {
		err = p.sync()
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errOutput, err)
	}
	return n, err
}

// sync makes what is there survive, and notes it.
func (p *partial) sync() error {
	if err := unix.Fdatasync(int(p.f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", p.f.Name(), err)
	}
	p.note.Synced = p.off
	text, err := json.Marshal(p.note)
	if err != nil {
		return fmt.Errorf("encode note: %w", err)
	}
	name := p.target + noteSuffix
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Commit implements output.
func (p *partial) Commit(length int64) error {
	if err := checkLength(p.off, length); err != nil {
		return err
	}
	if err := p.sums.check(); err != nil {
		return err
	}
	if err := p.publish(); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	p.remove()
	p.done = true
	p.f.Close()
	return nil
}

// publish puts the file in its place, so that even after a power cut it is there whole or not at all.
func (p *partial) publish() error {
	if err := p.place(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(p.target))
	if err != nil {
		return nil // a directory that may be written but not read; the file is there
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // some file systems can't
		return err
	}
	return nil
}

// place writes the file to the disk and gives it its name. One that was lent gets the permissions that a new one has.
func (p *partial) place() error {
	if p.file == nil {
		if err := p.f.Sync(); err != nil {
			return err
		}
		return os.Rename(p.f.Name(), p.target)
	}
	info, err := p.f.Stat()
	if err != nil {
		return err
	}
	if err := p.file.Move(p.target, info.Mode().Perm()); err != nil {
		return err
	}
	os.Remove(p.f.Name())
	return nil
}

// remove removes what is beside the target.
func (p *partial) remove() {
	os.Remove(p.target + noteSuffix)
	os.Remove(p.target + noteSuffix + ".new")
}

// Close implements output.
func (p *partial) Close(keep bool) (resumable bool) {
	if p.done {
		return false
	}
	p.done = true
	defer p.f.Close()
	if p.file == nil && keep && p.off > 0 && p.note.Task != "" && p.sync() == nil {
		return true
	}
	os.Remove(p.f.Name())
	p.remove()
	return p.file != nil && keep && p.off > 0 // where it came from
}
