package cluster

import (
	"net"
	"strings"
	"testing"
)

func TestEveryAddressIsUsedOnce(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		p := plan(10, 5, "/tmp/x", own)
		seen := map[string]string{}
		for _, n := range append(p.Nodes, p.Supernode) {
			for addr, use := range n.Addrs() {
				if before, ok := seen[addr]; ok {
					t.Errorf("own %v: %s is %s's %s and %s", own, addr, n.Name, use, before)
				}
				seen[addr] = n.Name
			}
		}
		if len(seen) != 5*3+2 {
			t.Errorf("own %v: %d addresses, want 17: %v", own, len(seen), seen)
		}
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	err = (Plan{Nodes: []Node{{Name: "node 3", Mirror: addr}}}).CheckFree(t.Context())
	if err == nil || !strings.Contains(err.Error(), addr+", the mirror address of node 3, is taken") {
		t.Errorf("CheckFree = %v, want the address, its use and the node", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (Plan{Nodes: []Node{{Name: "node 3", Mirror: addr}}}).CheckFree(t.Context()); err != nil {
		t.Errorf("CheckFree of a free address = %v", err)
	}
}
