// Package config fills a program's options from its four sources. In order of precedence: the flag on the command line, the
// environment variable, the configuration file, the default.
//
// The flag is the definition: an option "--disk-quota" is the variable DRAGONFLY_DISK_QUOTA and the key "disk-quota" of a file, and
// the flag's own parser reads the text of every source. A file ending in .yaml or .yml is YAML, any other is INI.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Sources says where the options of a program come from, besides its command line.
type Sources struct {
	// Program is the name of the program, and of its own section of a file. Sections of other programs are skipped, so that one file
	// can serve all programs of a machine.
	Program string
	// Environ is os.Environ() or a stand-in.
	Environ []string
	// DefaultFile is read when neither the flag nor the variable names a file; it need not exist.
	DefaultFile string
}

// programs are the sections that a file may have.
var programs = []string{"supernode", "dfdaemon", "dfget", "dfctl"}

// setting is an option as one source has it.
type setting struct {
	key    string
	values []string // one, except where the source has lists
	list   bool     // the values are a list already, and not to be split at commas
	where  string   // "file:line" or "environment", for messages
}

// Load gives every flag of flags that was not set on the command line the value of its environment variable or, failing that, of
// the file. Errors name the source, the line and the option. What is odd but does no harm comes back as warnings.
func Load(flags *pflag.FlagSet, src Sources) (warnings []string, err error) {
	fromEnv, warnings, err := readEnviron(flags, src)
	if err != nil {
		return warnings, err
	}
	path, optional := chooseFile(flags, fromEnv, src)
	var fromFile []setting
	if path != "" {
		fromFile, err = readFile(flags, path, src.Program)
		switch {
		case err == nil:
		case optional && errors.Is(err, fs.ErrNotExist):
		case optional && errors.Is(err, fs.ErrPermission):
			warnings = append(warnings, fmt.Sprintf("skipped: %v", err))
		default:
			return warnings, err
		}
	}
	for _, s := range slices.Concat(fromFile, fromEnv) {
		if err := apply(flags, s); err != nil {
			return warnings, err
		}
	}
	return warnings, nil
}

// chooseFile returns the file to read, and whether it may be absent.
func chooseFile(flags *pflag.FlagSet, env []setting, src Sources) (path string, optional bool) {
	f := flags.Lookup(fileOption)
	if f == nil {
		return "", true
	}
	if f.Changed {
		return f.Value.String(), false
	}
	for _, s := range env {
		if s.key == fileOption {
			return s.values[0], false
		}
	}
	return src.DefaultFile, true
}

// fileOption names the configuration file. It can't be set in the file.
const fileOption = "config"

// lookup returns the option of a key, nil if there is none. Keys are names in full, never an alias of the command line.
func lookup(flags *pflag.FlagSet, key string) *pflag.Flag {
	f := flags.Lookup(key)
	if f == nil || f.Name != key || !settable(f) {
		return nil
	}
	return f
}

// settable says whether an option has a variable and a key. Help and version are commands in truth.
func settable(f *pflag.Flag) bool {
	return f.Name != "help" && f.Name != "version" && f.Deprecated == ""
}

// apply sets one option, unless the command line did.
func apply(flags *pflag.FlagSet, s setting) error {
	f := lookup(flags, s.key)
	if f.Changed {
		return nil
	}
	var err error
	if list, ok := f.Value.(pflag.SliceValue); ok {
		err = list.Replace(s.items(f.Value.Type()))
	} else if len(s.values) != 1 || s.list {
		err = errors.New("takes one value, not a list")
	} else if err = f.Value.Set(s.values[0]); err != nil {
		err = plain(f, err)
	}
	if err != nil {
		return fmt.Errorf("%s: option %q: %w", s.where, s.key, err)
	}
	return nil
}

// items are the values of a list option. A text is split at its commas or, for options whose values hold commas, at its line ends.
func (s setting) items(flagType string) []string {
	if s.list {
		return s.values
	}
	separator := ","
	if flagType == "stringArray" {
		separator = "\n"
	}
	items := []string{}
	for _, text := range s.values {
		for item := range strings.SplitSeq(text, separator) {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
	}
	return items
}

// plain says in our words what a parser of the standard library says in its.
func plain(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "bool":
		return errors.New("want true or false")
	case "int", "uint16":
		return errors.New("want a whole number")
	}
	return err
}

// readText reads a configuration file, which is small.
func readText(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read configuration: %s is no file of at most %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return text, nil
}

const maxFile = 1 << 20 // bytes; a configuration has some dozen lines
