//go:build !linux

package network

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// Client fails: only Linux has network namespaces.
func (n *Network) Client(int) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("only Linux has network namespaces")
	}}}
}
