package node_test

import (
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/dfctl/node"
)

// TestCommandOfAUnit repeats a unit's command as systemd reads it.
func TestCommandOfAUnit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"one line":                       {"[Service]\nExecStart=dockerd -H fd://\n", "dockerd -H fd://"},
		"the last of two":                {"[Service]\nExecStart=a\nExecStart=\nExecStart = b\n", "b"},
		"continued":                      {"[Service]\nExecStart=dockerd \\\n  -H fd:// \\\r\n\t--debug\n", "dockerd -H fd:// --debug"},
		"comments between":               {"[Service]\nExecStart=dockerd \\\n# why \\\n; and why\n  -H fd://\n", "dockerd -H fd://"},
		"a comment that ends in a slash": {"[Service]\n# see C:\\\nExecStart=dockerd\n", "dockerd"},
		"cut off":                        {"[Service]\nExecStart=dockerd \\", "dockerd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := node.New(files{"/lib/systemd/system/docker.service": tc.text}, node.Request{Mirror: mirror, DockerMethod: node.DropIn}, node.Docker)
			if err != nil || len(p.Changes) != 1 {
				t.Fatalf("got %+v, %v", p, err)
			}
			if got := string(p.Changes[0].New); !strings.HasSuffix(got, "\nExecStart="+tc.want+" --registry-mirror "+mirror+"\n") {
				t.Errorf("got %q, want the command %q", got, tc.want)
			}
		})
	}
}
