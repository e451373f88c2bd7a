package ledger

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/aymanbagabas/go-udiff"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

// takeOut takes our part out of a file that somebody has changed since: by lines, and in JSON by meaning if that fails.
func (l *Ledger) takeOut(s *state, before []byte) {
	e := &s.entry
	s.stuck = fmt.Errorf("%s was changed since, in or beside the lines of node-config, so that these cannot be taken out: "+
		"take out what belongs to %q by hand, then run this again", e.Path, e.Mark)
	if before == nil {
		return
	}
	for _, hash := range e.Applied {
		applied, err := l.current(appliedFile(hash))
		if err != nil || applied == nil {
			continue
		}
		if text, ok := merge(string(applied), string(before), string(s.current)); ok && s.clean([]byte(text), before) {
			s.without, s.stuck = []byte(text), nil
			return
		}
	}
	if e.Key == "" {
		return
	}
	had, err := edit.JSONStrings(before, e.Key)
	if err != nil {
		return
	}
	if text, err := edit.RemoveJSON(s.current, e.Key, e.Value, had != nil); err == nil && s.clean(text, before) {
		s.without, s.stuck = text, nil
	}
}

// clean reports whether a text can be read and has nothing of ours.
func (s *state) clean(text, before []byte) bool {
	mark := []byte(s.entry.Mark)
	return s.entry.Format.Check(text) == nil && (!bytes.Contains(text, mark) || bytes.Contains(before, mark))
}

// merge makes the change from base to a and the one from base to b both; not where they touch the same lines.
func merge(base, a, b string) (string, bool) {
	edits, ok := udiff.Merge(udiff.Lines(base, a), udiff.Lines(base, b))
	if !ok {
		return "", false
	}
	text, err := udiff.Apply(base, edits)
	return text, err == nil
}

// View is the host's files as they would be without our part. It is what a plan should be made of.
type View struct{ l *Ledger }

// Without is that view.
func (l *Ledger) Without() View { return View{l} }

// ReadFile implements node.Tree.
func (v View) ReadFile(name string) ([]byte, error) {
	file, err := v.l.root.Resolve(name)
	if err != nil {
		return nil, err
	}
	if s := v.l.states[file]; s != nil {
		if s.without == nil {
			return nil, fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
		}
		return s.without, nil
	}
	return v.l.root.ReadFile(name)
}

// ReadDir implements node.Tree.
func (v View) ReadDir(name string) ([]string, error) {
	all, err := v.l.root.ReadDir(name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(child string) bool { return v.hidden(path.Join(name, child)) }), nil
}

// Exists implements node.Tree.
func (v View) Exists(name string) bool { return v.l.root.Exists(name) && !v.hidden(name) }

// hidden reports whether something is ours alone.
func (v View) hidden(name string) bool {
	file, err := v.l.root.Resolve(name)
	if err != nil {
		return false
	}
	if s := v.l.states[file]; s != nil {
		return s.without == nil
	}
	if !slices.Contains(v.l.manifest.Dirs, file) {
		return false
	}
	inside, err := v.ReadDir(file)
	return err == nil && len(inside) == 0
}
