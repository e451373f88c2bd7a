// Package rootcerts has the certificates of the authorities that Mozilla trusts, from a Go module whose version go.mod pins.
package rootcerts

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// PEM returns them as a file ca-certificates.crt. An authority that is trusted for old certificates only is in it, as in the files of
// the distributions: the format cannot tell.
func PEM() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("read a root certificate: %w", err)
		}
		fmt.Fprintf(&out, "# %s\n", cert.Subject)
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, fmt.Errorf("write a root certificate: %w", err)
		}
	}
	return out.Bytes(), nil
}
