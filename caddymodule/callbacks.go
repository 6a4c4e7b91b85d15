package caddymodule

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// Callbacks says whose callbacks are taken, and what they may do. The handler
// `nowpay_callback` receives them.
type Callbacks struct {
	// The networks from which Nowpay calls back, as CIDR or single addresses.
	// Required. Everybody else is refused without a word. Behind a proxy, configure
	// Caddy's `trusted_proxies` with `trusted_proxies_strict`. To allow all
	// addresses, write `anywhere`.
	From []string `json:"from,omitempty"`

	// What a callback may do where Nowpay cannot be asked for the transaction's
	// status: `settle` what is pending or unknown, if both ids are the
	// transaction's, or only give a `hint` to a person. Where Nowpay can be asked,
	// its status counts and a callback only has it asked. Default: `settle`.
	Mode string `json:"mode,omitempty"`

	// A file with a secret that callbacks must carry: the last part of the path of
	// the URL that is registered at Nowpay, or a header. Each line is one, so that
	// there can be two while it is changed; the file is read for each callback.
	// Default: none.
	SecretFile string `json:"secret_file,omitempty"`

	// The header that carries the secret. Default: the path does.
	SecretHeader string `json:"secret_header,omitempty"`

	// Takes only callbacks that are signed, with a key by which the answers to one of
	// the accounts are verified (`verify httpsig`). The signature must cover the
	// method, the target and `content-digest`. Default: false.
	Signed bool `json:"signed,omitempty"`
}

// CallbackShape says where a callback of one form has what, by the paths of its
// members, such as `result.orderId`. It adds a form to those that are known
// (`envelope`, `flat`, `flat-reqid`, `answer`, `answer-reqid`), or replaces the one
// of its name.
type CallbackShape struct {
	// The member with the request ID, as it was sent to Nowpay. In the envelope
	// that is `orderId`, not `paytmOrderId`. This one or `provider_id` is required.
	RequestID string `json:"request_id,omitempty"`

	// The member with Nowpay's own id.
	ProviderID string `json:"provider_id,omitempty"`

	// The member that tells the state. Required.
	State string `json:"state,omitempty"`

	// The member with the bank's or the operator's reference, such as `rrn`.
	Reference string `json:"reference,omitempty"`

	// The member with a text for people.
	Message string `json:"message,omitempty"`

	// The member with the amount in rupees.
	Amount string `json:"amount,omitempty"`

	// The texts of the state that mean success, in whatever letter case. Required.
	Success []string `json:"success,omitempty"`

	// The texts of the state that mean failed. Required.
	Failed []string `json:"failed,omitempty"`

	// The texts of the state that mean pending. Texts that are listed nowhere mean
	// nothing.
	Pending []string `json:"pending,omitempty"`
}

// Notify says where a merchant is told of transactions that become final after
// their request was answered, and of those that are reversed. Notifications are
// signed as Standard Webhooks describes.
type Notify struct {
	// The URL that is posted to: `https://`, or `http://` to this machine. Required.
	// A redirect is not followed.
	URL string `json:"url,omitempty"`

	// A file with the secret that signs, as `caddy nowpay notifications secret`
	// makes it: `whsec_` and base64. Two lines sign twice, the newest first, while
	// the merchant changes over; the file is read for each notification. This one or
	// `secret` is required.
	SecretFile string `json:"secret_file,omitempty"`

	// Where the secret that signs comes from instead of a file of its own: `vault`,
	// with the same options as the secret of an account. The `key` is the secret; the
	// `username` is the one before it while the merchant changes over, else any text.
	SecretRaw json.RawMessage `json:"secret,omitempty" caddy:"namespace=nowpay.secrets inline_key=source"`

	// Allows the URL to lead to private addresses, as those of an internal network
	// are. Default: false, only public addresses. Link-local addresses and those of
	// a cloud's metadata are never called.
	Private bool `json:"private,omitempty"`

	// Allows an `http://` URL that leads to another machine. DANGER: whoever is on
	// the way can read the notifications. Default: false.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	// A file with PEM certificates of the authorities that may vouch for the
	// merchant's server, instead of the system's.
	CA string `json:"ca,omitempty"`

	// The address of this machine from which notifications leave. Default: what the
	// operating system picks, unless that is a `local_address` of the upstream:
	// notifications leave from the address that Nowpay has whitelisted only if it is
	// named here.
	LocalAddress string `json:"local_address,omitempty"`
}

const (
	settleByCallback = "settle"
	hintByCallback   = "hint"
	maxSecretFile    = 4096
	minSecret        = 16
)

// settings of callbacks; nil if none are to be taken.
func (c *Callbacks) settings(shapes callback.Table) (*gateway.Callbacks, error) {
	if c == nil {
		return nil, nil
	}
	r := newResolver()
	mode := cmp.Or(r.text("mode", c.Mode), settleByCallback)
	file, header := r.text("secret_file", c.SecretFile), r.text("secret_header", c.SecretHeader)
	taken := &gateway.Callbacks{From: networks(r, "from", c.From), Signed: c.Signed, Settle: mode == settleByCallback, Shapes: shapes}
	switch {
	case r.err != nil:
		return nil, r.err
	case len(taken.From) == 0:
		return nil, errors.New("no from: write the networks from which Nowpay calls back, `from <cidr>...`")
	case mode != settleByCallback && mode != hintByCallback:
		return nil, fmt.Errorf("mode: must be `%s` or `%s`, not %q", settleByCallback, hintByCallback, mode)
	case header != "" && file == "":
		return nil, errors.New("secret_header: needs a file as well: `secret_header <name> <file>`")
	case file != "":
		taken.Proof = func(request gateway.CallbackRequest) bool { return carriesSecret(request, header, file) }
	}
	return taken, nil
}

// callbackShapes are all forms that callbacks may have.
func (a *App) callbackShapes() (callback.Table, error) {
	var own []callback.Shape
	for _, name := range slices.Sorted(maps.Keys(a.CallbackShapes)) {
		s := a.CallbackShapes[name]
		if s == nil {
			s = new(CallbackShape)
		}
		r := newResolver()
		own = append(own, callback.Shape{
			Name: name, RequestID: r.text("request_id", s.RequestID), ProviderID: r.text("provider_id", s.ProviderID),
			State: r.text("state", s.State), Reference: r.text("reference", s.Reference), Message: r.text("message", s.Message),
			Amount: r.text("amount", s.Amount), Success: r.texts("success", s.Success), Failed: r.texts("failed", s.Failed),
			Pending: r.texts("pending", s.Pending),
		})
		if r.err != nil {
			return nil, fmt.Errorf("%q: %w", name, r.err)
		}
	}
	return callback.NewTable(own)
}

// carriesSecret reports whether a callback has one of the secrets of the file. A
// file that cannot be read lets nobody in.
func carriesSecret(request gateway.CallbackRequest, header, file string) bool {
	carried := path.Base(request.Path)
	if header != "" {
		values := request.Header.Values(header)
		if len(values) != 1 {
			return false
		}
		carried = values[0]
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxSecretFile {
		return false
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	defer clear(text)
	got := sha256.Sum256([]byte(carried))
	found := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if len(line) < minSecret || line[0] == '#' {
			continue
		}
		want := sha256.Sum256([]byte(line))
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

// sender makes what sends notifications.
func (n *Notify) sender(secrets func() ([]notify.Secret, error), avoid []netip.Addr) (*notify.Sender, error) {
	r := newResolver()
	endpoint := notify.Endpoint{
		URL:     parseOne(r, "url", n.URL, parseURL),
		Private: n.Private, InsecureHTTP: n.InsecureHTTP,
		LocalAddress: parseOne(r, "local_address", n.LocalAddress, parseLocalAddress),
		RootCAs:      parseOne[*x509.CertPool](r, "ca", n.CA, readCertificates),
		Secrets:      secrets,
		Avoid:        avoid,
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case endpoint.URL == nil:
		return nil, errors.New("no URL: write `notify <url> { secret_file <file> }`")
	}
	return notify.New(endpoint)
}

// secrets is where the secrets of a merchant's notifications come from. A source
// that is no file of its own is in the pool, for the runtime to start.
func (n *Notify) secrets(ctx caddy.Context, merchant string, rt *runtime) (func() ([]notify.Secret, error), error) {
	r := newResolver()
	file := r.text("secret_file", n.SecretFile)
	switch {
	case r.err != nil:
		return nil, r.err
	case (file == "") == (n.SecretRaw == nil):
		return nil, errors.New("write one of `secret_file <file>` and `secret vault { … }`; `caddy nowpay notifications secret` makes a secret")
	case file != "":
		return notify.NewSecretFile(file).Secrets, nil
	}
	module, err := ctx.LoadModule(n, "SecretRaw")
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	provider, ok := module.(SecretProvider)
	if !ok {
		return nil, fmt.Errorf("secret: %T is no source of credentials", module)
	}
	source, err := rt.acquire(provider)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	rt.signing[merchant] = source
	return func() ([]notify.Secret, error) { return secretsOf(source) }, nil
}

// secretsOf are the secrets that a credential holds, newest first.
func secretsOf(source secret.Source) ([]notify.Secret, error) {
	credential, err := source.Acquire()
	if err != nil {
		return nil, fmt.Errorf("reading the secret of notifications: %w", err)
	}
	defer credential.Release()
	newest, err := notify.ParseSecret(string(credential.Key().Reveal()))
	if err != nil {
		return nil, fmt.Errorf("reading the secret of notifications: %w", err)
	}
	secrets := []notify.Secret{newest}
	if before, err := notify.ParseSecret(string(credential.Username().Reveal())); err == nil {
		secrets = append(secrets, before)
	}
	return secrets, nil
}

// makeSenders makes what sends the notifications of each merchant that has a URL.
func (a *App) makeSenders(ctx caddy.Context, egress []netip.Addr) error {
	for _, name := range slices.Sorted(maps.Keys(a.Merchants)) {
		m := a.Merchants[name]
		if m == nil || m.Notify == nil {
			continue
		}
		secrets, err := m.Notify.secrets(ctx, name, a.rt)
		if err == nil {
			a.rt.notifySecrets[name] = secrets
			a.rt.senders[name], err = m.Notify.sender(secrets, egress)
		}
		if err != nil {
			delete(a.rt.senders, name)
			return fmt.Errorf("merchant %q: notify: %w", name, err)
		}
	}
	return nil
}
