package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

const (
	// proofTime bounds the checking of a callback's signature, with all accounts. That of
	// an answer bounds itself, where it reaches a network at all.
	proofTime = 10 * time.Second
	// refreshTime bounds the wait for a credential that is read anew.
	refreshTime = 3 * time.Second
	// freshEnough is the age of a credential that need not be read anew.
	freshEnough = 100 * time.Millisecond
)

// prove has the proof checked that an answer carries, where the account asks for
// one, and gives the answer as it is to be read. It comes before every other check.
func (g *Gateway) prove(
	ctx context.Context, x *exchange, signed signer.Signed, response *egress.Response, used *secret.Credential,
) (integrity.Answer, error) {
	answer := signer.Answer{Status: response.Status, Header: response.Header, Body: response.Body}
	account := g.Accounts[x.account]
	if account.Verify == nil {
		return integrity.Answer{Status: answer.Status, Header: answer.Header, Body: answer.Body}, nil
	}
	known, release := candidates(account.Secret, used)
	defer release()
	proven, err := account.Verify.Verify(ctx, signed, answer, known)
	if err != nil {
		return integrity.Answer{}, fmt.Errorf("checking the proof of the answer: %w", err)
	}
	x.unbound = proven.Unbound
	return integrity.Answer{Status: proven.Status, Header: proven.Header, Body: proven.Body}, nil
}

// candidates are the credentials that an answer may be proven with: that of its
// request first, then those that the source knows.
func candidates(source secret.Source, used *secret.Credential) (known []*secret.Credential, release func()) {
	held := source.Known()
	known = []*secret.Credential{used}
	for _, c := range held {
		if c != used {
			known = append(known, c)
		}
	}
	return known, func() {
		for _, c := range held {
			c.Release()
		}
	}
}

// errNoRequestVerifier means that no account says how callbacks would be signed.
var errNoRequestVerifier = errors.New("no account verifies the signatures of callbacks")

// provenCallback checks that a callback is signed as the answers to an account are,
// and gives the accounts of which that is true: it can be about no others. The error
// wraps [secret.ErrUnavailable] if there was no key to tell it by.
func (g *Gateway) provenCallback(ctx context.Context, r CallbackRequest, body []byte) (accounts []string, err error) {
	message := signer.IncomingRequest(r.Method, r.Scheme, r.Host, r.Target, r.Header)
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	err = errNoRequestVerifier
	for _, name := range slices.Sorted(maps.Keys(g.Accounts)) {
		account := g.Accounts[name]
		verifier, ok := account.Verify.(signer.RequestVerifier)
		if !ok {
			continue
		}
		refused := verifyRequest(ctx, account.Secret, verifier, message, body)
		if refused == nil {
			accounts = append(accounts, name)
			continue
		}
		if !errors.Is(err, secret.ErrUnavailable) { // which another account's refusal does not take back
			err = fmt.Errorf("checking the signature with account %s: %w", name, refused)
		}
	}
	if accounts != nil {
		return accounts, nil
	}
	return nil, err
}

// verifyRequest verifies with the credentials that are known, and says that there are
// none if that is why it fails.
func verifyRequest(ctx context.Context, source secret.Source, v signer.RequestVerifier, m *httpsig.Message, body []byte) error {
	known := source.Known()
	defer func() {
		for _, c := range known {
			c.Release()
		}
	}()
	err := v.VerifyRequest(ctx, m, body, known)
	if err != nil && len(known) == 0 {
		err = fmt.Errorf("%w: %w", secret.ErrUnavailable, err)
	}
	return err
}

// unproven is for an answer without its proof: it may be anybody's.
func (g *Gateway) unproven(x *exchange, err error) (Answer, *Problem) {
	x.record.Err = err
	x.record.Findings = []integrity.Finding{integrity.Unproven}
	return g.unknown(x, BadGateway, "the provider's answer is not proven to be genuine and was not passed on")
}

// keyMayBeWrong reports whether the answer is what a wrong key can lead to: a refusal,
// or an answer without the proof, since nothing is proven to those who are not known.
func (x *exchange) keyMayBeWrong() bool {
	doubtful := func(f integrity.Finding) bool { return f == integrity.Unproven || f == integrity.Unbound }
	return x.record.Outcome == nowpay.Refused || slices.ContainsFunc(x.record.Findings, doubtful)
}

// replaced reports whether there is another credential than the one that was
// refused. It has it read anew for that, unless that was done a moment ago: many who
// are refused for other reasons do not wait.
func (g *Gateway) replaced(ctx context.Context, x *exchange) bool {
	source := g.Accounts[x.account].Secret
	if another(source, x.used) {
		return true
	}
	if source.Status().Age < freshEnough {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	return source.Refresh(ctx) == nil && another(source, x.used)
}

// another reports whether the source has another credential than the used one, if
// under the same version: one that is deleted and written again may have that.
func another(source secret.Source, used *secret.Credential) bool {
	credential, err := source.Acquire()
	if err != nil {
		return false
	}
	defer credential.Release()
	return credential != used
}

// suspectKey is for an answer to what moves money that a wrong key can lead to. It is
// told as it is, and never sent again, whatever the reason. The credential is read anew
// for those that come next, and a person is called.
func (g *Gateway) suspectKey(ctx context.Context, x *exchange) {
	over, cancel := context.WithCancel(ctx)
	cancel() // it is asked for, and not waited for
	_ = g.Accounts[x.account].Secret.Refresh(over)
	if g.alarms.AllowN(g.Now(), 1) {
		g.Logger.ErrorContext(ctx, "the provider refuses what moves money, or does not prove its answer; a person must look at it: is it the key, the address, the balance, a missing field?",
			"account", x.account, "operation", x.operation.Name, "exchange", x.record.ID, "credential_version", x.record.CredentialVersion)
	}
}
