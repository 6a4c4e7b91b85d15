package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

const (
	token   = "npg_cost"
	payment = "bank/payout"
	quote   = "bank/quote" // the same without money

	requestBody = `{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"` + zeroID +
		`","name":"Asha Rao","transferMode":"IMPS","bank":"A Bank of Somewhere Limited","email":"asha.rao@example.com","mobile":"9876543210",` +
		`"address":"12, Long Street, Somewhere, 560001","remarks":"Salary of November, paid by the shop of the corner","reference":"INV-2026-11-000123","channel":"web"}`
)

// variants are the exchanges that are measured.
var variants = []variant{
	{name: "plain", operation: quote, token: token},
	{name: "signed", operation: quote, token: token, signed: true},
	{name: "payment", operation: payment, token: token},
	{name: "refused", operation: quote, token: "npg_unknown"},
}

// variant is one kind of exchange.
type variant struct {
	name, operation, token string
	signed                 bool // request and answer, by hmac-sha256
}

// rig is a gateway with its surroundings, and the merchant's request.
type rig struct {
	gateway *gateway.Gateway
	request gateway.Request
	text    []byte // the body of the request
	id      []byte // in it
	body    *bytes.Reader
	status  int    // that the answer must have
	outcome string // the same
	count   int64
	closers []func() error
}

// with sets up the variant of that name, for as long as do takes.
func with(ctx context.Context, name string, do func(*rig) error) (err error) {
	i := slices.IndexFunc(variants, func(v variant) bool { return v.name == name })
	if i < 0 {
		return fmt.Errorf("there is no variant %q", name)
	}
	r, err := newRig(ctx, variants[i])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return do(r)
}

// newRig sets up one variant. As in production, but for what Caddy brings: its
// logger is a JSON handler of the standard library's that discards what it wrote.
func newRig(ctx context.Context, v variant) (r *rig, err error) {
	r = &rig{text: []byte(requestBody), body: bytes.NewReader(nil), status: http.StatusOK, outcome: string(nowpay.Success)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if v.token != token {
		r.status, r.outcome = http.StatusUnauthorized, ""
	}
	r.id = after(r.text, `"yourrequestid":"`, len(zeroID))
	r.request = gateway.Request{
		Caller: whitelist.Caller{Token: v.token, Source: netip.MustParseAddr("192.0.2.7")},
		Method: http.MethodPost, Target: "/api/" + v.operation, Header: http.Header{"Content-Type": {"application/json"}}, Body: r.body,
	}
	cfg, err := r.config(ctx, v)
	if err != nil {
		return r, err
	}
	r.gateway = gateway.New(cfg)
	return r, nil
}

func (r *rig) config(ctx context.Context, v variant) (cfg gateway.Config, err error) {
	logger := slog.NewJSONHandler(io.Discard, nil) //nolint:sloglint // the line is to be made, as in production
	cfg = gateway.Config{
		MaxBody: 64 << 10, Logger: slog.New(logger),
		Record: func(context.Context, *gateway.Record) {}, Observed: func(gateway.StatusCall) {},
		CalledBack: func(string) {}, Posted: func(journal.Message) {},
		NewID: func() string { return ulid.Make().String() }, Now: time.Now, Random: func() float64 { return 0.5 },
		Reconcile: gateway.Reconcile{
			PersonAfter: time.Hour, StatusRate: whitelist.Rate{Requests: 1, Per: time.Second, Burst: 1}, StatusTimeout: time.Second, DailyCheck: -1,
		},
	}
	if cfg.Catalogue, err = nowpay.NewCatalogue(operations()); err != nil {
		return cfg, fmt.Errorf("making the catalogue: %w", err)
	}
	if cfg.Policy, err = policy(); err != nil {
		return cfg, fmt.Errorf("making the policy: %w", err)
	}
	cfg.Limits = gateway.NewLimits(cfg.Policy.Merchants(), nil, time.Now)
	cfg.Places = gateway.NewPlaces(cfg.Policy.Merchants(), 100, nil)
	credential, err := secret.NewCredential([]byte(username), []byte(key), 1)
	if err != nil {
		return cfg, fmt.Errorf("making the credential: %w", err)
	}
	store := secret.NewStore(0, time.Now)
	store.Set(credential)
	account := gateway.Account{Secret: fixed{store}, Sign: signer.Credentials{}}
	if v.signed {
		account.Sign, account.Verify = &signer.HTTPSig{}, &signer.HTTPSigVerifier{}
	}
	cfg.Accounts = map[string]gateway.Account{"main": account}
	if cfg.Egress, err = r.egress(v.signed); err != nil {
		return cfg, err
	}
	if v.operation == payment {
		cfg.Journal, err = r.journal(ctx)
	}
	return cfg, err
}

// policy is that of one merchant.
func policy() (*whitelist.Policy, error) {
	bank, err := whitelist.ParsePattern("bank/*")
	if err != nil {
		return nil, err
	}
	return whitelist.NewPolicy([]whitelist.Merchant{{
		Name: "shop", Account: "main", Tokens: [][32]byte{whitelist.HashToken(token)},
		From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Allow: []whitelist.Pattern{bank}, MaxAmount: 5000_00,
	}})
}

// operations are the documented ones, and the payment without money.
func operations() []nowpay.Operation {
	all := nowpay.Documented()
	for _, operation := range all {
		if operation.Name == payment {
			operation.Name, operation.MovesMoney = quote, false
			return append(all, operation)
		}
	}
	return all
}

// fixed is a source whose credential stays the same.
type fixed struct{ *secret.Store }

func (fixed) Refresh(context.Context) error { return nil }

// egress starts a provider, and makes the client for it.
func (r *rig) egress(signs bool) (*egress.Client, error) {
	provider, err := listen(signs)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, provider.Close)
	client, err := egress.New(egress.Config{URL: &url.URL{Scheme: "http", Host: provider.Addr().String()}})
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	r.closers = append(r.closers, func() error { client.Close(); return nil })
	return client, nil
}

// journal opens one in a folder of its own.
func (r *rig) journal(ctx context.Context) (*journal.Journal, error) {
	folder, err := os.MkdirTemp("", "cost-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	r.closers = append(r.closers, func() error { return os.RemoveAll(folder) })
	j := journal.New(journal.Options{
		Store: sqlite.New(filepath.Join(folder, "journal.db")), KeyFile: filepath.Join(folder, "journal.key"), Gateway: "cost",
	})
	r.closers = append(r.closers, j.Close)
	if err := j.Start(ctx); err != nil {
		return nil, fmt.Errorf("starting the journal: %w", err)
	}
	return j, nil
}

// exchange carries out some exchanges, each with a request ID of its own.
// It allocates nothing itself.
func (r *rig) exchange(ctx context.Context, n int) error {
	for range n {
		r.count++
		strconv.AppendInt(r.id[:0], 1e11+r.count, 10)
		r.body.Reset(r.text)
		answer := r.gateway.Exchange(ctx, r.request)
		if outcome := answer.Header.Get("Nowpay-Gateway-Outcome"); answer.Status != r.status || outcome != r.outcome {
			return fmt.Errorf("answered %d with outcome %q, want %d with %q: %s", answer.Status, outcome, r.status, r.outcome, answer.Body)
		}
	}
	return nil
}

// close ends what was started, in reverse order.
func (r *rig) close() error {
	var errs []error
	for len(r.closers) > 0 {
		last := len(r.closers) - 1
		errs = append(errs, r.closers[last]())
		r.closers = r.closers[:last]
	}
	return errors.Join(errs...)
}
