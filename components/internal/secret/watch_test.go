package secret

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchFollowsTheFile(t *testing.T) {
	t.Parallel()
	path := write(t, first)
	synctest.Test(t, func(t *testing.T) {
		var log logText
		k, stop := watch(t, path, &log)
		defer stop()
		before := k.Token()

		replace(t, path, second+"\n"+first)
		nextTick()
		if err := mustNew(t, second).VerifyToken(k.Token()); err != nil {
			t.Errorf("the new secret does not sign: %v", err)
		}
		if err := k.VerifyToken(before); err != nil {
			t.Errorf("the old secret no longer verifies: %v", err)
		}

		replace(t, path, "too short")
		nextTick()
		nextTick()
		if err := mustNew(t, second).VerifyToken(k.Token()); err != nil {
			t.Errorf("a bad file replaced the secret: %v", err)
		}
		if got := strings.Count(log.String(), "level=ERROR"); got != 1 {
			t.Errorf("got %d error lines for one bad file, want 1:\n%s", got, log.String())
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		nextTick()
		if got := strings.Count(log.String(), "level=ERROR"); got != 2 {
			t.Errorf("got %d error lines after the file went, want 2:\n%s", got, log.String())
		}
		if err := k.VerifyToken(before); err != nil {
			t.Errorf("the secret went with its file: %v", err)
		}
	})
}

func TestWatchFollowsSwappedLinks(t *testing.T) {
	t.Parallel()
	// What a kubelet does: secret -> ..data/secret, ..data -> ..2026_1, then ..data is renamed over.
	dir := t.TempDir()
	for version, text := range map[string]string{"..1": first, "..2": second} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(dir, version, "secret"), text)
	}
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, filepath.Join("..data", "secret"), filepath.Join(dir, "secret"))

	synctest.Test(t, func(t *testing.T) {
		var log logText
		k, stop := watch(t, filepath.Join(dir, "secret"), &log)
		defer stop()
		link(t, "..2", filepath.Join(dir, "..tmp"))
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		nextTick()
		if err := mustNew(t, second).VerifyToken(k.Token()); err != nil {
			t.Errorf("the swapped secret is not used: %v", err)
		}
	})
}

// logText is a buffer that may be read while the watcher logs.
type logText struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func watch(t *testing.T, path string, log *logText) (k *Keyring, stop func()) {
	t.Helper()
	k, err := Load(path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go k.Watch(ctx)
	synctest.Wait() // the ticker exists
	return k, func() { cancel(); synctest.Wait() }
}

func nextTick() {
	time.Sleep(watchInterval)
	synctest.Wait()
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
