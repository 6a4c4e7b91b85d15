package httpsig_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// named is a key of another algorithm than its own.
type named struct {
	httpsig.VerifyingKey

	algorithm httpsig.Algorithm
}

func (n named) Algorithm() httpsig.Algorithm { return n.algorithm }

// Keys are tried in order, until one fits or one cannot find out.
func TestKeyOrder(t *testing.T) {
	down := errors.New("down")
	right, wrong := httpsig.HMAC("key"), httpsig.HMAC("another")
	_, ed := keys(t, httpsig.Ed25519)
	unsure := failing{err: down}
	for _, c := range []struct {
		name string
		alg  bool // is named
		keys []httpsig.VerifyingKey
		want error
	}{
		{"the one", false, []httpsig.VerifyingKey{right}, nil},
		{"the last", false, []httpsig.VerifyingKey{wrong, ed, right}, nil},
		{"the first", false, []httpsig.VerifyingKey{right, unsure}, nil},
		{"after one that is unsure", false, []httpsig.VerifyingKey{unsure, right}, down},
		{"unsure at last", false, []httpsig.VerifyingKey{wrong, unsure}, down},
		{"wrong ones", false, []httpsig.VerifyingKey{wrong, ed}, httpsig.ErrWrong},
		{"none", false, nil, httpsig.ErrUnknownKey},
		{"the one, by algorithm", true, []httpsig.VerifyingKey{ed, right}, nil},
		{"others, by algorithm", true, []httpsig.VerifyingKey{ed, named{right, "hmac-sha512"}}, httpsig.ErrAlgorithm},
		{"one that is unsure, by algorithm", true, []httpsig.VerifyingKey{named{unsure, httpsig.Ed25519}, right}, nil},
	} {
		m, p := exchange(t)
		p.NameAlg = c.alg
		sign(t, m, p, right)
		v, err := httpsig.Verify(t.Context(), m, httpsig.Policy{
			Now: p.Created, Keys: func(keyID string) []httpsig.VerifyingKey {
				if keyID != "test" {
					t.Errorf("%s: asked for %q", c.name, keyID)
				}
				return c.keys
			},
		})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (err == nil) != (v.Signature != nil) {
			t.Errorf("%s: %v, %v, want %v", c.name, v, err, c.want)
		}
		if errors.Is(err, down) && errors.Is(err, httpsig.ErrWrong) {
			t.Errorf("%s: %v says that it is wrong", c.name, err)
		}
	}
}

// An algorithm that there is not is refused even where a key claims it.
func TestUnknownAlgorithmOfKey(t *testing.T) {
	m, p := exchange(t)
	sign(t, m, p, httpsig.HMAC("key"))
	m.Header.Set("Signature-Input", m.Header.Get("Signature-Input")+`;alg="none"`)
	yes := named{failing{}, "none"}
	_, err := httpsig.Verify(t.Context(), m, httpsig.Policy{
		Now: p.Created, Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{yes} },
	})
	if !errors.Is(err, httpsig.ErrAlgorithm) {
		t.Errorf("Verify: %v", err)
	}
}

// An empty signature is wrong even to a key that would have it.
func TestEmptySignature(t *testing.T) {
	m, p := exchange(t)
	sign(t, m, p, httpsig.HMAC("key"))
	policy := httpsig.Policy{Now: p.Created, Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{failing{}} }}
	if _, err := httpsig.Verify(t.Context(), m, policy); err != nil {
		t.Fatalf("Verify with a key that accepts all: %v", err)
	}
	m.Header.Set("Signature", "sig1=::")
	if _, err := httpsig.Verify(t.Context(), m, policy); !errors.Is(err, httpsig.ErrWrong) {
		t.Errorf("Verify: %v", err)
	}
}

func TestZeroPolicy(t *testing.T) {
	m, p := exchange(t)
	sign(t, m, p, httpsig.HMAC("key"))
	if _, err := httpsig.Verify(t.Context(), m, httpsig.Policy{}); err == nil {
		t.Error("the zero policy accepts")
	}
	if _, err := httpsig.Verify(t.Context(), &httpsig.Message{}, httpsig.Policy{}); !errors.Is(err, httpsig.ErrMissing) {
		t.Errorf("Verify of nothing: %v", err)
	}
}

func TestCovers(t *testing.T) {
	v := httpsig.Verified{Components: components(t, "@method", `@query-param;name="a";req`, "content-digest")}
	for text, want := range map[string]bool{
		"":                                true,
		"@method":                         true,
		"content-digest @method":          true,
		`@query-param;req;name="a"`:       true,
		"@method;req":                     false,
		"@method @path":                   false,
		`@query-param;req;name="b"`:       false,
		`content-digest;key="sha-256"`:    false,
		"content-digest;sf":               false,
		`@method "content-digest" @path`:  false,
		`"@method" "content-digest"`:      true,
		`"@method" "content-digest";bs`:   false,
		`content-digest;req`:              false,
		`@query-param;req;name="a" @path`: false,
	} {
		if got := v.Covers(components(t, strings.Fields(text)...)...); got != want {
			t.Errorf("Covers(%s) = %t", text, got)
		}
	}
	if v.Covers(httpsig.Component{}) {
		t.Error("the zero component is covered")
	}
}

// Freshness by the second and below it.
func TestFreshness(t *testing.T) {
	created := time.Unix(1618884473, 0)
	for _, c := range []struct {
		now          time.Duration // after created
		maxAge, skew time.Duration
		fresh        bool
	}{
		{0, time.Minute, 0, true},
		{time.Minute, time.Minute, 0, true},
		{time.Minute + time.Nanosecond, time.Minute, 0, false},
		{time.Minute + time.Nanosecond, time.Minute, time.Hour, false}, // skew is for clocks ahead, and for expiry
		{-time.Nanosecond, time.Minute, 0, false},
		{-time.Second, time.Minute, time.Second, true},
		{-time.Second - 1, time.Minute, time.Second, false},
		{-time.Second - 1, 0, time.Second, false}, // of any age, but not of the future
		{299 * time.Second, 0, 0, true},
		{300 * time.Second, 0, 0, true},
		{300*time.Second + 1, 0, 0, false},
		{305 * time.Second, 0, 5 * time.Second, true},
		{305*time.Second + 1, 0, 5 * time.Second, false},
		{0, -1, 0, false},
	} {
		m, p := exchange(t) // expires after 300 s
		sign(t, m, p, httpsig.HMAC("key"))
		_, err := httpsig.Verify(t.Context(), m, httpsig.Policy{
			Now: created.Add(c.now), MaxAge: c.maxAge, Skew: c.skew,
			Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{httpsig.HMAC("key")} },
		})
		if fresh := err == nil; fresh != c.fresh || !fresh && !errors.Is(err, httpsig.ErrNotFresh) {
			t.Errorf("after %s with %s and %s: %v", c.now, c.maxAge, c.skew, err)
		}
	}
}
