package nodeconfig

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
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
}

func faultCases() map[string]faultCase {
	linked := busy()
	linked[daemonJSON] = "-> /opt/docker/etc.json"
	linked["/opt/docker/etc.json"] = "{\n  \"registry-mirrors\": [\"https://a\"]\n}\n"
	return map[string]faultCase{
		"files to change and to make, and a link": {linked, both, 30, false},
		"nothing there": {tree{"/etc/hostname": "x", "/var/lib/os/kept": ""}, []string{"--runtime", "podman"}, 10, true},
		"a unit, YAML, and a folder of the record": {tree{
			"/lib/systemd/system/docker.service": "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
			"/etc/rancher/k3s/registries.yaml":   "mirrors:\n  docker.io:\n    endpoint: [https://a]\n",
			"/var/lib/dragonfly/repo/piece":      "",
		}, []string{"--runtime", "docker,k3s", "--docker-method", "drop-in"}, 20, false},
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

// TestStoppedAnywhere stops apply and rollback at each step that changes the host, by each of the faults.
func TestStoppedAnywhere(t *testing.T) {
	t.Parallel()
	for name, c := range faultCases() {
		root := c.prepare(t)
		was := read(t, root)
		if r := dfctl(t, root, nil, append([]string{"apply"}, c.args...)...); r.err != nil {
			t.Fatalf("%s: %v", name, r.err)
		}
		applied := read(t, root)
		for _, command := range []string{"apply", "rollback"} {
			for fault := range faults {
				for _, then := range []string{"apply", "rollback"} {
					if fault != "killed" && (then == "rollback" || !c.full) {
						continue // it leaves less to be put in order
					}
					t.Run(fmt.Sprintf("%s; %s, %s, then %s", name, command, fault, then), func(t *testing.T) {
						t.Parallel()
						steps := 0
						for c.stopAt(t, stop{command, fault, then, steps}, was, applied) {
							steps++
						}
						if steps < c.least {
							t.Errorf("only %d steps were found", steps)
						}
					})
				}
			}
		}
	}
}

// stop is how a command is stopped, and what is run after that.
type stop struct {
	command, fault, then string
	step                 int
}

// stopAt stops a command at a step, and reports whether it got there.
func (c *faultCase) stopAt(t *testing.T, s stop, was, applied tree) bool {
	t.Helper()
	root := c.prepare(t)
	apply := append([]string{"apply"}, c.args...)
	args := apply
	if s.command == "rollback" {
		if r := dfctl(t, root, nil, apply...); r.err != nil {
			t.Fatal(r.err)
		}
		args = []string{"rollback"}
	}
	n, at, f := 0, "", faults[s.fault]
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
	if n <= s.step {
		return false
	}
	// Nobody needs to know that a step failed that only cleans up.
	if cleans := strings.HasSuffix(at, ".dragonfly-tmp"); !cleans && !errors.Is(r.err, f.err) {
		t.Errorf("%s: got %v, want %v", at, r.err, f.err)
	} else {
		oldOrNew(t, at, was, applied, read(t, root), f.once && !cleans)
	}
	if s.then == "apply" {
		again := dfctl(t, root, nil, apply...)
		if diff := cmp.Diff(outside(applied), outside(read(t, root))); again.err != nil || diff != "" {
			t.Errorf("%s, then apply: %v (-want +is)\n%s", at, again.err, diff)
		}
	}
	back := dfctl(t, root, nil, "rollback")
	now := read(t, root)
	if between := strings.HasSuffix(at, "/var/lib") || strings.HasSuffix(at, path.Dir(ledger.Dir)) || strings.HasSuffix(at, ledger.Dir); between && was[path.Dir(ledger.Dir)] == "" && now[ledger.Dir] == "" {
		delete(now, path.Dir(ledger.Dir)) // made before the record says so, or still there when the record is gone: empty, and maybe somebody's
	}
	if diff := cmp.Diff(was, now); back.err != nil || diff != "" {
		t.Errorf("%s, then %s and rollback: %v (-was +is)\n%s", at, s.then, back.err, diff)
	}
	return true
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
