package node

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// unitDirs are where systemd looks for units and their drop-ins, the first that has one wins:
// https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// unit is what counts of a systemd service.
type unit struct {
	// command is the ExecStart that is in force, "" where the host has no such service.
	command string
	// last is the file that it is from, and dropIn whether that is a drop-in.
	last   string
	dropIn bool
}

// readUnit reads a unit with its drop-ins.
func readUnit(tree Tree, name string) (unit, error) {
	var files []string
	for _, dir := range unitDirs {
		if tree.Exists(path.Join(dir, name)) {
			files = append(files, path.Join(dir, name))
			break
		}
	}
	dropIns := map[string]string{}
	for _, dir := range slices.Backward(unitDirs) {
		all, err := list(tree, path.Join(dir, name+".d"))
		if err != nil {
			return unit{}, err
		}
		for _, file := range all {
			if strings.HasSuffix(file, ".conf") {
				dropIns[file] = path.Join(dir, name+".d", file)
			}
		}
	}
	for _, file := range slices.Sorted(maps.Keys(dropIns)) {
		files = append(files, dropIns[file])
	}
	var u unit
	for _, file := range files {
		text, err := read(tree, file)
		if err != nil {
			return unit{}, err
		}
		if command, ok := execStart(string(text)); ok {
			u = unit{command, file, path.Base(file) != name}
		}
	}
	return u, nil
}

// logical are a unit's lines without comments, each with the lines in which it goes on after a backslash. A comment neither ends such a
// line nor goes on itself.
func logical(text string) []string {
	var all []string
	open := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		line, more := strings.CutSuffix(line, "\\")
		if line = strings.TrimSpace(line); open {
			all[len(all)-1] = strings.TrimSpace(all[len(all)-1] + " " + line)
		} else {
			all = append(all, line)
		}
		open = more
	}
	return all
}

// execStart is the last command of a unit's text.
func execStart(text string) (command string, ok bool) {
	section := ""
	for _, line := range logical(text) {
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if key, value, is := strings.Cut(line, "="); is && section == "[Service]" && strings.TrimSpace(key) == "ExecStart" {
			command, ok = strings.TrimSpace(value), true
		}
	}
	return command, ok
}
