package httpsig_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

func TestDigest(t *testing.T) {
	for body, want := range map[string]string{
		"":                          "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
		`{"hello": "world"}`:        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
		`{"hello": "world"}` + "\n": "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
	} {
		if got := httpsig.Digest([]byte(body)); got != want {
			t.Errorf("Digest(%q) = %s, want %s", body, got, want)
		}
	}
}

// TestRFC9530: Content-Digest in the examples of RFC 9530, sections 2 and B and
// appendix D. Left out are those of Repr-Digest, Want-Content-Digest and
// Want-Repr-Digest, which are not offered, and the one in B.10, an error that quotes
// digests in its text.
func TestRFC9530(t *testing.T) {
	const hello = `{"hello": "world"}` + "\n"
	brotli, err := base64.StdEncoding.DecodeString("CwmAeyJoZWxsbyI6ICJ3b3JsZCJ9CgM=")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, body, field string }{
		{"full", hello, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"},
		{"sha-512", hello, "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"},
		{
			"both", hello, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:,\t" +
				"sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:",
		},
		{"no content", "", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"},
		{"a range", hello[10:], "sha-256=:jjcgBDWNAtbYUXI37CVG3gRuGOAjaaDRGpIUFsdyepQ=:"},
		{"encoded", string(brotli), "sha-256=:d435Qo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:"},
		{"PATCH", `{"title": "New Title"}` + "\n", "sha-256=:mEkdbO7Srd9LIOegftO0aBX+VPTVz7/CSHes2Z27gc4=:"},
		{
			"created", "{\n  \"status\": \"created\",\n  \"id\": \"123\",\n  \"ts\": 1569327729,\n  \"instance\": \"/books/123\"\n}\n",
			"sha-256=:yXIGDTN5VrfoyisKlXgRKUHHMs35SNtyC3szSz1dbO8=:",
		},
	} {
		header := http.Header{"Content-Digest": {c.field}}
		if err := httpsig.CheckDigest(header, []byte(c.body)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := httpsig.CheckDigest(header, []byte(c.body+" ")); !errors.Is(err, httpsig.ErrWrongDigest) {
			t.Errorf("%s: another body: %v", c.name, err)
		}
	}
}

func TestCheckDigest(t *testing.T) {
	const body = `{"hello": "world"}`
	const right, right512 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
		"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	wrong, wrong512 := strings.Replace(right, "X48E", "Y48E", 1), strings.Replace(right512, "WZDP", "XZDP", 1)
	const weak = "md5=:Sd/dVLAcvNLSq16eXua5uQ==:, sha=:07CavjDP4u3/TungoUHJO/Wzr4c=:, adler=:OZkGFw==:"
	for _, c := range []struct {
		lines []string
		want  error
	}{
		{[]string{right}, nil},
		{[]string{right512}, nil},
		{[]string{right, right512}, nil},
		{[]string{right512 + ", " + weak + " , " + right}, nil},
		{[]string{right, "unknown=?1, other=(1 2);a"}, nil},

		{[]string{wrong}, httpsig.ErrWrongDigest},
		{[]string{wrong512}, httpsig.ErrWrongDigest},
		{[]string{right, wrong512}, httpsig.ErrWrongDigest},
		{[]string{wrong, right512}, httpsig.ErrWrongDigest},
		{[]string{"sha-256=::"}, httpsig.ErrWrongDigest},

		{nil, httpsig.ErrNoDigest},
		{[]string{""}, httpsig.ErrNoDigest},
		{[]string{"", right}, httpsig.ErrNoDigest},
		{[]string{weak}, httpsig.ErrNoDigest},
		{[]string{"sha-256"}, httpsig.ErrNoDigest},
		{[]string{"sha-256=(" + right[8:] + ")"}, httpsig.ErrNoDigest},
		{[]string{"SHA-256" + right[7:]}, httpsig.ErrNoDigest},
		{[]string{right + ";a"}, httpsig.ErrNoDigest},
		{[]string{right, right}, httpsig.ErrNoDigest},
		{[]string{wrong, right}, httpsig.ErrNoDigest},
		{[]string{right + ", sha-256=?0, " + right}, httpsig.ErrNoDigest},
		{[]string{"a;b;b, " + right}, httpsig.ErrNoDigest},
		{[]string{right + ","}, httpsig.ErrNoDigest},
		{[]string{right[:len(right)-1]}, httpsig.ErrNoDigest},
		{[]string{strings.Replace(right, "=:", "=", 1)}, httpsig.ErrNoDigest},
		{[]string{right + ", a=:" + strings.Repeat("AAAA", 2048) + ":"}, httpsig.ErrNoDigest},
	} {
		err := httpsig.CheckDigest(http.Header{"Content-Digest": c.lines}, []byte(body))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("CheckDigest of %q: %v, want %v", c.lines, err, c.want)
		}
	}
}

// A display string has no escapes, a string does; in neither a comma or a semicolon
// separates anything.
func TestSeparatorsInStrings(t *testing.T) {
	digest := httpsig.Digest(nil)
	for text, want := range map[string]bool{
		`a="b,c;d", `:      true,
		`a="\"b,c", `:      true,
		`a="\\", `:         true,
		`a=%"b,c;\", `:     true,
		`a=%"%22,", `:      true,
		`a="x", a="y", `:   false,
		`a=%"\", a=%"x", `: false,
		`a="%", a="\"", `:  false,
		`a;b;c="d;e";b, `:  false,
		`a=(b;c;c d), `:    false,
		`a=(b;c d;c);c, `:  true,
		`a=b%;c="x", `:     true,
	} {
		err := httpsig.CheckDigest(http.Header{"Content-Digest": {text + digest}}, nil)
		if (err == nil) != want {
			t.Errorf("%s: %v, want it accepted: %t", text, err, want)
		}
	}
}
