package verify

import (
	"text/template"

	"github.com/dustin/go-humanize"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// Report is what the command writes with -o json.
type Report struct {
	// Image is as it was asked for, Digest that of its manifest or index.
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Mirror string `json:"mirror"`
	// Platform is OS/ARCHITECTURE, or "all".
	Platform  string `json:"platform"`
	Manifests int    `json:"manifests"`
	Blobs     int    `json:"blobs"`
	// Bytes of manifests and blobs, all of them verified.
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	// Answers are the bytes by how dfdaemon says that it got them.
	Answers Sources `json:"answers"`
	// Received is what dfdaemon received meanwhile, for other clients too. It is null where its status could not be had.
	Received *api.Shares `json:"received"`
	// P2PPercent is how much did not need this node to read the registry: what was in its store, and the part of the rest that came
	// from peers and supernodes.
	P2PPercent float64 `json:"p2p_percent"`
}

// Sources are bytes by where dfdaemon had them from.
type Sources struct {
	// Cache was in the node's store already.
	Cache int64 `json:"cache"`
	// Swarm came from peers, supernodes and, for the part that nobody had, the registry.
	Swarm int64 `json:"swarm"`
	// Origin was read from the registry.
	Origin int64 `json:"origin"`
	// Unknown came without word of it: something else than dfdaemon answered.
	Unknown int64 `json:"unknown"`
}

// percent of the bytes that came from the swarm, now or earlier.
func percent(s Sources, received *api.Shares) float64 {
	total := s.Cache + s.Swarm + s.Origin + s.Unknown
	if total <= 0 {
		return 0
	}
	part := 1.0 // of what the swarm's answers hold
	if received != nil && received.Total() > 0 {
		part = float64(received.FromPeers+received.FromSeed) / float64(received.Total())
	}
	return 100 * (float64(s.Cache) + part*float64(s.Swarm)) / float64(total)
}

const layout = `{{plain .Image}}
  digest    {{.Digest}}
  verified  {{.Manifests}} manifests and {{.Blobs}} blobs for {{.Platform}}, {{bytes .Bytes}} in {{printf "%.1f" .Seconds}} s
  answers   {{bytes .Answers.Swarm}} from the swarm, {{bytes .Answers.Cache}} from the node's store, {{bytes .Answers.Origin}} from the registry
{{- if .Answers.Unknown}}, {{bytes .Answers.Unknown}} from who knows where{{end}}
{{with .Received}}  received  {{bytes .FromPeers}} from peers, {{bytes .FromSeed}} from supernodes, {{bytes .FromOrigin}} from registries, by dfdaemon meanwhile
{{end}}  p2p       {{printf "%.0f" .P2PPercent}} %
`

func text() *template.Template {
	return template.Must(template.New("verify").Funcs(template.FuncMap{
		"plain": cli.Plain,
		"bytes": func(n int64) string { return humanize.IBytes(uint64(max(0, n))) },
	}).Parse(layout))
}
