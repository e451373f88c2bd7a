package secret

import (
	"context"
	"time"
)

// watchInterval is how soon a changed file counts. Kubernetes itself takes up to a minute to update a mounted secret.
const watchInterval = 10 * time.Second

// Watch takes over the file's new content when it changes, until ctx ends. A file that can't be read or is no valid secret is logged
// once for each different error, and the secrets in use stay. It reads instead of asking for the time of change, as the file is small
// and Kubernetes swaps symbolic links under it. It returns at once for a Keyring that does not come from a file.
func (k *Keyring) Watch(ctx context.Context) {
	if k == nil || k.path == "" {
		return
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var told string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch changed, err := k.reload(); {
		case err == nil:
			told = ""
			if changed {
				k.log.Info("took over the changed cluster secret", "file", k.path, "secrets", len(*k.keys.Load()))
			}
		case err.Error() != told:
			told = err.Error()
			k.log.Error("the changed cluster secret is unusable, the one before stays in use", "error", err)
		}
	}
}
