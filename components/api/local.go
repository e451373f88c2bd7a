package api

import "time"

// Paths of a dfdaemon's local API, which its socket serves. The admin port serves PathStatus too.
const (
	// PathFetch takes a FetchRequest by POST and answers with the content, as it comes: 200, chunked, HeaderTask, HeaderFetch,
	// HeaderLength where the length is known, and the origin's representation headers; after the body the trailers HeaderShares
	// and, if the content ended early, HeaderError. A request that fails before the first byte gets an ErrorBody.
	PathFetch = "/v1/fetch"
	// PathStatus answers GET with a DaemonStatus.
	PathStatus = "/v1/status"
)

// Headers of the local API.
const (
	// HeaderFetch names a running fetch, for SharesPath.
	HeaderFetch = "X-Dragonfly-Fetch"
	// HeaderLength is the length of the whole content in bytes, whatever the offset asked for.
	HeaderLength = "X-Dragonfly-Length"
	// HeaderShares is a trailer: Shares in JSON.
	HeaderShares = "X-Dragonfly-Shares"
	// HeaderError is a trailer: an Error in JSON.
	HeaderError = "X-Dragonfly-Error"
)

// SharesPath answers GET with the Shares so far of a running fetch.
func SharesPath(fetch string) string { return PathFetch + "/" + fetch }

// Patterns: where a fetch may take its bytes from.
const (
	PatternP2P    = "p2p"    // seed and peers; the origin when they fail
	PatternCDN    = "cdn"    // the seed only; the origin when it fails
	PatternSource = "source" // the origin only
)

// FetchRequest is the body of POST PathFetch.
type FetchRequest struct {
	URL string `json:"url"`
	// Header for the origin; may hold credentials.
	Header map[string][]string `json:"header,omitempty"`
	// Digest of the whole content, "algorithm:hex", or "" if unknown.
	Digest string `json:"digest,omitempty"`
	// Tag sets contents of one URL apart.
	Tag string `json:"tag,omitempty"`
	// Filters names query parameters that don't count for what the content is.
	Filters []string `json:"filters,omitempty"`
	// Pattern is one of the patterns, "" for PatternP2P.
	Pattern string `json:"pattern,omitempty"`
	// NoOrigin forbids this host to go to the origin when the swarm fails.
	NoOrigin bool `json:"no_origin,omitempty"`
	// Offset is the first byte of the content that is wanted.
	Offset int64 `json:"offset,omitempty"`
}

// Shares counts bytes received by where they came from.
type Shares struct {
	FromSeed   int64 `json:"from_seed"`
	FromPeers  int64 `json:"from_peers"`
	FromOrigin int64 `json:"from_origin"`
}

// Total is all that was received.
func (s Shares) Total() int64 { return s.FromSeed + s.FromPeers + s.FromOrigin }

// DaemonStatus is what a dfdaemon tells about itself.
type DaemonStatus struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Host    Host      `json:"host"`
	// Supernodes lists every supernode that the configuration leads to, at this moment.
	Supernodes []SupernodeStatus `json:"supernodes"`
	// Downloads runs now; Tasks are held completely.
	Downloads int `json:"downloads"`
	Tasks     int `json:"tasks"`
	// Received counts content since Started, Sent what other peers got from this one, in bytes.
	Received Shares      `json:"received"`
	Sent     int64       `json:"sent"`
	Store    StoreStatus `json:"store"`
}

// SupernodeStatus is a supernode as a peer sees it.
type SupernodeStatus struct {
	// Addr is "ip:port" of the control plane.
	Addr string `json:"addr"`
	// Alive says that its last answer came in time.
	Alive bool `json:"alive"`
	// Error is why it is not alive, "" if that is not known.
	Error string `json:"error,omitempty"`
}

// StoreStatus is how full the disk store is, in bytes.
type StoreStatus struct {
	Used int64 `json:"used"`
	// Quota is 0 where there is no bound.
	Quota int64 `json:"quota"`
}
