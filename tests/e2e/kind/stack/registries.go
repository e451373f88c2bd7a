package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/authority"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/cluster"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/origin"
)

// Registries of the cluster. All are at this machine's address in the nodes' network.
type Registries struct {
	// Origin speaks plain HTTP and answers everybody.
	Origin *origin.Origin
	// Private has a certificate of a private authority and asks for a password.
	Private *origin.Origin
	// Mirror is the nodes' way to the images of Mirrored: it has a certificate of the private authority and answers everybody.
	Mirror *origin.Origin
}

const (
	// Mirrored is a registry that nobody reaches but by the nodes' mirror of it.
	Mirrored = "mirrored.test"
	// Unknown is a registry that nobody reaches but by the mirror for all, on nodes that have one.
	Unknown = "unknown.test"

	originPort, privatePort, mirrorPort = "5000", "5443", "5444"
)

// newRegistries describes them. Certificates are made when there is an address.
func newRegistries(dir, ip string) (Registries, error) {
	var trust authority.Files
	if ip != "" {
		var err error
		if trust, err = authority.Open(dir+"/authority", ip); err != nil {
			return Registries{}, err
		}
	}
	at := func(port string) string { return net.JoinHostPort(ip, port) }
	return Registries{
		Origin:  origin.New(origin.Config{Name: "registry", Dir: dir, Addr: at(originPort)}),
		Private: origin.New(origin.Config{Name: "private", Dir: dir, Addr: at(privatePort), TLS: &trust, User: "reader", Password: "of the tests"}),
		Mirror:  origin.New(origin.Config{Name: "mirror", Dir: dir, Addr: at(mirrorPort), TLS: &trust}),
	}, nil
}

func (r Registries) all() []*origin.Origin {
	return slices.DeleteFunc([]*origin.Origin{r.Origin, r.Private, r.Mirror}, func(o *origin.Origin) bool { return o == nil })
}

func (r Registries) start(ctx context.Context) error {
	for _, o := range r.all() {
		if err := o.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r Registries) remove() error {
	var err error
	for _, o := range r.all() {
		err = errors.Join(err, o.Remove())
	}
	return err
}

// caFile is where nodes have the certificate of the private authority.
const caFile = "/etc/ssl/e2e-private-ca.crt"

// Hosts is the file of a node that tells its containerd of a registry, "_default" for all that have none.
func Hosts(registry string) string { return "/etc/containerd/certs.d/" + registry + "/hosts.toml" }

// What operators have in such files. containerd 1.6 ignores one without a host.
const (
	plainHosts = `server = "http://%[1]s"

[host."http://%[1]s"]
  capabilities = ["pull", "resolve"]
`
	privateHosts = `# The company's registry, with a certificate of its own authority.
server = "https://%[1]s"
ca = "%[2]s"

[host."https://%[1]s"]
  capabilities = ["pull", "resolve", "push"]
  ca = "%[2]s"
`
	mirroredHosts = `server = "https://%[3]s"   # not reachable from here

[host."https://%[1]s"]
  capabilities = ["pull", "resolve"]
  ca = ["%[2]s"]
`
	defaultHosts = `# What no other file is for comes from the company's mirror.
[host."https://%[1]s"]
capabilities = ["pull", "resolve"]
ca = "%[2]s"
`
)

// Prepare gives a node the files that an operator gives it before there is any Dragonfly. A file that is there stays: Dragonfly may have
// added to it.
func (s *Stack) Prepare(ctx context.Context, node string, mirrorForAll bool) error {
	ca, err := os.ReadFile(s.Private.TLS.CA)
	if err != nil {
		return fmt.Errorf("prepare node %s: %w", node, err)
	}
	files := map[string]string{
		caFile:                string(ca),
		Hosts(s.Origin.Addr):  fmt.Sprintf(plainHosts, s.Origin.Addr),
		Hosts(s.Private.Addr): fmt.Sprintf(privateHosts, s.Private.Addr, caFile),
		Hosts(Mirrored):       fmt.Sprintf(mirroredHosts, s.Mirror.Addr, caFile, Mirrored),
	}
	if mirrorForAll {
		files[Hosts("_default")] = fmt.Sprintf(defaultHosts, s.Mirror.Addr, caFile)
	}
	for file, content := range files {
		if _, err := s.Cluster.Exec(ctx, node, "test", "-e", file); err == nil {
			continue
		}
		if err := s.Cluster.WriteFile(ctx, node, file, content); err != nil {
			return fmt.Errorf("prepare node %s: %w", node, err)
		}
	}
	return nil
}

// prepare prepares all nodes.
func (s *Stack) prepare(ctx context.Context) error {
	nodes, err := s.Cluster.Nodes(ctx)
	if err != nil {
		return err
	}
	withMirror := MirrorsForAll(nodes)
	for _, n := range nodes {
		if err := s.Prepare(ctx, n.Name, slices.Contains(withMirror, n.Name)); err != nil {
			return err
		}
	}
	return nil
}

// MirrorsForAll are the nodes that have a mirror for all registries: every other one, so that there are some of each container runtime.
func MirrorsForAll(nodes []cluster.Node) []string {
	var names []string
	for i, n := range nodes {
		if i%2 == 1 {
			names = append(names, n.Name)
		}
	}
	return names
}
