package secret

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const task = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := mustNew(t, first)
		token := k.Token()
		for _, step := range []struct {
			wait time.Duration
			want error
		}{
			{0, nil},
			{TokenLife, nil},
			{skew, nil},
			{time.Second, ErrExpired},
		} {
			time.Sleep(step.wait)
			if err := k.VerifyToken(token); !errors.Is(err, step.want) {
				t.Errorf("VerifyToken %v later: got %v, want %v", step.wait, err, step.want)
			}
		}
	})
}

func TestTicketExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := mustNew(t, first)
		ticket, expires := k.Ticket(task, time.Hour)
		if want := time.Now().Add(time.Hour); !expires.Equal(want) {
			t.Errorf("Ticket: expires %v, want %v", expires, want)
		}
		time.Sleep(time.Until(expires) + skew)
		if err := k.VerifyTicket(task, ticket); err != nil {
			t.Errorf("VerifyTicket within the skew: %v", err)
		}
		time.Sleep(time.Second)
		if err := k.VerifyTicket(task, ticket); !errors.Is(err, ErrExpired) {
			t.Errorf("VerifyTicket: got %v, want %v", err, ErrExpired)
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	older, both, swapped, newer := mustNew(t, first), mustNew(t, first, second), mustNew(t, second, first), mustNew(t, second)
	// Neighbouring steps of a rotation live side by side in a cluster.
	for _, pair := range [][2]*Keyring{{older, both}, {both, older}, {both, swapped}, {swapped, both}, {swapped, newer}, {newer, swapped}} {
		if err := pair[1].VerifyToken(pair[0].Token()); err != nil {
			t.Errorf("VerifyToken: %v", err)
		}
		ticket, _ := pair[0].Ticket(task, time.Minute)
		if err := pair[1].VerifyTicket(task, ticket); err != nil {
			t.Errorf("VerifyTicket: %v", err)
		}
	}
	if err := newer.VerifyToken(older.Token()); !errors.Is(err, ErrWrong) {
		t.Errorf("VerifyToken of a dropped secret's token: got %v, want %v", err, ErrWrong)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	k := mustNew(t, first)
	token := k.Token()
	ticket, _ := k.Ticket(task, time.Minute)
	parts := strings.Split(token, ".")
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"nothing":                        {"", ErrMissing},
		"a word":                         {"hello", ErrMalformed},
		"only dots":                      {"..", ErrMalformed},
		"another version":                {"v2." + parts[1] + "." + parts[2], ErrMalformed},
		"no code":                        {"v1." + parts[1] + ".", ErrMalformed},
		"a part too many":                {token + ".x", ErrMalformed},
		"a code cut short":               {token[:len(token)-1], ErrMalformed},
		"a code with a line break":       {token + "\n", ErrMalformed},
		"a line break for a digit":       {token[:len(token)-1] + "\n", ErrMalformed},
		"padding":                        {token + "=", ErrMalformed},
		"expiry with a sign":             {"v1.+" + parts[1] + "." + parts[2], ErrMalformed},
		"expiry with a leading zero":     {"v1.0" + parts[1] + "." + parts[2], ErrMalformed},
		"expiry that overflows":          {"v1.99999999999999999999." + parts[2], ErrMalformed},
		"a megabyte":                     {strings.Repeat("v1.", 1<<19), ErrMalformed},
		"a later expiry":                 {"v1.9999999999." + parts[2], ErrWrong},
		"a ticket for a token":           {ticket, ErrWrong},
		"a code of zeroes":               {"v1." + parts[1] + "." + strings.Repeat("A", 43), ErrWrong},
		"another cluster's token":        {mustNew(t, second).Token(), ErrWrong},
		"an expired one from elsewhere":  {"v1.1." + parts[2], ErrWrong},
		"a negative expiry with a wrong": {"v1.-1." + parts[2], ErrWrong},
	} {
		if err := k.VerifyToken(tc.text); !errors.Is(err, tc.want) {
			t.Errorf("%s: VerifyToken(%.80q): got %v, want %v", name, tc.text, err, tc.want)
		}
	}
	for _, other := range []string{"", task[1:], task + "0", "." + task} {
		if err := k.VerifyTicket(other, ticket); !errors.Is(err, ErrWrong) {
			t.Errorf("VerifyTicket for task %q: got %v, want %v", other, err, ErrWrong)
		}
	}
	if err := k.VerifyTicket(task, token); !errors.Is(err, ErrWrong) {
		t.Errorf("VerifyTicket of a token: got %v, want %v", err, ErrWrong)
	}
}

func FuzzVerify(f *testing.F) {
	k, err := New(first, second)
	if err != nil {
		f.Fatal(err)
	}
	// Every worker of the fuzzer is a process of its own and makes these again: a text made from the clock would differ there.
	const expiry = 1 << 40
	token := sign((*k.keys.Load())[0].control, "", time.Unix(expiry, 0))
	ticket := sign((*k.keys.Load())[0].ticket, task, time.Unix(expiry, 0))
	f.Add(token, task)
	f.Add(ticket, task)
	f.Add("v1.-9223372036854775808."+strings.Repeat("_", 43), "")
	f.Add("v1..\n", ".")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, subject string) {
		if err := k.VerifyToken(text); err == nil && text != token {
			t.Errorf("VerifyToken(%q) accepted a token that was never made", text)
		}
		if err := k.VerifyTicket(subject, text); err == nil && (text != ticket || subject != task) {
			t.Errorf("VerifyTicket(%q, %q) accepted a ticket that was never made", subject, text)
		}
	})
}

func BenchmarkVerifyTicket(b *testing.B) {
	k, err := New(first, second)
	if err != nil {
		b.Fatal(err)
	}
	ticket, _ := k.Ticket(task, time.Hour)
	for b.Loop() {
		if err := k.VerifyTicket(task, ticket); err != nil {
			b.Fatal(err)
		}
	}
}
