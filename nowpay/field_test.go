package nowpay_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func TestCheckFieldsByFormat(t *testing.T) {
	const (
		isMissing = "is missing"
		tooLong   = "must not be longer than 20 bytes"
		aString   = "must be a string"
		notEmpty  = "must not be empty"
		control   = "must not have control characters"
		digits    = "must be digits"
		asString  = "must be sent as a string, being longer than a number keeps"
		alnum     = "must be a string of ASCII letters and digits"
		rupees    = `must be rupees above zero with at most two decimals, such as "1.50"`
		oneOf     = "must be one of IMPS, NEFT, 1"
	)
	cases := map[nowpay.Format]map[string]string{ // by JSON value: why it is refused, "" if it is not
		nowpay.FormatText: {
			`"x"`: "", `" "`: "", `"é ₹ 😀"`: "", `"\u0041\/"`: "", `"<script>"`: "", `"12345678901234567890"`: "",
			`null`: isMissing, `""`: notEmpty, `1`: aString, `true`: aString, `["x"]`: aString, `{"x":"y"}`: aString,
			`"a\u0000"`: control, `"a\n"`: control, `"\t"`: control, `"\u007f"`: control, `"\u0085"`: control,
			`"123456789012345678901"`: tooLong, `"ééééééééééé"`: tooLong,
		},
		nowpay.FormatDigits: {
			`"1"`: "", `"0"`: "", `"00123"`: "", `1`: "", `0`: "", `"12345678901234567890"`: "", `123456789012345`: "",
			`null`: isMissing, `""`: digits, `" 1"`: digits, `"1 "`: digits, `"-1"`: digits, `"+1"`: digits, `"1.0"`: digits,
			`"1e2"`: digits, `"0x1"`: digits, `"１"`: digits, `"١"`: digits, `"1\u0000"`: digits, `"1a"`: digits,
			`-1`: digits, `-0`: digits, `1.0`: digits, `1e2`: digits, `true`: digits, `[1]`: digits, `{}`: digits,
			`1234567890123456`: asString, `"123456789012345678901"`: tooLong, `123456789012345678901`: tooLong,
		},
		nowpay.FormatAlphanumeric: {
			`"a"`: "", `"Z"`: "", `"0"`: "", `"aZ09"`: "", `"\u0061"`: "", `"2021102422342398768"`: "",
			`null`: isMissing, `""`: alnum, `1`: alnum, `true`: alnum, `[]`: alnum, `{}`: alnum, `"a b"`: alnum, `"a-b"`: alnum,
			`"a_b"`: alnum, `"é"`: alnum, `"ａ"`: alnum, `"\u0130"`: alnum, `"\u0161"`: alnum, `"a\n"`: alnum, `"a\u0000"`: alnum,
			`"' OR 1=1"`: alnum, `"123456789012345678901"`: tooLong,
		},
		nowpay.FormatAmount: {
			`"1"`: "", `"1.5"`: "", `"1.50"`: "", `1.50`: "", `1`: "", `0.01`: "",
			`null`: isMissing, `""`: rupees, `"0"`: rupees, `0`: rupees, `0.00`: rupees, `-1`: rupees, `"+1"`: rupees, `1e2`: rupees,
			`"1.234"`: rupees, `1.234`: rupees, `".5"`: rupees, `"1."`: rupees, `"1,50"`: rupees, `"１"`: rupees, `true`: rupees,
			`[1]`: rupees, `{"amount":1}`: rupees, `"1 "`: rupees, `"1000000000000"`: rupees,
			`"000000000000000000001"`: tooLong,
		},
		nowpay.FormatChoice: {
			`"IMPS"`: "", `"NEFT"`: "", `"\u0049MPS"`: "", `"1"`: "", `1`: "",
			`null`: isMissing, `""`: oneOf, `"imps"`: oneOf, `"RTGS"`: oneOf, `" IMPS"`: oneOf, `"IMPS\u0000"`: oneOf, `1.0`: oneOf,
			`true`: oneOf, `["IMPS"]`: oneOf, `{}`: oneOf, `"IMPS,NEFT"`: oneOf, `"IMPSIMPSIMPSIMPSIMPSIMPS"`: tooLong,
		},
	}
	for format, values := range cases {
		field := nowpay.Field{Name: "f", Format: format, Max: 20}
		if format == nowpay.FormatChoice {
			field.Choices = []string{"IMPS", "NEFT", "1"}
		}
		for value, reason := range values {
			for _, optional := range []bool{false, true} {
				field.Optional = optional
				o := nowpay.Operation{Fields: []nowpay.Field{field}}
				want := reason
				if optional && reason == isMissing {
					want = ""
				}
				expectField(t, o.CheckFields(mustJSON(t, `{"g":"x","f":`+value+`}`)), "f", want, string(format)+" "+value)
			}
		}
	}
}

// expectField checks that err is a FieldError with the reason, or nil if there is none.
func expectField(t *testing.T, err error, field, reason, what string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("%s: CheckFields gives %v, want nil", what, err)
		}
		return
	}
	var fieldErr *nowpay.FieldError
	if !errors.As(err, &fieldErr) || fieldErr.Field != field || fieldErr.Reason != reason {
		t.Errorf("%s: CheckFields gives %v, want field %q: %s", what, err, field, reason)
	}
}

func TestCheckFieldsOfAForm(t *testing.T) {
	o := nowpay.Operation{Fields: []nowpay.Field{
		{Name: "name", Format: nowpay.FormatText},
		{Name: "number", Format: nowpay.FormatDigits},
		{Name: "id", Format: nowpay.FormatAlphanumeric, Max: 5},
		{Name: "amount", Format: nowpay.FormatAmount},
		{Name: "mode", Format: nowpay.FormatChoice, Choices: []string{"A B", "C"}},
		{Name: "extra", Format: nowpay.FormatDigits, Optional: true},
	}}
	good := map[string]string{"name": "é x", "number": "0123456789012345678", "id": "aZ0", "amount": "1.50", "mode": "A B"}
	encode := func(name, value string) string {
		form := url.Values{}
		for n, v := range good {
			form.Set(n, v)
		}
		form.Set(name, value)
		if value == "-" {
			form.Del(name)
		}
		return form.Encode()
	}
	for _, test := range []struct{ name, value, reason string }{
		{"other", "x", ""},
		{"extra", "1", ""},
		{"extra", "x", "must be digits"},
		{"extra", "", "must be digits"},
		{"name", "-", "is missing"},
		{"name", "", "must not be empty"},
		{"name", "a\nb", "must not have control characters"},
		{"number", "1.0", "must be digits"},
		{"id", "a b", "must be a string of ASCII letters and digits"},
		{"id", "abcdef", "must not be longer than 5 bytes"},
		{"amount", "0", `must be rupees above zero with at most two decimals, such as "1.50"`},
		{"mode", "A+B", "must be one of A B, C"},
		{"mode", "null", "must be one of A B, C"},
	} {
		err := o.CheckFields(mustForm(t, encode(test.name, test.value)))
		expectField(t, err, test.name, test.reason, test.name+"="+test.value)
	}
}

func TestCheckFieldsDefaultMax(t *testing.T) {
	o := nowpay.Operation{Fields: []nowpay.Field{{Name: "f", Format: nowpay.FormatText}}}
	expectField(t, o.CheckFields(mustJSON(t, `{"f":"`+strings.Repeat("x", 1024)+`"}`)), "f", "", "1024 bytes")
	expectField(t, o.CheckFields(mustJSON(t, `{"f":"`+strings.Repeat("x", 1025)+`"}`)), "f", "must not be longer than 1024 bytes", "1025 bytes")
}

func TestCheckFieldsNamesAreExact(t *testing.T) {
	o := nowpay.Operation{Fields: []nowpay.Field{{Name: "amount", Format: nowpay.FormatAmount}}}
	for _, body := range []string{`{}`, `{"x":{"amount":"1"}}`, `{"amount ":"1"}`} {
		expectField(t, o.CheckFields(mustJSON(t, body)), "amount", "is missing", body)
	}
	other := "is there in another letter case: the provider could read either"
	for _, body := range []string{`{"Amount":"1"}`, `{"AMOUNT":"1"}`, `{"amount":"1","Amount":"99999"}`} {
		expectField(t, o.CheckFields(mustJSON(t, body)), "amount", other, body)
	}
}

func TestFieldErrorHoldsNoValue(t *testing.T) {
	payout := documented(t, "bank/payout")
	for _, f := range payout.Fields {
		body := `{`
		for _, g := range payout.Fields {
			value := goodValue(g)
			if g.Name == f.Name {
				value = `"hunter2\u0000` + strings.Repeat("!", 50) + `"`
			}
			body += `"` + g.Name + `":` + value + `,`
		}
		err := payout.CheckFields(mustJSON(t, strings.TrimSuffix(body, ",")+`}`))
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), `field "`+f.Name+`": `) {
			t.Errorf("field %s with a wrong value: %v", f.Name, err)
		}
	}
}
