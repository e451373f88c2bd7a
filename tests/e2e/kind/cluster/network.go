package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The pods' network is the ptp plugin on each node, and static routes between nodes. No daemon and no image is needed for that.
const (
	conflistFile = "/etc/cni/net.d/10-e2e.conflist"
	routesFile   = "/kind/e2e-routes.sh"
	unitFile     = "/etc/systemd/system/e2e-routes.service"
)

// unit makes the routes at each start of the node.
const unit = `[Unit]
Description=Routes to the pods of other nodes
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh ` + routesFile + `

[Install]
WantedBy=multi-user.target
`

// conflist is a node's CNI configuration, see https://www.cni.dev/docs/spec/#configuration-format.
func conflist(podCIDR string) string {
	type object = map[string]any
	b, err := json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "e2e",
		"plugins": []object{
			{
				"type": "ptp", "ipMasq": false,
				"ipam": object{
					"type": "host-local", "dataDir": "/run/cni-ipam-state",
					"routes": []object{{"dst": "0.0.0.0/0"}}, "ranges": [][]object{{{"subnet": podCIDR}}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		panic(err) // the value is a constant but for one string
	}
	return string(b) + "\n"
}

// routes is the script of a node: routes to the others' pods, and its own pods' way out of the cluster.
func routes(own string, all []Node) string {
	var b strings.Builder
	b.WriteString("set -e\n")
	for _, n := range all {
		if n.Name != own {
			fmt.Fprintf(&b, "ip route replace %s via %s\n", n.PodCIDR, n.IP)
		}
	}
	rule := "POSTROUTING -s " + podSubnet + " ! -d " + podSubnet + " -j MASQUERADE"
	fmt.Fprintf(&b, "iptables -w -t nat -C %[1]s 2>/dev/null || iptables -w -t nat -A %[1]s\n", rule)
	return b.String()
}

// connect gives pods their network, on all nodes. It may be called again when a node has come.
func (c *Cluster) connect(ctx context.Context) error {
	all, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		err := errors.Join(
			c.WriteFile(ctx, n.Name, conflistFile, conflist(n.PodCIDR)),
			c.WriteFile(ctx, n.Name, routesFile, routes(n.Name, all)),
			c.WriteFile(ctx, n.Name, unitFile, unit),
		)
		if err != nil {
			return fmt.Errorf("connect node %s: %w", n.Name, err)
		}
		if _, err := c.Exec(ctx, n.Name, "sh", "-c", "systemctl daemon-reload && systemctl enable --quiet e2e-routes && systemctl restart e2e-routes"); err != nil {
			return fmt.Errorf("connect node %s: %w", n.Name, err)
		}
	}
	return nil
}

// Node is a node of the cluster.
type Node struct {
	// Name of the node and of its container.
	Name, IP, PodCIDR string
	// Runtime is the container runtime and its version, as in "containerd://1.6.20".
	Runtime      string
	ControlPlane bool
}

// Nodes lists the nodes, once each has an address and a range for its pods.
func (c *Cluster) Nodes(ctx context.Context) ([]Node, error) {
	var all []Node
	err := c.Until(ctx, "nodes have addresses", func(ctx context.Context) string {
		all = nil
		list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		for i := range list.Items {
			n := &list.Items[i]
			_, control := n.Labels["node-role.kubernetes.io/control-plane"]
			node := Node{
				Name: n.Name, IP: internalIP(n), PodCIDR: n.Spec.PodCIDR, Runtime: n.Status.NodeInfo.ContainerRuntimeVersion, ControlPlane: control,
			}
			if node.IP == "" || node.PodCIDR == "" {
				return n.Name + " has none"
			}
			all = append(all, node)
		}
		return ""
	})
	return all, err
}
