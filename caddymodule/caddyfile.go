package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("nowpay", parseApp)
	// Not RegisterHandlerDirective: it would take a first argument that begins
	// with a slash for a path matcher, and requests past it would go unanswered.
	httpcaddyfile.RegisterDirective("nowpay_gateway", parseGateway)
	httpcaddyfile.RegisterDirectiveOrder("nowpay_gateway", httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterDirective("nowpay_callback", parseCallback)
	httpcaddyfile.RegisterDirectiveOrder("nowpay_callback", httpcaddyfile.Before, "reverse_proxy")
}

// parseApp reads the global option `nowpay`.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("nowpay is given twice in the global options")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "nowpay", Value: caddyconfig.JSON(app, nil)}, nil
}

// parseGateway reads the directive `nowpay_gateway`.
func parseGateway(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	return parseBare(h, new(Handler))
}

// parseCallback reads the directive `nowpay_callback`.
func parseCallback(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	return parseBare(h, new(CallbackHandler))
}

// parseBare reads a directive of one word.
func parseBare(h httpcaddyfile.Helper, handler caddyhttp.MiddlewareHandler) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	name := h.Val()
	if h.NextArg() {
		return nil, h.Errf("%s takes no argument and no matcher, not even a path: it answers every request; put it into a `handle` block to narrow it down", name)
	}
	if h.NextBlock(0) {
		return nil, h.Errf("%s takes no block: it is configured by `nowpay` in the global options", name)
	}
	return h.NewRoute(nil, handler), nil
}

// UnmarshalCaddyfile reads the block of the global option. Lines with several
// values may be repeated, all others stand once.
//
//	nowpay {
//		account <name> {
//			secret  <source> ...
//			sign    <scheme> ...
//			verify  <scheme> ...
//			overlap <duration>
//			live|test
//		}
//		live_hosts <host>...
//		upstream <url> {
//			local_address <ip>...
//			addresses     <cidr>...|anywhere
//			ca            <file>
//			pin           sha256/<base64>...
//			timeout       <duration>
//			max_response  <size>
//			insecure_http
//		}
//		operation <route> {
//			moves_money   [on|off]
//			may_cost      [on|off]
//			encoding      json|form
//			field         <name> text|digits|alphanumeric|amount [<max bytes>]
//			field         <name> choice <value>...
//			optional      <as field>
//			without       <field>...
//			request_id    <field> [<answer field>]|none
//			provider_id   <answer field>|none
//			amount        <field>|none
//			scale         0/1/2|0/1|pan
//			success_needs <answer field>...|none
//			status        <operation>|none
//			status        <operation> {
//				send        <field> <source>
//				rows        <field>
//				match       <field> <source>
//				state       <field>
//				success     <value>...
//				failed      <value>...
//				pending     <value>...
//				provider_id <field>
//				reference   <field>
//			}
//			revalidate    never|pending|always
//			personal      <field>...
//		}
//		merchant <name> {
//			account           <name>
//			token             sha256:<hex>...
//			client_cert       <SAN or sha256:<hex>>...
//			user              <id>...
//			signature         <algorithm> <keyid> <file>
//			from              <cidr>...|anywhere
//			allow             <operation>...
//			deny              <operation>...
//			max_amount        <rupees>
//			daily_amount      <rupees>
//			rate              <requests>/<duration> [<burst>]
//			max_in_flight     <number>
//			request_id_prefix <letters and digits>
//			strip_credentials
//			notify <url> {
//				secret_file   <file>
//				secret        <source> ...
//				private
//				insecure_http
//				ca            <file>
//				local_address <ip>
//			}
//		}
//		callbacks {
//			from          <cidr>...|anywhere
//			settle|hint
//			secret_path   <file>
//			secret_header <name> <file>
//			signed
//		}
//		callback_shape <name> {
//			request_id  <path>
//			provider_id <path>
//			state       <path>
//			reference   <path>
//			message     <path>
//			amount      <path>
//			success     <text>...
//			failed      <text>...
//			pending     <text>...
//		}
//		journal sqlite [<path>] {
//			key_file <file>
//		}
//		journal postgres <dsn> {
//			key_file <file>
//		}
//		reconcile {
//			person_after   <duration>
//			status_rate    <requests>/<duration> [<burst>]
//			status_timeout <duration>
//			daily_check    <hh:mm>|off
//		}
//		signatures {
//			max_age <duration>
//			skew    <duration>
//		}
//		max_body <size>
//		max_in_flight <number>
//		core_dumps
//	}
//
// of which one `journal`. A source of `send` and `match` is request_id,
// provider_id, amount, day, day_before, day_after or `field <name>`.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	return words{
		"account":        namedBlocks(&a.Accounts, (*Account).words),
		"upstream":       a.parseUpstream,
		"operation":      namedBlocks(&a.Operations, (*Operation).words),
		"merchant":       namedBlocks(&a.Merchants, (*Merchant).words),
		"callbacks":      a.parseCallbacks,
		"callback_shape": namedBlocks(&a.CallbackShapes, (*CallbackShape).words),
		"journal":        guestModule(&a.JournalRaw, "nowpay.journals", "store"),
		"reconcile":      a.parseReconcile,
		"max_body":       oneSize(&a.MaxBody),
		"max_in_flight":  oneNumber(&a.MaxInFlight),
		"signatures":     a.parseSignatures,
		"live_hosts":     manyTexts(&a.LiveHosts),
		"core_dumps":     bareWord(&a.CoreDumps),
	}.parse(d, "nowpay")
}

func (a *Account) words() words {
	return words{
		"secret":  guestModule(&a.SecretRaw, "nowpay.secrets", "source"),
		"sign":    guestModule(&a.SignRaw, "nowpay.signers", "scheme"),
		"verify":  guestModule(&a.VerifyRaw, "nowpay.verifiers", "scheme"),
		"overlap": oneDuration(&a.Overlap),
		modeLive:  a.parseMode,
		modeTest:  a.parseMode,
	}
}

func (a *Account) parseMode(d *caddyfile.Dispenser) error {
	name := d.Val()
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	if a.Mode != "" {
		return d.Err("account takes `live` or `test`, once")
	}
	a.Mode = name
	return nil
}

func (a *App) parseUpstream(d *caddyfile.Dispenser) error {
	if a.Upstream != nil {
		return d.Err("upstream is given twice: there is one provider")
	}
	args, err := values(d, 1, 1)
	if err != nil {
		return err
	}
	u := &Upstream{URL: args[0]}
	a.Upstream = u
	return words{
		"local_address": manyTexts(&u.LocalAddresses),
		"addresses":     manyTexts(&u.Addresses),
		"ca":            oneText(&u.CA),
		"pin":           manyTexts(&u.Pins),
		"timeout":       oneDuration(&u.Timeout),
		"max_response":  oneSize(&u.MaxResponse),
		"insecure_http": bareWord(&u.InsecureHTTP),
	}.parse(d, "upstream")
}

func (m *Merchant) words() words {
	return words{
		"account":           oneText(&m.Account),
		"token":             manyTexts(&m.Tokens),
		"client_cert":       manyTexts(&m.ClientCerts),
		"user":              manyTexts(&m.Users),
		"signature":         m.parseSignature,
		"from":              manyTexts(&m.From),
		"allow":             manyTexts(&m.Allow),
		"deny":              manyTexts(&m.Deny),
		"max_amount":        oneText(&m.MaxAmount),
		"daily_amount":      oneText(&m.DailyAmount),
		"rate":              oneRate(&m.Rate),
		"max_in_flight":     oneNumber(&m.MaxInFlight),
		"request_id_prefix": oneText(&m.RequestIDPrefix),
		"strip_credentials": bareWord(&m.StripCredentials),
		"notify":            m.parseNotify,
	}
}

func (m *Merchant) parseSignature(d *caddyfile.Dispenser) error {
	args, err := values(d, 3, 3)
	if err != nil {
		return err
	}
	m.Signatures = append(m.Signatures, &SignatureKey{Algorithm: args[0], ID: args[1], File: args[2]})
	return nil
}

func (a *App) parseSignatures(d *caddyfile.Dispenser) error {
	if a.Signatures != nil {
		return d.Err("signatures is given twice")
	}
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	s := new(Signatures)
	a.Signatures = s
	return words{"max_age": oneDuration(&s.MaxAge), "skew": oneDuration(&s.Skew)}.parse(d, "signatures")
}

func (a *App) parseReconcile(d *caddyfile.Dispenser) error {
	if a.Reconcile != nil {
		return d.Err("reconcile is given twice")
	}
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	r := new(Reconcile)
	a.Reconcile = r
	return words{
		"person_after":   oneDuration(&r.PersonAfter),
		"status_rate":    oneRate(&r.StatusRate),
		"status_timeout": oneDuration(&r.StatusTimeout),
		"daily_check":    oneText(&r.DailyCheck),
	}.parse(d, "reconcile")
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
)
