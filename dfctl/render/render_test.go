package render

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func run(t *testing.T, in string, args ...string) (out, talk string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := NewCommand(cli.Streams{Out: &o, Err: &e})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	cmd.SetArgs(append([]string{}, args...)) // nil would be those of the test
	err = cmd.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func TestCommands(t *testing.T) {
	t.Parallel()
	secret := "secret.existingSecret=mine"
	for name, tc := range map[string]struct {
		in   string
		args []string
		want []string
		not  []string
	}{
		"chart": {
			args: []string{"chart", "--set", secret}, want: []string{"name: dragonfly-supernode\n", "namespace: kube-system\n", "helm.sh/hook: test"},
		},
		"chart without hooks": {
			args: []string{"chart", "--set", secret, "--no-hooks"}, want: []string{"kind: DaemonSet"}, not: []string{"helm.sh/hook"},
		},
		"chart of another release": {
			args: []string{"chart", "--set", secret, "--release", "zone-a", "-n", "infra"}, want: []string{"zone-a-dragonfly-supernode", "namespace: infra\n"},
			not: []string{"namespace: kube-system"},
		},
		"values from standard input": {
			in: "supernode: {replicas: 5}", args: []string{"chart", "--set", secret, "-f", "-"}, want: []string{"replicas: 5\n"},
		},
		"an assignment wins over a file": {
			in: "supernode: {replicas: 5}", args: []string{"chart", "--set", secret, "-f", "-", "--set", "supernode.replicas=7"}, want: []string{"replicas: 7\n"},
		},
		"an overlay": {
			args: []string{"overlay", "static-pod"}, want: []string{"kind: DaemonSet"}, not: []string{"kind: Deployment", "helm"},
		},
		"an overlay elsewhere": {
			args: []string{"overlay", "docker", "-n", "infra", "--component", "network-policy"}, want: []string{"namespace: infra\n", "kind: NetworkPolicy"},
			not: []string{"kube-system"},
		},
		"a static pod with values": {
			args: []string{"static-pod", "--set", "supernode.diskQuota=1TiB"}, want: []string{"kind: Pod", "--disk-quota=1TiB"}, not: []string{"kind: ConfigMap", "Secret"},
		},
		"a static pod whatever the values say of the kind": {
			in: "supernode: {kind: Deployment}", args: []string{"static-pod", "-f", "-"}, want: []string{"kind: Pod"},
		},
		"docker run with values": {
			args: []string{"docker-run", "--address", "2001:db8::1", "--set", "supernode.image.tag=v9,supernode.uploadRate=10MiB", "--set", "supernode.resources.limits.cpu=1500m"},
			want: []string{"address=2001:db8::1\n", "/supernode:v9 \\\n", "--upload-rate=10MiB \\\n", "--cpus 1.5"},
		},
		"list":    {args: []string{"list"}, want: []string{"overlays:\n  deployment\n  docker\n  static-pod\n", "components:\n  high-availability\n"}},
		"nothing": {want: []string{"Available Commands"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, talk, err := run(t, tc.in, tc.args...)
			if err != nil || talk != "" {
				t.Fatalf("error %v, on standard error %q", err, talk)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(out, not) {
					t.Errorf("%q is in:\n%s", not, out)
				}
			}
		})
	}
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a misspelt value":             {[]string{"chart", "--set", "supernode.replica=3"}, "at '/supernode'"},
		"an assignment that is none":   {[]string{"chart", "--set", "replicas"}, `--set "replicas"`},
		"a file that there is not":     {[]string{"chart", "-f", "/does/not/exist"}, "/does/not/exist"},
		"an old Kubernetes":            {[]string{"chart", "--kube-version", "1.20"}, "the chart is for Kubernetes"},
		"an overlay that there is not": {[]string{"overlay", "daemonset"}, "none of the overlays: deployment, docker, static-pod"},
		"a wrong value of a pod":       {[]string{"static-pod", "--set", "supernode.diskQuota=lots"}, "/supernode/diskQuota"},
		"an address that is a name":    {[]string{"docker-run", "--address", "host-1"}, `"host-1" is no IP address`},
		"an address with a command":    {[]string{"docker-run", "--address", "$(reboot)"}, "is no IP address"},
		"a variable of the cluster": {
			[]string{"docker-run", "--set", "supernode.extraEnv[0].name=X,supernode.extraEnv[0].valueFrom.fieldRef.fieldPath=metadata.name"}, "the variable X",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _, err := run(t, "", tc.args...)
			coded, ok := errors.AsType[*cli.Error](err)
			if !ok || coded.Code != cli.ExitUsage || !strings.Contains(err.Error(), tc.want) || out != "" {
				t.Errorf("got %q, %v; want exit code 2 and an error with %q", out, err, tc.want)
			}
		})
	}
}

// TestDockerRunIsSafeInAShell: what comes from values can't be more than one word.
func TestDockerRunIsSafeInAShell(t *testing.T) {
	t.Parallel()
	out, _, err := run(t, "supernode: {extraArgs: [\"--x=$(touch /tmp/x) 'a'\"], extraEnv: [{name: A, value: \"`b`; c\"}]}", "docker-run", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`'--x=$(touch /tmp/x) '\''a'\'''`, "-e 'A=`b`; c'"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in:\n%s", want, out)
		}
	}
}

func TestDockerRunIsAsReviewed(t *testing.T) {
	t.Parallel()
	out, _, err := run(t, "", "docker-run")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "docker-run.golden")
	if *update {
		if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", path, diff)
	}
}
