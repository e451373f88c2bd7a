// Package kustomize holds the kustomize bases, components and overlays, so that programs can build them without the source tree.
package kustomize

import "embed"

// FS has the directories "bases", "components" and "overlays".
//
//go:embed bases components overlays
var FS embed.FS
