package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	"gopkg.in/ini.v1"
)

// entry is a setting in a section, as a file has it. General settings are in section "".
type entry struct {
	setting
	section string
}

// supernodes is the option that lists the supernodes, of every program but the supernode.
const supernodes = "supernode"

func readFile(flags *pflag.FlagSet, path, program string) ([]setting, error) {
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	parse := parseINI
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".yaml" || ext == ".yml" {
		parse = parseYAML
	}
	entries, err := parse(text, path)
	if err != nil {
		return nil, err
	}
	return choose(flags, entries, program)
}

// choose keeps what concerns the program, its own section winning, and refuses what no program can mean.
func choose(flags *pflag.FlagSet, entries []entry, program string) ([]setting, error) {
	var general, own []setting
	for _, e := range entries {
		if e.section == "node" && e.key == "address" {
			// The one line that the configurations of all versions have.
			e.section, e.key = "", supernodes
		}
		switch {
		case e.section == "" && e.key == supernodes && lookup(flags, supernodes) == nil:
			continue // the supernode itself, on a machine whose other programs share the file
		case e.section == "node":
			return nil, fmt.Errorf(`%s: section "node" has no option %q, only "address"`, e.where, e.key)
		case e.section != "" && !slices.Contains(programs, e.section):
			return nil, fmt.Errorf("%s: unknown section %q%s", e.where, e.section, suggest(e.section, programs))
		case e.section != "" && e.section != program:
			continue
		}
		if e.key == fileOption || lookup(flags, e.key) == nil {
			return nil, fmt.Errorf("%s: %s has no option %q%s", e.where, program, e.key, advise(flags, e))
		}
		if e.section == "" {
			general = append(general, e.setting)
		} else {
			own = append(own, e.setting)
		}
	}
	return append(general, own...), nil
}

func advise(flags *pflag.FlagSet, e entry) string {
	if s := suggest(e.key, names(flags)); s != "" || e.section != "" {
		return s
	}
	return "; put options of another program under a section of its name"
}

// parseYAML reads keys with a text, a list of texts, or a map, which is a list of "key=value". Reading nodes instead of Go
// values keeps every text as it was written: 1.10 stays 1.10, and every message has its line.
func parseYAML(text []byte, path string) ([]entry, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return yamlEntries(doc.Content[0], path, "")
}

func yamlEntries(n *yaml.Node, path, section string) ([]entry, error) {
	where := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, fmt.Errorf(`%s: want lines of "option: value"`, where(n))
	}
	var entries []entry
	seen := map[string]bool{}
	for pair := range slices.Chunk(n.Content, 2) {
		key, value := pair[0].Value, pair[1]
		if seen[key] {
			return nil, fmt.Errorf("%s: option %q is there twice", where(pair[0]), key)
		}
		seen[key] = true
		if section == "" && slices.Contains(programs, key) && value.Kind == yaml.MappingNode {
			own, err := yamlEntries(value, path, key)
			if err != nil {
				return nil, err
			}
			entries = append(entries, own...)
			continue
		}
		e := entry{section: section, setting: setting{key: key, where: where(pair[0])}}
		var err error
		if e.values, err = yamlTexts(value); err != nil {
			return nil, fmt.Errorf("%s: option %q: %w", e.where, key, err)
		}
		if e.list = value.Kind != yaml.ScalarNode; e.list || value.Tag != "!!null" {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func yamlTexts(n *yaml.Node) ([]string, error) {
	texts := []string{}
	switch n.Kind {
	case yaml.ScalarNode:
		return []string{n.Value}, nil
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, errors.New("want a list of texts")
			}
			texts = append(texts, item.Value)
		}
		return texts, nil
	case yaml.MappingNode:
		for pair := range slices.Chunk(n.Content, 2) {
			if pair[0].Kind != yaml.ScalarNode || pair[1].Kind != yaml.ScalarNode {
				return nil, errors.New("want a map of texts")
			}
			texts = append(texts, pair[0].Value+"="+pair[1].Value)
		}
		return texts, nil
	}
	return nil, errors.New("want a text, a list or a map; aliases are not read")
}

// parseINI reads "key = value" lines; a key that comes again adds to its list.
func parseINI(text []byte, path string) ([]entry, error) {
	file, err := ini.LoadSources(ini.LoadOptions{
		AllowShadows:               true,
		AllowDuplicateShadowValues: true,
		IgnoreContinuation:         true, // a value may end in a backslash
		SpaceBeforeInlineComment:   true, // a URL may hold a #
	}, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var entries []entry
	for _, section := range file.Sections() {
		name := strings.TrimSpace(section.Name())
		if name == ini.DefaultSection {
			name = ""
		}
		for _, key := range section.Keys() {
			values := key.ValueWithShadows()
			if len(values) == 0 {
				values = []string{""}
			}
			entries = append(entries, entry{section: name, setting: setting{
				key:    key.Name(),
				values: values,
				where:  fmt.Sprintf("%s:%d", path, iniLine(text, section.Name(), key.Name())),
			}})
		}
	}
	return entries, nil
}

// iniLine finds a key's line, which the parser does not tell. It is 0 if the key is written in a way not foreseen here.
func iniLine(text []byte, section, key string) int {
	in, number := ini.DefaultSection, 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\uFEFF")))
		if name, ok := bytes.CutPrefix(line, []byte("[")); ok {
			in = string(bytes.TrimSuffix(name, []byte("]")))
			continue
		}
		end := bytes.IndexAny(line, "=:")
		if end >= 0 && in == section && string(bytes.Trim(line[:end], "\"` \t")) == key {
			return number
		}
	}
	return 0
}
