package charts_test

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/dfget"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
	"github.com/dragonfly-kube/dragonfly/dfctl/app"
)

// refusal is what a program says of its options. It reads the file first and then checks all options, so that with one wrong option added the rest is right if
// that one is all that it speaks of.
func refusal(t *testing.T, program *cobra.Command, args ...string) string {
	t.Helper()
	program.SetArgs(args)
	program.SetOut(io.Discard)
	program.SetErr(io.Discard)
	program.SilenceErrors, program.SilenceUsage = true, true
	err := program.ExecuteContext(t.Context())
	if err == nil {
		t.Fatalf("%s takes %q", program.Name(), args)
	}
	return err.Error()
}

func TestProgramsTakeTheirConfiguration(t *testing.T) {
	t.Parallel()
	for name, values := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, u := range objects(t, render(t, values, how{})) {
				conf, ok, _ := unstructured.NestedString(u.Object, "data", "dragonfly.conf")
				if !ok {
					continue
				}
				file := filepath.Join(t.TempDir(), "dragonfly.conf")
				if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
					t.Fatal(err)
				}
				if got, want := refusal(t, dfdaemon.NewCommand(), "--config", file, "--bind=x"), `option "bind": "x" is no IP address`; got != want {
					t.Errorf("dfdaemon: got %q, want %q, of\n%s", got, want, conf)
				}
				if got, want := refusal(t, dfget.NewCommand(), "--config", file, "--url=ftp://x"), `option "url": want http://host/path or https://host/path`; got != want {
					t.Errorf("dfget: got %q, want %q, of\n%s", got, want, conf)
				}
			}
		})
	}
}

func TestProgramsTakeTheirCommandLines(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for name, values := range examples(t) {
		for id, spec := range podSpecs(t, render(t, values, how{})) {
			initial, _ := spec["initContainers"].([]any)
			for _, c := range slices.Concat(initial, spec["containers"].([]any)) {
				c := c.(map[string]any)
				command, _, _ := unstructured.NestedStringSlice(c, "command")
				args, _, _ := unstructured.NestedStringSlice(c, "args")
				where := name + ", " + id
				switch {
				case len(command) > 0 && command[0] == "dfctl":
					line := slices.Concat(command[1:], args)
					sub, rest, err := app.NewCommand(io.Discard, io.Discard).Find(line)
					if err != nil || !sub.Runnable() {
						t.Fatalf("%s: dfctl %q: %v", where, line, err)
					}
					if err := sub.ParseFlags(rest); err != nil {
						t.Errorf("%s: dfctl %q: %v", where, line, err)
					}
					if err := sub.ValidateArgs(sub.Flags().Args()); err != nil {
						t.Errorf("%s: dfctl %q: %v", where, line, err)
					}
					seen[sub.CommandPath()] = true
				case c["name"] == "supernode":
					got, want := refusal(t, supernode.NewCommand(), append(args, "--config=", "--upload-slots=0")...), `option "upload-slots": 0, want 1 or more`
					if got != want {
						t.Errorf("%s: supernode %q: got %q, want %q", where, args, got, want)
					}
				case c["name"] == "dfdaemon":
					if err := dfdaemon.NewCommand().ParseFlags(args); err != nil {
						t.Errorf("%s: dfdaemon %q: %v", where, args, err)
					}
				default:
					t.Errorf("%s: what is %v?", where, c["name"])
				}
			}
		}
	}
	want := []string{"dfctl host-dirs", "dfctl node-config apply", "dfctl node-config hold", "dfctl node-config rollback", "dfctl node-config wait", "dfctl verify"}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("the commands are %q, want %q", got, want)
	}
}
