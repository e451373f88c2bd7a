package helm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"helm.sh/helm/v3/pkg/ignore"
	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"
)

// maxValues bounds a file of values; they are a few KiB.
const maxValues = 4 << 20

// Sources say where values come from. Later ones win: the files in their order, then Set, then SetString.
type Sources struct {
	// Files are YAML files; "-" is Stdin.
	Files []string
	// Set are assignments such as a.b[0]=c,d=e. Texts that look like numbers and switches are taken for such.
	Set []string
	// SetString are assignments whose values are texts.
	SetString []string
	// Stdin is read for the file "-".
	Stdin io.Reader
}

// Merge reads all sources.
func (s Sources) Merge() (map[string]any, error) {
	values := map[string]any{}
	for _, name := range s.Files {
		data, err := s.read(name)
		if err != nil {
			return nil, fmt.Errorf("%w: values: %w", ErrOptions, err)
		}
		var more map[string]any
		if err := yaml.Unmarshal(data, &more); err != nil {
			return nil, fmt.Errorf("%w: values: %s: %w", ErrOptions, name, err)
		}
		merge(values, more)
	}
	for _, text := range s.Set {
		if err := strvals.ParseInto(text, values); err != nil {
			return nil, fmt.Errorf("%w: --set %q: %w", ErrOptions, text, err)
		}
	}
	for _, text := range s.SetString {
		if err := strvals.ParseIntoString(text, values); err != nil {
			return nil, fmt.Errorf("%w: --set-string %q: %w", ErrOptions, text, err)
		}
	}
	return values, nil
}

func (s Sources) read(name string) ([]byte, error) {
	in := s.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err // names the file
		}
		defer f.Close()
		in = f
	}
	if in == nil {
		return nil, errors.New("there is no standard input")
	}
	data, err := io.ReadAll(io.LimitReader(in, maxValues+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxValues {
		return nil, fmt.Errorf("%s has more than %d MiB", name, maxValues>>20)
	}
	return data, nil
}

// merge puts more over values: maps are merged, everything else is replaced.
func merge(values, more map[string]any) {
	for k, v := range more {
		old, isMap := values[k].(map[string]any)
		if v, ok := v.(map[string]any); ok && isMap {
			merge(old, v)
			continue
		}
		values[k] = v
	}
}

// ignoreRules are those of the chart's .helmignore, and Helm's own.
func ignoreRules(files fs.FS) (*ignore.Rules, error) {
	rules := ignore.Empty()
	data, err := fs.ReadFile(files, ignore.HelmIgnore)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the chart: %w", err)
	default:
		if rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return nil, fmt.Errorf("read %s: %w", ignore.HelmIgnore, err)
		}
	}
	rules.AddDefaults()
	return rules, nil
}
