package nodeconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConfigurationWrittenAnew has containerd's configuration replaced by an upgrade, whose default names the same directory.
func TestConfigurationWrittenAnew(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"the same directory":          "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/containerd/certs.d'\n",
		"a list, as 2.x writes it":    "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n",
		"none":                        "version = 3\n",
		"the directory in a comment":  "version = 3\n# /etc/containerd/certs.d\n",
		"an empty one, and more else": "version = 3\nroot = '/x'\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = ''\n",
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, applied again: %v", name, again), func(t *testing.T) {
				t.Parallel()
				root := busy().write(t)
				apply := append([]string{"apply"}, both...)
				if r := dfctl(t, root, nil, apply...); r.err != nil {
					t.Fatal(r.err)
				}
				if err := os.WriteFile(filepath.Join(root, configTOML), []byte(config), 0o640); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if !again {
						break
					}
					if r := dfctl(t, root, nil, apply...); r.err != nil {
						t.Fatal(r.err)
					}
				}
				if r := dfctl(t, root, nil, "rollback"); r.err != nil {
					t.Errorf("rollback: %v", r.err)
				}
				if got, err := os.ReadFile(filepath.Join(root, configTOML)); err != nil || string(got) != config {
					t.Errorf("got %q, %v, want %q", got, err, config)
				}
				if _, err := os.Stat(filepath.Join(root, "/var/lib/dragonfly/node-config/manifest.json")); err == nil {
					t.Error("the manifest is still there")
				}
			})
		}
	}
}

// TestAtOnce has several runs on one host, as two pods of a node's DaemonSets start them.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	root := busy().write(t)
	was := read(t, root)
	for _, args := range [][]string{append([]string{"apply"}, both...), {"rollback"}} {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if r := dfctl(t, root, nil, args...); r.err != nil {
					t.Errorf("%s: %v", args[0], r.err)
				}
			})
		}
		all.Wait()
	}
	if diff := cmp.Diff(was, read(t, root)); diff != "" {
		t.Errorf("after rollback (-was +is):\n%s", diff)
	}
}
