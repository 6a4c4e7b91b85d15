package whitelist_test

import (
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func TestParsePattern(t *testing.T) {
	tests := []struct{ in, hint string }{
		{"bank/payout", ""},
		{"bank/*", ""},
		{"aeps/aeps_auth", ""},
		{"x2/_", ""},

		{"", "write `group/action`"},
		{"*", "name each group, such as `bank/*`"},
		{"*/*", "name each group"},
		{"*/payout", "name each group"},
		{"bank", "write `bank/*` for the whole group"},
		{"bank/", "write `bank/*` for the whole group"},
		{"bank/pay*", "write `bank/*`"},
		{"bank/**", "write `bank/*`"},
		{"bank/*/x", "write `bank/*`"},
		{"bank/payout/x", "write `group/action`"},
		{"/bank/payout", "write `bank/payout`"},
		{"bank/payout/", "write `bank/payout`"},
		{"/api/bank/payout", "write `bank/payout`"},
		{"/api/bank/*", "write `bank/*`"},
		{"/api/index.php?route=/api/bank/payout", "write `bank/payout`"},
		{"Bank/payout", "write `bank/payout`"},
		{"BANK/*", "write `bank/*`"},
		{"bank\\payout", "write `group/action`"},
		{"bank/pay-out", "write `group/action`"},
		{"bank/payout ", "write `group/action`"},
		{"bank/payout\n", "write `group/action`"},
		{"bank/pay\u00f6ut", "write `group/action`"},
		{"/", "write `group/action`"},
	}
	for _, test := range tests {
		p, err := whitelist.ParsePattern(test.in)
		switch {
		case test.hint == "" && (err != nil || p.String() != test.in):
			t.Errorf("ParsePattern(%q) = %q, %v, want it as it is", test.in, p, err)
		case test.hint != "" && (err == nil || !strings.Contains(err.Error(), test.hint)):
			t.Errorf("ParsePattern(%q) = %q, %v, want an error with %q", test.in, p, err, test.hint)
		case err != nil && p != whitelist.Pattern{}:
			t.Errorf("ParsePattern(%q) = %q with an error, want the zero Pattern", test.in, p)
		}
	}
}

func TestPatternMatch(t *testing.T) {
	tests := []struct {
		pattern, operation string
		want               bool
	}{
		{"bank/payout", "bank/payout", true},
		{"bank/payout", "bank/payouts", false},
		{"bank/payout", "bank/Payout", false},
		{"bank/payout", "bank/*", false},
		{"bank/*", "bank/payout", true},
		{"bank/*", "bank/*", false}, // not an operation
		{"bank/*", "bank", false},
		{"bank/*", "bank/", false},
		{"bank/*", "bank/x/y", false},
		{"bank/*", "bank/../x", false},
		{"bank/*", "banks/payout", false},
		{"bank/*", "Bank/payout", false},
		{"bank/*", "", false},
	}
	for _, test := range tests {
		p := pattern(t, test.pattern)
		if got := p.Match(test.operation); got != test.want {
			t.Errorf("Pattern %q matches %q: %v, want %v", p, test.operation, got, test.want)
		}
	}
	var zero whitelist.Pattern
	for _, operation := range []string{"", "/", "bank/payout"} {
		if zero.Match(operation) {
			t.Errorf("the zero Pattern matches %q", operation)
		}
	}
	if zero.String() != "" {
		t.Errorf("the zero Pattern is written %q", zero)
	}
}
