package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Names in a task's directory.
const (
	dataName    = "data"
	metaName    = "meta.json"
	journalName = "pieces"
)

// metaVersion is the format of metaFile. A task of another one is removed: it costs a download, not an upgrade path.
const metaVersion = 1

// metaLimit bounds the file, as it is read into memory. Its headers are a few hundred bytes.
const metaLimit = 1 << 20

// errUnusable says that a task on disk can't be used and may as well be removed.
var errUnusable = errors.New("unusable")

// metaFile is the content of meta.json.
type metaFile struct {
	Version  int      `json:"version"`
	ID       string   `json:"id"`
	Meta     api.Meta `json:"meta"`
	Complete bool     `json:"complete,omitempty"`
}

func parseMeta(r io.Reader, id string) (metaFile, error) {
	raw, err := io.ReadAll(io.LimitReader(r, metaLimit+1))
	if err != nil {
		return metaFile{}, err
	}
	if len(raw) > metaLimit {
		return metaFile{}, fmt.Errorf("%w: more than %d bytes", errUnusable, metaLimit)
	}
	var m metaFile
	if err := json.Unmarshal(raw, &m); err != nil {
		return metaFile{}, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if m.Version != metaVersion {
		return metaFile{}, fmt.Errorf("%w: format version %d, want %d", errUnusable, m.Version, metaVersion)
	}
	if m.ID != id {
		return metaFile{}, fmt.Errorf("%w: it is of task %.80q", errUnusable, m.ID)
	}
	if err := checkMeta(m.Meta); err != nil {
		return metaFile{}, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return m, nil
}

func readMeta(dir *os.Root, id string) (metaFile, error) {
	f, err := dir.Open(metaName)
	if errors.Is(err, os.ErrNotExist) {
		return metaFile{}, fmt.Errorf("%w: no %s", errUnusable, metaName)
	}
	if err != nil {
		return metaFile{}, err
	}
	defer f.Close()
	m, err := parseMeta(f, id)
	if err != nil {
		return metaFile{}, fmt.Errorf("read %s: %w", metaName, err)
	}
	return m, nil
}

// writeMeta replaces meta.json in one step: whoever reads it, whenever this process dies, finds the old or the new. It does not wait for
// the disk, which would cost every small blob two flushes: what a sudden stop of the machine takes is fetched again, and what it leaves
// is verified before its use, as pieces are.
func (d *Disk) writeMeta(dir *os.Root, m metaFile) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(raw) > metaLimit {
		return fmt.Errorf("metadata of %d bytes, want at most %d", len(raw), metaLimit)
	}
	const temp = metaName + ".tmp"
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = d.sys.writeAt(f, raw, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	return dir.Rename(temp, metaName)
}
