package caddymodule

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// transitUser is a scheme that may have Vault's transit engine sign or verify.
type transitUser interface {
	// transitConfig says by which key; false: the scheme has none in Vault.
	transitConfig() (vault.TransitConfig, bool)
	useTransit(key transitKey)
}

// transitKey is a key in Vault's transit engine.
type transitKey struct {
	*vault.Transit
	algorithm httpsig.Algorithm
}

// Algorithm implements [httpsig.SigningKey] and [httpsig.VerifyingKey].
func (k transitKey) Algorithm() httpsig.Algorithm { return k.algorithm }

// Verify implements [httpsig.VerifyingKey].
func (k transitKey) Verify(ctx context.Context, base, signature []byte) error {
	switch ok, err := k.Transit.Verify(ctx, base, signature); {
	case err != nil:
		return err
	case !ok:
		return httpsig.ErrWrong
	}
	return nil
}

var (
	errTransitSource = errors.New("transit: the key is in the Vault that the account's secret comes from: write `secret vault { … }`")
	errNoKey         = errors.New("the account's secret has no key, since `fields` names the username only: write `sign httpsig { … transit <key> }`, or name both fields")
	errNoKeyToVerify = errors.New("verify: the account's secret has no key, since `fields` names the username only: give `verify httpsig` public keys or `transit <key>`, or name both fields")
)

// openTransit gives the schemes of an account the keys in Vault that they ask for,
// and refuses schemes that have none at all.
func (r *runtime) openTransit(name string, account accountSettings) error {
	if err := account.checkKeyless(); err != nil {
		return err
	}
	made := make(map[vault.TransitConfig]*vault.Transit) // one that both use shares their requests
	for _, scheme := range []any{account.sign, account.verify} {
		user, _ := scheme.(transitUser)
		if user == nil {
			continue
		}
		config, ok := user.transitConfig()
		if !ok {
			continue
		}
		source, ok := r.accounts[name].ManagedSource.(*vaultSource)
		if !ok {
			return errTransitSource
		}
		if made[config] == nil {
			transit, err := vault.NewTransit(source.Source, config, metrics.transit(name))
			if err != nil {
				return err
			}
			r.transits = append(r.transits, transit)
			made[config] = transit
		}
		user.useTransit(transitKey{made[config], httpsig.Algorithm(config.Algorithm)})
	}
	return nil
}

// checkKeyless refuses schemes that need the key of a secret that has none.
func (a accountSettings) checkKeyless() error {
	if s, ok := a.secret.(interface{ keyless() bool }); !ok || !s.keyless() {
		return nil
	}
	user, _ := a.sign.(transitUser)
	if user == nil {
		return errNoKey
	}
	if _, ok := user.transitConfig(); !ok {
		return errNoKey
	}
	if v, ok := a.verify.(*HTTPSigVerifier); a.verify != nil && (!ok || len(v.Keys) == 0 && v.transit == "") {
		return errNoKeyToVerify
	}
	return nil
}

// parseTransit reads [<mount>/]<key>.
func parseTransit(text string, algorithm httpsig.Algorithm) (vault.TransitConfig, bool) {
	if text == "" {
		return vault.TransitConfig{}, false
	}
	c := vault.TransitConfig{Key: text, Algorithm: string(cmp.Or(algorithm, httpsig.HMACSHA256))}
	if i := strings.LastIndexByte(text, '/'); i >= 0 {
		c.Mount, c.Key = cmp.Or(text[:i], "/"), text[i+1:] // a slash in front is no way to say nothing
	}
	return c, true
}

func (s *HTTPSigSigner) transitConfig() (vault.TransitConfig, bool) {
	return parseTransit(s.transit, s.scheme.Algorithm)
}

func (s *HTTPSigSigner) useTransit(key transitKey) { s.scheme.Key = key }

func (v *HTTPSigVerifier) transitConfig() (vault.TransitConfig, bool) {
	return parseTransit(v.transit, httpsig.HMACSHA256)
}

func (v *HTTPSigVerifier) useTransit(key transitKey) { v.scheme.Key = key }

// tryTransit has Vault verify what nobody has signed, which it must refuse.
func (v *HTTPSigVerifier) tryTransit(ctx context.Context) error {
	err := v.scheme.Key.Verify(ctx, []byte("a check of the gateway"), make([]byte, sha256.Size))
	if errors.Is(err, httpsig.ErrWrong) {
		return nil
	}
	return err
}

// transitResult is the label of a call.
func transitResult(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

// Interface guards
var (
	_ transitUser          = (*HTTPSigSigner)(nil)
	_ transitUser          = (*HTTPSigVerifier)(nil)
	_ httpsig.SigningKey   = transitKey{}
	_ httpsig.VerifyingKey = transitKey{}
)
