package integrity_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// FuzzCheck holds Check against what must be true of every answer.
func FuzzCheck(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.sent.Operation.Name, v.sent.RequestID, int64(v.sent.Amount), v.answer.Status,
			v.answer.Header.Get("Content-Type"), v.answer.Header.Get("X-Debug"), v.answer.Body, []byte(canary))
	}
	ops := operations()
	f.Fuzz(func(t *testing.T, operation, requestID string, amount int64, status int, contentType, debug string, body, key []byte) {
		op, ok := ops[operation]
		if !ok {
			op = ops["bank/payout"]
		}
		sent := integrity.Sent{Operation: op, RequestID: requestID, Amount: nowpay.Paise(amount)}
		ans := integrity.Answer{
			Status: status,
			Header: http.Header{"Content-Type": {contentType}, "X-Debug": {debug}},
			Body:   body,
		}
		if !utf8.Valid(key) || bytes.ContainsFunc(key, unicode.IsControl) { // none that a credential can have
			key = []byte(canary)
		}
		came := bytes.Clone(body)
		got := integrity.Check(sent, ans, secret.New(bytes.Clone(key)))
		if !bytes.Equal(body, came) {
			t.Fatal("the answer has changed")
		}

		checkFinal(t, sent, ans, got)
		checkPassedOn(t, sent, ans, got, key)

		if again := integrity.Check(sent, ans, secret.New(bytes.Clone(key))); !reflect.DeepEqual(got, again) {
			t.Errorf("the same answer again: %+v, first %+v", again, got)
		}
		if len(key) == 0 {
			checkOtherType(t, sent, ans, got)
		}
	})
}

// checkFinal allows a final outcome only where an independent, naive reader of
// the answer sees one.
func checkFinal(t *testing.T, sent integrity.Sent, ans integrity.Answer, got integrity.Verdict) {
	t.Helper()
	says := naiveReading(sent.Operation, ans)
	switch got.Outcome {
	case nowpay.Success:
		if says.success != map[nowpay.Scale]string{"0/1/2": "1", "0/1": "1", "pan": "17"}[sent.Operation.Scale] {
			t.Errorf("success, but `success` is %q", says.success)
		}
		if sent.Operation.ProviderID != "" && says.providerID == "" {
			t.Error("success without a provider id")
		}
		if sent.Operation.RequestID != "" && sent.RequestID != "" && says.requestID != sent.RequestID {
			t.Errorf("success of request %q, sent was %q", says.requestID, sent.RequestID)
		}
		if len(sent.Operation.SuccessNeeds) > 0 && strings.TrimSpace(says.rrn) == "" {
			t.Error("success without rrn")
		}
	case nowpay.Failed, nowpay.Refused:
		if says.success != "0" && says.success != "19" {
			t.Errorf("%s, but `success` is %q", got.Outcome, says.success)
		}
		if sent.Operation.ProviderID != "" && (got.Outcome == nowpay.Failed) != (strings.TrimSpace(says.providerID) != "") {
			t.Errorf("%s with provider id %q", got.Outcome, says.providerID)
		}
	case nowpay.Pending, nowpay.Unknown:
		return
	default:
		t.Fatalf("outcome %q", got.Outcome)
	}
	if ans.Status != http.StatusOK {
		t.Errorf("%s with status %d", got.Outcome, ans.Status)
	}
	if sent.Operation.Amount != "" && sent.Amount != 0 && says.amount != "" {
		rupees, ok := new(big.Rat).SetString(says.amount)
		if !ok || rupees.Cmp(big.NewRat(int64(sent.Amount), 100)) != 0 {
			t.Errorf("%s of %q rupees, sent were %d paise", got.Outcome, says.amount, sent.Amount)
		}
	}
}

type reading struct{ success, requestID, providerID, amount, rrn string }

func naiveReading(op *nowpay.Operation, ans integrity.Answer) reading {
	dec := json.NewDecoder(bytes.NewReader(ans.Body))
	dec.UseNumber()
	var members map[string]any
	if dec.Decode(&members) != nil {
		return reading{}
	}
	text := func(name string) string {
		switch v := members[name].(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		}
		return ""
	}
	requestID := op.RequestID
	if op.AnswerRequestID != "" {
		requestID = op.AnswerRequestID
	}
	return reading{text("success"), text(requestID), text(op.ProviderID), text(op.Amount), text("rrn")}
}

// checkPassedOn holds what may be passed on against the findings and the key.
func checkPassedOn(t *testing.T, sent integrity.Sent, ans integrity.Answer, got integrity.Verdict, key []byte) {
	t.Helper()
	if got.Leak != slices.Contains(got.Findings, integrity.KeyLeak) {
		t.Errorf("leak %v with findings %q", got.Leak, got.Findings)
	}
	others := slices.DeleteFunc(slices.Clone(got.Findings), func(f integrity.Finding) bool { return f == integrity.KeyLeak })
	doubtful := got.Outcome == nowpay.Unknown || slices.Equal(others, []integrity.Finding{integrity.MissingField})
	if doubtful != (len(others) > 0) {
		t.Errorf("%s with findings %q", got.Outcome, got.Findings)
	}
	if got.Body == nil {
		if len(got.Header) > 0 {
			t.Errorf("header %v without a body", got.Header)
		}
		if !got.Leak && len(others) == 0 {
			t.Error("no body without a reason")
		}
		return
	}
	switch {
	case len(others) > 0:
		t.Errorf("body with findings %q", got.Findings)
	case got.Leak && !sent.Operation.MovesMoney:
		t.Error("body with a leak of an operation that moves no money")
	case !got.Leak && !bytes.Equal(got.Body, ans.Body):
		t.Errorf("body %q, came as %q", got.Body, ans.Body)
	case !json.Valid(got.Body):
		t.Errorf("body is no JSON: %q", got.Body)
	}
	for name := range got.Header {
		if name != "Content-Type" {
			t.Errorf("header %q passed on", name)
		}
	}
	if form := naiveLeak(key, got.Body); form != "" {
		t.Errorf("key %q as %q in %q", key, form, got.Body)
	}
	if form := naiveLeak(key, []byte(got.ProviderID)); form != "" {
		t.Errorf("key %q as %q in the provider id", key, form)
	}
}

// naiveLeak writes the key in the ways that others would write it, and tells
// which of them is in the text or in a value of it.
func naiveLeak(key, text []byte) string {
	if len(key) < 4 {
		return ""
	}
	b64 := strings.TrimRight(base64.StdEncoding.EncodeToString(key), "=")
	if len(key)%3 != 0 {
		b64 = b64[:len(b64)-1] // its last bits depend on what follows
	}
	forms := []string{
		string(key), strings.ToLower(string(key)), hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)),
		b64, strings.NewReplacer("+", "-", "/", "_").Replace(b64),
		url.QueryEscape(string(key)), url.PathEscape(string(key)), url.QueryEscape(url.QueryEscape(string(key))),
		each(string(key), "%%%02x"), each(string(key), "%%%02X"), quoted(string(key)), utf16Escaped(string(key)),
	}
	said := values(text)
	for _, form := range forms {
		if form != "" && (bytes.Contains(text, []byte(form)) || slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, form) })) {
			return form
		}
	}
	return ""
}

// values gives all names and texts of a JSON value.
func values(text []byte) []string {
	var v any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil
	}
	var all []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case json.Number:
			all = append(all, v.String())
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			for name, member := range v {
				all = append(all, name)
				walk(member)
			}
		}
	}
	walk(v)
	return all
}

// checkOtherType changes `success` from a string to a number or the other way
// round: that must change nothing.
func checkOtherType(t *testing.T, sent integrity.Sent, ans integrity.Answer, got integrity.Verdict) {
	t.Helper()
	body, err := nowpay.ParseJSON(ans.Body, nowpay.Limits{Bytes: len(ans.Body) + 1})
	if err != nil {
		return
	}
	v, _ := body.Get("success")
	var other []byte
	switch {
	case v.Kind == nowpay.Number:
		other = []byte(`"` + v.Text + `"`)
	case v.Kind == nowpay.String && json.Valid([]byte(v.Text)) && strings.Trim(v.Text, "0123456789") == "":
		other = []byte(v.Text)
	default:
		return
	}
	ans.Body = body.ReplaceValues(func(name string, _ nowpay.Value) ([]byte, bool) { return other, name == "success" })
	if gotOther := integrity.Check(sent, ans, secret.Value{}); gotOther.Outcome != got.Outcome || !slices.Equal(gotOther.Findings, got.Findings) {
		t.Errorf("%s %q with %s, %s %q with %s", got.Outcome, got.Findings, v.Raw, gotOther.Outcome, gotOther.Findings, other)
	}
}
