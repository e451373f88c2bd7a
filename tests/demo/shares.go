package main

import "context"

// shares are the bytes a dfdaemon got from each kind of source, and gave to other peers.
type shares struct {
	seed, peers, origin, given int64
}

func readShares(context.Context, string) (shares, error) { return shares{}, nil }
