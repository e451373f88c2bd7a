package nodeconfig

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

const (
	daemonJSON = "/etc/docker/daemon.json"
	hostsTOML  = "/etc/containerd/certs.d/_default/hosts.toml"
	configTOML = "/etc/containerd/config.toml"
)

// busy is a node with files to change, to make and to leave.
func busy() tree {
	return tree{
		daemonJSON: "{\n  \"debug\": true\n}\n",
		configTOML: "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"\"\n",
		"/etc/containerd/certs.d/docker.io/hosts.toml": "server = \"https://registry-1.docker.io\"\n",
		"/etc/hostname":    "node1\n",
		"/var/lib/os/kept": "",
	}
}

var both = []string{"--runtime", "docker,containerd"}

// TestSomebodyElse has files changed by others between apply and rollback.
func TestSomebodyElse(t *testing.T) {
	t.Parallel()
	set := func(name, content string) func(t *testing.T, root string) {
		return func(t *testing.T, root string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit := func(name, old, now string) func(t *testing.T, root string) {
		return func(t *testing.T, root string) {
			t.Helper()
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil || !strings.Contains(string(text), old) {
				t.Fatalf("%s has no %q: %v", text, old, err)
			}
			set(name, strings.Replace(string(text), old, now, 1))(t, root)
		}
	}
	for name, tc := range map[string]struct {
		change func(t *testing.T, root string)
		// want is a file after rollback; "" for none.
		file, want string
		err        string
	}{
		"a key is added behind ours": {
			change: edit(daemonJSON, "65001\"]", "65001\"],\n  \"bip\": \"10.1.0.1/16\""),
			file:   daemonJSON, want: "{\n  \"debug\": true,\n  \"bip\": \"10.1.0.1/16\"\n}\n",
		},
		"a key before ours is changed": {
			change: edit(daemonJSON, "true", "false"), file: daemonJSON, want: "{\n  \"debug\": false\n}\n",
		},
		"a mirror is added to ours": {
			change: edit(daemonJSON, "65001\"]", "65001\", \"https://a\"]"),
			file:   daemonJSON, want: "{\n  \"debug\": true,\n  \"registry-mirrors\": [\"https://a\"]\n}\n",
		},
		"the file is broken": {
			change: edit(daemonJSON, "true", "tru"), file: daemonJSON,
			want: "{\n  \"debug\": tru,\n  \"registry-mirrors\": [\"http://127.0.0.1:65001\"]\n}\n", err: "daemon.json was changed since",
		},
		"ours is out already": {
			change: set(daemonJSON, "{}"), file: daemonJSON, want: "{}",
		},
		"the file is gone": {
			change: func(t *testing.T, root string) {
				t.Helper()
				if err := os.Remove(filepath.Join(root, daemonJSON)); err != nil {
					t.Fatal(err)
				}
			}, file: daemonJSON,
		},
		"the configuration has more": {
			change: edit(configTOML, "version = 2\n", "version = 2\noom_score = -999\n"), file: configTOML,
			want: strings.Replace(busy()[configTOML], "version = 2\n", "version = 2\noom_score = -999\n", 1),
		},
		"our line has another value": {
			change: edit(configTOML, "certs.d", "hosts.d"), file: configTOML, want: strings.Replace(busy()[configTOML], `""`, `"/etc/containerd/hosts.d"`, 1),
		},
		"our line has a comment now": {
			change: edit(configTOML, "certs.d\"", "certs.d\" # ours"), file: configTOML,
			want: strings.Replace(busy()[configTOML], `""`, `"/etc/containerd/certs.d" # ours`, 1),
		},
		"a file of ours has more": {
			change: edit(hostsTOML, "[host", "server = \"https://a\"\n[host"), file: hostsTOML,
			want: "server = \"https://a\"\n[host.\"http://127.0.0.1:65001\"]\n  capabilities = [\"pull\", \"resolve\"]\n", err: "hosts.toml was changed since",
		},
		"a file beside ours": {
			change: set("/etc/containerd/certs.d/_default/ca.crt", "certificate"), file: "/etc/containerd/certs.d/_default/ca.crt", want: "certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := busy().write(t)
			if r := dfctl(t, root, nil, append([]string{"apply"}, both...)...); r.err != nil {
				t.Fatal(r.err)
			}
			tc.change(t, root)
			r := dfctl(t, root, nil, "rollback")
			if (r.err == nil) != (tc.err == "") || r.err != nil && !strings.Contains(r.err.Error(), tc.err) {
				t.Errorf("rollback: got %v, want %q", r.err, tc.err)
			}
			got, err := os.ReadFile(filepath.Join(root, tc.file))
			if err != nil && tc.want != "" || string(got) != tc.want {
				t.Errorf("%s: got %q, %v, want %q", tc.file, got, err, tc.want)
			}
			for other, want := range busy() { // whatever is with that file, all others are as before
				if text, err := os.ReadFile(filepath.Join(root, other)); other != tc.file && (err != nil || string(text) != want) {
					t.Errorf("%s: got %q, %v, want %q", other, text, err, want)
				}
			}
			if tc.err == "" {
				return
			}
			if err := os.Remove(filepath.Join(root, tc.file)); err != nil {
				t.Fatal(err)
			}
			if r := dfctl(t, root, nil, "rollback"); r.err != nil {
				t.Errorf("rollback after the file was removed by hand: %v", r.err)
			}
			if _, err := os.Stat(filepath.Join(root, "/var/lib/dragonfly/node-config/manifest.json")); err == nil {
				t.Error("the manifest is still there")
			}
		})
	}
}

// TestAppliedOverOthers applies again after others changed a file, and rolls back: their change stays.
func TestAppliedOverOthers(t *testing.T) {
	t.Parallel()
	root := busy().write(t)
	was := read(t, root)
	apply := append([]string{"apply"}, both...)
	for range 2 {
		if r := dfctl(t, root, nil, apply...); r.err != nil {
			t.Fatal(r.err)
		}
		text := "{\n  \"debug\": false,\n  \"bip\": \"10.1.0.1/16\",\n  \"registry-mirrors\": [\"http://127.0.0.1:65001\"]\n}\n"
		if err := os.WriteFile(filepath.Join(root, daemonJSON), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if r := dfctl(t, root, nil, append(apply, "--mirror", "http://127.0.0.1:7001")...); r.err != nil {
		t.Fatal(r.err)
	}
	is := read(t, root)
	for _, name := range []string{daemonJSON, hostsTOML} {
		if !strings.Contains(is[name], ":7001") || strings.Contains(is[name], ":65001") {
			t.Errorf("with another mirror, %s is\n%s", name, is[name])
		}
	}
	if r := dfctl(t, root, nil, "apply", "--runtime", "docker"); r.err != nil {
		t.Fatal(r.err)
	}
	if is := read(t, root); is[configTOML] != was[configTOML] || is[hostsTOML] != "" {
		t.Errorf("what is not asked for any more is still there: %s, %s", is[configTOML], is[hostsTOML])
	}
	if r := dfctl(t, root, nil, "rollback"); r.err != nil {
		t.Fatal(r.err)
	}
	now := read(t, root)
	want := "{\n  \"debug\": false,\n  \"bip\": \"10.1.0.1/16\"\n}\n"
	if !strings.HasSuffix(now[daemonJSON], want) {
		t.Errorf("after rollback, daemon.json is\n%s", now[daemonJSON])
	}
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files tree
		args  []string
		err   string
	}{
		"a huge file":          {tree{daemonJSON: "{" + strings.Repeat(" ", 9<<20) + "}"}, []string{"--runtime", "docker"}, "daemon.json: it has more than 8 MiB"},
		"a directory":          {tree{daemonJSON + "/x": ""}, []string{"--runtime", "docker"}, "daemon.json: it is not a regular file"},
		"a file for a folder":  {tree{"/etc/rancher": "x"}, []string{"--runtime", "k3s"}, "not a directory"},
		"a link out of root":   {tree{daemonJSON: "-> ../../../../../../../etc/shadow-copy", "/etc/shadow-copy": "x"}, []string{"--runtime", "docker"}, "daemon.json: line 1, column 1"},
		"a damaged manifest":   {tree{"/var/lib/dragonfly/node-config/manifest.json": "{"}, []string{"--runtime", "docker"}, "manifest.json"},
		"a manifest to come":   {tree{"/var/lib/dragonfly/node-config/manifest.json": `{"version": 2}`}, []string{"--runtime", "docker"}, "version 2"},
		"binary configuration": {tree{configTOML: "\x00\x01\x02"}, []string{"--runtime", "containerd"}, "config.toml: line 1, column 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := tc.files.write(t)
			was := read(t, root)
			r := dfctl(t, root, nil, append([]string{"apply"}, tc.args...)...)
			if code(r.err) != cli.ExitOther || !strings.Contains(r.err.Error(), tc.err) || strings.Contains(r.err.Error(), root) {
				t.Errorf("got %v, want an error with %q and without the root", r.err, tc.err)
			}
			if diff := cmp.Diff(was, read(t, root)); diff != "" {
				t.Errorf("the host has changed:\n%s", diff)
			}
		})
	}
}

func TestByteOrderMarkAndLineEnds(t *testing.T) {
	t.Parallel()
	files := tree{
		daemonJSON: "\ufeff{\r\n  \"debug\": true\r\n}\r\n",
		configTOML: "version = 2\r\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\r\n",
	}
	root := files.write(t)
	was := read(t, root)
	if r := dfctl(t, root, nil, append([]string{"apply"}, both...)...); r.err != nil {
		t.Fatal(r.err)
	}
	is := read(t, root)
	for name := range files {
		if strings.Count(is[name], "\n") != strings.Count(is[name], "\r\n") {
			t.Errorf("%s has mixed line ends: %q", name, is[name])
		}
	}
	if r := dfctl(t, root, nil, "rollback"); r.err != nil || !cmp.Equal(was, read(t, root)) {
		t.Errorf("rollback: %v, %s", r.err, cmp.Diff(was, read(t, root)))
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	root := busy().write(t)
	apply := append([]string{"apply", "--restart"}, both...)
	if r := dfctl(t, root, nil, append([]string{"apply"}, both...)...); r.err != nil || len(r.commands) > 0 {
		t.Errorf("without --restart: ran %q, %v", r.commands, r.err)
	}
	want := []string{"systemctl restart containerd", "systemctl reload docker"}
	if r := dfctl(t, root, nil, apply...); r.err != nil || !slices.Equal(r.commands, want) {
		t.Errorf("later, with --restart: ran %q, %v, want %q", r.commands, r.err, want)
	}
	if r := dfctl(t, root, nil, apply...); r.err != nil || len(r.commands) > 0 {
		t.Errorf("again: ran %q, %v", r.commands, r.err)
	}
	// A reload does not take Docker's last mirror away.
	want = []string{"systemctl restart docker", "systemctl restart containerd"}
	if r := dfctl(t, root, nil, "rollback", "--restart"); r.err != nil || !slices.Equal(r.commands, want) {
		t.Errorf("rollback: ran %q, %v, want %q", r.commands, r.err, want)
	}
}

func TestRestartFails(t *testing.T) {
	t.Parallel()
	root := tree{"/etc/hostname": ""}.write(t)
	for range 2 { // it is not forgotten
		r := dfctl(t, root, nil, "apply", "--restart", "--runtime", "k3s")
		if code(r.err) != cli.ExitOther || len(r.commands) != 1 || !strings.Contains(r.err.Error(), "systemctl restart k3s on the host: unit not found") {
			t.Errorf("ran %q: %v", r.commands, r.err)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	got := order([]string{"systemctl reload docker", "systemctl restart containerd", "systemctl restart docker", "systemctl daemon-reload"})
	if want := []string{"systemctl daemon-reload", "systemctl restart containerd", "systemctl restart docker"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	root := busy().write(t)
	was := read(t, root)
	r := dfctl(t, root, nil, append([]string{"apply", "--dry-run", "--restart"}, both...)...)
	if r.err != nil || len(r.commands) > 0 || !cmp.Equal(was, read(t, root)) || !strings.Contains(r.out, "\n+++ "+hostsTOML+"\n") {
		t.Errorf("got %+v, and %s", r, cmp.Diff(was, read(t, root)))
	}
	if r := dfctl(t, root, nil, append([]string{"apply"}, both...)...); r.err != nil {
		t.Fatal(r.err)
	}
	is := read(t, root)
	r = dfctl(t, root, nil, "rollback", "--dry-run")
	if r.err != nil || !cmp.Equal(is, read(t, root)) || !strings.Contains(r.out, "--- "+hostsTOML+"\n+++ /dev/null\n") {
		t.Errorf("got %+v, and %s", r, cmp.Diff(is, read(t, root)))
	}
}

func TestPrintAndVerify(t *testing.T) {
	t.Parallel()
	root := busy().write(t)
	r := dfctl(t, root, nil, "print", "--runtime", "docker")
	want := "==> " + daemonJSON + " <==\n{\n  \"debug\": true,\n  \"registry-mirrors\": [\"http://127.0.0.1:65001\"]\n}\n\n"
	if r.err != nil || r.out != want {
		t.Errorf("print: got %q, %v, want %q", r.out, r.err, want)
	}
	r = dfctl(t, root, nil, "verify", "--runtime", "docker")
	if code(r.err) != cli.ExitDegraded || r.out != "differs          "+daemonJSON+"\n" {
		t.Errorf("verify: got %q, %v", r.out, r.err)
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	root := busy().write(t)
	for _, args := range [][]string{
		{"--runtime", "rkt"},
		{"--mirror", "127.0.0.1:65001"},
		{"--mirror", "http://127.0.0.1:65001/v2"},
		{"--mirror", "http://user@127.0.0.1"},
		{"--mirror", "http://a\"b"},
		{"--registry", "https://docker.io"},
		{"--registry", "docker.io/library"},
		{"--registry", ".."},
		{"--registry", "a b"},
		{"--docker-method", "magic"},
	} {
		if r := dfctl(t, root, nil, append([]string{"apply"}, args...)...); code(r.err) != cli.ExitUsage {
			t.Errorf("%q: got %v with exit code %d, want %d", args, r.err, code(r.err), cli.ExitUsage)
		}
	}
	if r := dfctl(t, filepath.Join(root, "none"), nil, "verify"); code(r.err) != cli.ExitOther {
		t.Errorf("no root: got %v", r.err)
	}
}

// FuzzRoundTrip has an arbitrary file of a runtime: whatever apply makes of it, a second apply changes nothing, and rollback restores
// each byte.
func FuzzRoundTrip(f *testing.F) {
	targets := []struct{ runtime, file string }{
		{"docker", daemonJSON},
		{"containerd", configTOML},
		{"containerd", "/etc/containerd/certs.d/docker.io/hosts.toml"},
		{"k3s", "/etc/rancher/k3s/registries.yaml"},
		{"crio", "/etc/containers/registries.conf"},
	}
	for i, text := range []string{"{\"a\": 1}", "version = 2\n", "server = \"x\"\n", "mirrors:\n  docker.io:\n", "[[registry]]\nprefix = \"docker.io\""} {
		f.Add(uint8(i), text)
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		target := targets[int(which)%len(targets)]
		root := tree{target.file: text}.write(t)
		was := read(t, root)
		apply := []string{"apply", "--runtime", target.runtime}
		if r := dfctl(t, root, nil, apply...); r.err != nil {
			if diff := cmp.Diff(was, read(t, root)); diff != "" {
				t.Errorf("apply fails by %v, and changes the host:\n%s", r.err, diff)
			}
			return
		}
		is := read(t, root)
		if r := dfctl(t, root, nil, apply...); r.err != nil || !cmp.Equal(is, read(t, root)) {
			t.Errorf("the second apply: %v\n%s", r.err, cmp.Diff(is, read(t, root)))
		}
		if r := dfctl(t, root, nil, "rollback"); r.err != nil || !cmp.Equal(was, read(t, root)) {
			t.Errorf("rollback: %v\n%s", r.err, cmp.Diff(was, read(t, root)))
		}
	})
}
