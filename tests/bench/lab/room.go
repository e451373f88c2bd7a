package lab

import (
	"fmt"
	"syscall"
)

// need is how many bytes a run writes at most: the origin's copy and that of everybody who keeps one.
func (s Scenario) need() int64 {
	const origin, center, rest = 1, 1, 1 // rest: pieces that are written twice, journals, logs
	return s.Bytes() * int64(s.Nodes+origin+center+rest)
}

// room checks that there is enough of it.
func (l *Lab) room(s Scenario) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(l.Dir, &fs); err != nil {
		return fmt.Errorf("look for room in %s: %w", l.Dir, err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize) //nolint:unconvert // not an int64 on every system
	if s.need() > free {
		return fmt.Errorf("%s, %d nodes: %d MiB are needed, %d MiB are free in %s; -dir names another folder", s.Name, s.Nodes, s.need()>>20, free>>20, l.Dir)
	}
	return nil
}
