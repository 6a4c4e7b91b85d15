package httpsig_test

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// vector is one file of testdata/vectors: a comment, "name: value" lines, an empty
// line, and the messages behind "-- request --" (of a response: what it answers) and
// "-- message --". The signatures were not made by this package.
type vector struct {
	expect  string // "verified", or why not
	policy  httpsig.Policy
	message *httpsig.Message
	body    []byte
}

var refusals = map[string]error{
	"missing":      httpsig.ErrMissing,
	"malformed":    httpsig.ErrMalformed,
	"unknown key":  httpsig.ErrUnknownKey,
	"algorithm":    httpsig.ErrAlgorithm,
	"not covered":  httpsig.ErrNotCovered,
	"not fresh":    httpsig.ErrNotFresh,
	"wrong":        httpsig.ErrWrong,
	"purpose":      httpsig.ErrWrongPurpose,
	"wrong digest": httpsig.ErrWrongDigest,
	"no digest":    httpsig.ErrNoDigest,
}

func TestVectors(t *testing.T) {
	vectors := os.DirFS("testdata/vectors")
	files, err := fs.Glob(vectors, "*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	met := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) {
			v := readVector(t, vectors, file)
			met[v.expect] = true
			got, err := httpsig.Verify(t.Context(), v.message, v.policy)
			if strings.HasSuffix(v.expect, "digest") || v.expect == "verified" {
				if err != nil {
					t.Fatalf("Verify: %v, want a signature that is right", err)
				}
				err = httpsig.CheckDigest(v.message.Header, v.body)
			} else if got.Signature != nil || got.Components != nil || got.Label != "" {
				t.Errorf("Verify gives %+v with an error", got)
			}
			if v.expect == "verified" {
				if err != nil || !got.Covers(v.policy.Components...) {
					t.Errorf("CheckDigest: %v; verified: %+v", err, got)
				}
				return
			}
			if refusals[v.expect] == nil {
				t.Fatalf("expect: %s is not known", v.expect)
			}
			for name, refusal := range refusals {
				if is := errors.Is(err, refusal); is != (name == v.expect) {
					t.Errorf("the refusal is %v, which is %q: %t", err, name, is)
				}
			}
		})
	}
	for name := range refusals {
		if !met[name] {
			t.Errorf("no vector is refused as %q", name)
		}
	}
}

func readVector(t *testing.T, vectors fs.FS, file string) vector {
	t.Helper()
	text, err := fs.ReadFile(vectors, file)
	if err != nil {
		t.Fatal(err)
	}
	head, message, ok := strings.Cut(strings.TrimSuffix(string(text), "\n"), "\n-- message --\n")
	if !ok {
		t.Fatal("no message")
	}
	head, request, _ := strings.Cut(head, "\n-- request --\n")
	var v vector
	v.message, v.body = readMessage(t, message)
	if request != "" {
		v.message.Request, _ = readMessage(t, request)
	}
	names := "hmac-sha256"
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case strings.HasPrefix(line, "#"), line == "\n":
		case name == "expect":
			v.expect = value
		case name == "keys":
			names = value
		default:
			readPolicy(t, &v.policy, name, value)
		}
	}
	v.policy.Keys = vectorKeys(t, strings.Fields(names))
	return v
}

func readPolicy(t *testing.T, p *httpsig.Policy, name, value string) {
	t.Helper()
	var err error
	switch name {
	case "label":
		p.Label = value
	case "tag":
		p.Tag = value
	case "cover":
		p.Components = components(t, strings.Fields(value)...)
	case "nonce":
		p.NeedNonce = value == "needed"
	case "max-age":
		p.MaxAge, err = time.ParseDuration(value)
	case "skew":
		p.Skew, err = time.ParseDuration(value)
	case "now":
		var seconds int64
		seconds, err = strconv.ParseInt(value, 10, 64)
		p.Now = time.Unix(seconds, 0)
	default:
		t.Fatalf("unknown line %q", name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// vectorKeys are those of the key ID "test-shared-secret", named by their algorithms;
// "another" is an HMAC key. Of "test-key-ed25519" there is the one of RFC 9421.
func vectorKeys(t *testing.T, names []string) func(string) []httpsig.VerifyingKey {
	t.Helper()
	var all []httpsig.VerifyingKey
	for _, name := range names {
		if name == "another" {
			all = append(all, httpsig.HMAC("another key"))
			continue
		}
		_, public := keys(t, httpsig.Algorithm(name))
		all = append(all, public)
	}
	_, ed := keys(t, httpsig.Ed25519)
	return func(keyID string) []httpsig.VerifyingKey {
		switch keyID {
		case "test-shared-secret":
			return all
		case "test-key-ed25519":
			return []httpsig.VerifyingKey{ed}
		default:
			return nil
		}
	}
}
