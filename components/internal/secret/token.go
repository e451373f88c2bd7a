package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// TokenLife is how long a control token is valid. Clients make a new one for every call.
	TokenLife = 10 * time.Minute
	// skew is how far the clocks of two nodes may differ.
	skew    = 2 * time.Minute
	version = "v1"
	// maxText bounds what is parsed: a version, a 64-bit number and 32 bytes in base64 are 67 bytes.
	maxText = 96
)

var encoding = base64.RawURLEncoding.Strict()

// What can be wrong with a token or a ticket. None of them says anything about the right one.
var (
	ErrMissing   = errors.New("is missing: the sender has no cluster secret (--secret-file)")
	ErrMalformed = errors.New("is malformed")
	ErrWrong     = errors.New("was made with another cluster secret or for another task")
	ErrExpired   = errors.New("has expired: ask for a new one, and compare the clocks of both nodes")
)

// Token makes a token for calls of the control plane, valid for TokenLife: "v1.<expiry in Unix seconds>.<MAC>". It is "" for a nil
// Keyring.
func (k *Keyring) Token() string {
	if k == nil {
		return ""
	}
	return sign((*k.keys.Load())[0].control, "", time.Now().Add(TokenLife))
}

// VerifyToken returns nil if a program with one of our secrets made the token and it has not expired, else an error that
// is one of the package's Err values.
func (k *Keyring) VerifyToken(token string) error {
	if k == nil {
		return nil
	}
	if err := k.verify(keys.forControl, "", token); err != nil {
		return fmt.Errorf("control token %w", err)
	}
	return nil
}

// Ticket makes a ticket for the pieces of a task, and tells when it expires. It is "" for a nil Keyring.
func (k *Keyring) Ticket(task string, ttl time.Duration) (ticket string, expires time.Time) {
	expires = time.Now().Add(ttl).Truncate(time.Second)
	if k == nil {
		return "", expires
	}
	return sign((*k.keys.Load())[0].ticket, task, expires), expires
}

// VerifyTicket is VerifyToken for a ticket of this task.
func (k *Keyring) VerifyTicket(task, ticket string) error {
	if k == nil {
		return nil
	}
	if err := k.verify(keys.forTicket, task, ticket); err != nil {
		return fmt.Errorf("ticket %w", err)
	}
	return nil
}

func (k keys) forControl() []byte { return k.control }
func (k keys) forTicket() []byte  { return k.ticket }

func (k *Keyring) verify(purpose func(keys) []byte, subject, text string) error {
	if text == "" {
		return ErrMissing
	}
	expiry, mac, err := parse(text)
	if err != nil {
		return err
	}
	known := false
	for _, ks := range *k.keys.Load() {
		// Every key is tried, so that the time taken does not tell which one matched.
		known = hmac.Equal(mac, sum(purpose(ks), subject, expiry)) || known
	}
	switch {
	case !known:
		return ErrWrong
	case time.Now().Add(-skew).Unix() > expiry:
		return ErrExpired
	}
	return nil
}

func parse(text string) (expiry int64, mac []byte, err error) {
	if len(text) > maxText {
		return 0, nil, ErrMalformed
	}
	v, rest, _ := strings.Cut(text, ".")
	when, code, ok := strings.Cut(rest, ".")
	if v != version || !ok {
		return 0, nil, ErrMalformed
	}
	expiry, err = strconv.ParseInt(when, 10, 64)
	if err != nil || strconv.FormatInt(expiry, 10) != when {
		return 0, nil, ErrMalformed
	}
	// The length is checked before, because the decoder skips line breaks.
	if len(code) != encoding.EncodedLen(sha256.Size) {
		return 0, nil, ErrMalformed
	}
	if mac, err = encoding.DecodeString(code); err != nil || len(mac) != sha256.Size {
		return 0, nil, ErrMalformed
	}
	return expiry, mac, nil
}

func sign(key []byte, subject string, expires time.Time) string {
	expiry := expires.Unix()
	return version + "." + strconv.FormatInt(expiry, 10) + "." + encoding.EncodeToString(sum(key, subject, expiry))
}

// sum is unambiguous because the expiry, digits only, comes first and the subject takes the rest.
func sum(key []byte, subject string, expiry int64) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(strconv.AppendInt(nil, expiry, 10))
	m.Write([]byte{'.'})
	m.Write([]byte(subject))
	return m.Sum(nil)
}
