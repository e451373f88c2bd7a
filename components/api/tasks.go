package api

import "time"

// Listings for people and tools. They are bounded: Next, when not empty, is the value of ?after= for the following page, and ?limit=
// asks for up to MaxPage rows.

// MaxPage is the largest number of rows of one answer.
const MaxPage = 1000

// TaskList is the answer of GET /api/v1/tasks.
type TaskList struct {
	Tasks []TaskInfo `json:"tasks"`
	Next  string     `json:"next,omitempty"`
}

// States of a task.
const (
	TaskWaiting  = "waiting"  // nobody provides what is missing yet
	TaskFetching = "fetching" // the supernode reads the origin
	TaskSourced  = "sourced"  // a peer reads the origin
	TaskReady    = "ready"    // every piece is known and held by somebody
	TaskFailed   = "failed"
)

// TaskInfo describes a task that the supernode has in memory: GET /api/v1/tasks/{id}.
type TaskInfo struct {
	ID string `json:"id"`
	// URL of the origin without query and user information, which may be secret.
	URL     string `json:"url,omitempty"`
	Digest  string `json:"digest,omitempty"`
	State   string `json:"state"`
	Meta    Meta   `json:"meta"`
	Pieces  int    `json:"pieces"`           // known
	Seeded  int    `json:"seeded"`           // of them, held by the supernode
	Peers   int    `json:"peers"`            // all
	Whole   int    `json:"whole"`            // peers that hold every piece
	Streams int    `json:"streams"`          // event streams that are open
	Source  string `json:"source,omitempty"` // the peer that reads the origin
}

// PeerList is the answer of GET /api/v1/tasks/{id}/peers.
type PeerList struct {
	Peers []PeerInfo `json:"peers"`
	Next  string     `json:"next,omitempty"`
}

// PeerInfo describes a peer of a task.
type PeerInfo struct {
	Peer     string    `json:"peer"`
	Host     Host      `json:"host"`
	Pieces   int       `json:"pieces"` // held
	Complete bool      `json:"complete,omitempty"`
	Source   bool      `json:"source,omitempty"`
	Parents  []string  `json:"parents,omitempty"`
	Since    time.Time `json:"since"`
}

// Version is the answer of GET /api/v1/version.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go,omitempty"`
}
