package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/dfctl/node"
)

// Write is a file that will be written, or was.
type Write struct {
	Path string
	// Old and New are nil where the file does not exist before, or after.
	Old, New []byte
	// Needs are the commands after which the runtime knows.
	Needs []string

	perm    fs.FileMode
	entry   *entry // nil where nothing of ours is left in the file
	without []byte
	foreign bool
}

// Changed reports whether there is anything to write; what is not is in order already.
func (w *Write) Changed() bool {
	return !bytes.Equal(w.Old, w.New) || (w.Old == nil) != (w.New == nil)
}

// Writes is what it takes to have a plan's files, and to have our part out of all others. Without a plan, it is what it takes to undo
// everything. Stuck are the files whose part cannot be taken out.
func (l *Ledger) Writes(changes []node.Change) (all []Write, stuck []error, err error) {
	planned := map[string]bool{}
	for _, c := range changes {
		w, err := l.write(c)
		if err != nil {
			return nil, nil, err
		}
		if planned[w.Path] {
			if i := slices.IndexFunc(all, func(o Write) bool { return o.Path == w.Path }); !bytes.Equal(all[i].New, w.New) {
				return nil, nil, fmt.Errorf("%s is reached by two names, for which it should have different content", w.Path)
			}
			continue
		}
		planned[w.Path] = true
		all = append(all, w)
	}
	for _, e := range slices.Backward(l.manifest.Files) {
		s := l.states[e.Path]
		if planned[e.Path] {
			continue
		}
		w := Write{Path: e.Path, Old: s.current, New: s.without, Needs: e.Needs, foreign: s.foreign, without: s.without}
		if s.note != "" {
			l.notes = append(l.notes, s.note)
		}
		if s.stuck != nil {
			stuck = append(stuck, s.stuck)
			w.entry = &e
		}
		all = append(all, w)
	}
	return all, stuck, nil
}

// write is a planned change as a write.
func (l *Ledger) write(c node.Change) (Write, error) {
	file, err := l.root.Resolve(c.Path)
	if err != nil {
		return Write{}, err
	}
	w := Write{Path: file, New: c.New, Needs: c.Needs, perm: c.Perm}
	if w.Old, err = l.current(file); err != nil {
		return w, err
	}
	w.without = w.Old
	var old entry
	if s := l.states[file]; s != nil {
		w.without, w.foreign, old = s.without, s.foreign, s.entry
		if s.isStuck() { // what it was before stays known, and what it is now is not ours to undo
			w.entry = &old
			return w, nil
		}
	}
	if w.without != nil && bytes.Equal(w.without, w.New) {
		return w, nil // as it should be without us
	}
	e := entry{
		Path: file, Applied: []string{sum(w.New)}, Format: c.Format, Mark: c.Mark, Common: c.Common, Key: c.Key, Value: c.Value, Needs: c.Needs,
	}
	if c.UndoNeeds != nil {
		e.Needs = c.UndoNeeds
	}
	if w.without != nil {
		e.Before = sum(w.without)
		if e.Before == old.Before {
			e.Backup = old.Backup
		}
	}
	w.entry = &e
	return w, nil
}

// Commit makes the writes. Whenever it ends, by an error or by a crash, each file is the old or the new one, and the ledger knows both.
func (l *Ledger) Commit(writes []Write) error {
	next := manifest{Version: manifestV1, Dirs: slices.Clone(l.manifest.Dirs), StateDirs: l.manifest.StateDirs, Pending: l.manifest.Pending}
	for i := range writes {
		w := &writes[i]
		if w.entry != nil {
			next.Files = append(next.Files, *w.entry)
		}
		if w.Changed() {
			next.Pending = union(next.Pending, w.Needs)
		}
	}
	if len(next.Files) == 0 && len(l.manifest.Files) == 0 {
		return l.clean()
	}
	if same(next.Files, l.manifest.Files) && !slices.ContainsFunc(writes, func(w Write) bool { return w.Changed() }) {
		return nil
	}
	if err := l.record(&next, writes); err != nil {
		return err
	}
	for i := range writes {
		if err := l.put(&writes[i]); err != nil {
			return err
		}
	}
	if len(next.Files) == 0 {
		return l.clean()
	}
	l.manifest = next
	return l.save()
}

// record writes down what is about to be done: copies first, then the manifest that names them.
func (l *Ledger) record(next *manifest, writes []Write) error {
	missing, err := l.root.Missing(path.Join(Dir, "applied"))
	if err != nil {
		return err
	}
	if err := l.root.MkdirAll(path.Dir(Dir), 0o755); err != nil { // dfdaemon's files are there too
		return err
	}
	if err := l.root.MkdirAll(path.Join(Dir, "applied"), 0o700); err != nil {
		return err
	}
	next.StateDirs = union(next.StateDirs, slices.DeleteFunc(missing, func(d string) bool { return strings.HasPrefix(d, Dir) }))
	stamp := l.now().UTC().Format("20060102T150405.000Z")
	both := *next
	both.Files = slices.Clone(next.Files)
	for i := range writes {
		w := &writes[i]
		if err := l.copies(next, w, stamp); err != nil {
			return err
		}
		if w.entry == nil && w.Changed() { // until it is put back, it is in the ledger as before
			both.Files = append(both.Files, l.states[w.Path].entry)
		}
		if w.New != nil && w.Old == nil {
			missing, err := l.root.Missing(path.Dir(w.Path))
			if err != nil {
				return err
			}
			next.Dirs = union(next.Dirs, missing)
		}
	}
	both.Dirs = next.Dirs
	for i := range both.Files {
		e := &both.Files[i]
		if j := slices.IndexFunc(next.Files, func(o entry) bool { return o.Path == e.Path }); j >= 0 {
			e.Backup = next.Files[j].Backup
			if s := l.states[e.Path]; s != nil {
				e.Applied = union(e.Applied, s.entry.Applied)
			}
		}
	}
	l.manifest = both
	return l.save()
}

// copies keeps what a file was and what it becomes.
func (l *Ledger) copies(next *manifest, w *Write, stamp string) error {
	backup := func(dir string, text []byte) (string, error) {
		name := path.Join(dir, stamp, w.Path)
		full := path.Join(Dir, name)
		if err := l.root.MkdirAll(path.Dir(full), 0o700); err != nil {
			return "", err
		}
		return name, l.root.Replace(full, text, 0o600)
	}
	if w.entry == nil || w.entry.Before == "" || w.entry.Backup != "" {
		if w.foreign && w.Changed() && w.Old != nil {
			if _, err := backup(keptDir, w.Old); err != nil {
				return err
			}
		}
	} else {
		name, err := backup(backupDir, w.without)
		if err != nil {
			return err
		}
		w.entry.Backup = name
		for i := range next.Files {
			if next.Files[i].Path == w.Path {
				next.Files[i].Backup = name
			}
		}
	}
	if w.entry == nil || !w.Changed() && l.states[w.Path] != nil && slices.Contains(l.states[w.Path].entry.Applied, w.entry.Applied[0]) {
		return nil
	}
	if !slices.Contains(w.entry.Applied, sum(w.New)) {
		return nil // stuck: what was made of it is known already
	}
	return l.root.Replace(appliedFile(w.entry.Applied[0]), w.New, 0o600)
}

// put writes or removes a file.
func (l *Ledger) put(w *Write) error {
	if err := l.root.Discard(w.Path); err != nil {
		return err
	}
	if !w.Changed() {
		return nil
	}
	if now, err := l.current(w.Path); err != nil {
		return err
	} else if !bytes.Equal(now, w.Old) || (now == nil) != (w.Old == nil) {
		return fmt.Errorf("%s was changed by somebody at this moment; run this again", w.Path)
	}
	if w.New == nil {
		return l.root.Remove(w.Path)
	}
	if err := l.root.MkdirAll(path.Dir(w.Path), 0o755); err != nil {
		return err
	}
	return l.root.Replace(w.Path, w.New, w.perm)
}

// clean removes the ledger and the directories that were made, as far as they are empty. The manifest goes last: until then it tells the
// next run what is left to remove, and it names no file whose backup may be gone.
func (l *Ledger) clean() error {
	for _, dir := range slices.Backward(l.manifest.Dirs) {
		if err := l.root.RemoveIfEmpty(dir); err != nil {
			return err
		}
	}
	names, err := l.root.ReadDir(Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	dirs := l.manifest.StateDirs
	if len(l.manifest.Files) > 0 {
		l.manifest = manifest{Version: manifestV1, Files: []entry{}, Dirs: []string{}, StateDirs: dirs, Pending: []string{}}
		l.states = map[string]*state{}
		if err := l.save(); err != nil {
			return err
		}
	}
	for _, name := range names {
		if file := path.Join(Dir, name); file != manifestFile && name != keptDir {
			if err := l.root.RemoveAll(file); err != nil {
				return err
			}
		}
	}
	if err := l.root.Remove(manifestFile); err != nil {
		return err
	}
	if len(dirs) == 0 { // a run that was killed before it wrote them down, or after it removed what it wrote them in
		dirs = []string{path.Dir(Dir)}
	}
	for _, dir := range slices.Backward(append(slices.Clone(dirs), Dir)) {
		if err := l.root.RemoveIfEmpty(dir); err != nil {
			return err
		}
	}
	return nil
}

func appliedFile(hash string) string { return path.Join(Dir, "applied", hash) }

// same compares entries but for the versions that a file may have.
func same(a, b []entry) bool {
	return slices.EqualFunc(a, b, func(a, b entry) bool {
		return a.Path == b.Path && a.Before == b.Before && slices.Equal(a.Applied, b.Applied) && slices.Equal(a.Needs, b.Needs)
	})
}

// union is a with what of b it lacks.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
