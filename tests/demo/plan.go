package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// node says where one program of the demo listens and keeps its files.
type node struct {
	name   string
	host   string
	mirror string // dfdaemon: the registry mirror that clients pull from
	peer   string // dfdaemon: pieces for others
	admin  string // dfdaemon: status; supernode: control plane
	pieces string // supernode: pieces
	dir    string
}

// addrs are all addresses the node listens on, each with what it is.
func (n node) addrs() map[string]string {
	all := map[string]string{n.mirror: "mirror", n.peer: "peer", n.admin: "admin", n.pieces: "pieces"}
	delete(all, "")
	return all
}

// plan gives the supernode and each dfdaemon a loopback address of its own, so that all use the ports they use on real machines.
// Where only 127.0.0.1 exists, as on macOS, they share it and the ports differ.
func plan(daemons int, dir string, ownAddress bool) (supernode node, nodes []node) {
	at := func(i, port int) string {
		if ownAddress {
			return net.JoinHostPort(fmt.Sprintf("127.0.0.%d", 10+i), strconv.Itoa(port))
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port%10000+20000+100*i))
	}
	host := func(addr string) string { h, _, _ := net.SplitHostPort(addr); return h }
	supernode = node{
		name: "supernode", admin: at(0, api.RegisterPort), pieces: at(0, api.DownloadPort), dir: filepath.Join(dir, "supernode"),
	}
	supernode.host = host(supernode.admin)
	for i := 1; i <= daemons; i++ {
		n := node{
			name: fmt.Sprintf("node %d", i), mirror: at(i, api.MirrorPort), peer: at(i, api.PeerPort), admin: at(i, api.AdminPort),
			dir: filepath.Join(dir, fmt.Sprintf("node-%d", i)),
		}
		n.host = host(n.mirror)
		nodes = append(nodes, n)
	}
	return supernode, nodes
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

// checkFree says which address is taken, by whom where that can be told, and what to do.
func checkFree(ctx context.Context, nodes ...node) error {
	var taken []error
	for _, n := range nodes {
		for addr, use := range n.addrs() {
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
			switch {
			case err == nil:
				_ = l.Close()
			case errors.Is(err, syscall.EADDRINUSE):
				taken = append(taken, fmt.Errorf("%s, the %s address of %s, is taken%s", addr, use, n.name, holder(addr)))
			default:
				taken = append(taken, fmt.Errorf("can't listen on %s, the %s address of %s: %w", addr, use, n.name, err))
			}
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return fmt.Errorf("%w\nstop what listens there (another demo, a dfdaemon of this machine?) and start again", errors.Join(taken...))
}
