//go:build e2e

package kind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
)

// logs are those of cases that failed.
type logs struct {
	mu sync.Mutex // guards the fields below; cases may run at the same time
	// dir is E2E_LOGS, or a folder made for the first failure.
	dir  string
	kept []string
}

// run runs a case. When it fails, the logs are taken before its own cleaning up.
func (e *env) run(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		defer e.keepLogs(t)
		test(t)
	})
}

// keepLogs keeps the logs of a failure, in a folder of the case's name. A case within it that failed has kept them already.
func (e *env) keepLogs(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	e.logs.mu.Lock()
	defer e.logs.mu.Unlock()
	name := strings.NewReplacer(" ", "_", ",", "").Replace(t.Name())
	for _, kept := range e.logs.kept {
		if strings.HasPrefix(kept, name) {
			return
		}
	}
	e.logs.kept = append(e.logs.kept, name)
	if e.logs.dir == "" {
		e.logs.dir = os.Getenv("E2E_LOGS")
	}
	if e.logs.dir == "" {
		var err error
		if e.logs.dir, err = os.MkdirTemp("", "dragonfly-e2e-logs-"); err != nil { //nolint:usetesting // it stays
			t.Error(err)
			return
		}
	}
	dir := filepath.Join(e.logs.dir, "kind", name)
	if err := errors.Join(e.CollectLogs(cleanupContext(t), dir), e.keepMetrics(cleanupContext(t), dir)); err != nil {
		t.Logf("not all logs could be taken: %v", err)
	}
	t.Logf("logs are in %s", dir)
}

// keepMetrics writes what dfdaemon and supernode of every node count, where there is one.
func (e *env) keepMetrics(ctx context.Context, dir string) error {
	if e.Cluster == nil {
		return nil
	}
	nodes, err := e.Cluster.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		for program, port := range map[string]string{"dfdaemon": adminPort, "supernode": supernodePort} {
			text, askErr := scrape.Text(ctx, n.IP+":"+port)
			if askErr != nil {
				text = []byte(askErr.Error())
			}
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, "metrics-"+n.Name+"-"+program+".txt"), text, 0o600))
		}
	}
	return err
}
