package swarm

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/verify"
)

func TestDfctlVerifyTellsThatAnImageCameFromTheSwarm(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	ref, err := name.ParseReference(srv.Listener.Addr().String() + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(4<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, 0)
	c.origin.URL = srv.URL
	for range 2 {
		node := c.join()
		r := runVerify(t, node, ref.String())
		if r.Blobs != 3 || r.Received == nil || r.Received.FromOrigin != 0 {
			t.Errorf("got %+v, want all blobs from the swarm", r)
		}
		if got := c.settled(node).Received; got.FromOrigin != 0 || got.FromSeed+got.FromPeers < 8<<20 {
			t.Errorf("the node received %+v, want all blobs from the swarm", got)
		}
	}
	last := c.nodes[len(c.nodes)-1]
	if r := runVerify(t, last, ref.String()); r.Answers.Cache < 8<<20 {
		t.Errorf("the second time: got %+v, want all blobs from the node's store", r)
	}
}

func runVerify(t *testing.T, d *dfdaemon.Server, image string) (r verify.Report) {
	t.Helper()
	var out bytes.Buffer
	cmd := verify.NewCommand(cli.Streams{Out: &out, Err: io.Discard})
	cmd.SetArgs([]string{"--mirror", "http://" + d.MirrorAddr(), "--socket=", "--admin-addr", d.AdminAddr(), "--min-p2p=99", "-o=json", image})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}
