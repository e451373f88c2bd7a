package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/DeRuina/timberjack"
)

// The log's files: the one that is written to, and older ones beside it.
const (
	logFileSize  = 64 // MiB, at which the file is put aside and a new one begun
	logFilesKept = 4  // put aside
)

// openLogFile returns the writer of dir/name.log, which puts itself aside by size. A folder that cannot be written is an error; a full
// file system is none, because the program worked before it filled up.
func openLogFile(dir, name string) (io.WriteCloser, error) {
	path := filepath.Join(dir, name+".log")
	if err := tryLogFile(path); err != nil && !isFull(err) {
		return nil, fmt.Errorf("option \"log-dir\": %w; make the folder %s and give it to the user with the id %d, who runs %s",
			err, dir, os.Geteuid(), name)
	}
	return &timberjack.Logger{Filename: path, MaxSize: logFileSize, MaxBackups: logFilesKept}, nil
}

// tryLogFile makes the file, and its folder if that is missing.
func tryLogFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640) //nolint:gosec // a group may read it
	if err != nil {
		return err
	}
	return f.Close()
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// both writes every record to two places. What one of them does not take, the other gets all the same. It is used by one slog
// handler, which calls it for one record at a time.
type both struct {
	main, file io.Writer
	talk       *slog.Logger // writes to main
	failing    bool         // the last record did not get into the file
}

// Write never fails: a log must not stop what it tells about.
func (b *both) Write(record []byte) (int, error) {
	_, _ = b.main.Write(record)
	_, err := b.file.Write(record)
	if err != nil && !b.failing {
		b.talk.Error("the log file can't be written; the log goes on here", "err", err)
	}
	b.failing = err != nil
	return len(record), nil
}
