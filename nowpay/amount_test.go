package nowpay_test

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

var (
	goodAmounts = map[string]nowpay.Paise{
		"1": 100, "1.5": 150, "1.50": 150, "0.01": 1, "0.1": 10, "10": 1000, "100.05": 10005,
		"5000": 500000, "999999999999.99": 99999999999999, "999999999999": 99999999999900,
	}
	badAmounts = []string{
		"", "0", "0.0", "0.00", "00", "01", "01.50", "00.50", // zero and leading zeros
		"-1", "+1", "-0.01", "−1", // signs
		"1e2", "1E2", "1e-2", "0x10", "Inf", "NaN", // other notations
		"1.234", "1.000", "0.001", // decimals
		".5", "1.", ".", "..", "1..5", "1.5.0", // a digit is missing
		"1,50", "1,000", "1_000", "1'000", "1 000", " 1", "1 ", "1\n", "1\x00", "\t1", // separators
		"١", "１", "1.５", "९", "1²", // digits that are not ASCII
		"1000000000000", "99999999999999999999", "9223372036854775808", // over twelve digits
		"₹1", "Rs 1", "1 INR", "abc", "1a",
	}
	amountSyntax = regexp.MustCompile(`\A(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?\z`)
)

func TestParseAmount(t *testing.T) {
	for s, want := range goodAmounts {
		if got, err := nowpay.ParseAmount(s); err != nil || got != want {
			t.Errorf("ParseAmount(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range badAmounts {
		got, err := nowpay.ParseAmount(s)
		if err == nil || got != 0 {
			t.Errorf("ParseAmount(%q) = %d, %v, want an error", s, got, err)
		}
		if err != nil && len(s) > 1 && strings.Contains(err.Error(), s) && strings.Trim(s, ". ") != "" {
			t.Errorf("ParseAmount(%q): the error %q repeats the value", s, err)
		}
	}
}

func TestPaiseString(t *testing.T) {
	for p, want := range map[nowpay.Paise]string{
		0: "0.00", 1: "0.01", 10: "0.10", 150: "1.50", 99999999999999: "999999999999.99",
		-1: "-0.01", -150: "-1.50", math.MaxInt64: "92233720368547758.07",
	} {
		if got := p.String(); got != want {
			t.Errorf("Paise(%d).String() = %q, want %q", int64(p), got, want)
		}
	}
}

func TestValueAmount(t *testing.T) {
	b := mustJSON(t, `{"s":"1.5","n":1.50,"esc":"\u0031","e":1e2,"neg":-1,"null":null,"bool":true,"a":["1"],"o":{}}`)
	for name, want := range map[string]nowpay.Paise{
		"s": 150, "n": 150, "esc": 100, "e": 0, "neg": 0, "null": 0, "bool": 0, "a": 0, "o": 0, "absent": 0,
	} {
		v, _ := b.Get(name)
		got, err := v.Amount()
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("amount of %q = %d, %v, want %d", name, got, err, want)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for s := range goodAmounts {
		f.Add(s)
	}
	for _, s := range badAmounts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := nowpay.ParseAmount(s)
		want := amountSyntax.MatchString(s) && strings.Trim(s, "0.") != ""
		if (err == nil) != want {
			t.Fatalf("ParseAmount(%q) = %d, %v, want accepted: %v", s, p, err, want)
		}
		if err != nil {
			return
		}
		if p <= 0 {
			t.Fatalf("ParseAmount(%q) = %d, want more than nothing", s, p)
		}
		again, err := nowpay.ParseAmount(p.String())
		if err != nil || again != p {
			t.Fatalf("ParseAmount(%q) = %d, but ParseAmount(%q) = %d, %v", s, p, p.String(), again, err)
		}
		// The text is s again but for the decimals that s left out.
		whole, fraction, _ := strings.Cut(s, ".")
		if text := whole + "." + (fraction + "00")[:2]; p.String() != text {
			t.Fatalf("ParseAmount(%q).String() = %q, want %q", s, p, text)
		}
	})
}
