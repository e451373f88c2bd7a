package supernode

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
)

// secretFile is what the supernode reads, and owner the user that its image runs as.
const (
	secretFile = "/etc/dragonfly/secret" //nolint:gosec // a file's name
	owner      = 65532
)

// name is the container's, as in the notes that Helm prints.
const name = "supernode"

// DockerRun is a static pod's manifest as commands of a shell. Docker's bridge hides the address at which nodes reach the supernode, so it
// is told; empty means that the commands find it out.
func DockerRun(manifest, address string) (string, error) {
	pod, err := decode(manifest)
	if err != nil {
		return "", err
	}
	container := &pod.Spec.Containers[0]
	mounts, dirs, err := hostMounts(&pod, container)
	if err != nil {
		return "", err
	}
	env, err := variables(container)
	if err != nil {
		return "", err
	}
	if address == "" {
		address = "$(hostname -I | cut -d ' ' -f 1)"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Runs a supernode with Docker, in a shell of root on its host. To run it again: docker rm -f %s first.\n", name)
	fmt.Fprintf(&b, "# The user %d of the image writes there.\n", owner)
	fmt.Fprintf(&b, "install -d -o %d -g %d %s\n", owner, owner, strings.Join(dirs, " "))
	fmt.Fprintf(&b, "# The cluster secret is the same on all supernodes and nodes, so it is not made here.\n")
	fmt.Fprintf(&b, "[ -s %s ] || { echo 'put the cluster secret into %s first' >&2; exit 1; }\n", secretFile, secretFile)
	fmt.Fprintf(&b, "chown %d %s && chmod 400 %s\n", owner, secretFile, secretFile)
	fmt.Fprintf(&b, "# The address at which the nodes reach this host.\naddress=%s\n\n", address)
	lines := []string{"docker run -d --name " + name + " --restart unless-stopped"}
	lines = append(lines, published(container), mounts)
	lines = append(lines, "--read-only --cap-drop ALL --security-opt no-new-privileges"+limits(container))
	lines = append(lines, strings.Join(append([]string{`-e DRAGONFLY_ADVERTISE_ADDR="$address"`}, env...), " "))
	lines = append(lines, quote(container.Image))
	for _, arg := range container.Args {
		lines = append(lines, quote(arg))
	}
	b.WriteString(strings.Join(lines, " \\\n  ") + "\n")
	return b.String(), nil
}

// published are the options for the container's ports.
func published(c *corev1.Container) string {
	var out []string
	for _, p := range c.Ports {
		out = append(out, fmt.Sprintf("-p %d:%d", p.ContainerPort, p.ContainerPort))
	}
	return strings.Join(out, " ")
}

// hostMounts are the options for the container's volumes, and the directories that it writes to.
func hostMounts(pod *corev1.Pod, c *corev1.Container) (options string, dirs []string, err error) {
	var out []string
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 || pod.Spec.Volumes[i].HostPath == nil {
			return "", nil, fmt.Errorf("%w: the volume %q is not of the host", helm.ErrOptions, m.Name)
		}
		host := pod.Spec.Volumes[i].HostPath.Path
		option := "-v " + quote(path.Join(host, m.SubPath)+":"+m.MountPath)
		if m.ReadOnly {
			option += ":ro"
		} else {
			dirs = append(dirs, quote(host))
		}
		out = append(out, option)
	}
	return strings.Join(out, " "), dirs, nil
}

// variables are the options for the container's environment.
func variables(c *corev1.Container) ([]string, error) {
	var out []string
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			return nil, fmt.Errorf("%w: the variable %s takes its value from the cluster, which a container outside it can't", helm.ErrOptions, e.Name)
		}
		out = append(out, "-e "+quote(e.Name+"="+e.Value))
	}
	return out, nil
}

func limits(c *corev1.Container) string {
	out := ""
	if memory, ok := c.Resources.Limits[corev1.ResourceMemory]; ok {
		out += fmt.Sprintf(" --memory %d", memory.Value())
	}
	if cpu, ok := c.Resources.Limits[corev1.ResourceCPU]; ok {
		out += fmt.Sprintf(" --cpus %g", cpu.AsApproximateFloat64())
	}
	return out
}

// quote makes a text one word of a shell.
func quote(text string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`).MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
