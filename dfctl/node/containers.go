package node

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

const (
	registriesConf = "/etc/containers/registries.conf"
	registriesDir  = "/etc/containers/registries.conf.d"
	// registriesDropIn sorts behind what others are called, because the last entry of a prefix wins.
	registriesDropIn = "zz-dragonfly.conf"
)

// planContainers writes a drop-in for CRI-O and Podman. It repeats what is configured for the registries, with the mirror first, because
// an entry in a drop-in takes the place of one with the same prefix:
// https://github.com/containers/image/blob/main/docs/containers-registries.conf.d.5.md
func planContainers(tree Tree, req *Request, p *Plan) error {
	entries, obstacle, err := readRegistries(tree)
	if err != nil {
		return err
	}
	if obstacle != "" {
		p.blockf("%s", obstacle)
		return nil
	}
	registries := req.Registries
	if len(registries) == 0 || slices.Contains(registries, AllRegistries) {
		registries = slices.DeleteFunc(slices.Concat(registries, WellKnown()), func(s string) bool { return s == AllRegistries })
		for prefix := range maps.Keys(entries) {
			if !strings.Contains(prefix, "*") && !slices.Contains(registries, prefix) {
				registries = append(registries, prefix)
			}
		}
	}
	registries = slices.Compact(slices.Sorted(slices.Values(registries)))
	var out []map[string]any
	for _, prefix := range registries {
		entry := maps.Clone(entries[prefix])
		if entry["blocked"] == true {
			p.notef("the registry %q is blocked in %s: left so", prefix, registriesConf)
			continue
		}
		if entry == nil {
			entry = map[string]any{"prefix": prefix}
		}
		location, _ := entry["location"].(string)
		if location == "" {
			location = prefix
		}
		if strings.Contains(location, ":") {
			p.notef("the registry %q is left as it is, and pulled from directly: it has a port, and CRI-O and Podman pull nothing where one is in "+
				"the path of a mirror", location)
			continue
		}
		out = append(out, withMirror(entry, location, req))
	}
	if len(out) == 0 {
		return nil
	}
	text, err := toml.Marshal(map[string]any{"registry": out})
	if err != nil {
		return fmt.Errorf("write the drop-in: %w", err)
	}
	p.Changes = append(p.Changes, Change{
		Path: path.Join(registriesDir, registriesDropIn), Perm: 0o644, Format: edit.TOML, Mark: req.mirrorHost(),
		New:   append([]byte("# Written by dfctl node-config, which also removes it: dfctl node-config rollback\n\n"), text...),
		Needs: reloadCRIO(tree),
	})
	return nil
}

// withMirror puts the mirror first in an entry.
func withMirror(entry map[string]any, location string, req *Request) map[string]any {
	entry["location"] = location
	// dfdaemon reads the registry from the beginning of the name.
	mirror := map[string]any{"location": req.mirrorHost() + "/" + location}
	if strings.HasPrefix(req.mirror(), "http:") {
		mirror["insecure"] = true
	}
	mirrors := []any{mirror}
	if others, ok := entry["mirror"].([]any); ok {
		mirrors = append(mirrors, others...)
	}
	entry["mirror"] = mirrors
	return entry
}

// reloadCRIO is the command for CRI-O, which reads its registries again when it is told to; Podman reads them at each pull.
func reloadCRIO(tree Tree) []string {
	if !slices.ContainsFunc([]string{"/run/crio/crio.sock", "/etc/crio/crio.conf", "/etc/crio/crio.conf.d"}, tree.Exists) {
		return nil
	}
	return []string{"systemctl reload crio"}
}

// readRegistries is what is configured for each prefix, the last file winning.
func readRegistries(tree Tree) (entries map[string]map[string]any, obstacle string, err error) {
	files := []string{registriesConf}
	all, err := list(tree, registriesDir)
	if err != nil {
		return nil, "", err
	}
	for _, name := range all {
		if strings.HasSuffix(name, ".conf") {
			files = append(files, path.Join(registriesDir, name))
		}
	}
	entries = map[string]map[string]any{}
	for _, name := range files {
		text, err := read(tree, name)
		if err != nil {
			return nil, "", err
		}
		table, err := edit.ReadTOML(text)
		if err != nil {
			return nil, "", within(name, err)
		}
		if table.Get("registries") != nil {
			return nil, name + " has version 1 of the format, [registries], beside which drop-ins are refused: write it in version 2, [[registry]]", nil
		}
		registries, _ := table.Get("registry").([]any)
		for _, v := range registries {
			entry, _ := v.(map[string]any)
			prefix, _ := entry["prefix"].(string)
			if location, _ := entry["location"].(string); prefix == "" {
				prefix = location
			}
			entries[prefix] = entry
		}
		if path.Base(name) > registriesDropIn && len(registries) > 0 {
			return nil, fmt.Sprintf("%s is read behind %s and could take its place: rename it", name, path.Join(registriesDir, registriesDropIn)), nil
		}
	}
	delete(entries, "")
	return entries, "", nil
}
