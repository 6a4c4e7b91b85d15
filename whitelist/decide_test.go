package whitelist_test

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// threeMerchants: shop by two tokens and a user, kiosk by one token and a
// certificate, payroll by two keys, beside which it may present a token or a user.
func threeMerchants(t testing.TB) *whitelist.Policy {
	return policy(t,
		whitelist.Merchant{
			Name:      "shop",
			Tokens:    [][32]byte{whitelist.HashToken("shop-old"), whitelist.HashToken("shop-new")},
			Users:     []string{"shop-user"},
			From:      networks(t, "10.1.0.0/16", "2001:db8::/32"),
			Allow:     patterns(t, "common/balance", "bank/*"),
			Deny:      patterns(t, "bank/register"),
			MaxAmount: 500_00,
		},
		whitelist.Merchant{
			Name:         "kiosk",
			Tokens:       [][32]byte{whitelist.HashToken("kiosk-token")},
			Certificates: []string{"kiosk.internal"},
			From:         networks(t, "anywhere"),
			Allow:        patterns(t, "recharge/heavyrefresh"),
			Deny:         patterns(t, "bank/*"),
		},
		whitelist.Merchant{
			Name:          "payroll",
			Tokens:        [][32]byte{whitelist.HashToken("payroll-token")},
			Users:         []string{"payroll-user"},
			SignatureKeys: []string{"payroll-old", "payroll-new"},
			From:          networks(t, "10.0.0.0/8"),
			Allow:         patterns(t, "bank/payout"),
		})
}

func TestDecide(t *testing.T) {
	kiosk := certificate(t, names{dns: []string{"kiosk.internal"}})
	stranger := certificate(t, names{dns: []string{"stranger.internal"}})
	tests := map[string]struct {
		caller    whitelist.Caller
		source    string
		operation string
		amount    nowpay.Paise

		merchant string
		rule     string
		reason   whitelist.Reason
	}{
		"allowed by name": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "common/balance", 0,
			"shop", "merchant shop: allow common/balance", "",
		},
		"allowed by group, with the older token": {
			whitelist.Caller{Token: "shop-old"},
			"10.1.2.3", "bank/payout", 500_00,
			"shop", "merchant shop: allow bank/*", "",
		},
		"allowed by user": {
			whitelist.Caller{User: "shop-user"},
			"2001:db8::1", "bank/payout", 1,
			"shop", "merchant shop: allow bank/*", "",
		},
		"allowed by certificate, from anywhere": {
			whitelist.Caller{Certificate: kiosk, CertificateVerified: true},
			"203.0.113.9", "recharge/heavyrefresh", 9_999_999_00,
			"kiosk", "merchant kiosk: allow recharge/heavyrefresh", "",
		},
		"identity and source only": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "", 999_999_00,
			"shop", "merchant shop: from 10.1.0.0/16", "",
		},
		"identity and source only, from anywhere": {
			whitelist.Caller{Token: "kiosk-token"},
			"::1", "", 0,
			"kiosk", "merchant kiosk: from anywhere", "",
		},
		"credentials that agree": {
			whitelist.Caller{Token: "kiosk-token", Certificate: kiosk, CertificateVerified: true},
			"10.1.2.3", "recharge/heavyrefresh", 0,
			"kiosk", "merchant kiosk: allow recharge/heavyrefresh", "",
		},
		"an unknown credential beside a known one": {
			whitelist.Caller{Token: "shop-new", Certificate: stranger, CertificateVerified: true, User: "someone"},
			"10.1.2.3", "bank/payout", 0,
			"shop", "merchant shop: allow bank/*", "",
		},
		"IPv4-mapped source": {
			whitelist.Caller{Token: "shop-new"},
			"::ffff:10.1.2.3", "bank/payout", 0,
			"shop", "merchant shop: allow bank/*", "",
		},
		"source with a zone": {
			whitelist.Caller{Token: "shop-new"},
			"2001:db8::1%eth0", "bank/payout", 0,
			"shop", "merchant shop: allow bank/*", "",
		},

		"nothing presented": {
			whitelist.Caller{},
			"10.1.2.3", "bank/payout", 0,
			"", "no credential presented", whitelist.Unauthenticated,
		},
		"unknown token": {
			whitelist.Caller{Token: "shop-newer"},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this token", whitelist.Unauthenticated,
		},
		"token in other letter case": {
			whitelist.Caller{Token: "SHOP-NEW"},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this token", whitelist.Unauthenticated,
		},
		"the hash in place of the token": {
			whitelist.Caller{Token: string(hashBytes("shop-new"))},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this token", whitelist.Unauthenticated,
		},
		"everything unknown": {
			whitelist.Caller{Token: "x", Certificate: stranger, CertificateVerified: true, User: "y"},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this token or this certificate or this user", whitelist.Unauthenticated,
		},
		"certificate not verified": {
			whitelist.Caller{Certificate: kiosk},
			"10.1.2.3", "recharge/heavyrefresh", 0,
			"", "no merchant has this unverified certificate", whitelist.Unauthenticated,
		},
		"unknown from a wrong source learns nothing of it": {
			whitelist.Caller{Token: "x"},
			"192.0.2.1", "no/such", 0,
			"", "no merchant has this token", whitelist.Unauthenticated,
		},
		"credentials of two merchants": {
			whitelist.Caller{Token: "shop-new", Certificate: kiosk, CertificateVerified: true},
			"10.1.2.3", "common/balance", 0,
			"", "token of merchant shop, but certificate of merchant kiosk", whitelist.Unauthenticated,
		},
		"token and user of two merchants": {
			whitelist.Caller{Token: "kiosk-token", User: "shop-user"},
			"10.1.2.3", "common/balance", 0,
			"", "token of merchant kiosk, but user of merchant shop", whitelist.Unauthenticated,
		},

		"signed": {
			whitelist.Caller{SignatureKey: "payroll-new"},
			"10.1.2.3", "bank/payout", 0,
			"payroll", "merchant payroll: allow bank/payout", "",
		},
		"signed with the older key, with a token and a user": {
			whitelist.Caller{SignatureKey: "payroll-old", Token: "payroll-token", User: "payroll-user"},
			"10.1.2.3", "bank/payout", 0,
			"payroll", "merchant payroll: allow bank/payout", "",
		},
		"signed, beside credentials of nobody": {
			whitelist.Caller{SignatureKey: "payroll-new", Token: "x", Certificate: stranger, CertificateVerified: true, User: "y"},
			"10.1.2.3", "bank/payout", 0,
			"payroll", "merchant payroll: allow bank/payout", "",
		},
		"signed by a key of nobody, of who need not sign": {
			whitelist.Caller{SignatureKey: "stranger", Token: "shop-new"},
			"10.1.2.3", "bank/payout", 0,
			"shop", "merchant shop: allow bank/*", "",
		},
		"not signed": {
			whitelist.Caller{Token: "payroll-token"},
			"10.1.2.3", "bank/payout", 0,
			"", "merchant payroll: not signed", whitelist.Unauthenticated,
		},
		"not signed, with all else": {
			whitelist.Caller{Token: "payroll-token", User: "payroll-user"},
			"10.1.2.3", "", 0,
			"", "merchant payroll: not signed", whitelist.Unauthenticated,
		},
		"not signed from a wrong source learns nothing of it": {
			whitelist.Caller{User: "payroll-user"},
			"192.0.2.1", "bank/register", 0,
			"", "merchant payroll: not signed", whitelist.Unauthenticated,
		},
		"signed by a key of nobody": {
			whitelist.Caller{SignatureKey: "Payroll-new", Token: "payroll-token"},
			"10.1.2.3", "bank/payout", 0,
			"", "merchant payroll: not signed", whitelist.Unauthenticated,
		},
		"signed by a key of nobody, and nothing else": {
			whitelist.Caller{SignatureKey: "payroll"},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this signature", whitelist.Unauthenticated,
		},
		"signed by another than whose token it is": {
			whitelist.Caller{SignatureKey: "payroll-new", Token: "shop-new"},
			"10.1.2.3", "bank/payout", 0,
			"", "token of merchant shop, but signature of merchant payroll", whitelist.Unauthenticated,
		},
		"signed by another than whose certificate it is": {
			whitelist.Caller{SignatureKey: "payroll-new", Token: "payroll-token", Certificate: kiosk, CertificateVerified: true},
			"10.1.2.3", "bank/payout", 0,
			"", "token of merchant payroll, but certificate of merchant kiosk", whitelist.Unauthenticated,
		},
		"a token in place of the key": {
			whitelist.Caller{SignatureKey: "payroll-token"},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this signature", whitelist.Unauthenticated,
		},
		"a key in place of the token": {
			whitelist.Caller{Token: "payroll-new", User: "payroll-new"},
			"10.1.2.3", "bank/payout", 0,
			"", "no merchant has this token or this user", whitelist.Unauthenticated,
		},
		"signed from a wrong source": {
			whitelist.Caller{SignatureKey: "payroll-new"},
			"192.0.2.1", "bank/payout", 0,
			"payroll", "merchant payroll: not in from", whitelist.SourceNotAllowed,
		},

		"wrong source": {
			whitelist.Caller{Token: "shop-new"},
			"10.2.0.1", "bank/payout", 1,
			"shop", "merchant shop: not in from", whitelist.SourceNotAllowed,
		},
		"wrong source, asked for identity and source only": {
			whitelist.Caller{Token: "shop-new"},
			"10.2.0.1", "", 0,
			"shop", "merchant shop: not in from", whitelist.SourceNotAllowed,
		},
		"wrong source comes before a denied operation": {
			whitelist.Caller{Token: "shop-new"},
			"::ffff:10.2.0.1", "bank/register", 999_999_00,
			"shop", "merchant shop: not in from", whitelist.SourceNotAllowed,
		},
		"denied by name though allowed by group": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "bank/register", 0,
			"shop", "merchant shop: deny bank/register", whitelist.OperationNotAllowed,
		},
		"denied by group": {
			whitelist.Caller{Token: "kiosk-token"},
			"10.1.2.3", "bank/payout", 0,
			"kiosk", "merchant kiosk: deny bank/*", whitelist.OperationNotAllowed,
		},
		"named by no rule": {
			whitelist.Caller{Token: "kiosk-token"},
			"10.1.2.3", "common/balance", 0,
			"kiosk", "default deny", whitelist.OperationNotAllowed,
		},
		"no name of an operation": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "bank/../bank/payout", 0,
			"shop", "default deny", whitelist.OperationNotAllowed,
		},
		"a pattern is no operation": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "bank/*", 0,
			"shop", "default deny", whitelist.OperationNotAllowed,
		},
		"denied operation comes before the amount": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "bank/register", 500_01,
			"shop", "merchant shop: deny bank/register", whitelist.OperationNotAllowed,
		},
		"one paisa too much": {
			whitelist.Caller{Token: "shop-new"},
			"10.1.2.3", "bank/payout", 500_01,
			"shop", "merchant shop: max_amount 500.00", whitelist.AmountNotAllowed,
		},
		"negative amount": {
			whitelist.Caller{Token: "kiosk-token"},
			"10.1.2.3", "recharge/heavyrefresh", -1,
			"kiosk", "merchant kiosk: negative amount", whitelist.AmountNotAllowed,
		},
	}
	p := threeMerchants(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.caller.Source = netip.MustParseAddr(test.source)
			got := decide(t, p, whitelist.Args{Caller: test.caller, Operation: test.operation, Amount: test.amount})
			merchant := ""
			if got.Merchant != nil {
				merchant = got.Merchant.Name
			}
			if got.Allowed != (test.reason == "") || merchant != test.merchant || got.Rule != test.rule || got.Reason != test.reason {
				t.Errorf("Decide = allowed %v, merchant %q, rule %q, reason %q, want merchant %q, rule %q, reason %q",
					got.Allowed, merchant, got.Rule, got.Reason, test.merchant, test.rule, test.reason)
			}
		})
	}
}

func hashBytes(token string) []byte {
	sum := whitelist.HashToken(token)
	return sum[:]
}

func TestDecideWithoutSource(t *testing.T) {
	p := threeMerchants(t)
	a := whitelist.Args{Operation: "bank/payout"}
	a.Token = "kiosk-token" // of a merchant who may come from anywhere
	d, err := p.Decide(a)
	if err == nil || d.Allowed || d.Merchant != nil || d.Reason != whitelist.Unauthenticated || d.Rule == "" {
		t.Errorf("Decide without a source = %+v, %v, want a refusal and an error", d, err)
	}
}

// A policy of nobody, and no policy at all, refuse.
func TestDecideEmptyPolicy(t *testing.T) {
	a := whitelist.Args{Operation: "bank/payout"}
	a.Token, a.User, a.SignatureKey, a.Source = "token", "user", "key", netip.MustParseAddr("10.1.2.3")
	a.Certificate, a.CertificateVerified = certificate(t, names{dns: []string{"shop.internal"}}), true
	for _, p := range []*whitelist.Policy{policy(t), {}} {
		if d := decide(t, p, a); d.Allowed || d.Reason != whitelist.Unauthenticated {
			t.Errorf("Decide = %+v, want unauthenticated", d)
		}
	}
	if d := (whitelist.Decision{}); d.Allowed {
		t.Error("the zero Decision allows")
	}
}

func TestDecideAmount(t *testing.T) {
	tests := []struct {
		max, amount nowpay.Paise
		rule        string
		reason      whitelist.Reason
	}{
		{0, 0, "merchant shop: no max_amount", ""},
		{0, 999_999_999_999_99, "merchant shop: no max_amount", ""},
		{100, 0, "merchant shop: max_amount 1.00", ""},
		{100, 100, "merchant shop: max_amount 1.00", ""},
		{100, 101, "merchant shop: max_amount 1.00", whitelist.AmountNotAllowed},
		{0, -1, "merchant shop: negative amount", whitelist.AmountNotAllowed},
		{100, -1, "merchant shop: negative amount", whitelist.AmountNotAllowed},
	}
	for _, test := range tests {
		m := shop(t, func(m *whitelist.Merchant) { m.MaxAmount = test.max })
		d := m.DecideAmount(test.amount)
		if d.Allowed != (test.reason == "") || d.Rule != test.rule || d.Reason != test.reason || d.Merchant != &m {
			t.Errorf("DecideAmount(%d) with max %d = %+v, want rule %q, reason %q", test.amount, test.max, d, test.rule, test.reason)
		}
	}
}

// Mapped networks in a hand-made merchant admit the IPv4 address they mean.
func TestDecideMappedNetwork(t *testing.T) {
	p := policy(t, shop(t, func(m *whitelist.Merchant) {
		m.From = []netip.Prefix{netip.MustParsePrefix("::ffff:10.1.0.0/112")}
	}))
	for source, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.2.3": false, "::10.1.2.3": false, "::": false,
	} {
		a := whitelist.Args{Operation: "bank/payout"}
		a.Token, a.Source = "shop-token", netip.MustParseAddr(source)
		if d := decide(t, p, a); d.Allowed != want {
			t.Errorf("from %s: %+v, want allowed %v", source, d, want)
		}
	}
}

// Each pair is one rule and one certificate, by what it is issued for.
func TestDecideByCertificate(t *testing.T) {
	all := names{
		common: "common.internal",
		dns:    []string{"Shop.Internal", "*.wild.internal"},
		ips:    []string{"10.9.8.7", "2001:db8::9"},
		uris:   []string{"spiffe://example.org/Shop", "urn:shop:1"},
		emails: []string{"Shop@example.org"},
	}
	cert := certificate(t, all)
	other := certificate(t, all) // same names, another key
	tests := []struct {
		rule     string
		cert     *x509.Certificate
		verified bool
		want     bool
	}{
		{fingerprintOf(cert), cert, false, true},
		{fingerprintOf(cert), cert, true, true},
		{"sha256:" + strings.ToUpper(fingerprintOf(cert)[7:]), cert, false, true},
		{fingerprintOf(cert), other, true, false},
		{"shop.internal", cert, true, true},
		{"SHOP.internal", cert, true, true},
		{"shop.internal", cert, false, false},
		{"internal", cert, true, false},
		{"x.shop.internal", cert, true, false},
		{"a.wild.internal", cert, true, false}, // a wildcard in a certificate is no name of anyone
		{"common.internal", cert, true, false}, // CN never counts
		{"10.9.8.7", cert, true, true},
		{"::ffff:10.9.8.7", cert, true, true},
		{"10.9.8.7", cert, false, false},
		{"2001:db8:0::9", cert, true, true},
		{"10.9.8.6", cert, true, false},
		{"spiffe://example.org/Shop", cert, true, true},
		{"spiffe://example.org/shop", cert, true, false},
		{"spiffe://example.org/Shop", cert, false, false},
		{"urn:shop:1", cert, true, true},
		{"Shop@example.org", cert, true, true},
		{"shop@example.org", cert, true, false},
		{"Shop@example.org", cert, false, false},
	}
	for _, test := range tests {
		p := policy(t, shop(t, func(m *whitelist.Merchant) {
			m.Tokens, m.Certificates = nil, []string{test.rule}
		}))
		a := whitelist.Args{Operation: "bank/payout"}
		a.Certificate, a.CertificateVerified = test.cert, test.verified
		a.Source = netip.MustParseAddr("10.1.2.3")
		if d := decide(t, p, a); d.Allowed != test.want {
			t.Errorf("rule %q, verified %v: %+v, want allowed %v", test.rule, test.verified, d, test.want)
		}
	}
}

// A certificate with names of two merchants is nobody's.
func TestDecideByAmbiguousCertificate(t *testing.T) {
	cert := certificate(t, names{dns: []string{"shop.internal"}, uris: []string{"spiffe://example.org/kiosk"}})
	p := policy(t,
		shop(t, func(m *whitelist.Merchant) { m.Certificates = []string{"shop.internal"} }),
		shop(t, func(m *whitelist.Merchant) {
			m.Name, m.Tokens, m.Certificates = "kiosk", nil, []string{"spiffe://example.org/kiosk"}
		}))
	a := whitelist.Args{Operation: "bank/payout"}
	a.Certificate, a.CertificateVerified, a.Source = cert, true, netip.MustParseAddr("10.1.2.3")
	want := "certificate of merchant shop, but certificate of merchant kiosk"
	if d := decide(t, p, a); d.Reason != whitelist.Unauthenticated || d.Merchant != nil || d.Rule != want {
		t.Errorf("Decide = %+v, want unauthenticated by %q", d, want)
	}
}

// A DNS name, an address, a URI and an email address with the same text are
// different names.
func TestCertificateKindsAreApart(t *testing.T) {
	cert := certificate(t, names{dns: []string{"10.9.8.7", "a@b", "urn:shop:1"}, uris: []string{"shop.internal"}})
	if !slices.Contains(cert.DNSNames, "10.9.8.7") {
		t.Fatal("the certificate does not have the odd name")
	}
	for _, rule := range []string{"10.9.8.7", "a@b", "urn:shop:1", "shop.internal"} {
		p := policy(t, shop(t, func(m *whitelist.Merchant) { m.Certificates = []string{rule} }))
		a := whitelist.Args{}
		a.Certificate, a.CertificateVerified, a.Source = cert, true, netip.MustParseAddr("10.1.2.3")
		if d := decide(t, p, a); d.Allowed {
			t.Errorf("rule %q: %+v, want it refused", rule, d)
		}
	}
}
