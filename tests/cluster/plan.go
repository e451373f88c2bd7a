// Package cluster starts a supernode and some dfdaemons as processes on loopback, for the demo and the end-to-end tests.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// Node says where one program listens and keeps its files; Args are further arguments. Addresses are "ip:port", "" where the program has none of the kind.
// Via is a command that runs the program given as its last arguments, in its place and with its process id; empty is none.
type Node struct {
	Name   string
	Host   string
	Mirror string // dfdaemon: the registry mirror that clients pull from
	Peer   string // dfdaemon: pieces for others
	Admin  string // dfdaemon: status and metrics; supernode: control plane
	Pieces string // supernode: pieces
	Dir    string // its data
	Args   []string
	Via    []string
}

// Addrs are all addresses the node listens on, each with what it is for.
func (n Node) Addrs() map[string]string {
	all := map[string]string{n.Mirror: "mirror", n.Peer: "peer", n.Admin: "admin", n.Pieces: "pieces"}
	delete(all, "")
	return all
}

// Plan is where the programs of a cluster listen.
type Plan struct {
	Supernode Node
	Nodes     []Node
}

// NewPlan gives the supernode the address 127.0.0.first and each of n dfdaemons the next, so that all use the ports they use on
// real machines. Where only 127.0.0.1 exists, as on macOS, they share it and the ports differ. Data goes below dir.
func NewPlan(ctx context.Context, first, n int, dir string) Plan {
	return plan(first, n, dir, ownAddresses(ctx))
}

func plan(first, n int, dir string, ownAddress bool) Plan {
	at := func(i, port int) string {
		if ownAddress {
			return net.JoinHostPort(fmt.Sprintf("127.0.0.%d", first+i), strconv.Itoa(port))
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+port%10000+100*(first+i)))
	}
	p := Plan{Supernode: Node{
		Name: "supernode", Admin: at(0, api.RegisterPort), Pieces: at(0, api.DownloadPort), Dir: filepath.Join(dir, "supernode"),
	}}
	p.Supernode.Host, _, _ = net.SplitHostPort(p.Supernode.Admin)
	for i := 1; i <= n; i++ {
		node := Node{
			Name: fmt.Sprintf("node %d", i), Mirror: at(i, api.MirrorPort), Peer: at(i, api.PeerPort), Admin: at(i, api.AdminPort),
			Dir: filepath.Join(dir, fmt.Sprintf("node-%d", i)),
		}
		node.Host, _, _ = net.SplitHostPort(node.Mirror)
		p.Nodes = append(p.Nodes, node)
	}
	return p
}

// ownAddresses reports whether this machine lets programs listen on any 127.0.0.x.
func ownAddresses(ctx context.Context) bool {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.11:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// CheckFree says which of the plan's addresses are taken, by whom where that can be told, and what to do.
func (p Plan) CheckFree(ctx context.Context) error {
	var taken []error
	for _, n := range append([]Node{p.Supernode}, p.Nodes...) {
		for addr, use := range n.Addrs() {
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
			switch {
			case err == nil:
				_ = l.Close()
			case errors.Is(err, syscall.EADDRINUSE):
				taken = append(taken, fmt.Errorf("%s, the %s address of %s, is taken%s", addr, use, n.Name, process.Listener(addr)))
			default:
				taken = append(taken, fmt.Errorf("can't listen on %s, the %s address of %s: %w", addr, use, n.Name, err))
			}
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return fmt.Errorf("%w\nstop what listens there (another demo? a dfdaemon of this machine?) and start again", errors.Join(taken...))
}
