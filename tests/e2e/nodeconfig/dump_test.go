//go:build e2e

package nodeconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

var (
	part      = regexp.MustCompile(`(?m)^-- (\S+?)(?: -> (\S+))? --\n`)
	hostsFile = regexp.MustCompile(`/\S+/hosts\.toml`)
	version   = regexp.MustCompile(`(?m)^version = (\d)`)
)

// TestContainerdReadsWhatWasWritten has containerd read the configuration of each containerd node that the unit tests have, after apply,
// by each containerd that knows its version: it takes config_path for what was written.
func TestContainerdReadsWhatWasWritten(t *testing.T) {
	const nodes = "../../../dfctl/nodeconfig/testdata/nodes"
	all, err := filepath.Glob(nodes + "/containerd-*.txt")
	if err != nil || len(all) < 10 {
		t.Fatalf("found %d nodes, %v", len(all), err)
	}
	judged := map[string]int{}
	for _, file := range append(all, nodes+"/gke.txt", nodes+"/eks.txt") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			for _, program := range judge(t, file) {
				judged[program]++
			}
		})
	}
	if judged["containerd"] < 5 || judged["/mnt/containerd"] < 8 {
		t.Errorf("judged %v, want more", judged)
	}
}

// judge returns the programs that have read a node's configuration.
func judge(t *testing.T, file string) []string {
	t.Helper()
	args, files := parse(t, file)
	h := newHost(t, t.TempDir(), files)
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin(), "dfctl"), append([]string{"node-config", "--host-root", h.root}, args...)...).CombinedOutput()
	if err != nil {
		t.Logf("left as it is: %s", out) // the unit tests say for what reason
		return nil
	}
	written := hostsFile.FindString(string(out))
	if written == "" {
		return nil // it was about another runtime
	}
	config, err := os.ReadFile(filepath.Join(h.root, "/etc/containerd/config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	found := "1"
	if m := version.FindSubmatch(config); m != nil {
		found = string(m[1])
	}
	programs := map[string][]string{"1": {"containerd", "/mnt/containerd"}, "2": {"containerd", "/mnt/containerd"}, "3": {"/mnt/containerd"}, "4": {"/mnt/containerd"}}[found]
	for _, program := range programs {
		var dump any
		if err := toml.Unmarshal([]byte(h.run(t, program, "--config", "/etc/containerd/config.toml", "config", "dump")), &dump); err != nil {
			t.Fatal(err)
		}
		dirs := strings.Split(configPath(dump), ":")
		if !slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(written, dir+"/") }) {
			t.Errorf("%s has config_path %q from version %s, which does not lead to %s:\n%s", program, dirs, found, written, config)
		}
	}
	return programs
}

// configPath is the one of the plugin that pulls images for Kubernetes.
func configPath(dump any) string {
	for _, plugin := range []string{"io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"} {
		v := dump
		for _, key := range []string{"plugins", plugin, "registry", "config_path"} {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		if dir, _ := v.(string); dir != "" {
			return dir
		}
	}
	return ""
}

// parse reads a node: a line of arguments, then files, each with a line "-- path --" or "-- path -> target --" above.
func parse(t *testing.T, file string) (args []string, files map[string]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	marks := part.FindAllStringSubmatchIndex(string(text), -1)
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		if m[4] >= 0 {
			t.Fatalf("%s has a link, which this test does not make", file)
		}
		files[string(text[m[2]:m[3]])] = string(text[m[1]:end])
	}
	return strings.Fields(string(text[:marks[0][0]])), files
}
