//go:build e2e

package nodeconfig

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// host is a directory that programs have as their root: /usr is this machine's, /etc and the state of dfctl its own.
type host struct {
	root string
	work string // what engines write goes here, so that root keeps what dfctl makes of it
}

// enter makes a host of a directory in a mount namespace of its own, and runs a program in it: enter ROOT WORK TOOLS PROGRAM...
const enter = `set -e
root=$1 work=$2 tools=$3
shift 3
mount --bind "$root" "$root" # dockerd wants its root to be a mount
for dir in usr proc sys dev; do mount --rbind "/$dir" "$root/$dir"; done
mount --bind "$tools" "$root/mnt"
mount --bind "$work/run" "$root/run"
mount --bind "$work/tmp" "$root/tmp"
mount --bind "$work/opt" "$root/opt"
for dir in etc var root; do mount -t overlay overlay -o "lowerdir=$root/$dir,upperdir=$work/$dir,workdir=$work/$dir-work" "$root/$dir"; done
for dir in containerd docker; do mount --bind "$work/$dir" "$root/var/lib/$dir"; done
exec chroot "$root" "$@"`

// newHost makes a host with files by path.
func newHost(t *testing.T, dir string, files map[string]string) host {
	t.Helper()
	h := host{root: filepath.Join(dir, "root"), work: filepath.Join(dir, "work")}
	for _, d := range []string{"usr", "proc", "sys", "dev", "mnt", "run", "tmp", "opt", "root", "etc", "var/lib/containerd", "var/lib/docker"} {
		mkdir(t, filepath.Join(h.root, d))
	}
	for _, d := range []string{"run", "tmp", "opt", "containerd", "docker", "etc", "etc-work", "var", "var-work", "root", "root-work"} {
		mkdir(t, filepath.Join(h.work, d))
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if _, err := os.Stat("/usr/" + d); err != nil {
			continue
		}
		if err := os.Symlink("usr/"+d, filepath.Join(h.root, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../run", filepath.Join(h.root, "var/run")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"} {
		if text, err := os.ReadFile(name); err == nil {
			h.put(t, name, string(text))
		}
	}
	h.put(t, "/etc/hosts", "127.0.0.1 localhost\n")
	h.put(t, "/etc/resolv.conf", "nameserver 127.0.0.1\n") // nothing answers: no name but those in hosts
	for name, content := range files {
		h.put(t, name, content)
	}
	return h
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func (h host) put(t *testing.T, name, content string) {
	t.Helper()
	full := filepath.Join(h.root, name)
	mkdir(t, filepath.Dir(full))
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// args are those of unshare to run a program in the host.
func (h host) args(program ...string) []string {
	return append([]string{"--mount", "--propagation", "private", "sh", "-c", enter, "enter", h.root, h.work, tools()}, program...)
}

// start starts a program in the host and stops it when the test ends.
func (h host) start(t *testing.T, name, logs string, program ...string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Spec{
		Name: name, Program: "unshare", Args: h.args(program...), Log: filepath.Join(logs, name+".log"),
		Unset: []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// run runs a program in the host to its end and returns its standard output.
func (h host) run(t *testing.T, program ...string) string {
	t.Helper()
	return command(t, "unshare", h.args(program...)...)
}

// dfctl runs dfctl node-config on the host and returns both of its streams.
func (h host) dfctl(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin(), "dfctl"), append([]string{"node-config", "--host-root", h.root}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("dfctl node-config %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// copied is a copy of the host to compare it with later.
func (h host) copied(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "before")
	command(t, "cp", "-a", h.root, dir)
	return dir
}

// same fails the test where the host is not what it was: names, contents, kinds, modes, owners.
func (h host) same(t *testing.T, before string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", "--no-dereference", before, h.root).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("diff -r: %v\n%s", err, out)
	}
	list := func(dir string) string {
		lines := strings.Split(command(t, "find", dir, "-printf", "%P %y %m %U:%G %l\n"), "\n")
		return strings.Join(sorted(lines), "\n")
	}
	if was, is := list(before), list(h.root); was != is {
		t.Errorf("kinds, modes and owners: was\n%s\nis\n%s", was, is)
	}
}

// command runs a command to its end and returns its standard output. It fails the test with what the command said.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root"}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", fmt.Sprint(name, args), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}
