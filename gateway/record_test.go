package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "***",
		"Asha Rao":            "***",
		"asha@bank":           "***",
		"12345678":            "***", // too short to show half of it
		"123456789":           "***6789",
		"50100012345678":      "***5678",
		"5010-0012-3456-78":   "***",
		"HDFC0000001":         "***",
		"१२३४५६७८९":           "***", // digits, but not of one byte
		"AAAAA0000A":          "***",
		"+919876543210":       "***",
		"9876543210 ":         "***",
		"{\"a\":123456789}":   "***",
		"999999990019":        "***0019",
		"0123456789012345678": "***5678",
	} {
		if got := mask(text); got != want {
			t.Errorf("mask(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestRecordedFields: what the operation knows, masked where it is personal.
func TestRecordedFields(t *testing.T) {
	operation := &nowpay.Operation{
		Fields: []nowpay.Field{
			{Name: "accountnumber"}, {Name: "name"}, {Name: "amount"}, {Name: "transferMode"}, {Name: "remark"}, {Name: "snumber"}, {Name: "absent"},
		},
		Personal: []string{"accountnumber", "name", "snumber", "beneficiaryName"},
	}
	for _, test := range []struct {
		name, body string
		want       map[string]string
	}{
		{
			"personal ones", `{"accountnumber":"50100012345678","name":"Asha Rao","amount":1.50,"transferMode":"IMPS"}`,
			map[string]string{"accountnumber": "***5678", "name": "***", "amount": "1.50", "transferMode": "IMPS"},
		},
		{"numbers", `{"snumber":9876543210}`, map[string]string{"snumber": "***3210"}},
		{"containers", `{"name":{"first":"Asha"},"remark":["Asha"]}`, map[string]string{"name": "***", "remark": ""}},
		{"unknown ones", `{"note":"Asha","beneficiaryName":"Asha","Name":"Asha","remark":"x"}`, map[string]string{"remark": "x"}},
		{"long ones", `{"remark":"` + strings.Repeat("x", 100) + `"}`, map[string]string{"remark": strings.Repeat("x", 64)}},
		{"long ones, between letters", `{"remark":"x` + strings.Repeat("ü", 50) + `"}`, map[string]string{"remark": "x" + strings.Repeat("ü", 31)}},
	} {
		body, err := nowpay.ParseJSON([]byte(test.body), nowpay.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var record Record
		record.noteBody(operation, body)
		got := make(map[string]string)
		for _, attr := range record.Fields {
			got[attr.Key] = attr.Value.String()
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestDocumentedFieldsAreMasked: no personal field of the catalogue stands in a
// record as it was sent.
func TestDocumentedFieldsAreMasked(t *testing.T) {
	for _, operation := range nowpay.Documented() {
		members := map[string]string{}
		for _, field := range operation.Fields {
			members[field.Name] = "personal of " + field.Name
		}
		raw, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		body, err := nowpay.ParseJSON(raw, nowpay.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var record Record
		record.noteBody(&operation, body)
		for _, attr := range record.Fields {
			if shown := attr.Value.String() != "***"; shown == operation.IsPersonal(attr.Key) {
				t.Errorf("%s: %s is %q", operation.Name, attr.Key, attr.Value)
			}
		}
	}
}

func TestRecordLine(t *testing.T) {
	full := Record{
		ID: "01EXCHANGE", Duration: 3 * time.Millisecond, Merchant: "shop", Source: netip.MustParseAddr("192.0.2.7"),
		Operation: "bank/payout", Rule: "merchant shop: allow bank/*", RequestID: "1001", Amount: 150,
		Fields: []slog.Attr{slog.String("name", "***")}, CredentialVersion: 7, EgressAddress: netip.MustParseAddr("198.51.100.7"),
		ProviderStatus: 200, ProviderDuration: 2 * time.Millisecond, ProviderID: "n", Outcome: nowpay.Success, Integrity: "verified",
	}
	line := func(r Record) map[string]any {
		var text bytes.Buffer
		r.log(t.Context(), slog.New(slog.NewJSONHandler(&text, nil)))
		var got map[string]any
		if err := json.Unmarshal(text.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v", text.String(), err)
		}
		delete(got, "time")
		return got
	}
	want := map[string]any{
		"level": "INFO", "msg": "exchange", "exchange": "01EXCHANGE", "merchant": "shop", "source": "192.0.2.7", "operation": "bank/payout",
		"allowed": true, "rule": "merchant shop: allow bank/*", "reason": "", "problem": "", "duration": 3e6, "request_id": "1001", "amount": "1.50",
		"fields": map[string]any{"name": "***"}, "outcome": "success", "integrity": "verified", "findings": nil, "provider_id": "n",
		"provider_status": 200.0, "provider_duration": 2e6, "credential_version": 7.0, "egress_address": "198.51.100.7",
	}
	if got := line(full); !reflect.DeepEqual(got, want) {
		t.Errorf("line\n%v\nwant\n%v", got, want)
	}
	refused := Record{ID: "01EXCHANGE", Rule: "no credential presented", Reason: "unauthenticated", Problem: Unauthenticated}
	want = map[string]any{
		"level": "INFO", "msg": "exchange", "exchange": "01EXCHANGE", "merchant": "", "source": "", "operation": "",
		"allowed": false, "rule": "no credential presented", "reason": "unauthenticated", "problem": "unauthenticated", "duration": 0.0,
	}
	if got := line(refused); !reflect.DeepEqual(got, want) {
		t.Errorf("line\n%v\nwant\n%v", got, want)
	}

	for _, test := range []struct {
		name   string
		change func(*Record)
		level  string
	}{
		{"success", func(*Record) {}, "INFO"},
		{"failed", func(r *Record) { r.Outcome = nowpay.Failed }, "INFO"},
		{"pending", func(r *Record) { r.Outcome = nowpay.Pending }, "INFO"},
		{"refused by the provider", func(r *Record) { r.Outcome = nowpay.Refused }, "WARN"},
		{"unknown", func(r *Record) { r.Outcome = nowpay.Unknown }, "WARN"},
		{"unsent", func(r *Record) { r.Outcome, r.Err = nowpay.Unsent, errors.New("no way") }, "WARN"},
		{"a failed check", func(r *Record) { r.Findings = []integrity.Finding{integrity.MissingField} }, "WARN"},
		{"the key in the answer", func(r *Record) { r.Findings = []integrity.Finding{integrity.MissingField, integrity.KeyLeak} }, "ERROR"},
	} {
		record := full
		test.change(&record)
		if got := line(record); got["level"] != test.level {
			t.Errorf("%s: level %v, want %s", test.name, got["level"], test.level)
		}
	}
}
