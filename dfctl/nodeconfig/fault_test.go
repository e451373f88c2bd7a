package nodeconfig

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/hostfs"
	"github.com/dragonfly-kube/dragonfly/dfctl/node/ledger"
)

// faults are what a host can do to a run from a step on. Nothing happens after a kill, not even what cleans up; so it is with a file
// system that becomes read-only.
var faults = map[string]struct {
	err  error
	once bool
}{
	"killed":       {syscall.EROFS, false},
	"disk is full": {syscall.ENOSPC, true},
}

// faultCase is a node, with the arguments of apply.
type faultCase struct {
	files tree
	args  []string
	least int  // steps that apply and rollback should have
	full  bool // with a full disk too
	// was and applied are the host before apply and after it, other after an apply with another mirror.
	was, applied, other tree
}

// another is an apply that changes what the first one wrote.
func (c *faultCase) another() []string { return append(c.apply(), "--mirror", "http://127.0.0.1:7001") }

func (c *faultCase) apply() []string { return append([]string{"apply"}, c.args...) }

func faultCases() map[string]faultCase {
	linked := busy()
	linked[daemonJSON] = "-> /opt/docker/etc.json"
	linked["/opt/docker/etc.json"] = "{\n  \"registry-mirrors\": [\"https://a\"]\n}\n"
	return map[string]faultCase{
		"files to change and to make, and a link": {files: linked, args: both, least: 30},
		"nothing there": {files: tree{"/etc/hostname": "x", "/var/lib/os/kept": ""}, args: []string{"--runtime", "podman"}, least: 10, full: true},
		"a unit, YAML, and a folder of the record": {files: tree{
			"/lib/systemd/system/docker.service": "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
			"/etc/rancher/k3s/registries.yaml":   "mirrors:\n  docker.io:\n    endpoint: [https://a]\n",
			"/var/lib/dragonfly/repo/piece":      "",
		}, args: []string{"--runtime", "docker,k3s", "--docker-method", "drop-in"}, least: 20},
	}
}

// prepare writes the files. One belongs to somebody, where tests may give files away.
func (c *faultCase) prepare(t *testing.T) string {
	t.Helper()
	root := c.files.write(t)
	if _, ok := c.files[configTOML]; ok && os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(root, configTOML), 1234, 4321); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestStoppedAnywhere stops apply and rollback at each step that changes the host, by each of the faults, and goes on by apply and by
// rollback from each of the states that this leaves.
func TestStoppedAnywhere(t *testing.T) {
	t.Parallel()
	for name, c := range faultCases() {
		root := c.prepare(t)
		c.was = read(t, root)
		if r := dfctl(t, root, nil, c.apply()...); r.err != nil {
			t.Fatalf("%s: %v", name, r.err)
		}
		c.applied = read(t, root)
		if r := dfctl(t, root, nil, c.another()...); r.err != nil {
			t.Fatalf("%s: another apply: %v", name, r.err)
		}
		c.other = read(t, root)
		for _, command := range []string{"apply", "another apply", "rollback"} {
			for fault := range faults {
				if fault != "killed" && (!c.full || command == "another apply") {
					continue
				}
				t.Run(fmt.Sprintf("%s; %s, %s", name, command, fault), func(t *testing.T) {
					t.Parallel()
					steps, states := 0, map[string]bool{}
					for c.stopAt(t, stop{command, fault, steps}, states) {
						steps++
					}
					if steps < c.least || len(states) < steps/6 {
						t.Errorf("only %d steps were found, and %d states", steps, len(states))
					}
				})
			}
		}
	}
}

// stop is how a command is stopped.
type stop struct {
	command, fault string
	step           int
}

// stopAt stops a command at a step, and reports whether it got there. From a state that no earlier step has left, it goes on.
func (c *faultCase) stopAt(t *testing.T, s stop, states map[string]bool) bool {
	t.Helper()
	f := faults[s.fault]
	root, at, err := c.stopped(t, s)
	if at == "" {
		return false
	}
	now := read(t, root)
	// Nobody needs to know that a step failed that only cleans up.
	if cleans := strings.HasSuffix(at, ".dragonfly-tmp"); !cleans && !errors.Is(err, f.err) {
		t.Errorf("%s: got %v, want %v", at, err, f.err)
	} else {
		old, other := c.was, c.applied
		if s.command == "another apply" {
			old, other = c.applied, c.other
		}
		oldOrNew(t, at, old, other, now, f.once && !cleans)
	}
	if state := essence(now); !states[state] {
		states[state] = true
		c.undo(t, root, at+", then rollback")
		if f.once {
			return true // it leaves less to be put in order
		}
		root, _, _ = c.stopped(t, s)
		again := dfctl(t, root, nil, c.apply()...)
		if diff := cmp.Diff(outside(c.applied), outside(read(t, root))); again.err != nil || diff != "" {
			t.Errorf("%s, then apply: %v (-want +is)\n%s", at, again.err, diff)
		}
		c.undo(t, root, at+", then apply and rollback")
	}
	return true
}

// stopped is a host on which a command was stopped, at which step, and its error. at is "" where it has not so many steps.
func (c *faultCase) stopped(t *testing.T, s stop) (root, at string, err error) {
	t.Helper()
	root = c.prepare(t)
	args := c.apply()
	if s.command != "apply" {
		if r := dfctl(t, root, nil, args...); r.err != nil {
			t.Fatal(r.err)
		}
		args = []string{"rollback"}
	}
	if s.command == "another apply" {
		args = c.another()
	}
	n, f := 0, faults[s.fault]
	r := dfctl(t, root, func(op hostfs.Op, name string) error {
		if op == hostfs.Sync && !f.once && n <= s.step {
			return nil // who is killed before it leaves what one leaves who is killed after it
		}
		n++
		if n != s.step+1 && (f.once || n <= s.step) {
			return nil
		}
		if at == "" {
			at = fmt.Sprintf("step %d, %s %s", n, op, name)
		}
		return f.err
	}, args...)
	return root, at, r.err
}

// undo rolls back, and checks that the host is as it was.
func (c *faultCase) undo(t *testing.T, root, after string) {
	t.Helper()
	back := dfctl(t, root, nil, "rollback")
	now := read(t, root)
	if between(after) && c.was[path.Dir(ledger.Dir)] == "" && now[ledger.Dir] == "" {
		delete(now, path.Dir(ledger.Dir)) // made before the record says so, or still there when the record is gone: empty, and maybe somebody's
	}
	if diff := cmp.Diff(c.was, now); back.err != nil || diff != "" {
		t.Errorf("%s: %v (-was +is)\n%s", after, back.err, diff)
	}
}

// essence tells states apart, but for what a temporary file holds: it is removed without a look into it.
func essence(files tree) string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		if strings.HasSuffix(name, ".dragonfly-tmp") {
			content = ""
		}
		fmt.Fprintf(&all, "%s\x00%s\x00", name, content)
	}
	return all.String()
}

// between reports whether a run was stopped where it makes the record's directories, or removes them.
func between(after string) bool {
	at, _, _ := strings.Cut(after, ", then ")
	return slices.ContainsFunc([]string{"/var/lib", path.Dir(ledger.Dir), ledger.Dir}, func(dir string) bool { return strings.HasSuffix(at, dir) })
}

// oldOrNew checks that each file outside of the record is one of two.
func oldOrNew(t *testing.T, at string, was, applied, now tree, tidy bool) {
	t.Helper()
	all := maps.Clone(outside(now))
	maps.Copy(all, outside(was))
	for name := range all {
		if strings.HasSuffix(name, ".dragonfly-tmp") {
			if tidy {
				t.Errorf("%s: %s is left", at, name)
			}
			continue
		}
		if now[name] != was[name] && now[name] != applied[name] {
			t.Errorf("%s: %s is neither the old nor the new one:\n%s", at, name, now[name])
		}
	}
}

// outside are the files that do not belong to the record.
func outside(files tree) tree {
	out := tree{}
	for name, content := range files {
		if name != path.Dir(ledger.Dir) && !strings.HasPrefix(name, ledger.Dir) {
			out[name] = content
		}
	}
	return out
}
