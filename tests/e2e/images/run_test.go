//go:build e2e

package images

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const user = 65532

// owned makes a folder that belongs to the images' user.
func owned(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	return dir
}

// supernode runs the image as people do, with the folders and the secret of the host, and asks it from the host.
func (e *engine) supernode(t *testing.T) {
	dir := t.TempDir()
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) { // t.TempDir is for its user only
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	logs, repo := owned(t, filepath.Join(dir, "log/supernode")), owned(t, filepath.Join(dir, "supernode/repo"))
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("s", 48)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(secret, user, user); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(e.docker(t, "run", "-d", "--read-only", "--cap-drop=ALL", "-p", "8001:8001", "-p", "8002:8002",
		"-v", logs+"/:/home/admin/supernode/logs/", "-v", repo+"/:/home/admin/supernode/repo/",
		"-v", secret+":/etc/dragonfly/secret:ro", ref("supernode")))
	t.Cleanup(func() { _ = exec.Command("docker", "-H", e.host, "rm", "-f", id).Run() })
	out, err := e.until(t, func(out string) bool { return strings.Contains(out, "1 of 1 ready") },
		filepath.Join(e.src, "dist/images/context/dfdaemon", hostFolder, "bin/dfctl"), "status", "--socket=", "--admin-addr=", "--supernode", "127.0.0.1:8001")
	if err != nil || !strings.Contains(out, version) {
		t.Errorf("the supernode does not answer at the host's port: %v\n%s%s", err, out, e.docker(t, "logs", id))
	}
	text, err := os.ReadFile(filepath.Join(logs, "supernode.log"))
	if err != nil || !strings.Contains(string(text), "supernode serves") {
		t.Errorf("the log file has %q (%v), want that the supernode serves", text, err)
	}
	e.docker(t, "stop", id)
	if got := e.docker(t, "inspect", "-f", "{{.State.ExitCode}}", id); strings.TrimSpace(got) != "0" {
		t.Errorf("stopped, it ended with exit code %s", got)
	}
}

// until runs a command in the engine's network namespace until its output is as wanted.
func (e *engine) until(t *testing.T, wanted func(string) bool, name string, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		b, _ := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + e.namespace, name}, args...)...).CombinedOutput()
		if wanted(string(b)) {
			return string(b), nil
		}
		select {
		case <-ctx.Done():
			return string(b), errors.New("not in time")
		case <-tick.C:
		}
	}
}

// fails runs an image that is to end with exit code 1 or 2, and returns what it says.
func (e *engine) fails(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", append([]string{"-H", e.host, "run", "--rm"}, args...)...)
	var talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &talk, &talk
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 1 && code != 2 {
		t.Errorf("docker run %v: %v, want exit code 1 or 2\n%s", args, err, talk.String())
	}
	return talk.String()
}

func (e *engine) noSecret(t *testing.T) {
	if said := e.fails(t, ref("supernode")); !strings.Contains(said, "/etc/dragonfly/secret: no such file") {
		t.Errorf("without a secret: got %q, want the file's name", said)
	}
	if said := e.fails(t, "--tmpfs", "/home/admin/supernode/logs:mode=0500", ref("supernode")); !strings.Contains(said, `option "log-dir"`) ||
		!strings.Contains(said, "65532") {
		t.Errorf("with a log folder of root's: got %q, want the option and the user's number", said)
	}
}

func (e *engine) programs(t *testing.T) {
	e.docker(t, "rmi", "-f", ref("dfdaemon"))
	e.docker(t, "load", "-i", filepath.Join(e.src, "dist/images/dfdaemon-"+hostFolder+".tar"))
	for _, program := range []string{"dfdaemon", "dfget", "dfctl"} {
		out := e.docker(t, "run", "--rm", "--read-only", "--cap-drop=ALL", "--entrypoint", program, ref("dfdaemon"), "--version")
		if !strings.HasPrefix(out, program+" version "+version) {
			t.Errorf("%s --version: got %q, want %s", program, out, version)
		}
	}
	if out := e.docker(t, "run", "--rm", ref("dfdaemon"), "--version"); !strings.HasPrefix(out, "dfdaemon ") {
		t.Errorf("the image's own program: got %q, want dfdaemon", out)
	}
}
