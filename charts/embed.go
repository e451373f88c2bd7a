// Package charts holds the Helm chart, so that programs can render it without the source tree.
package charts

import "embed"

// FS has the chart at "dragonfly".
//
//go:embed all:dragonfly
var FS embed.FS
