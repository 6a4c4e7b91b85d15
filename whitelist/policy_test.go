package whitelist_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func TestParseTokenHash(t *testing.T) {
	want := whitelist.HashToken("abc")
	const digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180 example
	for _, s := range []string{"sha256:" + digits, "sha256:" + strings.ToUpper(digits)} {
		if got, err := whitelist.ParseTokenHash(s); err != nil || got != want {
			t.Errorf("ParseTokenHash(%q) = %x, %v, want %x", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "sha256:", digits, "SHA256:" + digits, "sha256:" + digits[1:], "sha256:" + digits + "00",
		"sha256:" + digits[:62] + "zz", "sha256: " + digits[1:], "sha512:" + digits, "a-token-by-mistake",
	} {
		_, err := whitelist.ParseTokenHash(s)
		if err == nil || !strings.Contains(err.Error(), "write `sha256:`") {
			t.Errorf("ParseTokenHash(%q): %v, want an error that says what to write", s, err)
		} else if len(s) > 10 && strings.Contains(err.Error(), s) {
			t.Errorf("ParseTokenHash(%q) repeats it: %v", s, err)
		}
	}
}

// shop is a merchant without mistakes, for tests to make one.
func shop(t testing.TB, change func(*whitelist.Merchant)) whitelist.Merchant {
	m := whitelist.Merchant{
		Name:   "shop",
		Tokens: [][32]byte{whitelist.HashToken("shop-token")},
		From:   networks(t, "10.0.0.0/8"),
		Allow:  patterns(t, "bank/payout"),
	}
	if change != nil {
		change(&m)
	}
	return m
}

func TestNewPolicyErrors(t *testing.T) {
	kiosk := func(change func(*whitelist.Merchant)) whitelist.Merchant {
		return shop(t, func(m *whitelist.Merchant) {
			m.Name, m.Tokens = "kiosk", [][32]byte{whitelist.HashToken("kiosk-token")}
			change(m)
		})
	}
	one := func(change func(*whitelist.Merchant)) []whitelist.Merchant {
		return []whitelist.Merchant{shop(t, change)}
	}
	tests := map[string]struct {
		merchants []whitelist.Merchant
		want      []string
	}{
		"no name": {
			one(func(m *whitelist.Merchant) { m.Name = "" }),
			[]string{"no name", "write `merchant <name>`"},
		},
		"name with a space": {
			one(func(m *whitelist.Merchant) { m.Name = "the shop" }),
			[]string{`merchant "the shop"`, "without spaces"},
		},
		"name with a control character": {
			one(func(m *whitelist.Merchant) { m.Name = "shop\n" }),
			[]string{"printable"},
		},
		"name that is not UTF-8": {
			one(func(m *whitelist.Merchant) { m.Name = "sh\xffop" }),
			[]string{"printable"},
		},
		"long name": {
			one(func(m *whitelist.Merchant) { m.Name = strings.Repeat("s", 65) }),
			[]string{"at most 64 bytes"},
		},
		"no identity": {
			one(func(m *whitelist.Merchant) { m.Tokens = nil }),
			[]string{`merchant "shop"`, "`token`, a `client_cert`, a `user` or a `signature`"},
		},
		"no from": {
			one(func(m *whitelist.Merchant) { m.From = nil }),
			[]string{"merchant \"shop\" has no `from`: list its addresses, or write `from anywhere`"},
		},
		"invalid from": {
			one(func(m *whitelist.Merchant) { m.From = append(m.From, netip.Prefix{}) }),
			[]string{`merchant "shop"`, "invalid network in `from`"},
		},
		"no allow": {
			one(func(m *whitelist.Merchant) { m.Allow = nil }),
			[]string{"merchant \"shop\" has no `allow`", "such as `allow bank/payout`"},
		},
		"from wider than the mapped addresses": {
			one(func(m *whitelist.Merchant) { m.From[0] = netip.MustParsePrefix("::ffff:10.0.0.0/90") }),
			[]string{`merchant "shop"`, "invalid network in `from`"},
		},
		"zero allow": {
			one(func(m *whitelist.Merchant) { m.Allow = []whitelist.Pattern{{}} }),
			[]string{`merchant "shop"`, "empty operation"},
		},
		"zero deny": {
			one(func(m *whitelist.Merchant) { m.Deny = []whitelist.Pattern{{}} }),
			[]string{`merchant "shop"`, "empty operation"},
		},
		"negative amount": {
			one(func(m *whitelist.Merchant) { m.MaxAmount = -1 }),
			[]string{`merchant "shop"`, "negative `max_amount`"},
		},
		"negative amount of a day": {
			one(func(m *whitelist.Merchant) { m.DailyAmount = -1 }),
			[]string{`merchant "shop"`, "negative `daily_amount`"},
		},
		"rate of nothing": {
			one(func(m *whitelist.Merchant) { m.Rate = whitelist.Rate{Per: time.Minute, Burst: 20} }),
			[]string{"merchant \"shop\": `rate` takes at least 1 request", "such as `100/1m`"},
		},
		"rate in no time": {
			one(func(m *whitelist.Merchant) { m.Rate = whitelist.Rate{Requests: 100, Burst: 20} }),
			[]string{"merchant \"shop\": `rate` takes a duration above zero", "such as `100/1m`"},
		},
		"rate without burst": {
			one(func(m *whitelist.Merchant) { m.Rate = whitelist.Rate{Requests: 100, Per: time.Minute} }),
			[]string{"merchant \"shop\": `rate` takes a burst of at least 1", "such as `100/1m 20`"},
		},
		"prefix with a hyphen": {
			one(func(m *whitelist.Merchant) { m.RequestIDPrefix = "shop-" }),
			[]string{`merchant "shop"`, "write a `request_id_prefix` of 1 to 20 ASCII letters and digits"},
		},
		"prefix with a letter that is not ASCII": {
			one(func(m *whitelist.Merchant) { m.RequestIDPrefix = "schön" }),
			[]string{`merchant "shop"`, "ASCII letters and digits"},
		},
		"long prefix": {
			one(func(m *whitelist.Merchant) { m.RequestIDPrefix = strings.Repeat("s", 21) }),
			[]string{`merchant "shop"`, "of 1 to 20"},
		},
		"same name": {
			[]whitelist.Merchant{shop(t, nil), kiosk(func(m *whitelist.Merchant) { m.Name = "shop" })},
			[]string{`merchant "shop" is there twice`},
		},
		"empty token": {
			one(func(m *whitelist.Merchant) { m.Tokens = [][32]byte{whitelist.HashToken("")} }),
			[]string{`merchant "shop"`, "empty token", "`caddy nowpay token`"},
		},
		"token twice": {
			one(func(m *whitelist.Merchant) { m.Tokens = append(m.Tokens, m.Tokens[0]) }),
			[]string{`merchant "shop"`, "token sha256:", "listed twice"},
		},
		"token of another": {
			[]whitelist.Merchant{shop(t, nil), kiosk(func(m *whitelist.Merchant) {
				m.Tokens = append(m.Tokens, whitelist.HashToken("shop-token"))
			})},
			[]string{`merchant "kiosk"`, `belongs to merchant "shop"`},
		},
		"certificate twice, in other words": {
			one(func(m *whitelist.Merchant) { m.Certificates = []string{"shop.internal", "Shop.Internal"} }),
			[]string{`merchant "shop"`, `"Shop.Internal"`, "listed twice"},
		},
		"certificate of another": {
			[]whitelist.Merchant{
				shop(t, func(m *whitelist.Merchant) { m.Certificates = []string{"::ffff:10.0.0.1"} }),
				kiosk(func(m *whitelist.Merchant) { m.Certificates = []string{"10.0.0.1"} }),
			},
			[]string{`merchant "kiosk"`, `"10.0.0.1" belongs to merchant "shop"`},
		},
		"unreadable certificate": {
			one(func(m *whitelist.Merchant) { m.Certificates = []string{"CN=shop"} }),
			[]string{`merchant "shop"`, `"CN=shop"`, "common names and wildcards are not matched"},
		},
		"empty user": {
			one(func(m *whitelist.Merchant) { m.Users = []string{""} }),
			[]string{`merchant "shop"`, "empty `user`"},
		},
		"user of another": {
			[]whitelist.Merchant{
				shop(t, func(m *whitelist.Merchant) { m.Users = []string{"u1"} }),
				kiosk(func(m *whitelist.Merchant) { m.Users = []string{"u2", "u1"} }),
			},
			[]string{`merchant "kiosk"`, `user "u1" belongs to merchant "shop"`},
		},
		"signature key twice": {
			one(func(m *whitelist.Merchant) { m.SignatureKeys = []string{"k1", "k2", "k1"} }),
			[]string{`merchant "shop"`, `signature key "k1" is listed twice`},
		},
		"signature key of another": {
			[]whitelist.Merchant{
				shop(t, func(m *whitelist.Merchant) { m.SignatureKeys = []string{"k1"} }),
				kiosk(func(m *whitelist.Merchant) { m.SignatureKeys = []string{"k2", "k1"} }),
			},
			[]string{`merchant "kiosk"`, `signature key "k1" belongs to merchant "shop"`},
		},
	}
	for _, id := range []string{"", " ", "key 1", "key\n", "key\x7f", "schl\u00fcssel", "\xff", strings.Repeat("k", 129)} {
		tests["signature key "+id] = struct {
			merchants []whitelist.Merchant
			want      []string
		}{
			one(func(m *whitelist.Merchant) { m.SignatureKeys = []string{"good", id} }),
			[]string{`merchant "shop"`, "write 1 to 128 printable ASCII characters without spaces"},
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := whitelist.NewPolicy(test.merchants)
			if err == nil || p != nil {
				t.Fatalf("NewPolicy = %v, %v, want an error", p, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("NewPolicy: %v, want %q in it", err, want)
				}
			}
		})
	}
}

// A key id alone identifies a merchant, in each form that one may have; others are
// nobody's.
func TestBySignatureKey(t *testing.T) {
	ids := []string{"k", "K", "shop/2026-11#1", "!", "~", `"\`, strings.Repeat("k", 128)}
	p := policy(t, shop(t, func(m *whitelist.Merchant) { m.Tokens, m.SignatureKeys = nil, ids }), shop(t, func(m *whitelist.Merchant) {
		m.Name, m.Tokens = "kiosk", [][32]byte{whitelist.HashToken("kiosk-token")}
	}))
	for _, id := range ids {
		if m := p.BySignatureKey(id); m != p.Merchants()[0] {
			t.Errorf("BySignatureKey(%q) = %v, want shop", id, m)
		}
	}
	for _, id := range []string{"", "k ", "kk", "shop", "kiosk-token"} {
		if m := p.BySignatureKey(id); m != nil {
			t.Errorf("BySignatureKey(%q) = %q, want nobody", id, m.Name)
		}
	}
	if m := new(whitelist.Policy).BySignatureKey("k"); m != nil {
		t.Errorf("the zero policy knows %q", m.Name)
	}
}

// Prefixes collide if one begins with the other, on one account only.
func TestNewPolicyRequestIDPrefixes(t *testing.T) {
	for _, test := range []struct {
		first, second string
		otherAccount  bool
		collide       bool
	}{
		{"", "", false, false},
		{"shop", "", false, false},
		{"shop", "kiosk", false, false},
		{"shop1", "shop2", false, false},
		{strings.Repeat("s", 20), "A9z", false, false},
		{"shop", "shop", false, true},
		{"shop", "shop", true, false},
		{"shop", "shop2", false, true},
		{"shop2", "shop", false, true},
		{"shop2", "shop", true, false},
		{"shop", "SHOP2", false, true},
		{"S", "shop", false, true},
	} {
		shop := shop(t, func(m *whitelist.Merchant) { m.Account, m.RequestIDPrefix = "main", test.first })
		kiosk := shop
		kiosk.Name, kiosk.Tokens, kiosk.RequestIDPrefix = "kiosk", [][32]byte{whitelist.HashToken("kiosk-token")}, test.second
		if test.otherAccount {
			kiosk.Account = "other"
		}
		_, err := whitelist.NewPolicy([]whitelist.Merchant{shop, kiosk})
		switch {
		case !test.collide && err != nil:
			t.Errorf("%+v: %v, want no error", test, err)
		case test.collide && (err == nil || !strings.Contains(err.Error(), "their request IDs could collide")):
			t.Errorf("%+v: %v, want that they could collide", test, err)
		}
	}
}

func TestLimitsAmount(t *testing.T) {
	for _, test := range []struct {
		merchant whitelist.Merchant
		want     bool
	}{
		{whitelist.Merchant{}, false},
		{whitelist.Merchant{MaxAmount: 1}, true},
		{whitelist.Merchant{DailyAmount: 1}, true},
		{whitelist.Merchant{MaxAmount: 1, DailyAmount: 1}, true},
		{whitelist.Merchant{Rate: whitelist.Rate{Requests: 1, Per: time.Second, Burst: 1}}, false},
	} {
		if got := test.merchant.LimitsAmount(); got != test.want {
			t.Errorf("LimitsAmount of %+v = %t, want %t", test.merchant, got, test.want)
		}
	}
}

func TestNewPolicyRefusesCertificateRules(t *testing.T) {
	for rule, hint := range map[string]string{
		"":                                  "write `sha256:<fingerprint>`",
		"shop internal":                     "write `sha256:<fingerprint>`",
		"shop.internal.":                    "write `sha256:<fingerprint>`",
		".internal":                         "write `sha256:<fingerprint>`",
		"\u212aiosk.internal":               "write `sha256:<fingerprint>`", // Kelvin sign
		"sha256":                            "",                             // a DNS name
		"sha256:":                           "64 hexadecimal digits without colons",
		"sha256:AB:CD":                      "64 hexadecimal digits without colons",
		"SHA256:" + strings.Repeat("a", 64): "write the fingerprint as `sha256:`",
		"sha256:" + strings.Repeat("A", 64): "",
		"*.internal":                        "wildcards are not matched",
		"CN=shop":                           "common names",
		"CN=shop,O=x":                       "common names",
		"spiffe://Example.org/shop":         "", // hosts are compared as written
		"SPIFFE://example.org/shop":         "write a URI as the certificate has it",
		"spiffe://example.org/sh op":        "write a URI as the certificate has it",
		"://x":                              "write a URI as the certificate has it",
		"/shop:1":                           "write a URI as the certificate has it",
		"gateway:443":                       "", // a URI by its form; harmless
		"urn:uuid:1e3c":                     "",
		"https://example.org/?a=b*":         "",
		"shop@example.org":                  "",
		"fe80::1%eth0":                      "without the zone",
		"2001:db8::1":                       "",
	} {
		_, err := whitelist.NewPolicy([]whitelist.Merchant{
			shop(t, func(m *whitelist.Merchant) { m.Certificates = []string{rule} }),
		})
		switch {
		case hint == "" && err != nil:
			t.Errorf("client certificate %q: %v, want no error", rule, err)
		case hint != "" && (err == nil || !strings.Contains(err.Error(), hint)):
			t.Errorf("client certificate %q: %v, want an error with %q", rule, err, hint)
		}
	}
}

// TestMayUse: an id that begins with the prefix of another is the other's.
func TestMayUse(t *testing.T) {
	merchant := func(name, account, prefix string) whitelist.Merchant {
		return shop(t, func(m *whitelist.Merchant) {
			m.Name, m.Account, m.RequestIDPrefix, m.Tokens = name, account, prefix, [][32]byte{whitelist.HashToken(name)}
		})
	}
	p := policy(t, merchant("first", "main", ""), merchant("shop", "main", "Shop"), merchant("kiosk", "main", "77"),
		merchant("last", "main", ""), merchant("elsewhere", "other", ""))
	for _, test := range []struct{ id, may string }{
		{"1001", "first shop kiosk last elsewhere"},
		{"", "first shop kiosk last elsewhere"},
		{"Shop1001", "shop elsewhere"},
		{"sHOP1001", "shop elsewhere"},
		{"Shop", "shop elsewhere"},
		{"Sho", "first shop kiosk last elsewhere"},
		{"1Shop", "first shop kiosk last elsewhere"},
		{"771001", "kiosk elsewhere"},
		{"7é7", "first shop kiosk last elsewhere"},
	} {
		var may []string
		for _, m := range p.Merchants() {
			if m.MayUse(test.id) {
				may = append(may, m.Name)
			}
		}
		if got := strings.Join(may, " "); got != test.may {
			t.Errorf("%q may be used by %s, want %s", test.id, got, test.may)
		}
	}
}

// A policy does not change with what it was made of.
func TestPolicyIsACopy(t *testing.T) {
	full := func(m *whitelist.Merchant) {
		m.Certificates, m.Users, m.SignatureKeys = []string{"shop.internal"}, []string{"u"}, []string{"k"}
		m.Deny, m.MaxAmount = patterns(t, "bank/register"), 100
		m.DailyAmount, m.Rate, m.RequestIDPrefix = 500, whitelist.Rate{Requests: 100, Per: time.Minute, Burst: 20}, "shop"
	}
	merchants := []whitelist.Merchant{shop(t, full)}
	p := policy(t, merchants...)
	merchants[0].Name = "changed"
	merchants[0].MaxAmount = 0
	merchants[0].Tokens[0] = whitelist.HashToken("other")
	merchants[0].From[0] = netip.MustParsePrefix("192.0.2.0/24")
	merchants[0].Allow[0] = pattern(t, "common/balance")
	merchants[0].Deny[0] = pattern(t, "bank/payout")
	merchants[0].Certificates[0], merchants[0].Users[0], merchants[0].SignatureKeys[0] = "changed", "changed", "changed"

	a := whitelist.Args{Operation: "bank/payout", Amount: 100}
	a.Token, a.SignatureKey, a.Source = "shop-token", "k", netip.MustParseAddr("10.1.2.3")
	if d := decide(t, p, a); !d.Allowed || d.Merchant.Name != "shop" {
		t.Errorf("Decide = %+v, want it allowed to shop", d)
	}
	list := p.Merchants()
	if want := *policy(t, shop(t, full)).Merchants()[0]; len(list) != 1 || !reflect.DeepEqual(*list[0], want) {
		t.Fatalf("Merchants = %+v, want %+v", *list[0], want)
	}
	list[0] = nil
	if p.Merchants()[0] == nil {
		t.Error("the slice of Merchants is the policy's own")
	}
}
