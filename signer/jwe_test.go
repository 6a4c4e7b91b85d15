package signer_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// jweVector is one file of testdata/vectors-jwe: a comment, "name: value" lines,
// an empty line, the text behind "-- body --", and where one is expected, the one
// behind "-- plain --", each without its last line end.
type jweVector struct {
	jwe       signer.JWE
	operation nowpay.Encoding // of what is signed
	body      nowpay.Encoding
	known     []*secret.Credential
	key       string // of the last one
	header    http.Header
	expect    string // "verified", "signed" or the error, after what it wraps
	input     string
	plain     string
}

func readJWEVector(t *testing.T, vectors fs.FS, file string) jweVector {
	t.Helper()
	text, err := fs.ReadFile(vectors, file)
	if err != nil {
		t.Fatal(err)
	}
	head, texts, ok := strings.Cut(string(text), "\n\n-- body --\n")
	if !ok {
		t.Fatal("no body")
	}
	v := jweVector{header: http.Header{}}
	v.input, v.plain, _ = strings.Cut(strings.TrimSuffix(texts, "\n"), "\n-- plain --\n")
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case strings.HasPrefix(line, "#"):
		case name == "algorithm":
			v.jwe.Algorithm = signer.JWEAlgorithm(value)
		case name == "accept":
			for algorithm := range strings.FieldsSeq(value) {
				v.jwe.Accepted = append(v.jwe.Accepted, signer.JWEAlgorithm(algorithm))
			}
		case name == "encoding":
			v.jwe.Encoding = signer.KeyEncoding(value)
		case name == "operation":
			v.operation = nowpay.Encoding(value)
		case name == "body":
			v.body = nowpay.Encoding(value)
		case name == "known":
			var username string
			username, v.key, _ = strings.Cut(value, " ")
			v.known = append(v.known, credential(t, username, v.key))
		case name == "header":
			name, value, _ := strings.Cut(value, ": ")
			v.header.Add(name, value)
		case name == "expect":
			v.expect = value
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return v
}

// eachJWEVector runs the vectors whose names begin with a prefix.
func eachJWEVector(t *testing.T, prefix string, test func(*testing.T, jweVector)) {
	t.Helper()
	vectors := os.DirFS("testdata/vectors-jwe")
	files, err := fs.Glob(vectors, prefix+"*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) { test(t, readJWEVector(t, vectors, file)) })
	}
}

func TestJWEVerifyVectors(t *testing.T) {
	eachJWEVector(t, "verify-", func(t *testing.T, v jweVector) {
		v.header.Set("Server", "Apache")
		v.header.Set("Content-Length", "1000")
		before := v.header.Clone()
		got, err := v.jwe.Verify(t.Context(), signer.Signed{}, signer.Answer{Status: 200, Header: v.header, Body: []byte(v.input)}, v.known)
		if v.expect != "verified" {
			checkUnverified(t, got, err, v.expect)
			return
		}
		if err != nil || string(got.Body) != v.plain || got.Status != 200 {
			t.Fatalf("Verify = %d %q, %v, want %q", got.Status, got.Body, err, v.plain)
		}
		want := http.Header{"Content-Type": {"application/json"}, "Server": {"Apache"}}
		if !reflect.DeepEqual(got.Header, want) || !reflect.DeepEqual(v.header, before) {
			t.Errorf("header %v, want %v; that of the answer became %v", got.Header, want, v.header)
		}
	})
}

func checkUnverified(t *testing.T, got signer.Answer, err error, reason string) {
	t.Helper()
	if want := signer.ErrUnverified.Error() + ": " + reason; !errors.Is(err, signer.ErrUnverified) || err.Error() != want {
		t.Errorf("Verify: %v, want %s", err, want)
	}
	if got.Body != nil || got.Header != nil || got.Status != 0 {
		t.Errorf("Verify gives %+v with an error", got)
	}
}

// TestJWEStatus: no status excuses an answer in plain JSON, and none is changed.
func TestJWEStatus(t *testing.T) {
	c := []*secret.Credential{credential(t, "2000", jweKey)}
	sealed := sealByHand(t, `{"success":"0"}`)
	for _, status := range []int{200, 204, 302, 401, 404, 500, 503} {
		answer := signer.Answer{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"success":"0"}`)}
		got, err := signer.JWE{}.Verify(t.Context(), signer.Signed{}, answer, c)
		checkUnverified(t, got, err, "it is not encrypted: its Content-Type is not application/jose")
		answer = signer.Answer{Status: status, Header: http.Header{"Content-Type": {"application/jose"}}, Body: []byte(sealed)}
		if got, err := (signer.JWE{}).Verify(t.Context(), signer.Signed{}, answer, c); err != nil || got.Status != status {
			t.Errorf("status %d became %d, %v", status, got.Status, err)
		}
	}
}

func TestJWESignVectors(t *testing.T) {
	eachJWEVector(t, "sign-", func(t *testing.T, v jweVector) {
		r := signer.Request{Operation: &nowpay.Operation{Name: "test/vector", Encoding: v.operation}, Body: parse(t, v.body, v.input), URL: "https://nowpay.in/api"}
		got, err := v.jwe.Sign(t.Context(), r, v.known[0])
		if v.expect != "signed" {
			if want := "signing test/vector: " + v.expect; err == nil || err.Error() != want || got.Body != nil || got.URL != "" {
				t.Errorf("Sign = %+v, %v, want %s", got, err, want)
			}
			for _, part := range []string{v.key, v.input} {
				if err != nil && strings.Contains(err.Error(), part) {
					t.Errorf("the error %q holds %q", err, part)
				}
			}
			return
		}
		if err != nil || got.ContentType != "application/jose" || got.Header != nil || got.URL != r.URL {
			t.Fatalf("Sign = %+v, %v", got, err)
		}
		key, err := v.jwe.Encoding.Decode([]byte(v.key))
		if err != nil {
			t.Fatal(err)
		}
		header, plain := openByHand(t, string(got.Body), key)
		if plain != v.plain {
			t.Errorf("it holds %q, want %q", plain, v.plain)
		}
		delete(header, "iv")
		delete(header, "tag")
		want := map[string]any{
			"alg": string(v.jwe.Algorithm), "enc": "A256GCM", "cty": v.operation.MediaType(),
			"kid": string(v.known[0].Username().Reveal()),
		}
		if !reflect.DeepEqual(header, want) {
			t.Errorf("header %v, want %v", header, want)
		}
		if string(r.Body.Bytes()) != v.input {
			t.Errorf("Sign changed the merchant's body to %q", r.Body.Bytes())
		}
		if bytes.Contains(got.Body, []byte(v.key)) {
			t.Error("what is sent holds the key")
		}
	})
}

// openByHand reads a compact JWE with the standard library alone.
func openByHand(t *testing.T, text string, key []byte) (header map[string]any, plain string) {
	t.Helper()
	var parts [5][]byte
	for i, part := range strings.Split(text, ".") {
		parts[i] = decode64(t, part)
	}
	if err := json.Unmarshal(parts[0], &header); err != nil {
		t.Fatal(err)
	}
	if header["alg"] == "A256GCMKW" {
		nonce, tag := decode64(t, header["iv"].(string)), decode64(t, header["tag"].(string))
		key = openGCM(t, key, nonce, append(parts[1], tag...), nil)
	} else if len(parts[1]) > 0 {
		t.Errorf("there is an encrypted key with alg %v", header["alg"])
	}
	protected, _, _ := strings.Cut(text, ".")
	return header, string(openGCM(t, key, parts[2], append(parts[3], parts[4]...), []byte(protected)))
}

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openGCM(t *testing.T, key, nonce, text, aad []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := aead.Open(nil, nonce, text, aad)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

const jweKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// sealByHand is what a provider makes of an answer, with the standard library
// alone: by dir, without kid and cty.
func sealByHand(t testing.TB, plain string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(jweKey)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	protected, nonce := encode([]byte(`{"alg":"dir","enc":"A256GCM"}`)), []byte("000000000001")
	text := aead.Seal(nil, nonce, []byte(plain), []byte(protected))
	return strings.Join([]string{protected, "", encode(nonce), encode(text[:len(text)-16]), encode(text[len(text)-16:])}, ".")
}
