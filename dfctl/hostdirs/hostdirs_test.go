package hostdirs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// target is whom tests give to: somebody else, or without the right to do that the user of the tests.
func target() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 65532, 65533
	}
	return os.Geteuid(), os.Getegid()
}

// run runs the command with the target as owner.
func run(t *testing.T, args ...string) (out, talk string, err error) {
	t.Helper()
	uid, gid := target()
	var o, e bytes.Buffer
	cmd := NewCommand(cli.Streams{Out: &o, Err: &e})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"--owner", fmt.Sprintf("%d:%d", uid, gid)}, args...))
	err = cmd.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

// folder is a directory for a test, without symbolic links on the way to it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

// owned fails the test where something belongs to another than wanted.
func owned(t *testing.T, name string, uid, gid int) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
		t.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
	}
	return info
}

func TestNewDirectories(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	uid, gid := target()
	a, b := filepath.Join(dir, "a/b/repo"), filepath.Join(dir, "c")
	out, talk, err := run(t, "--mode", "0710", a, b+"/")
	if err != nil || talk != "" || strings.Count(out, "\n") != 2 {
		t.Fatalf("got %q, %q, %v", out, talk, err)
	}
	for _, d := range []string{a, b} {
		if info := owned(t, d, uid, gid); info.Mode() != fs.ModeDir|0o710 {
			t.Errorf("%s has mode %v", d, info.Mode())
		}
	}
	if info := owned(t, filepath.Dir(a), os.Geteuid(), os.Getegid()); info.Mode().Perm()&0o022 != 0 {
		t.Errorf("the directory above has mode %v", info.Mode())
	}
	if out, talk, err := run(t, "--mode", "0710", a, b); err != nil || out != "" || talk != "" {
		t.Errorf("the second time: got %q, %q, %v, want nothing", out, talk, err)
	}
}

func TestContentIsGivenOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "repo")
	put(t, filepath.Join(dir, "x/y/piece"), "data")
	if err := os.Chmod(filepath.Join(dir, "x/y/piece"), 0o400); err != nil {
		t.Fatal(err)
	}
	uid, gid := target()
	if _, _, err := run(t, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "x", "x/y", "x/y/piece"} {
		owned(t, filepath.Join(dir, name), uid, gid)
	}
	if info, err := os.Stat(filepath.Join(dir, "x/y/piece")); err != nil || info.Mode() != 0o400 {
		t.Errorf("the file's mode: got %v, %v, want the one it had", info.Mode(), err)
	}
	// What comes later belongs to whom it belongs to: the directory is in order, and may be large.
	late := filepath.Join(dir, "late")
	put(t, late, "")
	if out, _, err := run(t, dir); err != nil || out != "" {
		t.Errorf("got %q, %v", out, err)
	}
	owned(t, late, os.Geteuid(), os.Getegid())
}

func TestModeAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "repo")
	for _, mode := range []string{"0700", "0755"} {
		if out, _, err := run(t, "--mode", mode, dir); err != nil || !strings.Contains(out, dir) {
			t.Errorf("%s: got %q, %v", mode, out, err)
		}
		if info, err := os.Stat(dir); err != nil || fmt.Sprintf("%04o", info.Mode().Perm()) != mode {
			t.Errorf("got mode %v, %v, want %s", info.Mode(), err, mode)
		}
	}
}

// TestPlantedNames has a directory in which its former owner has put names of other files.
func TestPlantedNames(t *testing.T) {
	t.Parallel()
	base := folder(t)
	secret := filepath.Join(base, "secret")
	put(t, secret, "root's")
	put(t, filepath.Join(base, "other/file"), "root's")
	repo := filepath.Join(base, "repo")
	put(t, filepath.Join(repo, "piece"), "")
	for name, to := range map[string]string{"link": secret, "up": "..", "folder": filepath.Join(base, "other"), "dangling": "/none", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(repo, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(secret, filepath.Join(repo, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(repo, "pipe"), 0o600); err != nil { // opening it would wait for ever
		t.Fatal(err)
	}
	_, talk, err := run(t, "--mode", "0711", repo)
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := target()
	for _, name := range []string{secret, filepath.Join(base, "other"), filepath.Join(base, "other/file"), base} {
		owned(t, name, os.Geteuid(), os.Getegid())
	}
	for _, name := range []string{"piece", "link", "dangling", "loop", "pipe", ""} {
		owned(t, filepath.Join(repo, name), uid, gid)
	}
	if os.Geteuid() == 0 && !strings.Contains(talk, "left as it is: "+filepath.Join(repo, "hard")+": it has several names") {
		t.Errorf("got %q, want a note of the file with two names", talk)
	}
}

func TestManyPlantedNamesMakeFewNotes(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 { // nothing is given away, so nothing is left
		return
	}
	repo := filepath.Join(folder(t), "repo")
	put(t, filepath.Join(repo, "a"), "")
	for i := range 30 {
		if err := os.Link(filepath.Join(repo, "a"), filepath.Join(repo, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	_, talk, err := run(t, repo)
	if err != nil || strings.Count(talk, "\n") != maxNotes+1 || !strings.Contains(talk, "and 21 more in "+repo) {
		t.Errorf("got %q, %v", talk, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	base := folder(t)
	put(t, filepath.Join(base, "etc/file"), "")
	for name, to := range map[string]string{"repo": filepath.Join(base, "etc"), "rel": "etc", "gone": "/none/x"} {
		if err := os.Symlink(to, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct{ dir, err string }{
		"a link":                   {"repo", "repo: it is a symbolic link"},
		"a link on the way":        {"repo/below", "repo: it is a symbolic link"},
		"a relative link":          {"rel", "rel: it is a symbolic link"},
		"a link to nothing":        {"gone", "gone: it is a symbolic link"},
		"a file":                   {"etc/file", "etc/file: it is not a directory"},
		"a file on the way":        {"etc/file/x", "etc/file: it is not a directory"},
		"a name beyond all bounds": {strings.Repeat("x", 300), "file name too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The directory that is in order is made all the same.
			good := filepath.Join(base, "good", strings.ReplaceAll(name, " ", "-"))
			_, _, err := run(t, filepath.Join(base, tc.dir), good)
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
			if _, err := os.Stat(good); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"etc", "etc/file"} {
		owned(t, filepath.Join(base, name), os.Geteuid(), os.Getegid())
	}
}

func TestDeepTree(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 { // the tree is not looked into
		return
	}
	base := folder(t)
	put(t, filepath.Join(base, "ok", strings.Repeat("d/", maxDepth-1), "file"), "")
	if _, _, err := run(t, filepath.Join(base, "ok")); err != nil {
		t.Error(err)
	}
	put(t, filepath.Join(base, "deep", strings.Repeat("d/", maxDepth), "file"), "")
	if _, _, err := run(t, filepath.Join(base, "deep")); err == nil || !strings.Contains(err.Error(), "more than 64 directories") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutTheRight(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{unix.EPERM, unix.EACCES} {
		if err := failed("set the owner of", "/x", cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), "capabilities CHOWN") {
			t.Errorf("got %v", err)
		}
	}
	if err := failed("make directory", "/x", unix.EROFS); err.Error() != "make directory /x: read-only file system" {
		t.Errorf("got %v", err)
	}
}

func TestBadCalls(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--owner", "1:2"},
		{"/a"},
		{"--owner", "1:2", "a"},
		{"--owner", "1:2", "/"},
		{"--owner", "1:2", "/a/.."},
		{"--owner", "1:2", ""},
		{"--owner", "1", "/a"},
		{"--owner", "root:root", "/a"},
		{"--owner", "-1:2", "/a"},
		{"--owner", "1:2:3", "/a"},
		{"--owner", "1:4294967295", "/a"},
		{"--owner", "4294967296:1", "/a"},
		{"--owner", "1:2", "--mode", "0888", "/a"},
		{"--owner", "1:2", "--mode", "4755", "/a"},
		{"--owner", "1:2", "--mode", "", "/a"},
	} {
		cmd := NewCommand(cli.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("host-dirs %q: no error", args)
		}
	}
	if _, err := os.Lstat("/a"); err == nil {
		t.Error("/a was made")
	}
}
