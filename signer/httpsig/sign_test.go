package httpsig_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

func TestSignParams(t *testing.T) {
	created := time.Unix(1618884473, 0)
	many := func(n int) []httpsig.Component {
		var names []string
		for i := range n {
			names = append(names, "x"+strings.Repeat("y", i))
		}
		return components(t, names...)
	}
	for _, c := range []struct {
		name string
		p    httpsig.Params
		want string // of Signature-Input; "" if it is refused
	}{
		{
			"all",
			httpsig.Params{
				Label: "*a-b_c.1*", Components: components(t, "@path"), Created: created, Expires: created.Add(time.Minute),
				Nonce: `a"b\c`, KeyID: "key 1", Tag: "t", NameAlg: true,
			},
			`*a-b_c.1*=("@path");created=1618884473;expires=1618884533;nonce="a\"b\\c";alg="hmac-sha256";keyid="key 1";tag="t"`,
		},
		{"none", httpsig.Params{Label: "s", Components: components(t, "@path")}, `s=("@path")`},
		{"expires at once", httpsig.Params{Label: "s", Components: components(t, "@path"), Created: created, Expires: created}, `s=("@path");created=1618884473;expires=1618884473`},
		{"much covered", httpsig.Params{Label: "s", Components: many(32)}, "s=(" + strings.Trim(fmt.Sprint(many(32)), "[]") + ")"},
		{"the epoch", httpsig.Params{Label: "s", Components: components(t, "@path"), Created: time.Unix(0, 0)}, `s=("@path");created=0`},

		{"no label", httpsig.Params{Components: components(t, "@path")}, ""},
		{"a label with capitals", httpsig.Params{Label: "Sig", Components: components(t, "@path")}, ""},
		{"a label with a space", httpsig.Params{Label: "s s", Components: components(t, "@path")}, ""},
		{"a label that is a number", httpsig.Params{Label: "1", Components: components(t, "@path")}, ""},
		{"a label of other letters", httpsig.Params{Label: "ß", Components: components(t, "@path")}, ""},
		{"a long label", httpsig.Params{Label: strings.Repeat("s", 513), Components: components(t, "@path")}, ""},
		{"nothing covered", httpsig.Params{Label: "s"}, ""},
		{"the zero component", httpsig.Params{Label: "s", Components: make([]httpsig.Component, 1)}, ""},
		{"covered twice", httpsig.Params{Label: "s", Components: components(t, "@path", "@method", "@path")}, ""},
		{"covered twice in another order", httpsig.Params{Label: "s", Components: components(t, `@query-param;name="a";req`, `@query-param;req;name="a"`)}, ""},
		{"too much covered", httpsig.Params{Label: "s", Components: many(33)}, ""},
		{"expires before it is created", httpsig.Params{Label: "s", Components: components(t, "@path"), Created: created, Expires: created.Add(-time.Second)}, ""},
		{"created before 1970", httpsig.Params{Label: "s", Components: components(t, "@path"), Created: time.Unix(-1, 0)}, ""},
		{"created in the year 10000", httpsig.Params{Label: "s", Components: components(t, "@path"), Created: time.Unix(253402300800, 0)}, ""},
		{"expires in the year 10000", httpsig.Params{Label: "s", Components: components(t, "@path"), Expires: time.Unix(253402300800, 0)}, ""},
		{"a nonce over lines", httpsig.Params{Label: "s", Components: components(t, "@path"), Nonce: "a\nb"}, ""},
		{"a key ID of other letters", httpsig.Params{Label: "s", Components: components(t, "@path"), KeyID: "ä"}, ""},
		{"a long tag", httpsig.Params{Label: "s", Components: components(t, "@path"), Tag: strings.Repeat("x", 513)}, ""},
	} {
		header := http.Header{}
		for _, covered := range many(33) {
			header.Set(strings.Trim(covered.String(), `"`), "z")
		}
		m := request("GET", "https", "a", "/?a", header)
		input, signature, err := httpsig.Sign(t.Context(), m, c.p, httpsig.HMAC("key"))
		if input != c.want || (err == nil) != (c.want != "") || (signature == "") != (c.want == "") {
			t.Errorf("%s: Sign = %s, %s, %v, want %s", c.name, input, signature, err, c.want)
		}
	}
}

// failing is a key that gives these.
type failing struct {
	signature []byte
	err       error
}

func (failing) Algorithm() httpsig.Algorithm { return httpsig.HMACSHA256 }

func (f failing) Sign(context.Context, []byte) ([]byte, error) { return f.signature, f.err }

func (f failing) Verify(context.Context, []byte, []byte) error { return f.err }

func TestSignWithFailingKey(t *testing.T) {
	down := errors.New("down")
	m, p := exchange(t)
	for _, key := range []failing{{nil, down}, {[]byte("x"), down}, {nil, nil}, {make([]byte, 8<<10), nil}} {
		input, signature, err := httpsig.Sign(t.Context(), m, p, key)
		if input != "" || signature != "" || err == nil || !errors.Is(err, key.err) && key.err != nil {
			t.Errorf("Sign with %d bytes and %v = %q, %q, %v", len(key.signature), key.err, input, signature, err)
		}
	}
	if _, _, err := httpsig.Sign(t.Context(), m, p, httpsig.HMAC(nil)); err == nil {
		t.Error("Sign with an empty key succeeds")
	}
}

// Everything that can be signed can be verified, the longest too.
func TestSignLongest(t *testing.T) {
	m, p := exchange(t)
	p.Label, p.Nonce, p.KeyID, p.Tag = strings.Repeat("s", 512), strings.Repeat(`"`, 512), strings.Repeat("k", 512), strings.Repeat("t", 512)
	sign(t, m, p, httpsig.HMAC("key"))
	policy := httpsig.Policy{Now: p.Created, Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{httpsig.HMAC("key")} }}
	if v, err := httpsig.Verify(t.Context(), m, policy); err != nil || v.Nonce != p.Nonce {
		t.Errorf("Verify = %v, %v", v, err)
	}
}
