package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// maxStatus bounds what is read of a status, in bytes.
const maxStatus = 1 << 20

// Status asks a dfdaemon what it got and gave so far.
func (n Node) Status(ctx context.Context) (api.DaemonStatus, error) {
	var s api.DaemonStatus
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Admin+api.PathStatus, nil)
	if err != nil {
		return s, err
	}
	// A client of its own: no connection outlives the call, and no proxy stands before loopback.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return s, fmt.Errorf("ask %s for its status: %w", n.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask %s for its status: %s", n.Name, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("read the status of %s: %w", n.Name, err)
	}
	return s, nil
}
