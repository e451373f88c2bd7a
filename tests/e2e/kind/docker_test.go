//go:build e2e

package kind

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/dfctl/app"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/dockernode"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
)

const (
	// ofContainerd is the overlay for nodes with containerd, which those of kind have: as its README says, without runtime.yaml.
	ofContainerd  = "docker-containerd"
	withoutDocker = `resources: [../docker]
patches:
  - target: {kind: DaemonSet}
    patch: |-
      - {op: test, path: /spec/template/spec/initContainers/1/args/3, value: --runtime=docker}
      - {op: replace, path: /spec/template/spec/initContainers/1/args/3, value: --runtime=auto}
`
	// supernodeAt points the overlay at the host that runs the supernode.
	supernodeAt = `patches:
  - target: {kind: EndpointSlice}
    patch: |-
      - {op: replace, path: /endpoints, value: [{addresses: ["%s"], conditions: {ready: true}}]}
`
)

// dockerOverlay has its supernode run by Docker on a host beside the cluster, and a node with Docker as well.
func (e *env) dockerOverlay(t *testing.T, secret string) {
	supernode := e.host(t, "supernode", secret)
	e.supernodeByDocker(t, supernode, supernode.IP)
	if err := e.Cluster.WriteFile(t.Context(), e.controlPlane(), onNode+"/overlays/"+ofContainerd+"/kustomization.yaml", withoutDocker); err != nil {
		t.Fatal(err)
	}
	e.apply(t, ofContainerd, fmt.Sprintf(supernodeAt, supernode.IP))
	image, layers := e.push(t, overlayImage()...)
	start := e.metrics(t)
	mark, err := e.Origin.Mark()
	if err != nil {
		t.Fatal(err)
	}
	took, _ := e.deploy(t, "overlay-docker", image)
	t.Logf("%d pods after %.1f s", len(e.nodes), took.Seconds())
	e.mostFromPeers(t, layers, start)

	node := e.host(t, "docker", secret)
	e.dfdaemonByDocker(t, node, supernode.IP)
	began := time.Now()
	short := strings.TrimPrefix(image, e.Origin.Addr+"/")
	if _, err := node.Exec(t.Context(), "docker", "pull", "--quiet", short); err != nil {
		t.Fatal(err)
	}
	m, err := scrape.Get(t.Context(), node.IP+":"+adminPort)
	if err != nil {
		t.Fatal(err)
	}
	from := func(source string) float64 { return m.Sum(received, map[string]string{"from": source}) }
	t.Logf("Docker pulled it in %.1f s: %.0f bytes from the seed, %.0f from peers, %.0f from the registry",
		time.Since(began).Seconds(), from("seed"), from("peers"), from("origin"))
	if size := sizeOf(t, layers); from("peers") < float64(size)/2 || from("origin") != 0 {
		t.Errorf("want more than half of %d bytes from peers, none from the registry", size)
	}
	counts, err := e.Origin.Since(mark)
	if err != nil {
		t.Fatal(err)
	}
	sentOnce(t, layers, counts)
}

// host is a host with Docker that has our images and the cluster secret.
func (e *env) host(t *testing.T, name, secret string) *dockernode.Host {
	t.Helper()
	h, err := dockernode.Start(t.Context(), e.Engine, e.Cluster.Name+"-"+name, e.controlPlane())
	if h != nil {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("host %s:\n%s", h.Name, h.Logs(cleanupContext(t)))
			}
			if err := h.Remove(cleanupContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, archive := range e.archives {
		if err := h.Load(t.Context(), archive); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.WriteFile(t.Context(), "/etc/dragonfly/secret", secret+"\n"); err != nil {
		t.Fatal(err)
	}
	return h
}

// supernodeByDocker runs what `dfctl render docker-run` prints.
func (e *env) supernodeByDocker(t *testing.T, h *dockernode.Host, address string) {
	t.Helper()
	var script, said strings.Builder
	dfctl := app.NewCommand(&script, &said)
	dfctl.SetArgs([]string{"render", "docker-run", "--address", address})
	if err := dfctl.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("dfctl render docker-run: %v: %s", err, &said)
	}
	if _, err := h.Shell(t.Context(), script.String()); err != nil {
		t.Fatal(err)
	}
	e.healthy(t, h.IP+":8001")
}

// dfdaemonByDocker runs dfdaemon on a host that is no node of the cluster, and configures its engine.
func (e *env) dfdaemonByDocker(t *testing.T, h *dockernode.Host, supernode string) {
	t.Helper()
	image := ourImages()[1] + ":" + e.ourTag(t)
	conf := fmt.Sprintf("secret-file = /etc/dragonfly/secret\n[node]\naddress = %s\n[dfdaemon]\nregistry = http://%s\nallow-upstream = %s\n"+
		"admin-addr = :%s\ndata-dir = /var/lib/dragonfly/repo\n",
		supernode, e.Origin.Addr, e.Origin.Addr, adminPort)
	if err := h.WriteFile(t.Context(), "/etc/dragonfly.conf", conf); err != nil {
		t.Fatal(err)
	}
	const run = `chown 65532 /etc/dragonfly/secret
install -d -o 65532 -g 65532 /var/lib/dragonfly/repo /run/dragonfly
docker run -d --name dfdaemon --network host --read-only -v /etc/dragonfly.conf:/etc/dragonfly.conf:ro -v /etc/dragonfly:/etc/dragonfly:ro \
  -v /var/lib/dragonfly/repo:/var/lib/dragonfly/repo -v /run/dragonfly:/run/dragonfly %[1]s
docker run --rm --user 0 --entrypoint dfctl -v /:/host %[1]s node-config apply --host-root /host --runtime docker
kill -HUP 1
`
	said, err := h.Shell(t.Context(), fmt.Sprintf(run, image))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(said)
	e.healthy(t, h.IP+":"+adminPort)
	err = e.Cluster.Until(t.Context(), "Docker has the mirror", func(ctx context.Context) string {
		mirrors, err := h.Exec(ctx, "docker", "info", "--format", "{{.RegistryConfig.Mirrors}}")
		switch {
		case err != nil:
			return err.Error()
		case !strings.Contains(mirrors, "http://127.0.0.1:65001"):
			return mirrors
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
}

// healthy waits for a program of ours.
func (e *env) healthy(t *testing.T, addr string) {
	t.Helper()
	err := e.Cluster.Until(t.Context(), addr+" answers", func(ctx context.Context) string {
		if _, err := scrape.Get(ctx, addr); err != nil {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
}
