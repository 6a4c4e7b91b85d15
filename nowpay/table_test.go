package nowpay_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func documented(t testing.TB, name string) *nowpay.Operation {
	t.Helper()
	c, err := nowpay.NewCatalogue(nowpay.Documented())
	if err != nil {
		t.Fatal(err)
	}
	o, ok := c.Lookup(name)
	if !ok {
		t.Fatalf("operation %q is not documented", name)
	}
	return o
}

// goodValue is a JSON value that the field takes.
func goodValue(f nowpay.Field) string {
	switch f.Format {
	case nowpay.FormatAmount:
		return `"1.50"`
	case nowpay.FormatChoice:
		return `"` + f.Choices[0] + `"`
	}
	return `"2021102422342398768"`
}

// The traits on which money hangs, once more and by hand.
func TestDocumentedTraits(t *testing.T) {
	type traits struct {
		money, cost                   bool
		scale                         nowpay.Scale
		requestID, providerID, amount string
		needs, status                 string
	}
	const ours, yours = "ourrequestid", "yourrequestid"
	want := map[string]traits{
		"common/balance":        {scale: nowpay.Scale012},
		"recharge/heavyrefresh": {cost: true, scale: nowpay.Scale012},
		"bank/register":         {cost: true, scale: nowpay.Scale01},
		"bank/account_transfer": {money: true, scale: nowpay.Scale012, requestID: yours, providerID: ours, amount: "amount", needs: "rrn"},
		"bank/payout":           {money: true, scale: nowpay.Scale012, requestID: yours, providerID: ours, amount: "amount", needs: "rrn"},
		"bank/upi_verify":       {cost: true, scale: nowpay.Scale012, requestID: yours, providerID: ours},
		"bank/wallet_verify":    {cost: true, scale: nowpay.Scale012, requestID: yours, providerID: ours},
		"bank/wallet_transfer":  {money: true, scale: nowpay.Scale012, requestID: yours, providerID: ours, amount: "amount", needs: "rrn"},
		"pan/managepsa":         {cost: true, scale: nowpay.ScalePAN, requestID: yours, providerID: ours},
		"pan/managecoupon":      {money: true, scale: nowpay.ScalePAN, requestID: yours, providerID: ours, status: "pan/coupon_status"},
		"pan/coupon_status":     {scale: nowpay.Scale012},
		"aeps/aeps_auth":        {scale: nowpay.Scale01},
		"aeps/be":               {cost: true, scale: nowpay.Scale012, requestID: yours, providerID: ours},
		"aeps/ms":               {cost: true, scale: nowpay.Scale012, requestID: yours, providerID: ours},
	}
	ops := nowpay.Documented()
	if len(ops) != len(want) {
		t.Errorf("%d operations, want %d", len(ops), len(want))
	}
	for _, o := range ops {
		got := traits{
			o.MovesMoney, o.MayCost, o.Scale, o.RequestID, o.ProviderID, o.Amount, strings.Join(o.SuccessNeeds, " "), "",
		}
		if o.Status != nil {
			got.status = o.Status.Operation
		}
		if got != want[o.Name] {
			t.Errorf("%s: %+v, want %+v", o.Name, got, want[o.Name])
		}
		encoding := nowpay.JSON
		if o.Name == "aeps/be" || o.Name == "aeps/ms" {
			encoding = nowpay.Form
		}
		if o.Encoding != encoding || o.Method != "POST" {
			t.Errorf("%s is a %s %s, want POST %s", o.Name, o.Method, o.Encoding, encoding)
		}
	}
}

// Every operation is valid, takes a body with its required fields, and refuses it without any one of them.
func TestDocumentedFields(t *testing.T) {
	for _, o := range nowpay.Documented() {
		if err := o.Validate(); err != nil {
			t.Error(err)
		}
		body := func(without string) *nowpay.Body {
			members := []string{`"more":["is let through"]`}
			for _, f := range o.Fields {
				if f.Name != without && !f.Optional {
					members = append(members, `"`+f.Name+`":`+goodValue(f))
				}
			}
			return mustJSON(t, "{"+strings.Join(members, ",")+"}")
		}
		if err := o.CheckFields(body("")); err != nil {
			t.Errorf("%s: a good body gives %v", o.Name, err)
		}
		for _, f := range o.Fields {
			reason := "is missing"
			if f.Optional {
				reason = ""
			}
			expectField(t, o.CheckFields(body(f.Name)), f.Name, reason, o.Name+" without "+f.Name)
		}
	}
}

func TestDocumentedRefusals(t *testing.T) {
	for _, test := range []struct{ operation, field, value, reason string }{
		{"bank/payout", "transferMode", `"NEFT"`, ""},
		{"bank/payout", "transferMode", `"RTGS"`, "must be one of IMPS, NEFT"},
		{"bank/payout", "transferMode", `"RGTS"`, "must be one of IMPS, NEFT"},
		{"bank/payout", "yourrequestid", `"` + strings.Repeat("a", 50) + `"`, ""},
		{"bank/payout", "yourrequestid", `"` + strings.Repeat("a", 51) + `"`, "must not be longer than 50 bytes"},
		{"bank/payout", "yourrequestid", `"a-1"`, "must be a string of ASCII letters and digits"},
		{"bank/account_transfer", "transferMode", `"RGTS"`, "must be one of IMPS, NEFT"},
		{"bank/account_transfer", "yourrequestid", `" 1"`, "must be a string of ASCII letters and digits"},
		{"bank/account_transfer", "snumber", `"+911"`, "must be digits"},
		{"bank/wallet_transfer", "transferMode", `"AMAZON"`, ""},
		{"bank/wallet_transfer", "transferMode", `"PYTM_WALLET"`, "must be one of PAYTM, AMAZON"},
		{"bank/wallet_verify", "limitCheckAmount", `"0"`, `must be rupees above zero with at most two decimals, such as "1.50"`},
		{"bank/wallet_verify", "beneficiaryName", `""`, "must not be empty"},
		{"bank/register", "spincode", `"56 16"`, "must be digits"},
		{"pan/managecoupon", "type", `0`, ""},
		{"pan/managecoupon", "type", `2`, "must be one of 1, 0"},
		{"pan/managecoupon", "qty", `"1.5"`, "must be digits"},
		{"aeps/aeps_auth", "channel", `"3"`, "must be one of 1, 2"},
		{"aeps/be", "yourrequestid", `""`, "must be a string of ASCII letters and digits"},
	} {
		o := documented(t, test.operation)
		body := "{"
		for _, f := range o.Fields {
			value := goodValue(f)
			if f.Name == test.field {
				value = test.value
			}
			body += `"` + f.Name + `":` + value + ","
		}
		err := o.CheckFields(mustJSON(t, strings.TrimSuffix(body, ",")+"}"))
		expectField(t, err, test.field, test.reason, test.operation+" with "+test.field+" "+test.value)
	}
}

func TestDocumentedIsFresh(t *testing.T) {
	nowpay.Documented()[3].Fields[5].Choices[0] = "changed"
	nowpay.Documented()[3].Personal[0] = "changed"
	again := nowpay.Documented()[3]
	if again.Fields[5].Choices[0] == "changed" || again.Personal[0] == "changed" {
		t.Error("Documented() gives the same memory twice")
	}
}

// Whom the money goes to, and who sends it, must never be in a log.
func TestDocumentedPersonal(t *testing.T) {
	public := []string{
		"amount", "yourrequestid", "ourrequestid", "transferMode", "limitCheckAmount", "operatorid", "type", "qty", "channel",
	}
	for _, o := range nowpay.Documented() {
		for _, f := range o.Fields {
			if slices.Contains(public, f.Name) == slices.Contains(o.Personal, f.Name) {
				t.Errorf("%s: field %s must be either public or personal", o.Name, f.Name)
			}
		}
		for _, name := range o.SuccessNeeds {
			if name == "rrn" && !slices.Contains(o.Personal, name) {
				t.Errorf("%s: rrn is not personal", o.Name)
			}
		}
	}
}
