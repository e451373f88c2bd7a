package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const (
	first  = "first-secret-first-secret-first-secret-1"
	second = "second-secret-second-secret-second-secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoad(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file    string
		keys    int
		wantErr string
	}{
		"one line":                          {file: first + "\n", keys: 1},
		"two lines":                         {file: first + "\n" + second + "\n", keys: 2},
		"no line break at the end":          {file: first, keys: 1},
		"Windows line ends and blank lines": {file: "\r\n" + first + "\r\n\r\n" + second + "\r\n", keys: 2},
		"exactly 32 bytes":                  {file: strings.Repeat("x", 32), keys: 1},
		"31 bytes":                          {file: strings.Repeat("x", 31), wantErr: "secret 1 has 31 bytes"},
		"short once trimmed":                {file: strings.Repeat(" ", 20) + strings.Repeat("x", 20), wantErr: "secret 1 has 20 bytes"},
		"second line too short":             {file: first + "\nshort", wantErr: "secret 2 has 5 bytes"},
		"three lines":                       {file: first + "\n" + second + "\n" + first, wantErr: "more than 2 secrets"},
		"empty file":                        {file: "", wantErr: "empty"},
		"only blank lines":                  {file: "\n \n\t\n", wantErr: "empty"},
		"a huge file":                       {file: strings.Repeat(first, 1000), wantErr: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tc.file)
			k, err := Load(path, slog.New(slog.DiscardHandler))
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) || !strings.Contains(err.Error(), path) {
					t.Fatalf("Load: got error %v, want one with %q and the path", err, tc.wantErr)
				}
				if strings.Contains(err.Error(), "xxx") || strings.Contains(err.Error(), first) {
					t.Fatalf("Load: the error quotes the secret: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			if got := len(*k.keys.Load()); got != tc.keys {
				t.Errorf("Load: got %d keys, want %d", got, tc.keys)
			}
		})
	}
}

func TestLoadOfAMissingFileFails(t *testing.T) {
	t.Parallel()
	if k, err := Load(filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil || k != nil {
		t.Errorf("Load: got %v, %v, want an error", k, err)
	}
}

func TestNoSecretAcceptsAll(t *testing.T) {
	t.Parallel()
	k, err := Load("", slog.New(slog.DiscardHandler))
	if k != nil || err != nil {
		t.Fatalf(`Load(""): got %v, %v, want nil, nil`, k, err)
	}
	if got := k.Token(); got != "" {
		t.Errorf("Token: got %q, want none", got)
	}
	if got, _ := k.Ticket("task", 1); got != "" {
		t.Errorf("Ticket: got %q, want none", got)
	}
	if err := k.VerifyToken("anything"); err != nil {
		t.Errorf("VerifyToken: %v", err)
	}
	if err := k.VerifyTicket("task", ""); err != nil {
		t.Errorf("VerifyTicket: %v", err)
	}
	k.Watch(t.Context()) // returns
}

func TestWorldReadableFileIsWarnedOf(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o604: true} {
		var out bytes.Buffer
		path := write(t, first)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, slog.New(slog.NewTextHandler(&out, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "level=WARN"); got != want {
			t.Errorf("mode %o: warned %v, want %v: %s", mode, got, want, out.String())
		}
	}
}

func TestKeyringIsNeverPrinted(t *testing.T) {
	t.Parallel()
	k := mustNew(t, first)
	inside := struct {
		Keys   *Keyring
		hidden *Keyring
	}{k, k}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", k, "inside", inside)
	body, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(body)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		texts = append(texts, fmt.Sprintf(verb, k), fmt.Sprintf(verb, inside))
		if got := fmt.Sprintf(verb, k); got != "[cluster secret]" {
			t.Errorf("%s: got %q", verb, got)
		}
	}
	control := (*k.keys.Load())[0].control
	for _, text := range texts {
		for _, bad := range []string{first, string(control), fmt.Sprintf("%x", control), fmt.Sprintf("%x", first)} {
			if strings.Contains(text, bad) {
				t.Errorf("the secret is in %q", text)
			}
		}
	}
}

func mustNew(t *testing.T, secrets ...string) *Keyring {
	t.Helper()
	k, err := New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
