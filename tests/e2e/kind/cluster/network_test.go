package cluster

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEveryNodeKnowsTheWayToTheOthersPods(t *testing.T) {
	t.Parallel()
	all := []Node{
		{Name: "one", IP: "192.0.2.1", PodCIDR: "10.244.0.0/24"},
		{Name: "two", IP: "192.0.2.2", PodCIDR: "10.244.1.0/24"},
		{Name: "three", IP: "192.0.2.3", PodCIDR: "10.244.2.0/24"},
	}
	got := routes("two", all)
	for _, want := range []string{"10.244.0.0/24 via 192.0.2.1\n", "10.244.2.0/24 via 192.0.2.3\n", "-s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "10.244.1.0/24") {
		t.Errorf("a route to its own pods in:\n%s", got)
	}
}

func TestTheConflistHasTheNodesRange(t *testing.T) {
	t.Parallel()
	var list struct {
		Plugins []struct {
			Type string
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal([]byte(conflist("10.244.7.0/24")), &list); err != nil {
		t.Fatal(err)
	}
	if got := list.Plugins[0]; got.Type != "ptp" || got.IPAM.Ranges[0][0].Subnet != "10.244.7.0/24" {
		t.Errorf("the first plugin is %+v, want ptp with the node's range", got)
	}
}
