package signer_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// vector is one file of testdata/vectors: a comment, "name: value" lines, an
// empty line, and the texts behind "-- body --" and "-- signed --", each
// without its last line end.
type vector struct {
	operation, body nowpay.Encoding
	username, key   string
	expect          string // "signed", or the refusal: "encoding", "credential in body", "private key"
	input, signed   string
}

func TestVectors(t *testing.T) {
	vectors := os.DirFS("testdata/vectors")
	files, err := fs.Glob(vectors, "*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) {
			v := readVector(t, vectors, file)
			request := signer.Request{
				Operation: &nowpay.Operation{Name: "test/vector", Encoding: v.operation},
				Body:      parse(t, v.body, v.input),
			}
			got, err := signer.Credentials{}.Sign(t.Context(), request, credential(t, v.username, v.key))
			if v.expect != "signed" {
				checkRefusal(t, got, err, v)
				return
			}
			if err != nil || string(got.Body) != v.signed {
				t.Errorf("Sign = %q, %v\nwant   %q", got.Body, err, v.signed)
			}
			if got.ContentType != v.operation.MediaType() || got.Header != nil {
				t.Errorf("Sign: content type %q, header %v, want %q and none", got.ContentType, got.Header, v.operation.MediaType())
			}
			if string(request.Body.Bytes()) != v.input {
				t.Errorf("Sign changed the merchant's body to %q", request.Body.Bytes())
			}
		})
	}
}

func checkRefusal(t *testing.T, got signer.Signed, err error, v vector) {
	t.Helper()
	var want error
	switch v.expect {
	case "encoding":
		want = signer.ErrEncoding
	case "credential in body":
		want = signer.ErrCredentialInBody
	case "private key":
		want = signer.ErrKey
	default:
		t.Fatalf("expect: %s is not known", v.expect)
	}
	if !errors.Is(err, want) {
		t.Fatalf("Sign: %v, want %v", err, want)
	}
	if got.Body != nil || got.ContentType != "" || got.Header != nil {
		t.Errorf("Sign gives %+v with an error", got)
	}
	for _, part := range []string{v.username, v.key, v.input} {
		if strings.Contains(err.Error(), part) {
			t.Errorf("Sign: the error %q holds %q", err, part)
		}
	}
}

func readVector(t *testing.T, vectors fs.FS, file string) vector {
	t.Helper()
	text, err := fs.ReadFile(vectors, file)
	if err != nil {
		t.Fatal(err)
	}
	head, texts, ok := strings.Cut(string(text), "\n\n-- body --\n")
	if !ok {
		t.Fatal("no body")
	}
	var v vector
	v.input, v.signed, _ = strings.Cut(strings.TrimSuffix(texts, "\n"), "\n-- signed --\n")
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case strings.HasPrefix(line, "#"):
		case name == "operation":
			v.operation = nowpay.Encoding(value)
		case name == "body":
			v.body = nowpay.Encoding(value)
		case name == "username":
			v.username = value
		case name == "key":
			v.key = value
		case name == "expect":
			v.expect = value
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return v
}

func parse(t testing.TB, e nowpay.Encoding, text string) *nowpay.Body {
	t.Helper()
	read := nowpay.ParseJSON
	if e == nowpay.Form {
		read = nowpay.ParseForm
	}
	b, err := read([]byte(text), nowpay.Limits{})
	if err != nil {
		t.Fatalf("parsing %q: %v", text, err)
	}
	return b
}

func credential(t testing.TB, username, key string) *secret.Credential {
	t.Helper()
	c, err := secret.NewCredential([]byte(username), []byte(key), 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
