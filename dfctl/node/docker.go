package node

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/dfctl/node/edit"
)

const (
	daemonJSON  = "/etc/docker/daemon.json"
	mirrorsKey  = "registry-mirrors"
	mirrorsFlag = "--registry-mirror"
	// dockerDropIn sorts behind what others are called, because the last ExecStart wins.
	dockerDropIn = "/etc/systemd/system/docker.service.d/zz-dragonfly.conf"
)

var configFile = regexp.MustCompile(`--config-file[= ]"?([^\s"]+)`)

// planDocker uses one of the two ways that dockerd takes a mirror by. It refuses to start with both:
// https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
func planDocker(tree Tree, req *Request, p *Plan) error {
	unit, err := readUnit(tree, "docker.service")
	if err != nil {
		return err
	}
	name := daemonJSON
	if m := configFile.FindStringSubmatch(unit.command); m != nil {
		name = m[1]
	}
	text, err := read(tree, name)
	if err != nil {
		return err
	}
	inFile, err := edit.JSONStrings(text, mirrorsKey)
	if err != nil {
		return within(name, err)
	}
	if len(req.Registries) > 0 && !slices.Equal(req.Registries, []string{"docker.io"}) {
		p.notef("Docker uses mirrors for images of docker.io only; the registries named make no difference to it")
	}
	if req.DockerMethod == DropIn {
		if inFile != nil {
			p.blockf("%s has %s, and dockerd does not start if the unit gives %s too: use --docker-method %s", name, mirrorsKey, mirrorsFlag, DaemonJSON)
			return nil
		}
		return planDropIn(unit, req, p)
	}
	with, err := flagIn(tree, unit)
	if err != nil {
		return err
	}
	if with != "" {
		p.blockf("%s gives dockerd %s, and dockerd does not start if %s has %s too: use --docker-method %s, or take the option out there",
			with, mirrorsFlag, name, mirrorsKey, DropIn)
		return nil
	}
	out, err := edit.PrependJSON(text, mirrorsKey, req.mirror())
	if err != nil {
		return within(name, err)
	}
	change := Change{
		Path: name, New: out, Perm: 0o644, Format: edit.JSON, Mark: req.mirrorHost(),
		Key: mirrorsKey, Value: req.mirror(), Needs: []string{"systemctl reload docker"},
	}
	if inFile == nil {
		// A reload takes over mirrors that are in the file, and keeps those it had where the file has none.
		change.UndoNeeds = []string{"systemctl restart docker"}
	}
	p.Changes = append(p.Changes, change)
	return nil
}

// planDropIn repeats the unit's command with the mirror in a drop-in.
func planDropIn(unit unit, req *Request, p *Plan) error {
	switch {
	case unit.command == "":
		p.blockf("docker.service gives no command to repeat in a drop-in: use --docker-method %s", DaemonJSON)
		return nil
	case unit.dropIn && path.Base(unit.last) > path.Base(dockerDropIn):
		p.blockf("%s sets ExecStart behind %s, so that the latter would have no effect: rename it, or use --docker-method %s", unit.last, dockerDropIn, DaemonJSON)
		return nil
	case strings.Contains(unit.command, req.mirror()):
		p.notef("%s gives dockerd the mirror already", unit.last)
		return nil
	}
	option := mirrorsFlag + " " + req.mirror()
	command := unit.command + " " + option
	if i := strings.Index(command, mirrorsFlag); i < len(unit.command) {
		command = unit.command[:i] + option + " " + unit.command[i:]
	}
	p.Changes = append(p.Changes, Change{
		Path: dockerDropIn, Perm: 0o644, Format: edit.Plain, Mark: req.mirrorHost(),
		New:   fmt.Appendf(nil, "# Written by dfctl node-config, which also removes it: dfctl node-config rollback\n[Service]\nExecStart=\nExecStart=%s\n", command),
		Needs: []string{"systemctl daemon-reload", "systemctl restart docker"},
	})
	return nil
}

// flagIn is the file that gives dockerd the option for a mirror, "" for none.
func flagIn(tree Tree, unit unit) (string, error) {
	if strings.Contains(unit.command, mirrorsFlag) {
		return unit.last, nil
	}
	for _, name := range []string{"/etc/default/docker", "/etc/sysconfig/docker"} {
		text, err := read(tree, name)
		if err != nil {
			return "", err
		}
		for line := range bytes.Lines(text) {
			if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) && bytes.Contains(line, []byte(mirrorsFlag)) {
				return name, nil
			}
		}
	}
	return "", nil
}
