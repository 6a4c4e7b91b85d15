package httpsig_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/nodetest"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// The other implementation is the npm package http-message-signatures, under node.
// What it does not have is not compared: it reads no Content-Digest, it cannot name
// the signature that is to be looked at (all are), it escapes fewer characters in
// @query-param, and `sf` means there whatever can be parsed. What it signs with
// rsa-pss-sha512 has too long a salt, unless it is told how to sign; that it is
// refused is a test of its own.

// theirMessage is a message as the package wants it.
type theirMessage struct {
	Method  string            `json:"method,omitempty"`
	URL     string            `json:"url,omitempty"`
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers"`
}

type theirKey struct {
	PEM    string `json:"pem,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

// theirCase is what interop.mjs reads.
type theirCase struct {
	Verify     bool              `json:"verify"`
	Algorithm  httpsig.Algorithm `json:"algorithm"`
	LongSalt   bool              `json:"longSalt"`
	Key        theirKey          `json:"key"`
	KeyID      string            `json:"keyID"`
	Components []string          `json:"components"`
	Created    int64             `json:"created"`
	Expires    int64             `json:"expires"`
	Nonce      string            `json:"nonce"`
	Tag        string            `json:"tag"`
	Message    *theirMessage     `json:"message"`
	Request    *theirMessage     `json:"request,omitempty"`
}

// theirAnswer is what interop.mjs writes.
type theirAnswer struct {
	Input     string `json:"input"`
	Signature string `json:"signature"`
	Verified  bool   `json:"verified"`
	Error     string `json:"error"`
}

// interopCase is a message in both forms, and what of it is signed.
type interopCase struct {
	name       string
	ours       *httpsig.Message
	theirs     *theirMessage
	request    *theirMessage
	components []string
}

func interopCases() []interopCase {
	const authority, target = "nowpay.example:8443", "/api/index.php?route=/api/bank/payout&a=%C3%A7"
	headers := map[string]string{
		"Content-Type":   "application/json",
		"Content-Digest": httpsig.Digest([]byte(`{"username":"2000"}`)),
		"X-Empty":        "",
		"Signature":      "sig1=:c2ln:",
	}
	theirs := &theirMessage{Method: "POST", URL: "https://" + authority + target, Headers: headers}
	ours := request("POST", "https", authority, target, header(headers))
	answer := map[string]string{"Content-Digest": httpsig.Digest([]byte(`{"success":"1"}`))}
	unsigned := maps.Clone(headers)
	delete(unsigned, "Signature")
	return []interopCase{
		{
			"request", request("POST", "https", authority, target, header(unsigned)),
			&theirMessage{Method: "POST", URL: theirs.URL, Headers: unsigned}, nil,
			[]string{
				"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", `@query-param;name="route"`,
				`@query-param;name="a"`, "content-type", "content-digest", "x-empty", `content-digest;key="sha-256"`, "content-type;bs",
			},
		},
		{
			"response", &httpsig.Message{Status: 200, Header: header(answer), Request: ours},
			&theirMessage{Status: 200, Headers: answer}, theirs,
			[]string{"@status", "content-digest", "@method;req", "@target-uri;req", "content-digest;req", `signature;req;key="sig1"`},
		},
	}
}

func header(fields map[string]string) http.Header {
	h := http.Header{}
	for name, value := range fields {
		h.Set(name, value)
	}
	return h
}

// forThem is a case for the other implementation; the key is the private one if it
// is to sign.
func (c interopCase) forThem(t *testing.T, a httpsig.Algorithm, verify bool, created time.Time) theirCase {
	t.Helper()
	their := theirCase{
		Verify: verify, Algorithm: a, KeyID: rfcKeys[a], Components: c.components, Message: c.theirs, Request: c.request,
		Created: created.Unix(), Expires: created.Unix() + 60, Nonce: "n-1", Tag: "nowpay",
	}
	switch {
	case a == httpsig.HMACSHA256:
		their.Key.Base64 = sharedSecret
	case verify:
		their.Key.PEM = string(rfcKey(t, rfcKeys[a]+".public.pem"))
	default:
		their.Key.PEM = string(rfcKey(t, rfcKeys[a]+".private.pem"))
	}
	return their
}

func TestInterop(t *testing.T) {
	created := time.Now().Add(-time.Second)
	var asked []theirCase
	var check []func(t *testing.T, got theirAnswer)
	for _, a := range algorithms {
		for _, c := range interopCases() {
			name := fmt.Sprintf("%s %s", a, c.name)
			asked = append(asked, c.forThem(t, a, false, created))
			check = append(check, func(t *testing.T, got theirAnswer) { c.verifyTheirs(t, name, a, created, got) })
			for what, signed := range c.signOurs(t, a, created) {
				asked = append(asked, signed)
				check = append(check, func(t *testing.T, got theirAnswer) {
					if want := what == "genuine"; got.Verified != want {
						t.Errorf("%s, %s: they verify: %t, %s", name, what, got.Verified, got.Error)
					}
				})
			}
		}
	}
	long := interopCases()[0].forThem(t, httpsig.RSAPSSSHA512, false, created)
	long.LongSalt = true
	asked = append(asked, long)
	check = append(check, func(t *testing.T, got theirAnswer) {
		m := interopCases()[0].ours
		m.Header.Set("Signature-Input", got.Input)
		m.Header.Set("Signature", got.Signature)
		p := accepts(t, httpsig.RSAPSSSHA512)
		p.Now = created
		if _, err := httpsig.Verify(t.Context(), m, p); got.Signature == "" || !errors.Is(err, httpsig.ErrWrong) {
			t.Errorf("a salt of another length: %v, %s", err, got.Error)
		}
	})
	for i, got := range askNode(t, asked) {
		check[i](t, got)
	}
}

// signOurs signs a message, and changes it.
func (c interopCase) signOurs(t *testing.T, a httpsig.Algorithm, created time.Time) map[string]theirCase {
	t.Helper()
	private, _ := keys(t, a)
	input, signature, err := httpsig.Sign(t.Context(), c.ours, httpsig.Params{
		Label: "sig1", Components: components(t, c.components...), Created: created, Expires: created.Add(time.Minute),
		Nonce: "n-1", KeyID: rfcKeys[a], Tag: "nowpay", NameAlg: true,
	}, private)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(change func(*theirMessage, *theirMessage)) theirCase {
		their := c.forThem(t, a, true, created)
		m := *c.theirs
		m.Headers = maps.Clone(m.Headers)
		m.Headers["Signature-Input"], m.Headers["Signature"] = input, signature
		r := m // of a request: what is changed is itself
		answered := &m
		if c.request != nil {
			r = *c.request
			r.Headers = maps.Clone(r.Headers)
			answered = &r
			their.Request = answered
		}
		change(&m, answered)
		their.Message = &m
		return their
	}
	return map[string]theirCase{
		"genuine":       signed(func(_, _ *theirMessage) {}),
		"another body":  signed(func(m, _ *theirMessage) { m.Headers["Content-Digest"] = httpsig.Digest([]byte("{}")) }),
		"another URL":   signed(func(_, r *theirMessage) { r.URL += "1" }),
		"another nonce": signed(func(m, _ *theirMessage) { m.Headers["Signature-Input"] = strings.Replace(input, "n-1", "n-2", 1) }),
	}
}

// verifyTheirs verifies what they have signed, and refuses what was made of it.
func (c interopCase) verifyTheirs(t *testing.T, name string, a httpsig.Algorithm, created time.Time, got theirAnswer) {
	t.Helper()
	if got.Error != "" {
		t.Errorf("%s: they do not sign: %s", name, got.Error)
		return
	}
	policy := accepts(t, a)
	policy.Now, policy.Label, policy.Tag, policy.NeedNonce = created, "sig1", "nowpay", true
	policy.Components = components(t, c.components...)
	signed := func(input, signature string) *httpsig.Message {
		m := *c.ours
		m.Header = m.Header.Clone()
		m.Header.Set("Signature-Input", input)
		m.Header.Set("Signature", signature)
		return &m
	}
	v, err := httpsig.Verify(t.Context(), signed(got.Input, got.Signature), policy)
	if err != nil || v.Nonce != "n-1" || v.Created.Unix() != created.Unix() || v.Expires.Unix() != created.Unix()+60 {
		t.Errorf("%s: Verify of theirs, %s: %v, %+v", name, got.Input, err, v)
	}
	changed := signed(got.Input, got.Signature)
	changed.Header.Set("Content-Digest", httpsig.Digest([]byte("{}")))
	elsewhere := signed(got.Input, got.Signature)
	if elsewhere.Request != nil {
		r := *elsewhere.Request
		r.Target += "1"
		elsewhere.Request = &r
	}
	elsewhere.Target += "1"
	for what, m := range map[string]*httpsig.Message{
		"another body":  changed,
		"another URL":   elsewhere,
		"another nonce": signed(strings.Replace(got.Input, "n-1", "n-2", 1), got.Signature),
	} {
		if _, err := httpsig.Verify(t.Context(), m, policy); !errors.Is(err, httpsig.ErrWrong) {
			t.Errorf("%s, %s: Verify of theirs: %v", name, what, err)
		}
	}
}

// askNode runs interop.mjs.
func askNode(t *testing.T, cases []theirCase) []theirAnswer {
	t.Helper()
	asked, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	out := runNode(t, filepath.Join(theirPackage(t), "interop.mjs"), asked)
	var answers []theirAnswer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(cases) {
		t.Fatalf("node answers %d of %d cases, %v: %s", len(answers), len(cases), err, out)
	}
	return answers
}

// runNode runs a script and returns what it prints.
func runNode(t *testing.T, script string, input []byte) []byte {
	t.Helper()
	node := exec.CommandContext(t.Context(), "node", script)
	node.Dir = filepath.Dir(script)
	node.Stdin = bytes.NewReader(input)
	node.Stderr = os.Stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	return out
}

// theirPackage is a folder with the package.
func theirPackage(t *testing.T) string {
	t.Helper()
	return nodetest.Install(t, "testdata/interop", "interop.mjs")
}

// TestDocumentedApp: the app in docs/signing.md signs what the gateway asks for.
func TestDocumentedApp(t *testing.T) {
	docs, err := os.ReadFile("../../docs/signing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(docs), "```js\n")
	app, _, _ := strings.Cut(rest, "```")
	if !found || !strings.Contains(app, "export async function pay(") {
		t.Fatal("there is no app in docs/signing.md")
	}
	private, public := keys(t, httpsig.Ed25519)
	folder, err := os.MkdirTemp(theirPackage(t), "app-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	for name, content := range map[string]string{
		"payroll-1.key": string(rfcKey(t, rfcKeys[private.Algorithm()]+".private.pem")),
		"app.mjs":       app,
		"run.mjs": `globalThis.fetch = (url, request) => console.log(JSON.stringify({ url, ...request }));
const { pay } = await import("./app.mjs");
await pay("https://gateway.internal/api/index.php?route=/api/bank/payout", { yourrequestid: "1001", amount: "1.50" });
`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var sent struct {
		Method, URL, Body string
		Headers           map[string]string
	}
	if err := json.Unmarshal(runNode(t, filepath.Join(folder, "run.mjs"), nil), &sent); err != nil {
		t.Fatal(err)
	}
	m := &httpsig.Message{
		Method: sent.Method, Scheme: "https", Authority: "gateway.internal", Target: "/api/index.php?route=/api/bank/payout", Header: header(sent.Headers),
	}
	v, err := httpsig.Verify(t.Context(), m, httpsig.Policy{
		Components: components(t, "@method", "@target-uri", "content-digest"), NeedNonce: true, Now: time.Now(), MaxAge: time.Minute, Skew: time.Minute,
		Keys: func(string) []httpsig.VerifyingKey { return []httpsig.VerifyingKey{public} },
	})
	if err != nil || v.KeyID != "payroll-1" {
		t.Errorf("%+v, %v\n%+v", v, err, sent)
	}
	if err := httpsig.CheckDigest(m.Header, []byte(sent.Body)); err != nil || sent.Body != `{"yourrequestid":"1001","amount":"1.50"}` {
		t.Errorf("%s: %v", sent.Body, err)
	}
}
