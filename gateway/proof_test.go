package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// verifierFunc is a verifier.
type verifierFunc func(sent signer.Signed, a signer.Answer, known []*secret.Credential) (signer.Answer, error)

func (f verifierFunc) Verify(_ context.Context, sent signer.Signed, a signer.Answer, known []*secret.Credential) (signer.Answer, error) {
	return f(sent, a, known)
}

// TestUnprovenAnswer: an answer without its proof is unknown for money, an error
// otherwise, and nothing of it is passed on or believed.
func TestUnprovenAnswer(t *testing.T) {
	refuse := verifierFunc(func(signer.Signed, signer.Answer, []*secret.Credential) (signer.Answer, error) {
		return signer.Answer{}, signer.ErrUnverified
	})
	for _, test := range []struct {
		name, target, body string
		status             int
		problem            Code
	}{
		{"payout", "/api/bank/payout", payoutBody, http.StatusOK, ""},
		{"query", "/api/common/balance", "{}", http.StatusBadGateway, BadGateway},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts(t)
			p.Accounts["main"] = Account{Secret: p, Sign: signer.Credentials{}, Verify: refuse}
			answer := p.Exchange(t.Context(), request(test.target, test.body))
			r := p.records[0]
			if answer.Status != test.status || r.Problem != test.problem || r.Outcome != nowpay.Unknown || r.Integrity != unverified {
				t.Errorf("%d, problem %q, outcome %q, integrity %q", answer.Status, r.Problem, r.Outcome, r.Integrity)
			}
			if len(r.Findings) != 1 || r.Findings[0] != integrity.Unproven || !errors.Is(r.Err, signer.ErrUnverified) || r.ProviderID != "" {
				t.Errorf("findings %v, error %v, provider id %q", r.Findings, r.Err, r.ProviderID)
			}
			if strings.Contains(string(answer.Body), "Done") || p.received.Load() != 1 {
				t.Errorf("%s passed on, %d requests sent", answer.Body, p.received.Load())
			}
		})
	}
}

// TestProof: the verifier sees what was sent, without the key, and the credentials
// that may have proven the answer; what it gives is what is read.
func TestProof(t *testing.T) {
	p := newParts(t)
	p.answers(func(w http.ResponseWriter, _ *http.Request) {
		p.setCredential(t, 2) // while the exchange is under way
		w.Header().Set("Content-Type", "application/sealed")
		_, _ = io.WriteString(w, "sealed")
	})
	p.Accounts["main"] = Account{Secret: p, Sign: signer.Credentials{}, Verify: verifierFunc(
		func(sent signer.Signed, a signer.Answer, known []*secret.Credential) (signer.Answer, error) {
			if string(a.Body) != "sealed" || !strings.HasSuffix(sent.URL, "/api/index.php?route=/api/common/balance") || !strings.HasPrefix(sent.URL, "http://127.0.0.1:") {
				t.Errorf("%q for a request to %s", a.Body, sent.URL)
			}
			if strings.Trim(string(sent.Body), "\x00") != "" {
				t.Errorf("what was sent is still there: %q", sent.Body)
			}
			if len(known) != 2 || known[0].Version() != 1 || known[1].Version() != 2 || string(known[0].Key().Reveal()) != testKey {
				t.Errorf("known: %v", known)
			}
			a.Header.Set("Content-Type", "application/json")
			a.Body = []byte(balance)
			return a, nil
		})}
	answer := p.Exchange(t.Context(), request("/api/common/balance", "{}"))
	if answer.Status != http.StatusOK || string(answer.Body) != balance || p.records[0].Integrity != verified {
		t.Errorf("%d %s, integrity %q", answer.Status, answer.Body, p.records[0].Integrity)
	}
}

const refusal200 = `{"success":"0","message":"Invalid key"}`

// TestRefusedWithOldKey: what moves no money is sent once more with another
// credential, and with none but another; what moves money, or may cost, never is.
func TestRefusedWithOldKey(t *testing.T) {
	const verify = `{"yourrequestid":"1001","beneficiaryVPA":"asha@upi"}`
	for _, test := range []struct {
		name, target, body string
		rotated, fails     bool
		fresh              bool // read a moment ago
		sent               int32
		outcome            nowpay.Outcome
	}{
		{"query, rotated", "/api/common/balance", "{}", true, false, false, 2, nowpay.Success},
		{"query, not rotated", "/api/common/balance", "{}", false, false, false, 1, nowpay.Refused},
		{"query, nobody to be asked", "/api/common/balance", "{}", false, true, false, 1, nowpay.Refused},
		{"query, read a moment ago", "/api/common/balance", "{}", false, false, true, 1, nowpay.Refused},
		{"payout, rotated", "/api/bank/payout", payoutBody, true, false, false, 1, nowpay.Refused},
		{"with a fee, rotated", "/api/bank/upi_verify", verify, true, false, false, 1, nowpay.Refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts(t)
			p.older = -time.Minute // however long the test takes
			if !test.fresh {
				p.older = time.Minute
			}
			if test.rotated {
				p.refresh = func() { p.setCredential(t, 2) }
			}
			if test.fails {
				p.refreshFails = context.DeadlineExceeded
			}
			p.answers(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if p.received.Load() == 1 {
					_, _ = io.WriteString(w, refusal200)
					return
				}
				_, _ = io.WriteString(w, balance)
			})
			answer := p.Exchange(t.Context(), request(test.target, test.body))
			r := p.records[0]
			if answer.Status != http.StatusOK || r.Outcome != test.outcome || p.received.Load() != test.sent {
				t.Errorf("%d %s, outcome %q, sent %d times", answer.Status, answer.Body, r.Outcome, p.received.Load())
			}
			moves := strings.HasSuffix(test.target, "payout")
			if alarmed := strings.Contains(p.log.String(), "a person must look at it"); alarmed != moves {
				t.Errorf("alarmed: %t, want %t", alarmed, moves)
			}
			if asked := p.refreshed.Load() == 1; asked != (!strings.HasSuffix(test.target, "upi_verify") && !test.fresh) {
				t.Errorf("refreshed %d times", p.refreshed.Load())
			}
		})
	}
}

// TestRefusedWithSameVersion: a secret that is deleted and written again may have the
// version that it had before, and one that is only confirmed is no other.
func TestRefusedWithSameVersion(t *testing.T) {
	for key, sent := range map[string]int32{testKey: 1, "another" + testKey: 2} {
		p := newParts(t)
		p.older = time.Minute
		p.refresh = func() { p.setKey(t, key, 1) }
		p.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, refusal200)
		})
		p.Exchange(t.Context(), request("/api/common/balance", "{}"))
		if got := p.received.Load(); got != sent {
			t.Errorf("the new key is the old one: %t; sent %d times, want %d", key == testKey, got, sent)
		}
	}
}

// TestRefusedTwice: a refusal of the second attempt is the answer.
func TestRefusedTwice(t *testing.T) {
	p := newParts(t)
	p.older = time.Minute
	version := int64(1)
	p.refresh = func() { version++; p.setCredential(t, version) }
	p.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, refusal200)
	})
	answer := p.Exchange(t.Context(), request("/api/common/balance", "{}"))
	if answer.Status != http.StatusOK || p.records[0].Outcome != nowpay.Refused || p.received.Load() != 2 || p.records[0].CredentialVersion != 2 {
		t.Errorf("%d, outcome %q, sent %d times, credential %d", answer.Status, p.records[0].Outcome, p.received.Load(), p.records[0].CredentialVersion)
	}
}

// TestUnprovenPayment: what moves money and has no proof calls for a person, and for the
// credential to be read anew; and so does a refusal that may be that of another payment,
// which is not believed. None is sent again.
func TestUnprovenPayment(t *testing.T) {
	for name, verify := range map[string]verifierFunc{
		"no proof": func(signer.Signed, signer.Answer, []*secret.Credential) (signer.Answer, error) {
			return signer.Answer{}, signer.ErrUnverified
		},
		"a refusal of any payment": func(_ signer.Signed, a signer.Answer, _ []*secret.Credential) (signer.Answer, error) {
			a.Body, a.Unbound = []byte(refusal200), true
			return a, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParts(t)
			p.refresh = func() { p.setCredential(t, 2) }
			p.Accounts["main"] = Account{Secret: p, Sign: signer.Credentials{}, Verify: verify}
			answer := p.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
			if p.records[0].Outcome != nowpay.Unknown || strings.Contains(string(answer.Body), "Invalid key") || p.received.Load() != 1 {
				t.Errorf("%q %s, sent %d times", p.records[0].Outcome, answer.Body, p.received.Load())
			}
			if p.refreshed.Load() != 1 || !strings.Contains(p.log.String(), "a person must look at it") {
				t.Errorf("refreshed %d times: %s", p.refreshed.Load(), p.log.String())
			}
		})
	}
}

// TestUnboundAnswer: what names its payment, or moves no money, is believed all the same.
func TestUnboundAnswer(t *testing.T) {
	p := newParts(t)
	p.Accounts["main"] = Account{Secret: p, Sign: signer.Credentials{}, Verify: verifierFunc(
		func(_ signer.Signed, a signer.Answer, _ []*secret.Credential) (signer.Answer, error) {
			a.Unbound = true
			return a, nil
		})}
	for target, body := range map[string]string{"/api/bank/payout": payoutBody, "/api/common/balance": "{}"} {
		p.Exchange(t.Context(), request(target, body))
		if r := p.records[len(p.records)-1]; r.Outcome != nowpay.Success || r.Integrity != verified {
			t.Errorf("%s: %q, %s", target, r.Outcome, r.Integrity)
		}
	}
}
