// Package secret proves that two programs belong to one cluster. From a secret that all of them hold it derives short-lived
// tokens for the control plane and tickets for the pieces of one task. It does not encrypt anything.
//
// The secret is a file of one or two lines, each a secret of at least 32 bytes, for example the output of
// "openssl rand -base64 48". The first line signs, every line verifies. To change the secret without an interruption: add the new one
// as second line everywhere, then swap the lines everywhere, then drop the old line.
package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
)

const (
	minSecret = 32      // bytes; the strength of the SHA-256 behind it
	maxLines  = 2       // the signing one, and the other one of a rotation
	maxFile   = 8 << 10 // bytes; far more than two secrets, so that a wrong path is told early
)

// Keyring makes and verifies tokens and tickets. It is safe for concurrent use. A nil Keyring stands for "no secret configured": it
// makes empty tokens and tickets, and accepts any.
type Keyring struct {
	path string
	log  *slog.Logger
	sum  [sha256.Size]byte // of the file's content; touched by Load and Watch only
	keys atomic.Pointer[[]keys]
}

// keys are derived from one line of the file.
type keys struct{ control, ticket []byte }

// New returns a Keyring for fixed secrets. The first signs, all verify.
func New(secrets ...string) (*Keyring, error) {
	ks, err := derive(bytes.Join(toBytes(secrets), []byte("\n")))
	if err != nil {
		return nil, fmt.Errorf("cluster secret: %w", err)
	}
	k := &Keyring{log: slog.New(slog.DiscardHandler)}
	k.keys.Store(&ks)
	return k, nil
}

// Load reads the secret from a file, which Watch then follows. An empty path is no secret and gives a nil Keyring.
func Load(path string, log *slog.Logger) (*Keyring, error) {
	if path == "" {
		return nil, nil
	}
	k := &Keyring{path: path, log: log}
	if _, err := k.reload(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		log.Warn("the cluster secret can be read by every user of this machine; take the rights of others away",
			"file", path, "mode", info.Mode().Perm().String())
	}
	return k, nil
}

// reload takes over the file's content if it changed and is valid.
func (k *Keyring) reload() (changed bool, err error) {
	text, err := readFile(k.path)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	if k.keys.Load() != nil && sum == k.sum {
		return false, nil
	}
	ks, err := derive(text)
	if err != nil {
		return false, fmt.Errorf("secret file %s: %w", k.path, err)
	}
	k.sum = sum
	k.keys.Store(&ks)
	return true, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("secret file %s: larger than %d bytes, so it can't be a secret", path, maxFile)
	}
	return text, nil
}

// derive cuts a file's content into lines and makes each line's keys. Its errors never quote the content.
func derive(text []byte) ([]keys, error) {
	var all []keys
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(line) < minSecret {
			return nil, fmt.Errorf("secret %d has %d bytes, at least %d are needed (try: openssl rand -base64 48)",
				len(all)+1, len(line), minSecret)
		}
		if len(all) == maxLines {
			return nil, fmt.Errorf("more than %d secrets, one a line; remove the oldest", maxLines)
		}
		k, err := deriveOne(line)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, errors.New("empty, want one or two lines (try: openssl rand -base64 48)")
	}
	return all, nil
}

// deriveOne gives each purpose its own key, so that a ticket can never pass as a token. RFC 5869.
func deriveOne(secret []byte) (k keys, err error) {
	if k.control, err = hkdf.Key(sha256.New, secret, nil, "dragonfly v1 control", sha256.Size); err != nil {
		return keys{}, fmt.Errorf("derive key: %w", err)
	}
	if k.ticket, err = hkdf.Key(sha256.New, secret, nil, "dragonfly v1 ticket", sha256.Size); err != nil {
		return keys{}, fmt.Errorf("derive key: %w", err)
	}
	return k, nil
}

func toBytes(texts []string) [][]byte {
	out := make([][]byte, len(texts))
	for i, s := range texts {
		out[i] = []byte(s)
	}
	return out
}

// Format prints a placeholder for every verb, so that no log line can hold a key.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.redacted()) }

// LogValue is the same placeholder for slog.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.redacted()) }

func (k *Keyring) redacted() string {
	if k == nil {
		return "[no cluster secret]"
	}
	return "[cluster secret]"
}
