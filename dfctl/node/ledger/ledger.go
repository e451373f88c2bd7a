// Package ledger changes a host's files by a plan and keeps what it needs to undo that: what each file was, and what was made of it. It
// takes the host's present files for the truth: a file that somebody has changed since keeps that change.
package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
	"github.com/dragonfly-kube/dragonfly/dfctl/node/hostfs"
)

// Dir is where the ledger and its copies are on the host.
const Dir = "/var/lib/dragonfly/node-config"

const (
	manifestFile = Dir + "/manifest.json"
	manifestV1   = 1
	backupDir    = "backups" // under Dir: what files were, by time
	keptDir      = "kept"    // the same of files that somebody else had changed, which is never removed
)

// manifest is what was done to a host.
type manifest struct {
	Version int     `json:"version"`
	Files   []entry `json:"files"`
	// Dirs are the directories that were made for the files, an outer one before an inner one.
	Dirs []string `json:"dirs"`
	// StateDirs are those that were made for the ledger.
	StateDirs []string `json:"stateDirs"`
	// Pending are commands that a runtime needs to learn of the changes, and that were not run yet.
	Pending []string `json:"pending"`
}

// entry is a file that was changed.
type entry struct {
	// Path has no symbolic links.
	Path string `json:"path"`
	// Backup is the copy of what the file was, under Dir; "" if there was none.
	Backup string `json:"backup,omitempty"`
	// Before is the hash of that copy.
	Before string `json:"before,omitempty"`
	// Applied are the hashes of what was made of it, the latest first: two where it is not known which the file got.
	Applied []string    `json:"applied"`
	Format  edit.Format `json:"format"`
	Mark    string      `json:"mark"`
	Common  bool        `json:"common,omitempty"`
	Key     string      `json:"key,omitempty"`
	Value   string      `json:"value,omitempty"`
	// Needs are the commands after which the runtime knows that the change was undone.
	Needs []string `json:"needs"`
}

// Ledger is a host's files with the record of what was done to them. Not safe for concurrent use.
type Ledger struct {
	root     *hostfs.Root
	now      func() time.Time
	manifest manifest
	unlock   func()
	states   map[string]*state
	notes    []string
}

// state is a file of the manifest.
type state struct {
	entry entry
	// current and without are its content now, and as it would be without our part; nil where it does not exist.
	current, without []byte
	// foreign says that somebody has changed it since.
	foreign bool
	// stuck says why our part cannot be taken out; without is the current content then.
	stuck error
	// note is worth reading where the file is left as it is.
	note string
}

func (s *state) isStuck() bool { return s.stuck != nil }

// Open reads the ledger of a host and keeps other programs out until Close. It waits for those as long as ctx lets it.
func Open(ctx context.Context, root *hostfs.Root, now func() time.Time) (*Ledger, error) {
	unlock, err := root.Lock(ctx, "/")
	if err != nil {
		return nil, err
	}
	l := &Ledger{root: root, now: now, unlock: unlock, manifest: manifest{Version: manifestV1}, states: map[string]*state{}}
	if err := l.load(); err != nil {
		unlock()
		return nil, err
	}
	return l, nil
}

// Close lets other programs in.
func (l *Ledger) Close() { l.unlock() }

func (l *Ledger) load() error {
	text, err := l.root.ReadFile(manifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &l.manifest); err != nil {
		return fmt.Errorf("%s: %w", manifestFile, err)
	}
	if l.manifest.Version != manifestV1 {
		return fmt.Errorf("%s has version %d, which is another dfctl's: use that one", manifestFile, l.manifest.Version)
	}
	for _, e := range l.manifest.Files {
		s, err := l.look(e)
		if err != nil {
			return err
		}
		l.states[e.Path] = s
	}
	return nil
}

// current is a file's content, nil where there is none.
func (l *Ledger) current(name string) ([]byte, error) {
	text, err := l.root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if text == nil && err == nil {
		text = []byte{}
	}
	return text, err
}

// look finds out what a file is, and what it would be without our part.
func (l *Ledger) look(e entry) (*state, error) {
	now, err := l.current(e.Path)
	if err != nil {
		return nil, err
	}
	s := &state{entry: e, current: now, without: now}
	if now == nil {
		s.foreign = true // removed by somebody, or not made yet
		return s, nil
	}
	var before []byte
	if e.Backup != "" {
		if before, err = l.current(path.Join(Dir, e.Backup)); err != nil {
			return nil, err
		}
		if before == nil || sum(before) != e.Before {
			s.stuck = fmt.Errorf("%s: its backup %s is missing or damaged", e.Path, path.Join(Dir, e.Backup))
			return s, nil
		}
	}
	switch known := sum(now); {
	case before != nil && known == e.Before, slices.Contains(e.Applied, known):
		s.without = before
	case e.Mark != "" && !bytes.Contains(now, []byte(e.Mark)):
		s.foreign = true // our part is out already
	default:
		s.foreign = true
		l.takeOut(s, before)
		if s.isStuck() && e.Common { // what somebody wrote, it is now, and what it leads to is removed
			s.stuck = nil
			s.note = fmt.Sprintf("%s was written anew since, and keeps what it has: %q", e.Path, e.Mark)
		}
	}
	return s, nil
}

// Notes are what Writes found worth reading.
func (l *Ledger) Notes() []string { return slices.Clone(l.notes) }

// Pending are the commands that runtimes still need.
func (l *Ledger) Pending() []string { return slices.Clone(l.manifest.Pending) }

// SetPending writes down which commands runtimes still need. It does nothing where there is no record.
func (l *Ledger) SetPending(commands []string) error {
	if len(l.manifest.Files) == 0 || slices.Equal(l.manifest.Pending, commands) {
		return nil
	}
	l.manifest.Pending = commands
	return l.save()
}

func (l *Ledger) save() error {
	text, err := json.MarshalIndent(l.manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return l.root.Replace(manifestFile, append(text, '\n'), 0o600)
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}
