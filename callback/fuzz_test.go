package callback_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// FuzzRead holds Read against what must be true of every callback.
func FuzzRead(f *testing.F) {
	for _, c := range readable {
		f.Add(c.r.Method, c.r.ContentType, c.r.Query, c.r.Body)
	}
	for _, c := range unreadable {
		f.Add(c.r.Method, c.r.ContentType, c.r.Query, c.r.Body)
	}
	f.Add("POST", jsonType, "", []byte(`{"event":true,"utr":"U","data":{"amount":"1","txn":{"merchant-ref":"A-1","id":9}}}`))
	f.Add("GET", "", "event=bounced&data[txn][merchant-ref]=A-1&data.amount=1.5", []byte(nil))
	table := mustTable(f, own())
	f.Fuzz(func(t *testing.T, method, contentType, query string, body []byte) {
		r := callback.Received{Method: method, ContentType: contentType, Query: query, Body: body}
		came := bytes.Clone(body)
		got, err := table.Read(r)
		if again, err2 := table.Read(r); got != again || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Errorf("the same again: %+v, %v, first %+v, %v", again, err2, got, err)
		}
		if !bytes.Equal(body, came) {
			t.Fatal("the body has changed")
		}
		if err != nil {
			if !errors.Is(err, callback.ErrUnreadable) || got != (callback.Callback{}) {
				t.Errorf("Read gives %+v, %v", got, err)
			}
			return
		}
		checkFit(t, got)
		checkNaively(t, r, table, got)
		checkOtherSpace(t, r, table, got)
	})
}

func checkFit(t *testing.T, got callback.Callback) {
	t.Helper()
	if got.RequestID == "" && got.ProviderID == "" {
		t.Error("no id")
	}
	for _, text := range []string{got.RequestID, got.ProviderID, got.Reference} {
		if len(text) > 256 || !utf8.ValidString(text) {
			t.Errorf("%d bytes, valid UTF-8: %v", len(text), utf8.ValidString(text))
		}
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is not printable", text)
			}
		}
	}
	if got.Amount < 0 || strings.Contains(got.Message, "\x00") {
		t.Errorf("amount %d, message %q", got.Amount, got.Message)
	}
	switch got.Says {
	case nowpay.Success, nowpay.Failed, nowpay.Pending, nowpay.Unknown:
	default:
		t.Errorf("it says %q", got.Says)
	}
}

// checkNaively allows an id, a reference or an outcome only where an independent, naive reader sees it too.
func checkNaively(t *testing.T, r callback.Received, table callback.Table, got callback.Callback) {
	t.Helper()
	see := naiveReading(r)
	var seen, requestID, providerID, reference, outcome bool
	for _, s := range table {
		seen = seen || s.Name == got.Shape
		requestID = requestID || see(s.RequestID) == got.RequestID
		providerID = providerID || see(s.ProviderID) == got.ProviderID
		reference = reference || see(s.Reference) == got.Reference
		texts := map[nowpay.Outcome][]string{nowpay.Success: s.Success, nowpay.Failed: s.Failed, nowpay.Pending: s.Pending}
		for _, text := range texts[got.Says] {
			outcome = outcome || s.Name == got.Shape && strings.EqualFold(text, see(s.State))
		}
	}
	if !seen {
		t.Errorf("shape %q is not in the table", got.Shape)
	}
	if !requestID && got.RequestID != "" || !providerID && got.ProviderID != "" || !reference && got.Reference != "" {
		t.Errorf("an id or the reference is nowhere: %+v", got)
	}
	if !outcome && got.Says != nowpay.Unknown {
		t.Errorf("said to be %s for nothing", got.Says)
	}
}

// naiveReading gives the text at a path as the standard library reads it.
func naiveReading(r callback.Received) func(path string) string {
	if r.Method == "POST" && strings.Contains(strings.ToLower(r.ContentType), "json") {
		dec := json.NewDecoder(bytes.NewReader(r.Body))
		dec.UseNumber()
		var body map[string]any
		if dec.Decode(&body) != nil {
			return func(string) string { return "" }
		}
		return func(path string) string { return textIn(body, strings.Split(path, ".")) }
	}
	form := r.Query
	if r.Method == "POST" {
		form = string(r.Body)
	}
	fields, _ := url.ParseQuery(form)
	return func(path string) string {
		head, rest, nested := strings.Cut(path, ".")
		if !nested {
			return fields.Get(path)
		}
		return fields.Get(path) + fields.Get(head+"["+strings.ReplaceAll(rest, ".", "][")+"]")
	}
}

func textIn(value any, path []string) string {
	for _, name := range path {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	}
	return ""
}

// checkOtherSpace reads a JSON callback once more, with other whitespace.
func checkOtherSpace(t *testing.T, r callback.Received, table callback.Table, got callback.Callback) {
	t.Helper()
	var wide bytes.Buffer
	if r.Method != "POST" || json.Indent(&wide, r.Body, "\t", " \r\n") != nil {
		return
	}
	other := r
	other.Body = wide.Bytes()
	if len(other.Body) > callback.MaxBody {
		return
	}
	if again, err := table.Read(other); err != nil || again != got {
		t.Errorf("with other whitespace: %+v, %v, first %+v", again, err, got)
	}
	if !bytes.Equal(other.Body, r.Body) && other.Digest() == r.Digest() {
		t.Error("one digest for two bodies")
	}
}
