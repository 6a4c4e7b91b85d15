package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
)

// App is a gateway to the payment provider Nowpay. It holds the provider's
// secret key and the one address that the provider has whitelisted, so that the
// merchant apps behind it need neither. The handler `nowpay_gateway` serves it.
//
// Every string may contain placeholders such as `{env.NAME}` or `{file.path}`.
// They are resolved once, when the configuration is loaded; one that is unknown
// or empty stops the load. The stored configuration keeps the placeholder.
// (`{$NAME}` is something else: a Caddyfile replaces it before it is read, so
// that the value itself ends up in the stored configuration and in its dumps.)
// Durations, sizes and names take no placeholders.
type App struct {
	// The accounts at Nowpay by name. At least one is needed. The name appears
	// in logs, metrics and `/health/ready`.
	Accounts map[string]*Account `json:"accounts,omitempty"`

	// Where Nowpay is, and how to get there. Required.
	Upstream *Upstream `json:"upstream,omitempty"`

	// Operations to add to the catalogue of documented ones, or corrections of
	// them, by route without `/api/`, such as `recharge/dorecharge`.
	Operations map[string]*Operation `json:"operations,omitempty"`

	// The apps that may use the gateway by name. Nobody else may. At least one
	// is needed. The name appears in logs and metrics.
	Merchants map[string]*Merchant `json:"merchants,omitempty"`

	// Where transactions are recorded, so that none is paid twice or lost:
	// `sqlite` for one gateway, `postgres` for several that share it. Default:
	// `sqlite` with its defaults.
	JournalRaw json.RawMessage `json:"journal,omitempty" caddy:"namespace=nowpay.journals inline_key=store"`

	// How transactions whose end is not known are followed up. Default: as the
	// fields say.
	Reconcile *Reconcile `json:"reconcile,omitempty"`

	// Whose callbacks are taken, and what they may do. Default: nobody's.
	Callbacks *Callbacks `json:"callbacks,omitempty"`

	// Forms of callbacks to add to the known ones, or corrections of them, by name.
	CallbackShapes map[string]*CallbackShape `json:"callback_shapes,omitempty"`

	// Which signatures of merchants are fresh. Default: as the fields say.
	Signatures *Signatures `json:"signatures,omitempty"`

	// The largest request body that a merchant may send, in bytes. Larger ones
	// are refused with `body-too-large`. Default: 65536 (64 KiB). Bodies are
	// held in memory as a whole while they are worked on.
	MaxBody int64 `json:"max_body,omitempty"`

	// How many requests may be under way to Nowpay at once, of all merchants. Those
	// beyond are refused with `limit-exceeded`; nothing of them is recorded or sent.
	// It bounds the memory and the connections that a slow Nowpay can take up.
	// Default: 10000.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// The hosts at which money is real: exact names, each with its port if that
	// is not the scheme's own. A live account is used at no other host, and a test
	// account at none of these. Default: `nowpay.in`. A list replaces the default.
	LiveHosts []string `json:"live_hosts,omitempty"`

	// Lets the system dump the process's memory into a file when it crashes, and
	// lets debuggers of its own user look into it. DANGER: the key is in that file,
	// readable for everyone who gets at it. Default: false. A process that has begun
	// without it stays without until it is started anew.
	CoreDumps bool `json:"core_dumps,omitempty"`

	rt *runtime // set by Provision
}

// Account is one account at Nowpay: a username and a key.
type Account struct {
	// Where the username and the key come from: `vault`, or for development
	// `file`. Required. They are never part of the configuration.
	SecretRaw json.RawMessage `json:"secret,omitempty" caddy:"namespace=nowpay.secrets inline_key=source"`

	// How requests are signed. Default: `credentials`, which puts the username
	// and the key into the body, as Nowpay documents it.
	SignRaw json.RawMessage `json:"sign,omitempty" caddy:"namespace=nowpay.signers inline_key=scheme"`

	// How answers prove that they are Nowpay's. An answer without the proof has
	// the outcome `unknown`, or is refused with `bad-gateway` if the operation
	// moves no money. Default: answers carry no proof, and are believed because
	// of the TLS connection that they come on.
	VerifyRaw json.RawMessage `json:"verify,omitempty" caddy:"namespace=nowpay.verifiers inline_key=scheme"`

	// For how long after a rotation the credential before is still good for checking
	// what Nowpay has signed: answers and callbacks that were under way. Nothing is
	// sent with it any more. Default: not at all; it is then wiped with the last
	// request that uses it.
	Overlap caddy.Duration `json:"overlap,omitempty"`

	// Whether the account moves real money: `live` or `test`. A live account is
	// used only at one of the `live_hosts`, by https unless `insecure_http` is
	// given, and a test account at none of them: anything else stops the load.
	// Default: `live` if the upstream is one of the live hosts, else `test`.
	Mode string `json:"mode,omitempty"`
}

// Upstream is the provider and the way to it. Nothing in it can be overridden
// by a request, by the environment's proxy settings, or by a redirect.
type Upstream struct {
	// The provider's scheme and host, such as `https://nowpay.in`. Required.
	// Without a path: the operation gives it.
	URL string `json:"url,omitempty"`

	// The addresses of this machine from which Nowpay is called, in order of
	// preference: those that Nowpay has whitelisted. A later one is used only
	// if the earlier ones are not on this machine. Requests are refused with
	// `egress-unavailable` while none is. Default: whatever address the
	// operating system picks.
	LocalAddresses []string `json:"local_addresses,omitempty"`

	// The networks in which the provider's address must be, as CIDR or single
	// addresses. A name that resolves to anything else is not called. Default:
	// any public address. Private and special ones must be listed, unless the
	// URL is a literal address or `localhost`. To list all addresses there are,
	// private and special ones too, write `anywhere` instead of `0.0.0.0/0`.
	Addresses []string `json:"addresses,omitempty"`

	// A file with PEM certificates of the authorities that may vouch for the
	// provider, instead of the system's. It is read when the configuration is
	// loaded.
	CA string `json:"ca,omitempty"`

	// Pins of public keys, one of which must be in the provider's certificate
	// chain, on top of the usual checks: `sha256/` and the base64 of the SHA-256
	// of a SubjectPublicKeyInfo. Name the next key as well before it is needed:
	// a provider that changes to a key which is not pinned is cut off. Default:
	// none.
	Pins []string `json:"pins,omitempty"`

	// How long one call may take from connecting to the last byte of the answer.
	// A call that takes longer has the outcome `unknown`: Nowpay may still carry
	// it out. Default: `90s`. Nowpay itself may take more than 60 seconds.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The largest answer that is read, in bytes. A larger one has the outcome
	// `unknown`. Default: 1048576 (1 MiB).
	MaxResponse int64 `json:"max_response,omitempty"`

	// Allows an `http://` URL that leads to another machine. DANGER: the key and
	// all payments then travel unencrypted and can be read and changed on the
	// way. Default: false. A loopback address or `localhost` does not need it.
	InsecureHTTP bool `json:"insecure_http,omitempty"`
}

// Operation adds an operation of Nowpay to the catalogue, or corrects one that
// is in it: what is not named stays as it is there. A new operation is a POST
// with a JSON body and the outcome scale `0/1/2`, unless said otherwise.
type Operation struct {
	// Whether the operation moves money. It decides what a merchant is told when
	// the outcome is not known: `pending` if it does, an error if it does not.
	// DANGER: false for an operation that does move money invites merchants to
	// send a payment twice. A new operation must say it; default for one of the
	// catalogue: as there.
	MovesMoney *bool `json:"moves_money,omitempty"`

	// Whether a call may cost a fee though it moves no money, or has another effect,
	// such as a message that is sent. Others are sent once more by the gateway itself
	// if Nowpay refuses them and the key has been replaced meanwhile. Default: false.
	MayCost *bool `json:"may_cost,omitempty"`

	// How the body travels, from the merchant and to Nowpay: `json` or `form`.
	// Default: `json`.
	Encoding string `json:"encoding,omitempty"`

	// Fields of the request, without username and key. In an operation of the
	// catalogue each adds a field or replaces the one of the same name. Further
	// fields that a merchant sends are passed on as they are.
	Fields []*Field `json:"fields,omitempty"`

	// Names of fields of the catalogue that the operation does not have.
	Without []string `json:"without,omitempty"`

	// The request field with the merchant's own id of the transaction, such as
	// `yourrequestid`, or `none`. Answers must repeat it. Default: none.
	RequestID string `json:"request_id,omitempty"`

	// The answer field that repeats the merchant's id, if it has another name
	// there. Default: the same name.
	AnswerRequestID string `json:"answer_request_id,omitempty"`

	// The answer field with Nowpay's id, such as `ourrequestid`, or `none`.
	// A failure without it counts as `refused`: Nowpay created nothing.
	// Default: none.
	ProviderID string `json:"provider_id,omitempty"`

	// The request field with the amount in rupees, or `none`. Merchants' limits
	// apply to it, and an answer that has it must repeat it. Default: none.
	Amount string `json:"amount,omitempty"`

	// What `success` means in an answer: `0/1/2` (failed, success, pending),
	// `0/1` (failed, success) or `pan` (17 success, 0 and 19 failed, 21
	// pending). Default: `0/1/2`.
	Scale string `json:"scale,omitempty"`

	// Answer fields without which a success is not final but `pending`, such as
	// `rrn`. In an operation of the catalogue it replaces the whole list, and the
	// single word `none` empties it. Default: none.
	SuccessNeeds []string `json:"success_needs,omitempty"`

	// How Nowpay is asked what became of a transaction. In an operation of the
	// catalogue it replaces the whole query. Default: none, so that what is
	// pending waits for a callback or a person.
	Status *StatusQuery `json:"status,omitempty"`

	// When Nowpay is asked what became of a transaction: `never` by itself,
	// `pending` for what is pending or unknown, or `always`, which asks also
	// before an answer is passed on and believes no success that is not
	// confirmed. Default: `pending` if there is a status query, else `never`.
	Revalidate string `json:"revalidate,omitempty"`

	// Fields of request and answer that are masked in logs, at any depth. Adds
	// to the catalogue's list, so that nothing is unmasked by accident.
	Personal []string `json:"personal,omitempty"`
}

// StatusQuery says how Nowpay is asked what became of a transaction, and how
// its answer is read. With nothing but the operation it is the query that Nowpay
// documents for its recharge history: `ourrequestid` is sent, and the rows are
// in `data`, each with `Clientid`, `yourreqid`, `amount`, `status` (1 success, 0
// failed, 2 pending) and `op_referenceid`.
type StatusQuery struct {
	// The operation that is called, such as `pan/coupon_status`, or `none`, which
	// takes the query of the catalogue away. It must be in the catalogue and move
	// no money. Required.
	Operation string `json:"operation,omitempty"`

	// The fields that are sent. Required, unless nothing but the operation is
	// given.
	Send []*StatusField `json:"send,omitempty"`

	// The answer field with an array of rows, of which one is the transaction's;
	// the answer's own `success` is then about the query. Default: none, the
	// answer itself is about the transaction.
	Rows string `json:"rows,omitempty"`

	// The fields of the row that must be there and equal, or the row is not the
	// transaction's. What is not known of the transaction is not compared.
	Match []*StatusField `json:"match,omitempty"`

	// The field of the row that tells the state. Required, unless nothing but the
	// operation is given.
	State string `json:"state,omitempty"`

	// The texts of the state that mean success. Texts that are listed nowhere
	// mean nothing, and the transaction stays as it is.
	Success []string `json:"success,omitempty"`

	// The texts of the state that mean failed: no money was moved, or it was
	// given back.
	Failed []string `json:"failed,omitempty"`

	// The texts of the state that mean pending.
	Pending []string `json:"pending,omitempty"`

	// The field of the row with Nowpay's id. Default: none.
	ProviderID string `json:"provider_id,omitempty"`

	// The field of the row with the bank's or the operator's reference, such as
	// `rrn`. Default: none.
	Reference string `json:"reference,omitempty"`
}

// StatusField is a field of a status request or of its answer.
type StatusField struct {
	// The field's name.
	Name string `json:"name,omitempty"`

	// What of the transaction it holds: `request_id` (as it was sent to Nowpay),
	// `provider_id` (Nowpay's, known once there was an answer), `amount` (in
	// rupees), `day` (that of the request in India, as in `2026-11-26`),
	// `day_before`, `day_after`, or `field:` and the name of a field of the
	// transaction's own request.
	Source string `json:"source,omitempty"`
}

// Field is a field of a request.
type Field struct {
	// The field's name.
	Name string `json:"name,omitempty"`

	// What its value looks like: `text`, `digits`, `alphanumeric`, `amount`
	// (rupees with at most two decimals) or `choice`.
	Format string `json:"format,omitempty"`

	// The longest value, in bytes. Default: 1024.
	Max int `json:"max,omitempty"`

	// The values of a `choice`, letter by letter.
	Choices []string `json:"choices,omitempty"`

	// Whether a request may go without it. Default: false.
	Optional bool `json:"optional,omitempty"`
}

// Merchant is an app that may use the gateway, and what it may do. It is known
// by at least one token, client certificate or user id. If a request carries
// several of them, all must belong to the same merchant.
type Merchant struct {
	// The account at Nowpay that the merchant uses. Required.
	Account string `json:"account,omitempty"`

	// SHA-256 hashes of bearer tokens as `sha256:` and 64 hex digits.
	// `caddy nowpay token` makes a token and its hash. More than one is for
	// rotation: add the new hash, change the app, remove the old hash.
	Tokens []string `json:"tokens,omitempty"`

	// Client certificates, each by a subject alternative name or as `sha256:`
	// and the hex fingerprint of the certificate. A name counts only if the
	// server's `client_auth` verifies certificates against an authority.
	ClientCerts []string `json:"client_certs,omitempty"`

	// User ids as Caddy's `authentication` handler sets them.
	Users []string `json:"users,omitempty"`

	// The keys with which the merchant signs its requests as RFC 9421 describes (HTTP
	// Message Signatures). With one of them or more, unsigned requests are refused,
	// whatever else identifies the merchant: a stolen token is worth nothing. A
	// signature must cover the method, the target and `content-digest`, have a nonce,
	// and be fresh; each is taken once. Default: the merchant does not sign.
	Signatures []*SignatureKey `json:"signatures,omitempty"`

	// The networks from which the merchant may call, as CIDR or single
	// addresses. Required. Behind a proxy, configure Caddy's `trusted_proxies`
	// with `trusted_proxies_strict`, or callers can choose the address. To allow
	// all addresses, write `anywhere`.
	From []string `json:"from,omitempty"`

	// The operations that the merchant may call: `bank/payout`, or `bank/*` for
	// a whole group. Required: without it nothing is allowed.
	Allow []string `json:"allow,omitempty"`

	// The operations that the merchant may not call, in the same form. Wins over
	// `allow`. Default: none.
	Deny []string `json:"deny,omitempty"`

	// The largest amount of one transaction, in rupees with at most two
	// decimals. Default: no limit.
	MaxAmount string `json:"max_amount,omitempty"`

	// The largest amount of all transactions of one day in India, in rupees with
	// at most two decimals. As with `max_amount`, operations whose price is not in
	// the request are then refused. Default: no limit.
	DailyAmount string `json:"daily_amount,omitempty"`

	// How often the merchant may call. Calls beyond are refused with
	// `limit-exceeded`. Default: no limit.
	Rate *Rate `json:"rate,omitempty"`

	// How many requests of the merchant may be under way to Nowpay at once, so that
	// it leaves room for the others when its operations hang; at most as many as that
	// of the app. Those beyond are refused with `limit-exceeded`. Default: half of
	// the app's `max_in_flight`.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// What is put in front of the merchant's request IDs on the way to Nowpay and
	// taken off on the way back, so that merchants of one account may use the same
	// ones: 1 to 20 ASCII letters and digits. No prefix on one account may begin
	// with another, in whatever letter case, and no request ID of another merchant
	// on the account: those are refused. Default: none.
	RequestIDPrefix string `json:"request_id_prefix,omitempty"`

	// Where the merchant is told of transactions that become final later, and of
	// those that are reversed. Default: it is not told, and has to ask.
	Notify *Notify `json:"notify,omitempty"`

	// Removes `username` and `key` from what the merchant sends, for apps that
	// still have them in their bodies. Default: false, which refuses such
	// requests with `credential-in-request`.
	StripCredentials bool `json:"strip_credentials,omitempty"`
}

// SignatureKey is a key with which a merchant signs.
type SignatureKey struct {
	// The algorithm: `hmac-sha256`, `ed25519`, `ecdsa-p256-sha256` or
	// `rsa-pss-sha512`. Required.
	Algorithm string `json:"algorithm,omitempty"`

	// The name that signatures give the key. No two keys may have the same one, of
	// whatever merchant. Required.
	ID string `json:"id,omitempty"`

	// For `hmac-sha256` a file with the shared key, at least 32 characters on one
	// line, which nobody but its owner and group may read; it is read when the
	// gateway starts or the configuration is loaded anew. For the others a file with the
	// public key, or a certificate, in PEM. Required.
	File string `json:"file,omitempty"`
}

// Signatures says which signatures of merchants are fresh.
type Signatures struct {
	// How old a signature may be. Its nonce is remembered for as long. Default: `1m`.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// How far the merchants' clocks may be apart from ours. Default: `30s`.
	Skew caddy.Duration `json:"skew,omitempty"`
}

// Rate is how often something may happen: `requests` in each `per` on average,
// and `burst` at once.
type Rate struct {
	// How many requests. Required.
	Requests int `json:"requests,omitempty"`

	// In which time. Required.
	Per caddy.Duration `json:"per,omitempty"`

	// How many at once, after a time without any. Default: as many as `requests`.
	Burst int `json:"burst,omitempty"`
}

// Reconcile says how transactions whose end is not known are followed up.
type Reconcile struct {
	// How long a transaction may stay without a known end before a person has to
	// look at it. It is not given up then. Default: `24h`.
	PersonAfter caddy.Duration `json:"person_after,omitempty"`

	// How often Nowpay is asked what became of transactions, for each account and
	// all in all. Default: 5 each second, 10 at once.
	StatusRate *Rate `json:"status_rate,omitempty"`

	// How long one such question may take. Default: `15s`.
	StatusTimeout caddy.Duration `json:"status_timeout,omitempty"`

	// The time of day in India at which the transactions of the day before are
	// compared with Nowpay's record of them, as in `06:00`, or `off`. It finds
	// what Nowpay changed by hand without saying so. Default: `06:00`.
	DailyCheck string `json:"daily_check,omitempty"`
}
