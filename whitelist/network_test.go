package whitelist_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func TestParseNetwork(t *testing.T) {
	tests := []struct{ in, want, hint string }{
		{in: "10.1.0.0/16", want: "10.1.0.0/16"},
		{in: "10.1.2.3", want: "10.1.2.3/32"},
		{in: "10.1.2.3/32", want: "10.1.2.3/32"},
		{in: "2001:db8::/32", want: "2001:db8::/32"},
		{in: "2001:DB8:0::1", want: "2001:db8::1/128"},
		{in: "::1", want: "::1/128"},
		{in: "0.0.0.0", want: "0.0.0.0/32"},
		{in: "::ffff:10.0.0.0/104", want: "10.0.0.0/8"},
		{in: "::ffff:10.1.2.3", want: "10.1.2.3/32"},
		{in: "::ffff:a01:203/128", want: "10.1.2.3/32"},

		{in: "10.1.2.3/16", hint: "write `10.1.0.0/16`, or `10.1.2.3`"},
		{in: "2001:db8::1/32", hint: "write `2001:db8::/32`"},
		{in: "::ffff:10.1.2.3/104", hint: "beyond the prefix length"},
		{in: "::ffff:0.0.0.0/90", hint: "beyond the prefix length"},
		{in: "0.0.0.0/0", hint: "write `anywhere`"},
		{in: "::/0", hint: "write `anywhere`"},
		{in: "::ffff:0:0/96", hint: "write `anywhere`"},
		{in: "anywhere", hint: "stands alone"},
		{in: "fe80::1%eth0", hint: "without the zone"},
		{in: "fe80::%eth0/64", hint: "without the zone"},
		{in: "", hint: "write a CIDR"},
		{in: "localhost", hint: "write a CIDR"},
		{in: "10.1.2", hint: "write a CIDR"},
		{in: "010.1.2.3", hint: "write a CIDR"},
		{in: "10.1.2.3/33", hint: "write a CIDR"},
		{in: "10.1.2.0/024", hint: "write a CIDR"},
		{in: "10.0.0.0/255.0.0.0", hint: "write a CIDR"},
		{in: "10.1.2.3:443", hint: "write a CIDR"},
		{in: "[::1]", hint: "write a CIDR"},
		{in: " 10.1.2.3", hint: "write a CIDR"},
		{in: "10.1.2.3-10.1.2.9", hint: "write a CIDR"},
		{in: "*", hint: "write a CIDR"},
	}
	for _, test := range tests {
		got, err := whitelist.ParseNetwork(test.in)
		switch {
		case test.hint == "" && (err != nil || got.String() != test.want):
			t.Errorf("ParseNetwork(%q) = %v, %v, want %s", test.in, got, err, test.want)
		case test.hint != "" && (err == nil || !strings.Contains(err.Error(), test.hint) || got.IsValid()):
			t.Errorf("ParseNetwork(%q) = %v, %v, want an error with %q", test.in, got, err, test.hint)
		}
	}
}

func TestParseNetworks(t *testing.T) {
	tests := []struct {
		in         []string
		want, hint string
	}{
		{in: nil, want: "[]"},
		{in: []string{"10.0.0.0/8", "::1"}, want: "[10.0.0.0/8 ::1/128]"},
		{in: []string{"anywhere"}, want: "[0.0.0.0/0 ::/0]"},
		{in: []string{"anywhere", "10.0.0.0/8"}, hint: "stands alone"},
		{in: []string{"10.0.0.0/8", "anywhere"}, hint: "stands alone"},
		{in: []string{"Anywhere"}, hint: "write a CIDR"},
		{in: []string{"10.0.0.0/8", "0.0.0.0/0"}, hint: "write `anywhere`"},
	}
	for _, test := range tests {
		got, err := whitelist.ParseNetworks(test.in)
		switch {
		case test.hint == "" && (err != nil || fmt.Sprint(got) != test.want):
			t.Errorf("ParseNetworks(%q) = %v, %v, want %s", test.in, got, err, test.want)
		case test.hint != "" && (err == nil || !strings.Contains(err.Error(), test.hint) || got != nil):
			t.Errorf("ParseNetworks(%q) = %v, %v, want an error with %q", test.in, got, err, test.hint)
		}
	}
}
