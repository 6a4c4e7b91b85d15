package whitelist

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Merchant is an app that may use the gateway, with all its rules.
type Merchant struct {
	// Name of the merchant, unique. It appears in logs and metrics; printable
	// characters without spaces, at most 64 bytes.
	Name string

	// Account is the name of the account at the provider that the merchant
	// uses. It decides nothing but which prefixes must differ.
	Account string

	// Tokens are the hashes of the bearer tokens, several while rotating.
	// See [HashToken] and [ParseTokenHash].
	Tokens [][32]byte

	// Certificates are TLS client certificates: the fingerprint as
	// sha256:<hex> over the DER, or a subject alternative name (DNS name, IP
	// address, URI or email address; whole and exact, DNS names in any letter
	// case). A pinned certificate is good until it is taken off the list, even
	// if it has expired or its chain cannot be verified.
	Certificates []string

	// Users are user ids as Caddy's authentication sets them, exact.
	Users []string

	// SignatureKeys are the ids of the keys that the merchant signs its requests
	// with, several while rotating: 1 to 128 printable ASCII characters without
	// spaces. If there are any, each request must be signed by one of them, whatever
	// else it presents; other credentials are then not needed, but must not be
	// another merchant's.
	SignatureKeys []string

	// From are the networks that the merchant may call from. The prefixes
	// 0.0.0.0/0 and ::/0 stand for `anywhere`. See [ParseNetworks].
	From []netip.Prefix

	// Allow and Deny are the operations that the merchant may and may not
	// call. Deny wins; what neither names is denied.
	Allow, Deny []Pattern

	// MaxAmount is the largest amount of one call, inclusive; 0 means no limit.
	MaxAmount nowpay.Paise

	// DailyAmount is the largest amount of all calls of one day, inclusive; 0
	// means no limit. Who knows what was spent applies it.
	DailyAmount nowpay.Paise

	// Rate is how often the merchant may call; zero means no limit. Who counts
	// the calls applies it.
	Rate Rate

	// MaxInFlight is how many exchanges of the merchant may be under way at once; 0
	// means no limit of its own. Who counts them applies it.
	MaxInFlight int

	// RequestIDPrefix is put in front of the merchant's request IDs on the way
	// to the provider: 1 to 20 ASCII letters and digits, or "" for none. Those of
	// two merchants on one account must not begin with each other.
	RequestIDPrefix string

	// StripCredentials tells the gateway to cut username and key out of the
	// merchant's requests rather than to refuse them. It decides nothing here.
	StripCredentials bool

	// reserved are the prefixes of the other merchants on the account, in lower
	// case. The policy fills them in.
	reserved []string

	// What From, Allow and Deny say, to be found quickly. The policy fills them in.
	networks        networkTable
	allowed, denied patternTable
}

// Policy is the rules of all merchants. It is immutable and safe for
// concurrent use. The zero Policy knows nobody.
type Policy struct {
	merchants    []*Merchant
	tokens       tokenTable
	certificates map[certificateName]*Merchant
	users        map[string]*Merchant
	signatures   map[string]*Merchant
}

// NewPolicy checks the merchants and makes a policy of copies of them. Its
// errors name the merchant and say what to write. No merchants at all is a
// policy that refuses everyone.
func NewPolicy(merchants []Merchant) (*Policy, error) {
	p := &Policy{
		certificates: make(map[certificateName]*Merchant),
		users:        make(map[string]*Merchant),
		signatures:   make(map[string]*Merchant),
	}
	for i := range merchants {
		m := merchants[i].clone()
		if err := m.validate(); err != nil {
			return nil, err
		}
		if err := p.add(m); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Merchants returns the merchants in the order in which they were given. They
// belong to the policy and must not be modified.
func (p *Policy) Merchants() []*Merchant {
	return slices.Clone(p.merchants)
}

// BySignatureKey returns the merchant who signs with the key of that id, nil if
// there is none. It belongs to the policy and must not be modified. That a request
// names a key identifies nobody: its signature must be verified.
func (p *Policy) BySignatureKey(id string) *Merchant {
	return p.signatures[id]
}

// LimitsAmount reports whether the merchant may spend only so much, so that it
// may not call what has a price that is not known beforehand.
func (m *Merchant) LimitsAmount() bool {
	return m.MaxAmount > 0 || m.DailyAmount > 0
}

// MayUse reports whether the merchant may use a request ID, given as it is sent
// to the provider: not if it begins with the prefix of another merchant on the
// account, in whatever letter case, as the other may be about to use it.
func (m *Merchant) MayUse(requestID string) bool {
	return !slices.ContainsFunc(m.reserved, func(prefix string) bool {
		return len(requestID) >= len(prefix) && lowerASCII(requestID[:len(prefix)]) == prefix
	})
}

func (m *Merchant) clone() *Merchant {
	c := *m
	c.reserved = nil
	c.Tokens = slices.Clone(m.Tokens)
	c.Certificates = slices.Clone(m.Certificates)
	c.Users = slices.Clone(m.Users)
	c.SignatureKeys = slices.Clone(m.SignatureKeys)
	c.Allow = slices.Clone(m.Allow)
	c.Deny = slices.Clone(m.Deny)
	c.From = slices.Clone(m.From)
	for i, prefix := range c.From {
		c.From[i] = unmapPrefix(prefix)
	}
	c.networks = newNetworkTable(c.From)
	c.allowed = newPatternTable("merchant "+c.Name+": allow ", c.Allow)
	c.denied = newPatternTable("merchant "+c.Name+": deny ", c.Deny)
	return &c
}

// validate checks what can be said of a merchant without the others.
func (m *Merchant) validate() error {
	if err := checkName(m.Name); err != nil {
		return err
	}
	switch {
	case len(m.Tokens)+len(m.Certificates)+len(m.Users)+len(m.SignatureKeys) == 0:
		return fmt.Errorf("merchant %q cannot be identified: give it a `token`, a `client_cert`, a `user` or a `signature`", m.Name)
	case len(m.From) == 0:
		return fmt.Errorf("merchant %q has no `from`: list its addresses, or write `from anywhere`", m.Name)
	case !allValid(m.From):
		return fmt.Errorf("merchant %q has an invalid network in `from`: write CIDRs or addresses", m.Name)
	case len(m.Allow) == 0:
		return fmt.Errorf("merchant %q has no `allow`: list its operations, such as `allow bank/payout` or `allow bank/*`", m.Name)
	case slices.Contains(m.Allow, Pattern{}) || slices.Contains(m.Deny, Pattern{}):
		return fmt.Errorf("merchant %q has an empty operation in `allow` or `deny`: write `group/action` or `group/*`", m.Name)
	case m.MaxAmount < 0:
		return fmt.Errorf("merchant %q has a negative `max_amount`: write rupees, such as `max_amount 5000`, or leave it out for no limit", m.Name)
	case m.DailyAmount < 0:
		return fmt.Errorf("merchant %q has a negative `daily_amount`: write rupees, such as `daily_amount 100000`, or leave it out for no limit", m.Name)
	case m.MaxInFlight < 0:
		return fmt.Errorf("merchant %q has a negative `max_in_flight`: write a number above zero, such as `max_in_flight 500`, or leave it out", m.Name)
	case m.RequestIDPrefix != "" && !isPrefix(m.RequestIDPrefix):
		return fmt.Errorf("merchant %q: write a `request_id_prefix` of 1 to %d ASCII letters and digits", m.Name, maxPrefix)
	case m.Rate != Rate{}:
		if err := m.Rate.Validate(); err != nil {
			return fmt.Errorf("merchant %q: `rate` %w", m.Name, err)
		}
	}
	return nil
}

// maxPrefix leaves most of the 50 bytes that a request ID may have.
const maxPrefix = 20

func isPrefix(s string) bool {
	other := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return len(s) <= maxPrefix && !strings.ContainsFunc(s, other)
}

const maxKeyID = 128

func isKeyID(s string) bool {
	unfit := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	return s != "" && len(s) <= maxKeyID && !strings.ContainsFunc(s, unfit)
}

func checkName(name string) error {
	unfit := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	switch {
	case name == "":
		return errors.New("a merchant has no name: write `merchant <name>`")
	case len(name) > 64:
		return fmt.Errorf("merchant %q: write a name of at most 64 bytes", name)
	case !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), unfit):
		return fmt.Errorf("merchant %q: write a name of printable characters without spaces", name)
	}
	return nil
}

func allValid(networks []netip.Prefix) bool {
	return !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return !p.IsValid() })
}

// add enters the merchant with its credentials, each of which must be new.
func (p *Policy) add(m *Merchant) error {
	for _, other := range p.merchants {
		if other.Name == m.Name {
			return fmt.Errorf("merchant %q is there twice: write one block for it, or give the second another name", m.Name)
		}
		if other.Account == m.Account && collide(m.RequestIDPrefix, other.RequestIDPrefix) {
			return fmt.Errorf("merchant %q has the `request_id_prefix` %q and merchant %q %q: their request IDs could collide; "+
				"give them prefixes of which none begins with the other", m.Name, m.RequestIDPrefix, other.Name, other.RequestIDPrefix)
		}
	}
	p.reserve(m)
	owner := len(p.merchants)
	p.merchants = append(p.merchants, m)
	for _, sum := range m.Tokens {
		if err := p.addToken(sum, owner); err != nil {
			return err
		}
	}
	for _, s := range m.Certificates {
		name, err := parseCertificateName(s)
		if err != nil {
			return fmt.Errorf("merchant %q: %w", m.Name, err)
		}
		if other, taken := p.certificates[name]; taken {
			return errTaken(m, other, fmt.Sprintf("client certificate %q", s))
		}
		p.certificates[name] = m
	}
	for _, id := range m.Users {
		if id == "" {
			return fmt.Errorf("merchant %q has an empty `user`: write the user id that `authentication` sets", m.Name)
		}
		if other, taken := p.users[id]; taken {
			return errTaken(m, other, fmt.Sprintf("user %q", id))
		}
		p.users[id] = m
	}
	return p.addSignatureKeys(m)
}

func (p *Policy) addSignatureKeys(m *Merchant) error {
	for _, id := range m.SignatureKeys {
		if !isKeyID(id) {
			return fmt.Errorf("merchant %q has the `signature` key id %q: write 1 to %d printable ASCII characters without spaces", m.Name, id, maxKeyID)
		}
		if other, taken := p.signatures[id]; taken {
			return errTaken(m, other, fmt.Sprintf("signature key %q", id))
		}
		p.signatures[id] = m
	}
	return nil
}

// reserve keeps the prefixes of a new merchant and of the others on its account
// for each of them.
func (p *Policy) reserve(m *Merchant) {
	for _, other := range p.merchants {
		if other.Account != m.Account {
			continue
		}
		if other.RequestIDPrefix != "" {
			m.reserved = append(m.reserved, lowerASCII(other.RequestIDPrefix))
		}
		if m.RequestIDPrefix != "" {
			other.reserved = append(other.reserved, lowerASCII(m.RequestIDPrefix))
		}
	}
}

// collide reports whether two prefixes could make the same request ID out of
// two. Letter case does not keep them apart: the provider may not heed it.
func collide(a, b string) bool {
	a, b = lowerASCII(a), lowerASCII(b)
	return a != "" && b != "" && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

func (p *Policy) addToken(sum [32]byte, owner int) error {
	m := p.merchants[owner]
	if sum == HashToken("") {
		return fmt.Errorf("merchant %q has the hash of an empty token: make one with `caddy nowpay token`", m.Name)
	}
	for _, entry := range p.tokens {
		if entry.sum == newTokenSum(sum) {
			return errTaken(m, p.merchants[entry.owner], fmt.Sprintf("token sha256:%x…", sum[:4]))
		}
	}
	p.tokens = append(p.tokens, tokenEntry{newTokenSum(sum), owner})
	return nil
}

// errTaken says that a credential of m is listed a second time.
func errTaken(m, other *Merchant, credential string) error {
	if m == other {
		return fmt.Errorf("merchant %q: %s is listed twice: write it once", m.Name, credential)
	}
	return fmt.Errorf("merchant %q: %s belongs to merchant %q already: give each merchant its own", m.Name, credential, other.Name)
}
