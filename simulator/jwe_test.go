package simulator_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const (
	jweKey   = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	otherJWE = "_____wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" // as URLs have it
)

func withJWE(algorithm string) func(*simulator.Config) {
	return func(c *simulator.Config) { c.Key, c.JWE = jweKey, &simulator.JWEConfig{Algorithm: algorithm} }
}

func jweCredential(t testing.TB, username, key string) *secret.Credential {
	t.Helper()
	c, err := secret.NewCredential([]byte(username), []byte(key), 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// encrypted makes the request that the gateway's signer makes.
func (b *bench) encrypted(scheme signer.Scheme, operation string, encoding nowpay.Encoding, text string, c *secret.Credential) *http.Request {
	b.t.Helper()
	read := nowpay.ParseJSON
	if encoding == nowpay.Form {
		read = nowpay.ParseForm
	}
	body, err := read([]byte(text), nowpay.Limits{})
	if err != nil {
		b.t.Fatal(err)
	}
	signed, err := scheme.Sign(b.t.Context(), signer.Request{Operation: &nowpay.Operation{Name: operation, Encoding: encoding}, Body: body}, c)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.raw(operation, signed.ContentType, signed.Body)
}

func (b *bench) do(r *http.Request) answer {
	b.t.Helper()
	a, err := try(client(b.t, "127.0.0.10"), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// verified is what the gateway's verifier makes of an answer.
func verified(t testing.TB, v signer.Verifier, a answer, known ...*secret.Credential) (string, error) {
	t.Helper()
	got, err := v.Verify(t.Context(), signer.Signed{}, signer.Answer{Status: a.status, Header: a.header, Body: []byte(a.body)}, known)
	return string(got.Body), err
}

func payoutText(id string) string {
	return fmt.Sprintf(`{"accountnumber":"001122334455","ifsc":"ABCD0001234","amount":"150.50","yourrequestid":%q,"name":"Asha Rao","transferMode":"IMPS"}`, id)
}

// TestJWE: what the gateway's signer encrypts is executed, and its verifier
// reads the answer; JSON and forms, by either algorithm.
func TestJWE(t *testing.T) {
	for _, algorithm := range []string{"", "dir", "A256GCMKW"} {
		t.Run(algorithm, func(t *testing.T) {
			b := start(t, withJWE(algorithm))
			j, c := signer.JWE{Algorithm: signer.JWEAlgorithm(algorithm)}, jweCredential(t, username, jweKey)
			a := b.do(b.encrypted(j, "bank/payout", nowpay.JSON, payoutText("a1"), c))
			if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/jose" || strings.Count(a.body, ".") != 4 {
				t.Fatalf("%d %v %s", a.status, a.header, a.body)
			}
			if body, err := verified(t, j, a, c); err != nil || !strings.Contains(body, `"yourrequestid":"a1"`) || !strings.HasPrefix(body, `{"success":"1"`) {
				t.Errorf("the answer is %s, %v", body, err)
			}
			a = b.do(b.encrypted(j, "aeps/be", nowpay.Form, "mobilenumber=9000000000&uid=1&bankid=1&bankname=b&PidData=p&aepsid=1&yourrequestid=a2&device=d&deviceno=1&accesstype=1", c))
			if body, err := verified(t, j, a, c); err != nil || !strings.HasPrefix(body, `{"success":"1"`) {
				t.Errorf("the answer to a form is %s, %v", body, err)
			}
			for _, r := range b.Requests() {
				if !r.KeyRight || r.Username != username || r.KeyHash != simulator.KeyHash(jweKey) || strings.Contains(r.Body, "Asha") {
					t.Errorf("remembered %+v", r)
				}
			}
			if n := len(b.Ledger().Entries); n != 2 {
				t.Errorf("%d entries in the books, want 2", n)
			}
		})
	}
}

// TestJWERefused: what is not encrypted as it must be is refused like a wrong
// key, in plain JSON: there is nobody to encrypt for.
func TestJWERefused(t *testing.T) {
	b := start(t, withJWE("dir"))
	c := jweCredential(t, username, jweKey)
	genuine := func() *http.Request {
		return b.encrypted(signer.JWE{}, "bank/payout", nowpay.JSON, payoutText("a1"), c)
	}
	changed := func(change func(*http.Request)) *http.Request { r := genuine(); change(r); return r }
	for name, r := range map[string]*http.Request{
		"the documented scheme": b.request("bank/payout", payout("a1").with("key", jweKey)),
		"plain without a key":   b.raw("bank/payout", "application/jose", []byte(payoutText("a1"))),
		"another key":           b.encrypted(signer.JWE{}, "bank/payout", nowpay.JSON, payoutText("a1"), jweCredential(t, username, otherJWE)),
		"another username":      b.encrypted(signer.JWE{}, "bank/payout", nowpay.JSON, payoutText("a1"), jweCredential(t, "2001", jweKey)),
		"another algorithm":     b.encrypted(signer.JWE{Algorithm: signer.JWEKeyWrap}, "bank/payout", nowpay.JSON, payoutText("a1"), c),
		"another content type":  changed(func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }),
		"nothing":               b.raw("bank/payout", "application/jose", nil),
	} {
		a := b.do(r)
		if a.text("success") != "0" || a.text("message") != "Invalid Username Or Key" {
			t.Errorf("%s: %s", name, a.body)
		}
		if _, err := verified(t, signer.JWE{}, a, c); !errors.Is(err, signer.ErrUnverified) {
			t.Errorf("%s: the refusal is believed: %v", name, err)
		}
	}
	// It is known who sends a form where JSON belongs, so the refusal is for it.
	a := b.do(b.encrypted(signer.JWE{}, "bank/payout", nowpay.Form, "yourrequestid=a1", c))
	if body, err := verified(t, signer.JWE{}, a, c); err != nil || !strings.Contains(body, "Invalid Username Or Key") {
		t.Errorf("a form inside: %s, %v", body, err)
	}
	if n := len(b.Ledger().Entries); n != 0 {
		t.Errorf("%d entries in the books", n)
	}
}

// TestJWERotation: either key is good, and the answer comes under the one that
// the request came under.
func TestJWERotation(t *testing.T) {
	b := start(t, withJWE("dir"))
	b.SetKeys(otherJWE, jweKey, "0123456789abcdef")
	former, latter := jweCredential(t, username, jweKey), jweCredential(t, username, otherJWE)
	for i, c := range []*secret.Credential{former, latter} {
		a := b.do(b.encrypted(signer.JWE{}, "bank/payout", nowpay.JSON, payoutText(fmt.Sprint(i)), c))
		if body, err := verified(t, signer.JWE{}, a, c); err != nil || !strings.HasPrefix(body, `{"success":"1"`) {
			t.Errorf("%d: %s, %v", i, body, err)
		}
	}
	b.SetKeys(otherJWE)
	if a := b.do(b.encrypted(signer.JWE{}, "bank/payout", nowpay.JSON, payoutText("2"), former)); a.text("success") != "0" {
		t.Errorf("the old key: %s", a.body)
	}
}

// TestJWEFaults: a verifier believes none of the faults of the encryption, and
// every one of them pays.
func TestJWEFaults(t *testing.T) {
	for _, algorithm := range []string{"dir", "A256GCMKW"} {
		for kind, want := range map[simulator.Kind]string{
			simulator.JWEPlain:          "it is not encrypted: its Content-Type is not application/jose",
			simulator.JWEWrongKey:       "it was not encrypted with the key of the account, or was changed",
			simulator.JWETampered:       "it was not encrypted with the key of the account, or was changed",
			simulator.JWEWrongAlgorithm: "the enc of its header is not accepted",
			simulator.HTTP500:           "it is not encrypted: its Content-Type is not application/jose",
			simulator.Gzip:              "it is not encrypted: its Content-Type is not application/jose",
			simulator.WrongContentType:  "it is not encrypted: its Content-Type is not application/jose",
		} {
			t.Run(fmt.Sprint(algorithm, " ", kind), func(t *testing.T) {
				b := start(t, withJWE(algorithm))
				j, c := signer.JWE{Algorithm: signer.JWEAlgorithm(algorithm)}, jweCredential(t, username, jweKey)
				a := b.do(b.encrypted(j, "bank/payout", nowpay.JSON, strings.Replace(payoutText("a1"), "Asha Rao", "sim:"+string(kind), 1), c))
				body, err := verified(t, j, a, c)
				if !errors.Is(err, signer.ErrUnverified) || !strings.HasSuffix(err.Error(), ": "+want) {
					t.Errorf("%s, %v, want %s\n%s", body, err, want, a.body)
				}
				if n := len(b.Ledger().Entries); n != 1 {
					t.Errorf("%d entries in the books, want 1", n)
				}
			})
		}
	}
}

// TestJWESealsContent: what a program writes wrongly is inside of the encryption.
func TestJWESealsContent(t *testing.T) {
	for kind, want := range map[simulator.Kind]string{
		simulator.JunkBeforeJSON: `"status":"SUCCESS"}{"success"`,
		simulator.DuplicateNames: `{"success":"0","success":"1"`,
		simulator.KeyEcho:        "Debug key=" + jweKey,
		simulator.Refused:        "Service Not Assigned",
	} {
		b := start(t, withJWE("dir"))
		c := jweCredential(t, username, jweKey)
		b.fault(simulator.Fault{Kind: kind})
		a := b.do(b.encrypted(signer.JWE{}, "bank/payout", nowpay.JSON, payoutText("a1"), c))
		if body, err := verified(t, signer.JWE{}, a, c); err != nil || !strings.Contains(body, want) {
			t.Errorf("%s: %s, %v", kind, body, err)
		}
	}
}

func TestJWEConfig(t *testing.T) {
	for name, c := range map[string]simulator.Config{
		"key as documented": {Username: "2000", Key: "0123456789abcdef0123456789", JWE: &simulator.JWEConfig{}},
		"key in hex":        {Username: "2000", Key: strings.Repeat("0f", 32), JWE: &simulator.JWEConfig{}},
		"algorithm":         {Username: "2000", Key: jweKey, JWE: &simulator.JWEConfig{Algorithm: "RSA-OAEP"}},
	} {
		if _, err := simulator.New(c); err == nil || strings.Contains(err.Error(), c.Key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzJWE: whatever is sent, only what was encrypted with the key moves money.
func FuzzJWE(f *testing.F) {
	// A payout; the processes of a fuzz test must agree on it.
	const genuine = "eyJhbGciOiJkaXIiLCJjdHkiOiJhcHBsaWNhdGlvbi9qc29uIiwiZW5jIjoiQTI1NkdDTSIsImtpZCI6IjIwMDAifQ..Cg3-bimq" +
		"Irg51ZbF.LIi9Um4X7iqOCi1fqwh63d8y1p9SP08x1PL0w_2fLkdejixXFbTcMkQp0aHgtD2Ea5lrpS1grSbOTHA3NR_vLwzvwkh" +
		"f-5L9_dlp8RjibXEAfnTWwOVUcLGRQV2_6N2Qe8GTpkTkJHe-4zrW9UfwSQJZN5_KVXphgL4hG9tFg5xaWILX9-z99EPChpz1CAs" +
		"RVqJkIjOb.-Dz6Eq0iFfnjd6qj0EIPcg"
	f.Add(genuine)
	f.Add(genuine[:len(genuine)-1])
	f.Add("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0....")
	f.Add(payoutText("a1"))
	f.Fuzz(func(t *testing.T, body string) {
		sim, err := simulator.New(simulator.Config{Username: username, Key: jweKey, JWE: &simulator.JWEConfig{}})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		if w := offline(sim.Handler(), "bank/payout", "application/jose", body); w == nil || w.Code != http.StatusOK {
			t.Fatalf("answered %v", w)
		}
		if len(sim.Ledger().Entries) > 0 && decrypts(body) != decrypts(genuine) {
			t.Errorf("executed %q", body)
		}
	})
}

// decrypts is what of a JWE by dir takes part in the decryption. The simulator's
// decoder overlooks line ends and where exactly the tag begins.
func decrypts(compact string) string {
	var all []string
	for i, part := range strings.Split(compact, ".") {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || i == 1 {
			continue
		}
		all = append(all, hex.EncodeToString(b))
	}
	return strings.Join(all[:min(len(all), 3)], ".") + strings.Join(all[min(len(all), 3):], "")
}
