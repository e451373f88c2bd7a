package node

import (
	"slices"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

// planRancher edits the registries.yaml of k3s or rke2, from which they write containerd's files when they start.
func planRancher(tree Tree, req *Request, p *Plan, runtime Runtime) error {
	name := "/etc/rancher/" + string(runtime) + "/registries.yaml"
	text, err := read(tree, name)
	if err != nil {
		return err
	}
	mirrors, err := edit.ReadMirrors(text)
	if err != nil {
		return within(name, err)
	}
	wanted := slices.Clone(req.Registries)
	if len(wanted) == 0 {
		// An entry of its own keeps a registry from using the entry for all.
		wanted = append([]string{AllRegistries}, mirrors.Names()...)
	}
	var registries []string
	for _, registry := range wanted {
		if registry == AllRegistries {
			registry = "*"
		}
		if mirrors.Rewrites(registry) {
			p.notef("%s: the paths of %q are rewritten for all of its endpoints, so dfdaemon would be asked for other names: left as it is", name, registry)
			continue
		}
		if !slices.Contains(registries, registry) {
			registries = append(registries, registry)
		}
	}
	for _, registry := range mirrors.Credentials() {
		p.notef("%s has credentials for %q, which the runtime sends to that registry only: its private images are pulled from it directly", name, registry)
	}
	out, err := mirrors.Prepend(req.mirror(), registries...)
	if err != nil {
		return within(name, err)
	}
	p.Changes = append(p.Changes, Change{
		Path: name, New: out, Perm: 0o600, Format: edit.YAML, Mark: req.mirrorHost(), Needs: []string{"systemctl restart " + rancherUnit(tree, runtime)},
	})
	return nil
}

// rancherUnit is the service that the host runs.
func rancherUnit(tree Tree, runtime Runtime) string {
	units := []string{"k3s", "k3s-agent"}
	if runtime == RKE2 {
		units = []string{"rke2-server", "rke2-agent"}
	}
	for _, unit := range units {
		// An install script writes both of rke2's units and enables one of them.
		if tree.Exists("/etc/systemd/system/multi-user.target.wants/" + unit + ".service") {
			return unit
		}
	}
	for _, unit := range units {
		if tree.Exists("/etc/systemd/system/" + unit + ".service") {
			return unit
		}
	}
	return units[0]
}
