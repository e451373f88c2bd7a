package node

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

// confDir is what containerd imports by default since 2.2.
const confDir = "/etc/containerd/conf.d"

// The plugin that pulls images, by the version of the configuration.
const (
	criV1    = "cri"
	criV2    = "io.containerd.grpc.v1.cri"
	imagesV3 = "io.containerd.cri.v1.images"
)

// newest is the latest version of the configuration that is known.
const newest = 4

// containerdFile is config.toml or a file that it imports.
type containerdFile struct {
	name    string
	table   *edit.Table
	version int
}

// containerdFiles are in the order in which containerd reads them. Where there is no config.toml, they are those of confDir.
type containerdFiles struct{ files []containerdFile }

// readContainerd reads config.toml and what it imports.
func readContainerd(tree Tree) (*containerdFiles, error) {
	c := &containerdFiles{}
	text, err := read(tree, containerdConfig)
	if err != nil {
		return nil, err
	}
	pending := []string{containerdConfig}
	if text == nil {
		if pending, err = glob(tree, confDir+"/*.toml"); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		f, err := readContainerdFile(tree, name)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
		for _, pattern := range f.imports() {
			all, err := glob(tree, pattern)
			if err != nil {
				return nil, err
			}
			pending = append(pending, all...)
		}
	}
	return c, nil
}

func readContainerdFile(tree Tree, name string) (containerdFile, error) {
	f := containerdFile{name: name}
	text, err := tree.ReadFile(name)
	if err != nil {
		return f, err
	}
	if f.table, err = edit.ReadTOML(text); err != nil {
		return f, within(name, err)
	}
	version, _ := f.table.Get("version").(int64)
	f.version = int(version)
	return f, nil
}

// imports are the patterns of the files that a file imports, as absolute paths.
func (f *containerdFile) imports() []string {
	list, _ := f.table.Get("imports").([]any)
	var all []string
	for _, v := range list {
		pattern, _ := v.(string)
		if pattern == "" {
			continue
		}
		if !path.IsAbs(pattern) {
			pattern = path.Join(path.Dir(f.name), pattern)
		}
		all = append(all, path.Clean(pattern))
	}
	return all
}

// glob lists the files of a pattern, which has wildcards in the name only.
func glob(tree Tree, pattern string) ([]string, error) {
	if !strings.ContainsAny(path.Base(pattern), "*?[") {
		return []string{pattern}, nil
	}
	all, err := list(tree, path.Dir(pattern))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range all {
		if ok, _ := path.Match(path.Base(pattern), name); ok {
			found = append(found, path.Join(path.Dir(pattern), name))
		}
	}
	return found, nil
}

// registryPath is where a version has the configuration of registries. key is left out where it is "".
func registryPath(version int, key string) []string {
	plugin := imagesV3
	switch version {
	case 0, 1:
		plugin = criV1
	case 2:
		plugin = criV2
	}
	all := []string{"plugins", plugin, "registry"}
	if key != "" {
		all = append(all, key)
	}
	return all
}

// plugin is the name by which the file has a section for pulling images, "" where it has none. A file without a version may use the
// names of its importer.
func (f *containerdFile) plugin() string {
	names := []string{imagesV3}
	switch f.version {
	case 0, 1:
		names = []string{criV1, criV2, imagesV3}
	case 2:
		names = []string{criV2}
	}
	for _, name := range names {
		if f.table.Get("plugins", name) != nil {
			return name
		}
	}
	return ""
}

// registry is the path of a key of the file's configuration of registries.
func (f *containerdFile) registry(keys ...string) []string {
	return append([]string{"plugins", f.plugin(), "registry"}, keys...)
}

// owner is the file whose section for pulling images is in force: the last. containerd 1.x takes its section alone, 2.x merges it over
// the others.
func (c *containerdFiles) owner() *containerdFile {
	for i := range slices.Backward(c.files) {
		if c.files[i].plugin() != "" {
			return &c.files[i]
		}
	}
	return nil
}

// configPath is the one in force, "" for none.
func (c *containerdFiles) configPath() string {
	for i := range slices.Backward(c.files) {
		f := &c.files[i]
		if f.plugin() == "" {
			continue
		}
		if dir, _ := f.table.Get(f.registry("config_path")...).(string); dir != "" {
			return dir
		}
	}
	return ""
}

// version is that of config.toml, or the one that a new config.toml has to have: files may not import higher ones.
func (c *containerdFiles) version() int {
	if len(c.files) > 0 && c.files[0].name == containerdConfig {
		return c.files[0].version
	}
	version := 2
	for _, f := range c.files {
		version = max(version, f.version)
	}
	return version
}

// dropInDir is a directory all of whose *.toml files config.toml imports, "" for none.
func (c *containerdFiles) dropInDir() string {
	for _, pattern := range c.files[0].imports() {
		if ok, _ := path.Match(path.Base(pattern), containerdDropIn); ok && strings.Contains(path.Base(pattern), "*") {
			return path.Dir(pattern)
		}
	}
	return ""
}

// obstacle says why config_path must not be set, "" where it may.
func (c *containerdFiles) obstacle() string {
	if c.version() > newest {
		return fmt.Sprintf("%s has version %d, and this dfctl knows those up to %d", containerdConfig, c.version(), newest)
	}
	for i := range c.files {
		f := &c.files[i]
		if disabled(f) {
			return f.name + " disables the plugin that pulls images for Kubernetes (disabled_plugins)"
		}
		if f.plugin() == "" {
			continue
		}
		if mirrors, _ := f.table.Get(f.registry("mirrors")...).(map[string]any); len(mirrors) > 0 {
			return fmt.Sprintf("%s has registry.mirrors (%s), and containerd does not pull at all if config_path is set beside them: "+
				"move them to hosts.toml files under %s, then apply again", f.name, strings.Join(slices.Sorted(maps.Keys(mirrors)), ", "), certsDir)
		}
		configs, _ := f.table.Get(f.registry("configs")...).(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			if entry, _ := configs[name].(map[string]any); entry["tls"] != nil {
				return fmt.Sprintf("%s has registry.configs.%q.tls, and containerd does not pull at all if config_path is set beside it: "+
					"move it to a hosts.toml file under %s, then apply again", f.name, name, certsDir)
			}
		}
	}
	return ""
}

// disabled reports whether a file switches the plugin for Kubernetes off.
func disabled(f *containerdFile) bool {
	list, _ := f.table.Get("disabled_plugins").([]any)
	return slices.ContainsFunc(list, func(v any) bool { return v == criV1 || v == criV2 || v == imagesV3 })
}

// criOff reports whether the host's containerd does not serve Kubernetes.
func criOff(tree Tree) (bool, error) {
	c, err := readContainerd(tree)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(c.files, func(f containerdFile) bool { return disabled(&f) }), nil
}

// auths are the registries that the configuration has credentials for.
func (c *containerdFiles) auths() []string {
	found := map[string]bool{}
	for i := range c.files {
		f := &c.files[i]
		auths, _ := f.table.Get(f.registry("auths")...).(map[string]any)
		for name := range auths {
			found[name] = true
		}
		configs, _ := f.table.Get(f.registry("configs")...).(map[string]any)
		for name, v := range configs {
			if entry, _ := v.(map[string]any); entry["auth"] != nil {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
