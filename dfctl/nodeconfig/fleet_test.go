package nodeconfig

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/nodeconfig/daemonset"
)

func TestWait(t *testing.T) {
	t.Parallel()
	late := daemonset.Result{Nodes: 3, Missing: []daemonset.Node{{Name: "n1", Why: "down"}, {Name: "n2", Why: "no room"}}}
	for name, tc := range map[string]struct {
		args      []string
		result    daemonset.Result
		err       error
		code      int
		out, talk string
	}{
		"all are ready":           {[]string{"--daemonset=d"}, daemonset.Result{Nodes: 3, Ready: true}, nil, 0, "", ""},
		"some are not":            {[]string{"--daemonset=d"}, late, nil, 0, "n1\tdown\nn2\tno room\n", "WARNING: the time is over"},
		"some are not, strictly":  {[]string{"--daemonset=d", "--strict"}, late, nil, cli.ExitDegraded, "n1\tdown\nn2\tno room\n", ""},
		"which is not known":      {[]string{"--daemonset=d"}, daemonset.Result{Nodes: 3}, errors.New("403"), 0, "", "which is not known: 403"},
		"nothing is known":        {[]string{"--daemonset=d"}, daemonset.Result{}, errors.New("403"), cli.ExitOther, "", ""},
		"no name":                 {nil, daemonset.Result{}, nil, cli.ExitUsage, "", ""},
		"no time":                 {[]string{"--daemonset=d", "--timeout=0s"}, daemonset.Result{}, nil, cli.ExitUsage, "", ""},
		"another namespace, time": {[]string{"--daemonset=d", "--namespace=ns", "--timeout=3s"}, daemonset.Result{Ready: true}, nil, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, talk bytes.Buffer
			cmd := waitCommand(cli.Streams{Out: &out, Err: &talk}, func(_ context.Context, namespace, name string, timeout time.Duration, progress func(int, int)) (daemonset.Result, error) {
				progress(1, 3)
				if name != "d" || (namespace == "ns") != (timeout == 3*time.Second) {
					t.Errorf("asked for %q in %q within %v", name, namespace, timeout)
				}
				return tc.result, tc.err
			})
			cmd.SetArgs(tc.args)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			err := cmd.ExecuteContext(t.Context())
			if code(err) != tc.code || out.String() != tc.out || !strings.Contains(talk.String(), tc.talk) {
				t.Errorf("got %v with exit code %d, want %d; stdout %q, want %q; stderr %q, want %q in it", err, code(err), tc.code, &out, tc.out, &talk, tc.talk)
			}
		})
	}
}

func TestHoldEndsWithTheProgram(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := holdCommand()
	cmd.SetArgs(nil)
	done := make(chan error)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("it ended at once: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestKeepGoing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files tree
		args  []string
		warn  string
		code  int
	}{
		"something stands in the way": {tree{configTOML: "version = 9\n"}, []string{"apply", "--runtime=containerd"}, "left as it is: " + configTOML + " has version 9", 0},
		"a file cannot be read":       {tree{daemonJSON: "{"}, []string{"apply", "--runtime=docker"}, daemonJSON + ": line 1, column 2", 0},
		"no runtime":                  {tree{"/etc/hostname": ""}, []string{"apply"}, "no container runtime was found", 0},
		"a damaged record":            {tree{"/var/lib/dragonfly/node-config/manifest.json": "{"}, []string{"rollback"}, "manifest.json", 0},
		"wrong options":               {tree{"/etc/hostname": ""}, []string{"apply", "--runtime=rkt"}, "", cli.ExitUsage},
		"all is well":                 {busy(), []string{"apply", "--runtime=docker"}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := tc.files.write(t)
			r := dfctl(t, root, nil, append(tc.args, "--keep-going")...)
			if code(r.err) != tc.code || strings.Contains(r.talk, "WARNING: node-config "+tc.args[0]+": ") != (tc.warn != "") || !strings.Contains(r.talk, tc.warn) {
				t.Errorf("got %v, %q, want exit code %d and a warning with %q", r.err, r.talk, tc.code, tc.warn)
			}
			if r := dfctl(t, root, nil, tc.args...); tc.warn != "" && r.err == nil {
				t.Error("without --keep-going: no error")
			}
		})
	}
}
