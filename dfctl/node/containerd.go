package node

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

const (
	containerdConfig = "/etc/containerd/config.toml"
	certsDir         = "/etc/containerd/certs.d"
	containerdDropIn = "dragonfly.toml"
	restartContainer = "systemctl restart containerd"
)

// planContainerd writes hosts.toml files, which containerd reads at each pull, and config_path, which names their directory and which it
// reads when it starts: https://github.com/containerd/containerd/blob/main/docs/hosts.md
func planContainerd(tree Tree, req *Request, p *Plan) error {
	cfg, err := readContainerd(tree)
	if err != nil {
		return err
	}
	if why := cfg.obstacle(); why != "" {
		p.blockf("%s", why)
		return nil
	}
	for _, name := range cfg.auths() {
		p.notef("%s has credentials for %q, which containerd sends to that registry only: its private images are pulled from it directly",
			containerdConfig, name)
	}
	dirs := strings.Split(cfg.configPath(), ":")
	change, err := cfg.point(tree, &dirs, p)
	if err != nil {
		return err
	}
	if err := planHosts(tree, dirs, req, p); err != nil {
		return err
	}
	if change != nil { // behind the files that it leads to
		p.Changes = append(p.Changes, *change)
	}
	return nil
}

// planHosts puts the mirror first in the hosts.toml files of the directories.
func planHosts(tree Tree, dirs []string, req *Request, p *Plan) error {
	hosts := map[string]string{} // the directory of each registry that has one, the first that containerd finds
	var order []string
	for _, dir := range dirs {
		all, err := list(tree, dir)
		if err != nil {
			return err
		}
		for _, host := range all {
			if _, ok := hosts[host]; !ok && (tree.Exists(path.Join(dir, host, "hosts.toml")) || onlyCertificates(tree, path.Join(dir, host))) {
				hosts[host] = path.Join(dir, host)
				order = append(order, host)
			}
		}
	}
	if len(req.Registries) > 0 {
		order = req.Registries
	} else {
		order = append(slices.DeleteFunc(order, func(host string) bool { return host == AllRegistries }), AllRegistries)
	}
	for _, host := range order {
		dir := hosts[host]
		if dir == "" {
			dir = path.Join(newDir(dirs, hosts), host)
		}
		if err := planHost(tree, dir, req, p); err != nil {
			return err
		}
	}
	return nil
}

// newDir is the directory for a registry that has none. containerd takes _default of the first directory before any registry of the
// next, so it belongs behind all that have registries.
func newDir(dirs []string, hosts map[string]string) string {
	for _, dir := range slices.Backward(dirs) {
		for _, has := range hosts {
			if path.Dir(has) == dir {
				return dir
			}
		}
	}
	return dirs[0]
}

// onlyCertificates reports whether a registry has certificates as files, which containerd uses as long as there is no hosts.toml.
func onlyCertificates(tree Tree, dir string) bool {
	all, err := list(tree, dir)
	return err == nil && slices.ContainsFunc(all, func(name string) bool {
		return slices.Contains([]string{".crt", ".cert", ".key"}, path.Ext(name))
	}) && !slices.Contains(all, "hosts.toml")
}

// planHost puts the mirror first in a registry's hosts.toml.
func planHost(tree Tree, dir string, req *Request, p *Plan) error {
	name := path.Join(dir, "hosts.toml")
	if onlyCertificates(tree, dir) {
		p.notef("%s has certificates, which containerd would not use beside a hosts.toml: left as it is, and this registry is pulled from directly", dir)
		return nil
	}
	text, err := read(tree, name)
	if err != nil {
		return err
	}
	table, err := edit.ReadTOML(text)
	if err != nil {
		return within(name, err)
	}
	out, err := table.PrependTable("host", req.mirror(), `capabilities = ["pull", "resolve"]`)
	switch {
	case errors.Is(err, edit.ErrBehind):
		p.notef("%s has the mirror behind others: left as it is", name)
		return nil
	case err != nil:
		return within(name, err)
	}
	p.Changes = append(p.Changes, Change{Path: name, New: out, Perm: 0o644, Format: edit.TOML, Mark: req.mirrorHost()})
	return nil
}

// point makes the configuration lead to the directories of hosts.toml files. It returns no change where it does so already, and may
// reduce the directories to those that count.
func (c *containerdFiles) point(tree Tree, dirs *[]string, p *Plan) (*Change, error) {
	wanted := strings.Join(*dirs, ":")
	owner := c.owner()
	switch {
	case wanted == "":
		wanted = certsDir
		*dirs = []string{certsDir}
	case len(*dirs) > 1:
		if owner == nil || owner.version < 3 || !empty(tree, (*dirs)[1:]) {
			p.notef("config_path is a list, %q, which containerd 2.1 and 2.2 take for the name of one directory "+
				"(https://github.com/containerd/containerd/issues/12808): with these, set it to one directory", wanted)
			break
		}
		// Those versions are the ones that read this version of the configuration, and nothing is lost.
		wanted = (*dirs)[0]
		*dirs = []string{wanted}
	}
	change := &Change{Perm: 0o644, Format: edit.TOML, Mark: wanted, Common: true, Needs: []string{restartContainer}}
	if owner == nil {
		return change, c.create(change, wanted)
	}
	out, err := owner.table.SetString(wanted, owner.registry("config_path")...)
	if err != nil {
		return nil, within(owner.name, err)
	}
	change.Path, change.New = owner.name, out
	return change, nil
}

// create says where config_path goes if no file has a section of the plugin. In a section of its own in a file beside others it would
// take the place of theirs with containerd 1.x, which does not merge sections.
func (c *containerdFiles) create(change *Change, dir string) error {
	version := c.version()
	section := "[" + quotedPath(registryPath(version, "")) + "]\n  config_path = \"" + dir + "\"\n"
	if len(c.files) > 0 && c.files[0].name == containerdConfig {
		if into := c.dropInDir(); into != "" {
			change.Path = path.Join(into, containerdDropIn)
			change.New = fmt.Appendf(nil, "# Written by dfctl node-config, which also removes it: dfctl node-config rollback\nversion = %d\n\n%s", version, section)
			return nil
		}
		out, err := c.files[0].table.SetString(dir, registryPath(version, "config_path")...)
		if err != nil {
			return within(containerdConfig, err)
		}
		change.Path, change.New = containerdConfig, out
		return nil
	}
	imports := ""
	if len(c.files) > 0 {
		imports = "imports = [\"" + confDir + "/*.toml\"]\n"
	}
	change.Path = containerdConfig
	change.New = fmt.Appendf(nil, "# Written by dfctl node-config, which also removes it: dfctl node-config rollback\nversion = %d\n%s\n%s", version, imports, section)
	return nil
}

// empty reports whether directories hold nothing.
func empty(tree Tree, dirs []string) bool {
	for _, dir := range dirs {
		if all, err := list(tree, dir); err != nil || len(all) > 0 {
			return false
		}
	}
	return true
}

func quotedPath(all []string) string {
	out := make([]string, len(all))
	for i, key := range all {
		out[i] = key
		if strings.Contains(key, ".") {
			out[i] = `"` + key + `"`
		}
	}
	return strings.Join(out, ".")
}
