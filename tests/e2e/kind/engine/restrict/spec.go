package main

import (
	"bytes"
	"encoding/json"
	"slices"
)

const capability = "CAP_SYS_RESOURCE"

// specification edits a container's config.json (https://github.com/opencontainers/runtime-spec/blob/main/config.md).
func specification(b []byte) ([]byte, error) {
	spec, err := decode(b)
	if err != nil {
		return nil, err
	}
	if p, ok := spec["process"].(map[string]any); ok {
		restrict(p)
	}
	return json.Marshal(spec)
}

// process edits the file of `runc exec --process`, which is the process object of a specification.
func process(b []byte) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	restrict(p)
	return json.Marshal(p)
}

func decode(b []byte) (map[string]any, error) {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // device numbers and limits do not fit a float64
	err := d.Decode(&m)
	return m, err
}

// restrict takes out the capability and the two settings that the kernel grants with it only.
func restrict(process map[string]any) {
	if sets, ok := process["capabilities"].(map[string]any); ok {
		for name, set := range sets {
			if list, ok := set.([]any); ok {
				sets[name] = slices.DeleteFunc(list, func(c any) bool { return c == capability })
			}
		}
	}
	delete(process, "rlimits")
	if adj, ok := process["oomScoreAdj"].(json.Number); ok && adj[0] == '-' {
		delete(process, "oomScoreAdj")
	}
}
