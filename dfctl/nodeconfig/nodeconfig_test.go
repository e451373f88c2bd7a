package nodeconfig

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/node/hostfs"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// tree is a host's files: content by path, links as "-> target", directories as "dir".
type tree map[string]string

var part = regexp.MustCompile(`(?m)^-- (\S+?)(?: -> (\S+))? --\n`)

// parse reads a node of testdata: a line of arguments, then files, each with a line "-- path --" or "-- path -> target --" above.
func parse(t *testing.T, text string) (args []string, files tree) {
	t.Helper()
	files = tree{}
	marks := part.FindAllStringSubmatchIndex(text, -1)
	if len(marks) == 0 {
		t.Fatalf("no file in %q", text)
	}
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		content := text[m[1]:end]
		if m[4] >= 0 {
			content = "-> " + text[m[4]:m[5]]
		}
		files[text[m[2]:m[3]]] = content
	}
	return strings.Fields(text[:marks[0][0]]), files
}

// write puts files under a new root.
func (files tree) write(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, full); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(full, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// read lists all that is under a root, with modes and owners.
func read(t *testing.T, root string) tree {
	t.Helper()
	files := tree{}
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err != nil || full == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(full)
			content = []byte("-> " + target)
		case d.Type().IsRegular():
			content, err = os.ReadFile(full)
		}
		st := info.Sys().(*syscall.Stat_t)
		files[strings.TrimPrefix(full, root)] = fmt.Sprintf("%v %d:%d %s", info.Mode(), st.Uid, st.Gid, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ran is what a run of the command wrote and did.
type ran struct {
	out, talk string
	commands  []string
	err       error
}

// dfctl runs the command on a root. before is for hostfs.Open.
func dfctl(t *testing.T, root string, before func(hostfs.Op, string) error, args ...string) ran {
	t.Helper()
	var r ran
	var out, talk bytes.Buffer
	cmd := newCommand(host{
		streams: cli.Streams{Out: &out, Err: &talk},
		now:     func() time.Time { return time.Date(2026, 11, 24, 8, 30, 0, 0, time.UTC) },
		run: func(_ context.Context, _, command string) error {
			r.commands = append(r.commands, command)
			if strings.Contains(command, "k3s") {
				return errors.New("unit not found")
			}
			return nil
		},
		before: func(op hostfs.Op, name string) error {
			if before != nil {
				if err := before(op, name); err != nil {
					return err
				}
			}
			if op == hostfs.Sync {
				return hostfs.ErrSkip
			}
			return nil
		},
	})
	cmd.SetArgs(append(args, "--host-root", root))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	r.err = cmd.ExecuteContext(t.Context())
	r.out, r.talk = out.String(), talk.String()
	return r
}

func code(err error) int {
	if coded, ok := errors.AsType[*cli.Error](err); ok {
		return coded.ExitCode()
	} else if err != nil {
		return cli.ExitOther
	}
	return 0
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", name, diff)
	}
}

// TestNodes applies to nodes of all kinds, once and again, and rolls back.
func TestNodes(t *testing.T) {
	t.Parallel()
	nodes, err := filepath.Glob("testdata/nodes/*.txt")
	if err != nil || len(nodes) < 30 {
		t.Fatalf("found %d nodes, %v", len(nodes), err)
	}
	for _, name := range nodes {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			args, files := parse(t, string(text))
			root := files.write(t)
			was := read(t, root)
			diff := dfctl(t, root, nil, append([]string{"diff"}, slices.DeleteFunc(slices.Clone(args[1:]), func(s string) bool { return s == "-o" || s == "json" })...)...)
			if diff := cmp.Diff(was, read(t, root)); diff != "" {
				t.Errorf("diff has changed the host:\n%s", diff)
			}
			first := dfctl(t, root, nil, args...)
			is := read(t, root)
			golden(t, strings.TrimSuffix(name, ".txt")+".golden", fmt.Sprintf("# exit code %d%s\n# stdout\n%s# stderr\n%s# diff\n%s",
				code(first.err), says(first.err), first.out, first.talk, diff.out))
			if _, changed := is["/var/lib/dragonfly/node-config/manifest.json"]; changed != (diff.out != "") {
				t.Errorf("diff shows %q, and apply made a manifest: %v", diff.out, changed)
			}
			second := dfctl(t, root, nil, args...)
			if diff := cmp.Diff(is, read(t, root)); diff != "" || code(second.err) != code(first.err) {
				t.Errorf("the second apply: %v, and changes:\n%s", second.err, diff)
			}
			if v := dfctl(t, root, nil, append([]string{"verify"}, args[1:]...)...); code(v.err) != code(first.err) {
				t.Errorf("verify: got %v, want the exit code of apply, %d", v.err, code(first.err))
			}
			if back := dfctl(t, root, nil, "rollback"); back.err != nil {
				t.Errorf("rollback: %v", back.err)
			}
			if diff := cmp.Diff(was, read(t, root)); diff != "" {
				t.Errorf("after rollback (-before +after):\n%s", diff)
			}
		})
	}
}

func says(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
