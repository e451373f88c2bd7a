// Package links gives the nodes of a cluster of kind links of a bounded rate, as real nodes have. Without, the nodes' packets are copies in
// memory, and whichever node starts first takes all from the seed before the others have anything to give.
//
// A node is a container with one virtual Ethernet pair to a bridge of this machine. What the node sends is held to the rate at the node's end
// of the pair, what it receives at the other end. What this machine itself sends to all nodes together, that is the registry's answers, is
// held to the same rate at the bridge's own device, which packets between nodes do not pass.
package links

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Rate of a link, in bit/s each way.
type Rate int64

// Mbit is a million bit/s.
const Mbit Rate = 1_000_000

// Engine is the Docker engine that runs the nodes.
type Engine interface {
	// Docker runs the docker command against the engine, with c's arguments.
	Docker(ctx context.Context, c command.Command) (string, error)
}

// Shape gives the nodes, and this machine in their network, links of the rate; 0 is no bound. It may be called again, with a node that has
// come or was restarted among the others.
func Shape(ctx context.Context, e Engine, rate Rate, nodes ...string) error {
	if _, err := exec.LookPath("tc"); err != nil {
		return errors.New("tc is missing (Debian: apt-get install iproute2)")
	}
	bridges := map[string]bool{}
	for _, node := range nodes {
		port, err := port(ctx, e, node)
		if err != nil {
			return fmt.Errorf("shape the link of node %s: %w", node, err)
		}
		bridge, err := os.Readlink("/sys/class/net/" + port + "/master")
		if err != nil {
			return fmt.Errorf("shape the link of node %s: find the bridge of %s: %w", node, port, err)
		}
		bridges[filepath.Base(bridge)] = true
		if _, err := e.Docker(ctx, command.Command{Args: append([]string{"exec", node, "tc"}, discipline(inside, rate)...)}); err != nil {
			return fmt.Errorf("shape the link of node %s: %w", node, err)
		}
		if _, err := command.New("tc", discipline(port, rate)...).Run(ctx); err != nil {
			return fmt.Errorf("shape the link to node %s: %w", node, err)
		}
	}
	for bridge := range bridges {
		if _, err := command.New("tc", discipline(bridge, rate)...).Run(ctx); err != nil {
			return fmt.Errorf("shape the link of this machine: %w", err)
		}
	}
	return nil
}

// inside is a node's own name for its end of the pair.
const inside = "eth0"

// port is this machine's end of the pair of a node.
func port(ctx context.Context, e Engine, node string) (string, error) {
	out, err := e.Docker(ctx, command.New("", "exec", node, "cat", "/sys/class/net/"+inside+"/iflink"))
	if err != nil {
		return "", err
	}
	index, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return "", err
	}
	device, err := net.InterfaceByIndex(index)
	if err != nil {
		return "", fmt.Errorf("interface %d is not on this machine, where the engine has to run: %w", index, err)
	}
	return device.Name, nil
}

// The queue is that of a switch with shallow buffers. The burst has room for the biggest packet the kernel makes.
const (
	burst   = 128 << 10 // bytes
	latency = "25ms"
)

// discipline is the tc command that holds what leaves a device to the rate. "noqueue" is what a virtual device has by itself.
func discipline(device string, rate Rate) []string {
	args := []string{"qdisc", "replace", "dev", device, "root"}
	if rate == 0 {
		return append(args, "noqueue")
	}
	return append(args, "tbf", "rate", fmt.Sprintf("%dbit", rate), "burst", strconv.Itoa(burst), "latency", latency)
}
