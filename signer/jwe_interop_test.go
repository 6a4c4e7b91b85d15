package signer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/nodetest"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// joseTask is what testdata/interop-jose/interop.mjs is asked, and joseResult
// what it says.
type joseTask struct {
	Key       string            `json:"key"`
	Seal      *string           `json:"seal,omitempty"`
	Header    map[string]string `json:"header,omitempty"`
	Open      string            `json:"open,omitempty"`
	Algorithm string            `json:"algorithm,omitempty"`
}

type joseResult struct {
	JWE    string            `json:"jwe"`
	Plain  string            `json:"plain"`
	Header map[string]string `json:"header"`
	Error  string            `json:"error"`
}

// TestJWEInterop: the npm package jose reads what is signed here, and what it
// encrypts is verified here.
func TestJWEInterop(t *testing.T) {
	node := installJose(t)
	c := credential(t, "2000 \"ü", jweKey)
	bodies := map[nowpay.Encoding][2]string{
		nowpay.JSON: {`{"yourrequestid":"1001","name":"Äsha ₹"}`, `{"username":"2000 \"ü","yourrequestid":"1001","name":"Äsha ₹"}`},
		nowpay.Form: {"yourrequestid=1001", "username=2000%20%22%C3%BC&yourrequestid=1001"},
	}
	for _, algorithm := range []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap} {
		j := signer.JWE{Algorithm: algorithm}
		for encoding, text := range bodies {
			signed, err := j.Sign(t.Context(), request(t, encoding, text[0]), c)
			if err != nil {
				t.Fatal(err)
			}
			got := node(joseTask{Key: jweKey, Open: string(signed.Body), Algorithm: string(algorithm)})
			if got.Error != "" || got.Plain != text[1] || got.Header["kid"] != "2000 \"ü" || got.Header["cty"] != encoding.MediaType() {
				t.Errorf("%s %s: jose reads %+v", algorithm, encoding, got)
			}
			signed.Body[len(signed.Body)-2] ^= 1
			if got := node(joseTask{Key: jweKey, Open: string(signed.Body), Algorithm: string(algorithm)}); got.Error == "" {
				t.Errorf("%s %s: jose reads what was changed: %+v", algorithm, encoding, got)
			}
		}
		for _, header := range []map[string]string{{}, {"kid": "2000 \"ü", "cty": "application/json", "typ": "JOSE"}} {
			header["alg"], header["enc"] = string(algorithm), "A256GCM"
			plain := `{"success":"1","message":"Äsha ₹"}`
			sealed := node(joseTask{Key: jweKey, Seal: &plain, Header: header})
			answer := signer.Answer{Status: 200, Header: http.Header{"Content-Type": {"application/jose"}}, Body: []byte(sealed.JWE)}
			got, err := j.Verify(t.Context(), signer.Signed{}, answer, []*secret.Credential{c})
			if sealed.Error != "" || err != nil || string(got.Body) != plain {
				t.Errorf("%v: jose makes %+v, of which becomes %s, %v", header, sealed, got.Body, err)
			}
		}
	}
	for _, header := range []map[string]string{
		{"alg": "A256KW", "enc": "A256GCM"}, {"alg": "dir", "enc": "A128CBC-HS256"}, {"alg": "A256GCMKW", "enc": "A128GCM"},
	} {
		plain := `{"success":"1"}`
		sealed := node(joseTask{Key: jweKey, Seal: &plain, Header: header})
		answer := signer.Answer{Status: 200, Header: http.Header{"Content-Type": {"application/jose"}}, Body: []byte(sealed.JWE)}
		j := signer.JWE{Accepted: []signer.JWEAlgorithm{signer.JWEDirect, signer.JWEKeyWrap}}
		if got, err := j.Verify(t.Context(), signer.Signed{}, answer, []*secret.Credential{c}); sealed.JWE == "" || !errors.Is(err, signer.ErrUnverified) {
			t.Errorf("%v: %+v became %s, %v", header, sealed, got.Body, err)
		}
	}
}

// installJose gives a function that has the package jose do a task.
func installJose(t *testing.T) func(joseTask) joseResult {
	t.Helper()
	return startJose(t, nodetest.Install(t, "testdata/interop-jose", "interop.mjs"))
}

// startJose runs the script for as long as the test.
func startJose(t *testing.T, folder string) func(joseTask) joseResult {
	t.Helper()
	process := exec.CommandContext(context.WithoutCancel(t.Context()), "node", filepath.Join(folder, "interop.mjs"))
	var said bytes.Buffer
	process.Stderr = &said
	in, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := process.Wait(); err != nil {
			t.Errorf("node: %v\n%s", err, said.String())
		}
	})
	tasks, results := json.NewEncoder(in), json.NewDecoder(out)
	return func(task joseTask) (result joseResult) {
		t.Helper()
		if err := errors.Join(tasks.Encode(task), results.Decode(&result)); err != nil {
			t.Fatalf("node: %v", err)
		}
		return result
	}
}
