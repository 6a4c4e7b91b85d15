package caddymodule

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// settings are what the configuration means: checked, with placeholders
// resolved and files of certificates read, in the types of the engine.
type settings struct {
	catalogue *nowpay.Catalogue
	policy    *whitelist.Policy
	egress    egress.Config
	accounts  map[string]accountSettings
	journal   JournalProvider
	reconcile gateway.Reconcile
	callbacks *gateway.Callbacks // nil: none are taken
	maxBody   int
	inFlight  int // exchanges at once

	signatures *signer.Requests // nil: no merchant signs
	sharedKeys []*sharedKeyFile // of merchants, to be loaded at the start
}

type accountSettings struct {
	secret  SecretProvider
	sign    signer.Scheme
	verify  signer.Verifier // nil: answers carry no proof
	overlap time.Duration
	live    bool
}

const (
	// defaultMaxBody is 64 KiB. The largest documented request is a fraction of it.
	defaultMaxBody = 64 << 10
	// maxMaxBody bounds what callers can make the gateway hold in memory.
	maxMaxBody = 16 << 20
	// defaultInFlight is a hundred exchanges a second that wait for ninety seconds each.
	// They take about 1 GiB, and a third of the ports that Linux has for connections
	// from one address to another.
	defaultInFlight = 10_000
)

// settings checks the whole configuration. Its errors name the block and the
// word that is wrong, and say what to write instead.
func (a *App) settings(ctx caddy.Context) (*settings, error) {
	s := &settings{maxBody: defaultMaxBody}
	switch {
	case a.MaxBody < 0 || a.MaxBody > maxMaxBody:
		return nil, errors.New("max_body: must be at most 16 MiB, and not negative")
	case a.MaxBody > 0:
		s.maxBody = int(a.MaxBody)
	}
	if s.inFlight = cmp.Or(a.MaxInFlight, defaultInFlight); s.inFlight < 0 {
		return nil, errors.New("max_in_flight: must be above zero")
	}
	var err error
	if s.egress, err = a.Upstream.settings(); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	if s.catalogue, err = a.catalogue(); err != nil {
		return nil, err
	}
	if s.accounts, err = a.accounts(ctx); err != nil {
		return nil, err
	}
	if err := a.modes(s); err != nil {
		return nil, err
	}
	if s.journal, err = a.journal(ctx); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if s.reconcile, err = a.Reconcile.settings(); err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	shapes, err := a.callbackShapes()
	if err != nil {
		return nil, fmt.Errorf("callback_shape: %w", err)
	}
	if s.callbacks, err = a.Callbacks.settings(shapes); err != nil {
		return nil, fmt.Errorf("callbacks: %w", err)
	}
	if err := s.checkSigned(); err != nil {
		return nil, err
	}
	if s.signatures, s.sharedKeys, err = a.signatures(); err != nil {
		return nil, err
	}
	s.policy, err = a.policy(s.catalogue, s.inFlight)
	return s, err
}

// checkSigned refuses to ask for signed callbacks of an account that nothing can
// verify.
func (s *settings) checkSigned() error {
	if s.callbacks == nil || !s.callbacks.Signed {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.accounts)) {
		if _, ok := s.accounts[name].verify.(signer.RequestVerifier); !ok {
			return fmt.Errorf("callbacks: signed: account %q has no keys for it, so its callbacks would all be refused: write `verify httpsig { … }` in it", name)
		}
	}
	return nil
}

// accounts loads the guest modules of each account.
func (a *App) accounts(ctx caddy.Context) (map[string]accountSettings, error) {
	if len(a.Accounts) == 0 {
		return nil, errors.New("no account: write `account <name> { secret … }` in the nowpay block")
	}
	accounts := make(map[string]accountSettings)
	for _, name := range slices.Sorted(maps.Keys(a.Accounts)) {
		err := checkName(name)
		if err == nil {
			accounts[name], err = a.Accounts[name].settings(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", name, err)
		}
	}
	return accounts, nil
}

func (a *Account) settings(ctx caddy.Context) (s accountSettings, err error) {
	if a == nil || a.SecretRaw == nil {
		return s, fmt.Errorf("no secret: write `secret <source> …`; there is: %s", guestNames("nowpay.secrets"))
	}
	if s.secret, err = guest[SecretProvider](ctx, a, "SecretRaw"); err != nil {
		return s, fmt.Errorf("secret: %w", err)
	}
	s.sign = new(CredentialsSigner)
	if a.SignRaw != nil {
		if s.sign, err = guest[signer.Scheme](ctx, a, "SignRaw"); err != nil {
			return s, fmt.Errorf("sign: %w", err)
		}
	}
	if a.VerifyRaw != nil {
		if s.verify, err = guest[signer.Verifier](ctx, a, "VerifyRaw"); err != nil {
			return s, fmt.Errorf("verify: %w", err)
		}
	}
	if err := match(s.sign, s.verify); err != nil {
		return s, err
	}
	if s.overlap = time.Duration(a.Overlap); s.overlap < 0 {
		return s, errors.New("overlap: must not be negative")
	}
	return s, nil
}

// guest loads a guest module, which must be what its namespace is for.
func guest[T any](ctx caddy.Context, host any, field string) (T, error) {
	var none T
	module, err := ctx.LoadModule(host, field)
	if err != nil {
		return none, err //nolint:wrapcheck // it names the module already
	}
	loaded, ok := module.(T)
	if !ok {
		return none, fmt.Errorf("%T does not do what this needs", module)
	}
	return loaded, nil
}

func (u *Upstream) settings() (egress.Config, error) {
	if u == nil {
		return egress.Config{}, errors.New("not given: write `upstream <url>` in the nowpay block")
	}
	r := newResolver()
	config := egress.Config{
		URL:            parseOne(r, "url", u.URL, parseURL),
		LocalAddresses: parseEach(r, "local_address", u.LocalAddresses, parseLocalAddress),
		RootCAs:        parseOne(r, "ca", u.CA, readCertificates),
		Pins:           parseEach(r, "pin", u.Pins, parsePin),
		Addresses:      networks(r, "addresses", u.Addresses),
		Timeout:        time.Duration(u.Timeout),
		MaxResponse:    u.MaxResponse,
		InsecureHTTP:   u.InsecureHTTP,
	}
	switch {
	case r.err != nil:
		return egress.Config{}, r.err
	case config.URL == nil:
		return egress.Config{}, errors.New("no url: write `upstream <url>`")
	case config.Timeout < 0:
		return egress.Config{}, errors.New("timeout: must not be negative")
	case config.MaxResponse < 0:
		return egress.Config{}, errors.New("max_response: must not be negative")
	}
	return config, nil
}

func (a *App) policy(catalogue *nowpay.Catalogue, inFlight int) (*whitelist.Policy, error) {
	if len(a.Merchants) == 0 {
		return nil, errors.New("no merchant, so nobody could call: write `merchant <name> { … }` in the nowpay block")
	}
	var merchants []whitelist.Merchant
	for _, name := range slices.Sorted(maps.Keys(a.Merchants)) {
		err := checkName(name)
		var merchant whitelist.Merchant
		if err == nil {
			merchant, err = a.Merchants[name].settings(catalogue)
		}
		if err == nil && a.Accounts[merchant.Account] == nil {
			err = fmt.Errorf("account: there is no account %q; there is: %s", merchant.Account, commaList(maps.Keys(a.Accounts)))
		}
		if err == nil && merchant.MaxInFlight > inFlight {
			err = fmt.Errorf("max_in_flight: %d is more than the gateway's %d, and would never be reached", merchant.MaxInFlight, inFlight)
		}
		if err != nil {
			return nil, fmt.Errorf("merchant %q: %w", name, err)
		}
		merchant.Name = name
		merchant.MaxInFlight = cmp.Or(merchant.MaxInFlight, (inFlight+1)/2)
		merchants = append(merchants, merchant)
	}
	return whitelist.NewPolicy(merchants)
}

func (m *Merchant) settings(catalogue *nowpay.Catalogue) (whitelist.Merchant, error) {
	if m == nil {
		m = new(Merchant)
	}
	r := newResolver()
	pattern := func(s string) (whitelist.Pattern, error) { return parsePattern(catalogue, s) }
	merchant := whitelist.Merchant{
		Account:          r.text("account", m.Account),
		Tokens:           parseEach(r, "token", m.Tokens, whitelist.ParseTokenHash),
		Certificates:     r.texts("client_cert", m.ClientCerts),
		Users:            r.texts("user", m.Users),
		SignatureKeys:    m.signatureKeys(r),
		From:             networks(r, "from", m.From),
		Allow:            parseEach(r, "allow", m.Allow, pattern),
		Deny:             parseEach(r, "deny", m.Deny, pattern),
		MaxAmount:        parseOne(r, "max_amount", m.MaxAmount, nowpay.ParseAmount),
		DailyAmount:      parseOne(r, "daily_amount", m.DailyAmount, nowpay.ParseAmount),
		MaxInFlight:      m.MaxInFlight,
		RequestIDPrefix:  r.text("request_id_prefix", m.RequestIDPrefix),
		StripCredentials: m.StripCredentials,
	}
	var err error
	if merchant.Rate, err = m.Rate.settings(); err != nil {
		return merchant, fmt.Errorf("rate: %w", err)
	}
	if r.err == nil && merchant.Account == "" {
		return merchant, errors.New("no account: write `account <name>`")
	}
	return merchant, r.err
}

// settings of a rate that is not given are those of no limit.
func (r *Rate) settings() (whitelist.Rate, error) {
	if r == nil {
		return whitelist.Rate{}, nil
	}
	rate := whitelist.Rate{Requests: r.Requests, Per: time.Duration(r.Per), Burst: cmp.Or(r.Burst, r.Requests)}
	return rate, rate.Validate()
}

// checkName checks the name of an account or a merchant, which is shown in
// logs and metrics.
func checkName(name string) error {
	unfit := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar }
	switch {
	case name == "" || len(name) > 64 || strings.ContainsFunc(name, unfit):
		return errors.New("a name is 1 to 64 printable characters without spaces")
	case strings.ContainsAny(name, "{}"):
		return errors.New("a name takes no placeholders")
	}
	return nil
}

// parsePattern refuses operations that do not exist: a misspelt `allow` would
// close a door by accident, a misspelt `deny` would leave one open.
func parsePattern(catalogue *nowpay.Catalogue, s string) (whitelist.Pattern, error) {
	pattern, err := whitelist.ParsePattern(s)
	if err != nil {
		return pattern, err
	}
	matches := func(o *nowpay.Operation) bool { return pattern.Match(o.Name) }
	if !slices.ContainsFunc(catalogue.Operations(), matches) {
		return pattern, fmt.Errorf("there is no operation %q: correct it, or add it with `operation <route> { … }`", s)
	}
	return pattern, nil
}

// parseURL does not repeat the URL in its error: someone may have put a
// password in it.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if parseErr, ok := errors.AsType[*url.Error](err); ok {
		return nil, parseErr.Err
	}
	return u, err //nolint:wrapcheck // it is always the one above, or none
}

func parseLocalAddress(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return addr, fmt.Errorf("%q is not an IP address", s)
	}
	return addr.Unmap(), nil
}

func parsePin(s string) ([32]byte, error) {
	pin, err := egress.ParsePin(s)
	if err != nil {
		return pin, fmt.Errorf("%w; `caddy nowpay check` shows the keys that the provider uses", err)
	}
	return pin, nil
}

func readCertificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no PEM certificate in it", file)
	}
	return pool, nil
}
