package node_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/dragonfly-kube/dragonfly/dfctl/node"
)

const mirror = "http://127.0.0.1:65001"

// registries are the entries of a registries.conf by what they are for, the last one winning.
func registries(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	var file map[string]any
	if err := toml.Unmarshal([]byte(strings.TrimPrefix(text, "\ufeff")), &file); err != nil {
		t.Fatalf("%v, of %q", err, text)
	}
	all := map[string]map[string]any{}
	list, _ := file["registry"].([]any)
	for _, v := range list {
		entry, _ := v.(map[string]any)
		prefix, _ := entry["prefix"].(string)
		if prefix == "" {
			prefix, _ = entry["location"].(string)
		}
		all[prefix] = entry
	}
	return all
}

// FuzzRegistries has an arbitrary registries.conf: the drop-in for CRI-O and Podman repeats its entries, with the mirror in front.
func FuzzRegistries(f *testing.F) {
	for _, text := range []string{
		"", "[[registry]]\nprefix = \"docker.io\"\n", "[[registry]]\nlocation = 'quay.io'\n[[registry.mirror]]\nlocation = 'a:5000'\ninsecure = true\n",
		"[registries.search]\nregistries = []\n", "registry = [{prefix = '*.b', blocked = true}, {location = ''}]\n", "registry = [1, 'a']\n",
		"[[registry]]\nprefix = 'a/b'\nlocation = 'c/d'\nmirror = 'x'\n", "\ufeffunqualified-search-registries = ['docker.io']\r\n", "[registry]\nprefix = 'a'\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := node.New(files{"/etc/containers/registries.conf": text}, node.Request{Mirror: mirror}, node.CRIO)
		if err != nil || len(p.Blocked) > 0 {
			return
		}
		if len(p.Changes) != 1 {
			t.Fatalf("of %q got %d changes, want a drop-in", text, len(p.Changes))
		}
		before := registries(t, text)
		for prefix, entry := range registries(t, string(p.Changes[0].New)) {
			location, _ := entry["location"].(string)
			mirrors, _ := entry["mirror"].([]any)
			if len(mirrors) == 0 || !reflect.DeepEqual(mirrors[0], map[string]any{"location": "127.0.0.1:65001/" + location, "insecure": true}) {
				t.Errorf("of %q got %v for %q, want the mirror first", text, entry, prefix)
				continue
			}
			was := maps.Clone(before[prefix])
			if had, _ := was["mirror"].([]any); len(had) != len(mirrors)-1 || len(had) > 0 && !reflect.DeepEqual(had, mirrors[1:]) {
				t.Errorf("of %q got the mirrors %v for %q", text, mirrors, prefix)
			}
			for _, key := range []string{"prefix", "location", "mirror"} {
				delete(was, key)
				delete(entry, key)
			}
			if len(was)+len(entry) > 0 && !reflect.DeepEqual(was, entry) {
				t.Errorf("of %q got %v for %q, want %v", text, entry, prefix, was)
			}
		}
	})
}

// FuzzUnit has an arbitrary unit of Docker: with the drop-in beside it, the mirror is there, and nothing more is to be done.
func FuzzUnit(f *testing.F) {
	for _, text := range []string{
		"", "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n", "[Service]\r\nExecStart=/usr/bin/dockerd \\\r\n  -H fd://\r\n", "[Service]\nExecStart=\nExecStart = a\n",
		"[Unit]\nExecStart=x\n[Service]\n", "[Service]\nExecStart=dockerd --registry-mirror=https://a\n", "[Service]\nExecStart=dockerd --config-file \"/x y\"\n",
		"[Service]\nExecStart=a \\\n# between\n  b\n", "[Service]\nExecStart=a \\", "\ufeff[Service]\nExecStart=a\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree := files{"/lib/systemd/system/docker.service": text}
		request := node.Request{Mirror: mirror, DockerMethod: node.DropIn}
		p, err := node.New(tree, request, node.Docker)
		if err != nil || len(p.Blocked) > 0 || len(p.Changes) == 0 {
			return
		}
		dropIn := string(p.Changes[0].New)
		if n := strings.Count(dropIn, "\n"); n != 4 || !strings.Contains(dropIn, "\nExecStart=\nExecStart=") || !strings.Contains(dropIn, "--registry-mirror "+mirror) {
			t.Errorf("of %q got %q", text, dropIn)
		}
		tree[p.Changes[0].Path] = dropIn
		again, err := node.New(tree, request, node.Docker)
		if err != nil || len(again.Blocked) > 0 || len(again.Changes) > 0 {
			t.Errorf("of %q got %q, and beside that %v, %v", text, dropIn, again, err)
		}
	})
}
