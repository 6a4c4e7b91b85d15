package whitelist

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Caller is what is known of who sent a request.
type Caller struct {
	// Token is the bearer token, "" if none was presented.
	Token string

	// Certificate is the TLS client certificate of the connection, nil if none
	// was presented.
	Certificate *x509.Certificate

	// CertificateVerified says that the TLS server verified the chain, so that
	// the names in the certificate may be believed. If false, only its
	// fingerprint counts.
	CertificateVerified bool

	// User is the user id that Caddy's authentication set, "" if none.
	User string

	// SignatureKey is the id of the key with which the request is signed, "" if it
	// is not. The signature was verified, and by that key.
	SignatureKey string

	// Source is the address of the client, after trusted proxies. IPv4-mapped
	// addresses and zones are fine.
	Source netip.Addr
}

// Args is the question to a [Policy].
type Args struct {
	Caller

	// Operation is the name of the operation, "bank/payout". If empty, only
	// identity and source are decided.
	Operation string

	// Amount of the call; 0 if it is not known (yet). A caller who learns it
	// later must ask [Merchant.DecideAmount] then.
	Amount nowpay.Paise
}

// Reason says why a call is refused, as the code of the problem that the
// merchant gets to see; "" if it is allowed.
type Reason string

// The reasons of a [Decision].
const (
	Unauthenticated     Reason = "unauthenticated"
	SourceNotAllowed    Reason = "source-not-allowed"
	OperationNotAllowed Reason = "operation-not-allowed"
	AmountNotAllowed    Reason = "amount-not-allowed"
)

// Decision is the answer of a [Policy]. The zero Decision is a refusal.
type Decision struct {
	Allowed bool

	// Merchant is who calls, nil unless identified. It belongs to the policy
	// and must not be modified.
	Merchant *Merchant

	// Rule names the rule that decided, such as "merchant shop: deny
	// bank/payout". It is for logs and operators; a caller must not see it.
	Rule string

	// Reason is "" if allowed, else what the caller may know.
	Reason Reason
}

// Decide answers whether the caller may do what it asks for. The error is for
// misuse, a Source that is no address, and comes with a refusal.
func (p *Policy) Decide(a Args) (Decision, error) {
	source := a.Source.Unmap().WithZone("")
	if !source.IsValid() {
		return refuse(nil, "no source address", Unauthenticated), errors.New("deciding: the source is not an address")
	}
	m, rule := p.identify(a.Caller)
	if m == nil {
		return refuse(nil, rule, Unauthenticated), nil
	}
	network, ok := m.networks.find(source)
	switch {
	case !ok:
		return m.refuse("not in from", SourceNotAllowed), nil
	case a.Operation == "":
		return m.allow("from " + networkName(network)), nil
	}
	d := m.DecideOperation(a.Operation)
	if d.Allowed && a.Amount != 0 {
		if amount := m.DecideAmount(a.Amount); !amount.Allowed {
			return amount, nil
		}
	}
	return d, nil
}

// DecideOperation answers the third step alone: whether this merchant may call
// the operation from where it may call at all.
func (m *Merchant) DecideOperation(operation string) Decision {
	if !isName(operation) {
		return refuse(m, "default deny", OperationNotAllowed)
	}
	if rule, ok := m.denied.find(operation); ok {
		return refuse(m, rule, OperationNotAllowed)
	}
	if rule, ok := m.allowed.find(operation); ok {
		return Decision{Allowed: true, Merchant: m, Rule: rule}
	}
	return refuse(m, "default deny", OperationNotAllowed)
}

// DecideAmount answers the last step alone, for when the amount becomes known
// only after [Policy.Decide]. An amount of 0 means that the call has none, and
// is allowed.
func (m *Merchant) DecideAmount(amount nowpay.Paise) Decision {
	switch {
	case amount < 0:
		return m.refuse("negative amount", AmountNotAllowed)
	case m.MaxAmount == 0:
		return m.allow("no max_amount")
	case amount > m.MaxAmount:
		return m.refuse("max_amount "+m.MaxAmount.String(), AmountNotAllowed)
	}
	return m.allow("max_amount " + m.MaxAmount.String())
}

// claim is what one presented credential says.
type claim struct {
	kind  string    // of the credential, for the rule
	owner *Merchant // nil: unknown
}

// identify finds the one merchant to whom all known credentials belong, and who
// has signed if it must; if there is none, the rule says why. Unknown credentials don't count: a
// certificate that a mesh adds, or a user of another handler, must not shut
// out a merchant who has a token.
func (p *Policy) identify(c Caller) (m *Merchant, rule string) {
	var few [5]claim
	claims := p.claims(few[:0], c)
	var first claim
	for _, found := range claims {
		switch {
		case found.owner == nil:
		case first.owner == nil:
			first = found
		case found.owner != first.owner:
			return nil, first.String() + ", but " + found.String()
		}
	}
	switch {
	case first.owner == nil:
		return nil, unknownRule(claims)
	case !first.owner.signedBy(c.SignatureKey):
		return nil, "merchant " + first.owner.Name + ": not signed"
	}
	return first.owner, ""
}

// signedBy reports whether a signature by that key is all that the merchant must
// show of one.
func (m *Merchant) signedBy(key string) bool {
	return len(m.SignatureKeys) == 0 || slices.Contains(m.SignatureKeys, key)
}

// claims appends what every presented credential says.
func (p *Policy) claims(claims []claim, c Caller) []claim {
	if c.Token != "" {
		found := claim{kind: "token"}
		if owner := p.tokens.find(c.Token); owner >= 0 {
			found.owner = p.merchants[owner]
		}
		claims = append(claims, found)
	}
	if c.Certificate != nil {
		kind := "certificate"
		if !c.CertificateVerified {
			kind = "unverified certificate"
		}
		for _, name := range namesOf(c.Certificate, c.CertificateVerified) {
			claims = append(claims, claim{kind, p.certificates[name]})
		}
	}
	if c.User != "" {
		claims = append(claims, claim{"user", p.users[c.User]})
	}
	if c.SignatureKey != "" {
		claims = append(claims, claim{"signature", p.BySignatureKey(c.SignatureKey)})
	}
	return claims
}

func (c claim) String() string {
	return c.kind + " of merchant " + c.owner.Name
}

// unknownRule names the kinds of credentials that were presented in vain.
func unknownRule(claims []claim) string {
	if len(claims) == 0 {
		return "no credential presented"
	}
	var kinds []string
	for _, c := range claims {
		if !slices.Contains(kinds, c.kind) {
			kinds = append(kinds, c.kind)
		}
	}
	return "no merchant has this " + strings.Join(kinds, " or this ")
}

func (m *Merchant) allow(rule string) Decision {
	return Decision{Allowed: true, Merchant: m, Rule: "merchant " + m.Name + ": " + rule}
}

func (m *Merchant) refuse(rule string, reason Reason) Decision {
	return refuse(m, "merchant "+m.Name+": "+rule, reason)
}

func refuse(m *Merchant, rule string, reason Reason) Decision {
	return Decision{Merchant: m, Rule: rule, Reason: reason}
}
