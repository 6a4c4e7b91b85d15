package gateway

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

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
		{"none", `{"note":"Asha"}`, map[string]string{}},
		{"long ones", `{"remark":"` + strings.Repeat("x", 100) + `"}`, map[string]string{"remark": strings.Repeat("x", 64)}},
		{"long ones, between letters", `{"remark":"x` + strings.Repeat("ü", 50) + `"}`, map[string]string{"remark": "x" + strings.Repeat("ü", 31)}},
	} {
		body, err := nowpay.ParseJSON([]byte(test.body), nowpay.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		record := Record{called: operation, body: body}
		if record.HasFields() != (len(test.want) > 0) {
			t.Errorf("%s: has fields: %v", test.name, record.HasFields())
		}
		got := maps.Collect(record.Fields())
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
		record := Record{called: &operation, body: body}
		for name, text := range record.Fields() {
			if shown := text != "***"; shown == operation.IsPersonal(name) {
				t.Errorf("%s: %s is %q", operation.Name, name, text)
			}
		}
	}
}

func TestLevel(t *testing.T) {
	full := Record{Outcome: nowpay.Success, Integrity: "verified"}
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
		if got := record.Level().String(); got != test.level {
			t.Errorf("%s: level %s, want %s", test.name, got, test.level)
		}
	}
}
