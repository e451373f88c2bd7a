package table

import (
	"strings"
	"testing"
)

func TestColumnsAreInLine(t *testing.T) {
	t.Parallel()
	tab := Table{Heading: []string{"what", "s"}}
	tab.Add("a pull | of two\nlayers", "1.50")
	tab.Add("ä")
	tab.Add("x", "2", "beyond")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `
| what                    |    s |
|:------------------------|-----:|
| a pull \| of two layers | 1.50 |
| ä                       |      |
| x                       |    2 |
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("table:%s\nwant:%s", got, want)
	}
}
