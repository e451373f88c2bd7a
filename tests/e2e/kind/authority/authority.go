// Package authority is a private certificate authority, as companies have for their registries.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Files of an authority and of a server that it vouches for, in PEM.
type Files struct{ CA, Cert, Key string }

// valid is how long certificates are: longer than any cluster lives.
const valid = 365 * 24 * time.Hour

// Open returns the files in a folder, and makes them for a server at an address when they are not there.
func Open(dir, ip string) (Files, error) {
	f := Files{CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	// The key is written last.
	if _, err := os.Stat(f.Key); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := f.make(ip); err != nil {
		return Files{}, fmt.Errorf("make certificates in %s: %w", dir, err)
	}
	return f, nil
}

func (f Files) make(ip string) error {
	address := net.ParseIP(ip)
	if address == nil {
		return fmt.Errorf("%q is no IP address", ip)
	}
	ca := template("Private authority of the end-to-end tests", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caCert, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	server := template(ip, 2)
	server.IPAddresses, server.KeyUsage = []net.IP{address}, x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := x509.CreateCertificate(rand.Reader, server, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.Key), 0o700); err != nil {
		return err
	}
	return errors.Join(write(f.CA, "CERTIFICATE", caCert), write(f.Cert, "CERTIFICATE", cert), write(f.Key, "PRIVATE KEY", keyBytes))
}

func template(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(serial), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(valid),
	}
}

func write(file, kind string, content []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}
