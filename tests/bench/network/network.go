package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Network is a set of hosts behind one switch.
type Network struct {
	ends []endpoint
}

// New makes the network, and removes what an earlier run left. It needs root. The caller removes it, also after an error.
func New(ctx context.Context, hosts []Host) (*Network, error) {
	n := &Network{}
	if os.Geteuid() != 0 {
		return n, errors.New("network namespaces need root")
	}
	management, ends, err := plan(hosts)
	if err != nil {
		return n, err
	}
	if err := RemoveStale(ctx); err != nil {
		return n, err
	}
	n.ends = ends
	if err := n.make(ctx, management); err != nil {
		return n, fmt.Errorf("make the network: %w", err)
	}
	return n, nil
}

func (n *Network) make(ctx context.Context, management endpoint) error {
	all := append([]endpoint{management}, n.ends...)
	outside := []string{"netns add " + switchNamespace}
	for _, e := range n.ends {
		outside = append(outside, "netns add "+e.namespace,
			fmt.Sprintf("link add eth0 netns %s address %s type veth peer name %s netns %s", e.namespace, e.mac, e.port, switchNamespace))
	}
	outside = append(outside,
		fmt.Sprintf("link add %s address %s type veth peer name %s netns %s", managementPort, management.mac, management.port, switchNamespace),
		fmt.Sprintf("link set %s addrgenmode none", managementPort),
		fmt.Sprintf("addr add %s/%d dev %s", management.addr, prefixBits, managementPort),
		fmt.Sprintf("link set %s up", managementPort))
	for _, e := range n.ends {
		outside = append(outside, fmt.Sprintf("neigh add %s lladdr %s dev %s nud permanent", e.addr, e.mac, managementPort))
	}
	if err := batch(ctx, "ip", "", outside); err != nil {
		return err
	}
	if err := batch(ctx, "ip", switchNamespace, switchCommands(all)); err != nil {
		return err
	}
	if err := switchOnly(ctx); err != nil {
		return err
	}
	if err := batch(ctx, "bridge", switchNamespace, forwardCommands(all)); err != nil {
		return err
	}
	var ports []string
	for _, e := range n.ends {
		if err := batch(ctx, "ip", e.namespace, hostCommands(e, all)); err != nil {
			return err
		}
		if err := batch(ctx, "tc", e.namespace, []string{shape("eth0", e.Rate)}); err != nil {
			return err
		}
		ports = append(ports, shape(e.port, e.Rate))
	}
	return batch(ctx, "tc", switchNamespace, ports)
}

// switchOnly has the bridge pass frames by this machine's packet filter, which container engines switch on for bridges: a twentieth of all
// work, for rules that are not there. Where that filter is not loaded there is nothing to switch.
func switchOnly(ctx context.Context) error {
	_, err := command.New("ip", "netns", "exec", switchNamespace, "sysctl", "-q", "-e", "-w",
		"net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0", "net.bridge.bridge-nf-call-arptables=0").Run(ctx)
	return err
}

// batch runs the commands, "" left out, with one call of the program inside the namespace; "" is this machine's own.
func batch(ctx context.Context, program, namespace string, cmds []string) error {
	cmds = slices.DeleteFunc(slices.Clone(cmds), func(c string) bool { return c == "" })
	if len(cmds) == 0 {
		return nil
	}
	c := command.New(program, "-batch", "-")
	if namespace != "" {
		c = command.New(program, "-n", namespace, "-batch", "-")
	}
	c.Stdin = strings.NewReader(strings.Join(cmds, "\n") + "\n")
	_, err := c.Run(ctx)
	return err
}

// Addr is the address of the i-th host, counted from 0.
func (n *Network) Addr(i int) string { return n.ends[i].addr.String() }

// Via is the beginning of a command line that runs on the i-th host.
func (n *Network) Via(i int) []string { return []string{"ip", "netns", "exec", n.ends[i].namespace} }

// Remove removes the network. Programs that still run in it are killed.
func (n *Network) Remove(ctx context.Context) error { return RemoveStale(ctx) }

// RemoveStale removes all that any run left: namespaces with the prefix and the programs in them.
func RemoveStale(ctx context.Context) error {
	out, err := command.New("ip", "netns", "list").Run(ctx)
	if err != nil {
		return fmt.Errorf("list the network namespaces: %w", err)
	}
	// The kernel removes a namespace's devices some time later; this one has to be gone at once.
	if _, err := net.InterfaceByName(managementPort); err == nil {
		if err := batch(ctx, "ip", "", []string{"link del " + managementPort}); err != nil {
			return fmt.Errorf("remove the link to the switch: %w", err)
		}
	}
	var gone []string
	for _, name := range namespaces(out) {
		pids, err := command.New("ip", "netns", "pids", name).Run(ctx)
		if err != nil {
			return fmt.Errorf("list the programs in %s: %w", name, err)
		}
		for pid := range strings.FieldsSeq(pids) {
			if p, err := strconv.Atoi(pid); err == nil && p != os.Getpid() {
				_ = syscall.Kill(p, syscall.SIGKILL) // it may have ended by itself
			}
		}
		gone = append(gone, "netns del "+name)
	}
	if err := batch(ctx, "ip", "", gone); err != nil {
		return fmt.Errorf("remove the network namespaces: %w", err)
	}
	return nil
}

// namespaces finds those of ours in what `ip netns list` prints.
func namespaces(list string) []string {
	var ours []string
	for line := range strings.Lines(list) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(name, Prefix) {
			ours = append(ours, name)
		}
	}
	return ours
}
