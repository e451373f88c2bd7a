package config

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"
)

func TestLogFileHoldsWhatStandardErrorShows(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "logs")
	for range 2 { // the second run goes on where the first ended
		cmd := Command(Program{
			Name: "supernode", Log: Log{Level: "info", Format: "text"}, LogFile: true,
			Flags: func(*pflag.FlagSet) {},
			Run: func(_ context.Context, _ Streams, log *slog.Logger) error {
				log.With("a", 1).Info("hello")
				log.Debug("not this")
				return nil
			},
		})
		var talk bytes.Buffer
		cmd.SetErr(&talk)
		cmd.SetArgs([]string{"--config=", "--log-dir", dir})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		text := readLog(t, dir)
		if !strings.HasSuffix(text, talk.String()) || !strings.Contains(talk.String(), "msg=hello a=1") {
			t.Errorf("the file has %q, standard error %q", text, talk.String())
		}
	}
	if n := strings.Count(readLog(t, dir), "hello"); n != 2 {
		t.Errorf("got %d records after two runs, want 2", n)
	}
}

func readLog(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "supernode.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLogFileIsPutAsideBySize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for range logFilesKept + 3 {
			fillLog(t, dir)
			time.Sleep(time.Minute) // the time is in the files' names
		}
		if got := readLog(t, dir); got != "one more\n" {
			t.Errorf("the newest file has %d bytes, want the last record", len(got))
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != logFilesKept+1 {
			t.Errorf("got %d files %v, want %d", len(files), files, logFilesKept+1)
		}
	})
}

// fillLog writes a record to a log file that is full.
func fillLog(t *testing.T, dir string) {
	t.Helper()
	file, err := openLogFile(dir, "supernode")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "supernode.log"), logFileSize<<20); err != nil { // sparse
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("one more\n")); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLogFolderThatCannotBeWrittenIsAnErrorAtStart(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "supernode.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"a file":                            plain,
		"a folder that no one may write to": "/proc/none",
		"a folder in the place of the file": folder,
	} {
		_, _, err := Log{Level: "info", Format: "text", Dir: dir}.New(&bytes.Buffer{}, "supernode")
		if err == nil || !strings.Contains(err.Error(), `option "log-dir": `) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v, want an error that names option and folder", name, err)
		}
	}
}

func TestFullDiskDoesNotStopTheLog(t *testing.T) {
	t.Parallel()
	if !isFull(tryFull(t)) {
		t.Error("a full device is not known as one")
	}
	var main bytes.Buffer
	file := &flaky{}
	talk, err := Log{Level: "info", Format: "text"}.to(&main)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&both{main: &main, file: file, talk: talk}, nil))
	log.Info("one")
	file.err = errors.New("no space left")
	log.Info("two")
	log.Info("three")
	file.err = nil
	log.Info("four")
	for word, want := range map[string]int{"one": 1, "two": 1, "three": 1, "four": 1, "can't be written": 1} {
		if got := strings.Count(main.String(), word); got != want {
			t.Errorf("standard error has %q %d times, want %d:\n%s", word, got, want, main.String())
		}
	}
	if got := file.String(); !strings.Contains(got, "one") || !strings.Contains(got, "four") || strings.Contains(got, "two") {
		t.Errorf("the file has %q, want the first and the last record", got)
	}
}

// tryFull returns what writing to a full device fails with.
func tryFull(t *testing.T) error {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.WriteString("x")
	return err
}

// flaky is a file whose disk fills up and empties.
type flaky struct {
	bytes.Buffer
	err error
}

func (f *flaky) Write(b []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.Buffer.Write(b)
}

func TestOnlyProgramsThatRunForLongHaveALogFile(t *testing.T) {
	t.Parallel()
	cmd, _ := testCommand(nil)
	if cmd.Flags().Lookup("log-dir") != nil {
		t.Error("a program without LogFile has the option")
	}
}
