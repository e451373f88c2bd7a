package rootcerts

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

func TestEveryCertificateOfTheFileIsAnAuthority(t *testing.T) {
	t.Parallel()
	text, err := PEM()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !cert.IsCA {
			t.Errorf("certificate %d: %v, want an authority's", n, err)
		}
		n++
	}
	if n < 100 || bytes.Count(text, []byte("BEGIN CERTIFICATE")) != n {
		t.Errorf("got %d certificates, want over 100", n)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Error("Go does not read the file")
	}
}
