package nodeconfig

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

func TestCommandsOfTheHost(t *testing.T) {
	t.Parallel()
	var talk bytes.Buffer
	do := run(cli.Streams{Out: &bytes.Buffer{}, Err: &talk})
	root := t.TempDir()
	if err := do(t.Context(), root, "systemctl restart x"); err == nil || err.Error() != "the host has no systemctl" {
		t.Errorf("got %v", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A program of the host is started in the host's root, where this one finds no interpreter: so it was not this machine's.
	if err := os.WriteFile(filepath.Join(root, "usr/bin/true"), []byte("#!/interpreter/of/the/host\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := "no such file or directory"
	if os.Geteuid() != 0 {
		want = "needs the capability SYS_CHROOT"
	}
	if err := do(t.Context(), root, "true"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err := do(t.Context(), "/", "true"); err != nil {
		t.Errorf("this machine's own: %v", err)
	}
}
