package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// names lists the options that may be suggested.
func names(flags *pflag.FlagSet) []string {
	var all []string
	flags.VisitAll(func(f *pflag.Flag) {
		if settable(f) && !f.Hidden {
			all = append(all, f.Name)
		}
	})
	return all
}

// suggest is the end of a message about an unknown name, "" if no known one is near.
func suggest(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// nearest returns the known name that differs from name by the fewest letters, "" if more than a quarter of them differ. Case, hyphens
// and underscores don't count. "registry" is no slip for "registry-ca": whole endings are another word.
func nearest(name string, known []string) string {
	const longest = 64 // no option is longer, and the work grows with the square
	if len(name) > longest {
		return ""
	}
	best, least := "", min(3, max(1, len(name)/4))+1
	for _, k := range known {
		a, b := letters(name), letters(k)
		if d := distance(a, b); d < least && (d < 2 || !strings.HasPrefix(a, b) && !strings.HasPrefix(b, a)) {
			best, least = k, d
		}
	}
	return best
}

func letters(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
