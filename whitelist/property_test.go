package whitelist_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// rules is a merchant in plain words; the model below reads them naively.
type rules struct {
	name        string
	tokens      []string
	users       []string
	signs       []string
	from        []string
	allow, deny []string
	max         int
}

// question is a call in plain words.
type question struct {
	token, user, signature, source, operation string
	amount                                    int
}

// world is small, so that rules and questions often meet.
type world struct {
	tokens, users, keys, networks, sources, patterns, operations []string
}

func smallWorld() world {
	return world{
		tokens:     []string{"t0", "t1", "t2", "t3", "t4", "t5"},
		users:      []string{"u0", "u1", "u2"},
		keys:       []string{"k0", "k1", "k2"},
		networks:   []string{"10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "anywhere"},
		sources:    []string{"10.0.0.1", "10.1.0.1", "::ffff:10.1.0.1", "192.0.2.7", "198.51.100.1", "2001:db8::1", "fe80::1%eth0"},
		patterns:   []string{"bank/*", "bank/payout", "bank/register", "common/*", "common/balance"},
		operations: []string{"bank/payout", "bank/register", "bank/other", "common/balance", "pan/managepsa"},
	}
}

func genRules(t *rapid.T) []rules {
	w := smallWorld()
	some := func(label string, from []string, least int) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), least, 3, rapid.ID[string]).Draw(t, label)
	}
	list := make([]rules, rapid.IntRange(1, 3).Draw(t, "merchants"))
	for i := range list {
		m := rules{
			name:  fmt.Sprintf("m%d", i),
			users: slices.Clone(w.users[:rapid.IntRange(0, 1).Draw(t, "users")]),
			allow: some("allow", w.patterns, 1),
			deny:  some("deny", w.patterns, 0),
			max:   rapid.SampledFrom([]int{0, 100}).Draw(t, "max"),
		}
		m.signs = slices.Clone(w.keys[:rapid.IntRange(0, 1).Draw(t, "keys")])
		m.tokens = slices.Clone(w.tokens[:rapid.IntRange(max(0, 1-len(m.users)-len(m.signs)), 2).Draw(t, "tokens")])
		w.tokens, w.users, w.keys = w.tokens[len(m.tokens):], w.users[len(m.users):], w.keys[len(m.signs):]
		if m.from = some("from", w.networks, 1); slices.Contains(m.from, "anywhere") {
			m.from = []string{"anywhere"}
		}
		list[i] = m
	}
	return list
}

// questions yields every question of the small world.
func questions(yield func(question) bool) {
	w := smallWorld()
	for _, token := range append(w.tokens, "") {
		for _, user := range append(w.users, "") {
			for _, signature := range append(w.keys, "") {
				for q := range calls {
					q.token, q.user, q.signature = token, user, signature
					if !yield(q) {
						return
					}
				}
			}
		}
	}
}

// calls yields every question without credentials.
func calls(yield func(question) bool) {
	w := smallWorld()
	for _, source := range w.sources {
		for _, operation := range append(w.operations, "") {
			for _, amount := range []int{0, 100, 101} {
				if !yield(question{source: source, operation: operation, amount: amount}) {
					return
				}
			}
		}
	}
}

func policyOf(t *rapid.T, list []rules) *whitelist.Policy {
	merchants := make([]whitelist.Merchant, 0, len(list))
	for _, r := range list {
		from, err := whitelist.ParseNetworks(r.from)
		if err != nil {
			t.Fatal(err)
		}
		m := whitelist.Merchant{Name: r.name, Users: r.users, SignatureKeys: r.signs, From: from, MaxAmount: nowpay.Paise(r.max)}
		for _, token := range r.tokens {
			m.Tokens = append(m.Tokens, whitelist.HashToken(token))
		}
		m.Allow, m.Deny = patternsOf(t, r.allow), patternsOf(t, r.deny)
		merchants = append(merchants, m)
	}
	p, err := whitelist.NewPolicy(merchants)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func patternsOf(t *rapid.T, list []string) []whitelist.Pattern {
	ps := make([]whitelist.Pattern, 0, len(list))
	for _, s := range list {
		p, err := whitelist.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func ask(t *rapid.T, p *whitelist.Policy, q question) whitelist.Decision {
	a := whitelist.Args{Operation: q.operation, Amount: nowpay.Paise(q.amount)}
	a.Token, a.User, a.SignatureKey, a.Source = q.token, q.user, q.signature, netip.MustParseAddr(q.source)
	d, err := p.Decide(a)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// model is the policy read from the rules word by word.
func model(list []rules, q question) (merchant string, reason whitelist.Reason) {
	var owners []rules
	for _, m := range list {
		if slices.Contains(m.tokens, q.token) || slices.Contains(m.users, q.user) || slices.Contains(m.signs, q.signature) {
			owners = append(owners, m)
		}
	}
	if len(owners) != 1 {
		return "", whitelist.Unauthenticated
	}
	m := owners[0]
	if len(m.signs) > 0 && !slices.Contains(m.signs, q.signature) {
		return "", whitelist.Unauthenticated
	}
	switch {
	case !modelFrom(m.from, q.source):
		return m.name, whitelist.SourceNotAllowed
	case q.operation == "":
		return m.name, ""
	case modelNames(m.deny, q.operation), !modelNames(m.allow, q.operation):
		return m.name, whitelist.OperationNotAllowed
	case m.max > 0 && q.amount > m.max:
		return m.name, whitelist.AmountNotAllowed
	}
	return m.name, ""
}

// modelFrom knows the networks of the small world by their first characters.
func modelFrom(from []string, source string) bool {
	source = strings.TrimPrefix(source, "::ffff:")
	for _, network := range from {
		start := map[string]string{
			"10.0.0.0/8": "10.", "10.1.0.0/16": "10.1.", "192.0.2.7": "192.0.2.7", "2001:db8::/32": "2001:db8:", "anywhere": "",
		}[network]
		if strings.HasPrefix(source, start) {
			return true
		}
	}
	return false
}

func modelNames(patterns []string, operation string) bool {
	group, _, _ := strings.Cut(operation, "/")
	return slices.Contains(patterns, operation) || slices.Contains(patterns, group+"/*")
}

func TestDecideLikeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := genRules(t)
		p := policyOf(t, list)
		for q := range questions {
			merchant, reason := model(list, q)
			got := ask(t, p, q)
			name := ""
			if got.Merchant != nil {
				name = got.Merchant.Name
			}
			if name != merchant || got.Reason != reason || got.Allowed != (reason == "") || got.Rule == "" {
				t.Fatalf("Decide(%+v) = merchant %q, allowed %v, reason %q, rule %q; the model says merchant %q, reason %q",
					q, name, got.Allowed, got.Reason, got.Rule, merchant, reason)
			}
		}
	})
}

// Whatever else is allowed, a deny for the operation refuses it.
func TestDenyAlwaysWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := genRules(t)
		denied := rapid.SampledFrom(smallWorld().operations).Draw(t, "operation to deny")
		group, _, _ := strings.Cut(denied, "/")
		rule := rapid.SampledFrom([]string{denied, group + "/*"}).Draw(t, "deny with")
		for i := range list {
			at := rapid.IntRange(0, len(list[i].deny)).Draw(t, "at")
			list[i].deny = slices.Insert(list[i].deny, at, rule)
			list[i].allow = append(list[i].allow, denied, group+"/*")
		}
		p := policyOf(t, list)
		for q := range questions {
			if q.operation != denied {
				continue
			}
			if got := ask(t, p, q); got.Allowed {
				t.Fatalf("Decide(%+v) = %+v, though every merchant has deny %s", q, got, rule)
			}
		}
	})
}

// What one merchant may do changes nothing for the others.
func TestAllowStaysWithItsMerchant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := genRules(t)
		before := policyOf(t, list)
		i := rapid.IntRange(0, len(list)-1).Draw(t, "merchant to open up")
		list[i].allow = append(list[i].allow, smallWorld().patterns...)
		list[i].from, list[i].deny, list[i].max = []string{"anywhere"}, nil, 0
		after := policyOf(t, list)

		for q := range questions {
			was, is := ask(t, before, q), ask(t, after, q)
			if was.Merchant != nil && was.Merchant.Name == list[i].name {
				continue
			}
			if was.Allowed != is.Allowed || was.Reason != is.Reason || was.Rule != is.Rule {
				t.Fatalf("opening up %s changed the answer to %+v from %+v to %+v", list[i].name, q, was, is)
			}
		}
	})
}
