// Package api is the wire contract between Dragonfly's programs: routes, headers, default ports and the JSON bodies of the
// control plane. It holds no behaviour beyond encoding and imports only the standard library, so that any tool may use it.
package api

import "time"

// Default ports and paths. The first two and MirrorPort are fixed by every deployment of Dragonfly that exists.
const (
	RegisterPort = 8001  // supernode: control plane, metrics, health
	DownloadPort = 8002  // supernode: pieces
	MirrorPort   = 65001 // dfdaemon: registry mirror, loopback only by default
	PeerPort     = 65002 // dfdaemon: pieces for other peers
	AdminPort    = 65003 // dfdaemon: health and metrics

	SocketPath = "/run/dragonfly/dfdaemon.sock" // dfdaemon: local API for dfget and dfctl
	ConfigPath = "/etc/dragonfly.conf"          // INI, see docs/configuration.md
)

// Headers of the data plane and of answers that tell where bytes came from.
const (
	// HeaderTicket carries the ticket of a task on every piece request.
	HeaderTicket = "X-Dragonfly-Ticket"
	// HeaderPeer names the asking peer, so that a parent can tell its waiting children apart.
	HeaderPeer = "X-Dragonfly-Peer"
	// HeaderPick goes with a 204 answer to a pick: PickAgain or PickOver.
	HeaderPick = "X-Dragonfly-Pick"
	// HeaderProof goes with a 206 answer for pieces: for each of them, in order, its digest and the supernode's signature of it; see
	// docs/architecture.md, "Data plane".
	HeaderProof = "X-Dragonfly-Proof"
	// HeaderTask names the task an answer of the mirror was served from.
	HeaderTask = "X-Dragonfly-Task"
	// HeaderSource says how a mirror answer began: "swarm", "cache" or "origin".
	HeaderSource = "X-Dragonfly-Source"
)

// Values of HeaderPick.
const (
	PickAgain = "again" // nothing fresh yet
	PickOver  = "over"  // every piece was sent once
)

// Meta is what is known of a task's content. It grows: Length may become known only when the origin ends.
type Meta struct {
	// Length in bytes, -1 while unknown.
	Length int64 `json:"length"`
	// PieceSize in bytes, 0 while unknown; never changes once set.
	PieceSize int64 `json:"piece_size"`
	// Header holds the origin's representation headers worth repeating: Content-Type, Etag, Last-Modified.
	Header map[string]string `json:"header,omitempty"`
	// Public is true once the origin served the content to a request without credentials.
	Public bool `json:"public,omitempty"`
}

// Piece is one piece's verified digest.
type Piece struct {
	Index  int    `json:"i"`
	SHA256 []byte `json:"d"` // 32 bytes
}

// Host is a machine that runs a peer.
type Host struct {
	// ID is stable over restarts of the peer and unique in the cluster.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Addrs are "ip:port" of the piece server, best first.
	Addrs []string `json:"addrs"`
	// Zone is the topology zone, "" when unknown. Peers of one zone are preferred as parents.
	Zone string `json:"zone,omitempty"`
}

// Origin says where the content comes from. Header may hold credentials: a client fills them in only where the connection to
// the supernode is TLS or loopback, and no one stores or logs them.
type Origin struct {
	URL    string              `json:"url"`
	Header map[string][]string `json:"header,omitempty"`
	// Digest of the whole content, "algorithm:hex", or "" if unknown.
	Digest string `json:"digest,omitempty"`
}

// RegisterRequest is the body of POST /api/v1/tasks/{id}/peers. Registering twice is harmless: the second replaces the first.
type RegisterRequest struct {
	Peer   string `json:"peer"`
	Host   Host   `json:"host"`
	Origin Origin `json:"origin"`
	// Meta and Held tell what the peer has already, verified; a supernode that knows nothing of the task adopts it.
	Meta *Meta   `json:"meta,omitempty"`
	Held []Piece `json:"held,omitempty"`
	// Private asks the supernode not to fetch from the origin itself, because the credentials stay on the peer's host. The
	// supernode then elects a peer that registered so as the task's source.
	Private bool `json:"private,omitempty"`
	// SeedOnly asks for no parents but the seed (dfget --pattern cdn).
	SeedOnly bool `json:"seed_only,omitempty"`
	// Proofs says that the peer checks the proofs that come with pieces: digests that the supernode signs need not be told. The answer
	// then tells of no pieces, only the stream does, and parents are told by More and Less after the first list. A peer that holds pieces leaves it out, to compare them with the digests told.
	Proofs bool `json:"proofs,omitempty"`
}

// Parent is a peer to fetch pieces from.
type Parent struct {
	Peer  string   `json:"peer"`
	Addrs []string `json:"addrs"` // "ip:port", best first
	// Seed marks the supernode's own piece server. It alone answers ?pick=1.
	Seed bool `json:"seed,omitempty"`
}

// Update is the answer to a registration and, as one JSON object a line, the event stream of a peer. Absent fields mean "no
// news"; an empty object is a sign of life, sent at least once per PingInterval, or per Ping once that was told.
type Update struct {
	Meta *Meta `json:"meta,omitempty"`
	// Pieces became known since Seq of the previous update.
	Pieces Pieces `json:"pieces,omitempty"`
	// Signed are pieces, as ranges "0-17,19", that became known as Pieces do, but whose digests come with the pieces and a proof. Only a
	// peer that registered with Proofs hears of them.
	Signed string `json:"signed,omitempty"`
	// Key is the public key that proofs of this task are checked with (Ed25519); it replaces the previous one. Absent means unchanged.
	Key []byte `json:"key,omitempty"`
	// Seq counts the pieces told so far; a stream opened with ?since=Seq goes on behind them.
	Seq int `json:"seq,omitempty"`
	// Content is the whole content when it is one piece or less.
	Content []byte `json:"content,omitempty"`
	// Parents replaces the list of parents; null means unchanged.
	Parents []Parent `json:"parents,omitempty"`
	// More are parents to add to the list, in place of those of the same name, and Less the names of those to take off it. A peer that
	// registered with Proofs hears of changes so.
	More []Parent `json:"more,omitempty"`
	Less []string `json:"less,omitempty"`
	// Ticket for piece requests of this task; replaces the previous one. "" means unchanged.
	Ticket string `json:"ticket,omitempty"`
	// Source asks this peer to fetch from the origin what nobody holds, and to report the digests.
	Source bool `json:"source,omitempty"`
	// Complete says that every piece has been told.
	Complete bool `json:"complete,omitempty"`
	// Ping is how long the stream may be silent from now on, in milliseconds; absent means unchanged. A stream begins with PingInterval.
	Ping int `json:"ping,omitempty"`
	// Failed ends the stream: the supernode can't provide the content; the peer goes to the origin itself.
	Failed *Error `json:"failed,omitempty"`
}

// PingInterval is the longest silence of a live event stream or availability stream. An event stream may tell a longer one, MaxPing at most.
const (
	PingInterval = time.Second
	MaxPing      = 4 * PingInterval
)

// Report is the body of POST /api/v1/tasks/{id}/peers/{peer}/reports. Counts are since the previous report.
type Report struct {
	// Have lists all pieces held, as ranges "0-17,19".
	Have string `json:"have,omitempty"`
	// Pieces and Meta are filled in by a source peer only: what it fetched from the origin.
	Pieces []Piece `json:"pieces,omitempty"`
	Meta   *Meta   `json:"meta,omitempty"`
	// Bad names parents that sent wrong bytes, stalled or could not be reached.
	Bad       []BadParent `json:"bad,omitempty"`
	FromSeed  int64       `json:"from_seed,omitempty"`  // bytes
	FromPeers int64       `json:"from_peers,omitempty"` // bytes
	FromOrig  int64       `json:"from_origin,omitempty"`
	// Complete: the peer holds every piece and the digest of the whole was right.
	Complete bool `json:"complete,omitempty"`
	// Left: the peer takes no more part in the task, and, unless Complete, holds nothing of it.
	Left bool `json:"left,omitempty"`
	// SourceFailed: a source peer could not read the origin; another is to be elected.
	SourceFailed *Error `json:"source_failed,omitempty"`
}

// BadParent is a complaint. Reason is one of the Reason constants.
type BadParent struct {
	Peer   string `json:"peer"`
	Piece  int    `json:"piece"`
	Reason string `json:"reason"`
}

// Reasons of a complaint.
const (
	ReasonDigest      = "digest"      // bytes did not match their digest
	ReasonSlow        = "slow"        // stalled
	ReasonUnreachable = "unreachable" // no connection
)

// Heartbeat is the body of PUT /api/v1/hosts/{id}. Revision changes whenever the set of complete tasks does; Inventory is sent when the
// answer to the previous heartbeat asked for it, and with the first.
type Heartbeat struct {
	Host     Host   `json:"host"`
	Version  string `json:"version"`
	Revision uint64 `json:"revision"`
	// Every is the time until the next heartbeat at most, in seconds; absent means HeartbeatInterval. A host unheard of for three times as
	// long is gone.
	Every int `json:"every,omitempty"`
	// Inventory lists tasks held completely; null when it is not sent.
	Inventory []HeldTask `json:"inventory,omitempty"`
}

// Times between two heartbeats of a host: BusyHeartbeat while it follows an event stream of the supernode, whose end it would notice.
const (
	HeartbeatInterval = 5 * time.Second
	BusyHeartbeat     = 3 * HeartbeatInterval
)

// HeldTask is a complete task on a host's disk.
type HeldTask struct {
	ID     string `json:"id"`
	Length int64  `json:"length"`
}

// HeartbeatAnswer asks for the inventory where the supernode does not know Revision.
type HeartbeatAnswer struct {
	NeedInventory bool `json:"need_inventory,omitempty"`
}

// TaskManifest lists a task's pieces, as a peer tells it: the body of GET /download/{id[:3]}/{id}/manifest.
type TaskManifest struct {
	Meta   Meta    `json:"meta"`
	Pieces []Piece `json:"pieces"`
}
