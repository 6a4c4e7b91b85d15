package nowpay_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// What the pages of recharge history and coupon status say, once more and by hand.
func TestDocumentedQueries(t *testing.T) {
	type field = nowpay.StatusField
	coupon := nowpay.StatusQuery{
		Operation: "pan/coupon_status",
		Send:      []field{{"ourrequestid", "provider_id"}},
		Match:     []field{{"psaid", "field:psaid"}},
		State:     "coupon_status",
		States:    map[string]nowpay.Outcome{"APPROVED": "success", "REJECTED": "failed", "PENDING": "pending"},
	}
	if got := documented(t, "pan/managecoupon").Status; !reflect.DeepEqual(*got, coupon) {
		t.Errorf("coupons are asked about by %+v, want %+v", *got, coupon)
	}
	history := nowpay.StatusQuery{
		Operation: "recharge/history",
		Send:      []field{{"ourrequestid", "provider_id"}},
		Rows:      "data",
		Match:     []field{{"Clientid", "provider_id"}, {"yourreqid", "request_id"}, {"amount", "amount"}},
		State:     "status",
		States:    map[string]nowpay.Outcome{"1": "success", "0": "failed", "2": "pending"},

		ProviderID: "Clientid", Reference: "op_referenceid",
	}
	if got := nowpay.HistoryQuery("recharge/history"); !reflect.DeepEqual(*got, history) {
		t.Errorf("HistoryQuery() = %+v, want %+v", *got, history)
	}
	a, b := nowpay.HistoryQuery("a/b"), nowpay.HistoryQuery("a/b")
	a.States["3"], a.Match[0].Name = nowpay.Success, "changed"
	if len(b.States) != 3 || b.Match[0].Name != "Clientid" {
		t.Error("HistoryQuery() gives the same memory twice")
	}
}

func TestRevalidatePolicy(t *testing.T) {
	query := nowpay.HistoryQuery("recharge/history")
	for _, test := range []struct {
		query     *nowpay.StatusQuery
		set, want nowpay.Revalidate
	}{
		{nil, "", nowpay.RevalidateNever},
		{query, "", nowpay.RevalidatePending},
		{query, nowpay.RevalidateNever, nowpay.RevalidateNever},
		{query, nowpay.RevalidatePending, nowpay.RevalidatePending},
		{query, nowpay.RevalidateAlways, nowpay.RevalidateAlways},
	} {
		o := nowpay.Operation{Status: test.query, Revalidate: test.set}
		if got := o.RevalidatePolicy(); got != test.want {
			t.Errorf("%q with a query %v: %q, want %q", test.set, test.query != nil, got, test.want)
		}
	}
}

func TestStatusValidate(t *testing.T) {
	type (
		op    = nowpay.Operation
		query = nowpay.StatusQuery
		field = nowpay.StatusField
	)
	change := func(f func(q *query)) func(o *op) { return func(o *op) { f(o.Status) } }
	withoutRows := func(f func(q *query)) func(o *op) {
		return change(func(q *query) { q.Rows = ""; f(q) })
	}
	for _, test := range []struct {
		name   string
		change func(o *op)
		want   string // in the error; "" if it is valid
	}{
		{"as it is", func(*op) {}, ""},
		{"no query", func(o *op) { o.Status = nil }, ""},
		{"never without a query", func(o *op) { o.Status, o.Revalidate = nil, nowpay.RevalidateNever }, ""},
		{"always", func(o *op) { o.Revalidate = nowpay.RevalidateAlways }, ""},
		{"days and amount sent", change(func(q *query) {
			q.Send = append(q.Send, field{"fdate", nowpay.SourceDayBefore}, field{"tdate", nowpay.SourceDayAfter},
				field{"date", nowpay.SourceDay}, field{"amount", nowpay.SourceAmount})
		}), ""},
		{"a field sent and compared", change(func(q *query) {
			q.Send, q.Match = append(q.Send, field{"number", "field:number"}), append(q.Match, field{"number", "field:number"})
		}), ""},
		{"the answer itself, with an id", withoutRows(func(q *query) { q.Match = q.Match[:1] }), ""},
		{"the answer itself, asked by id", withoutRows(func(q *query) { q.Match = nil }), ""},
		{"success is the state, with an id", withoutRows(func(q *query) { q.State = "success" }), ""},
		{"success is the state of a row", change(func(q *query) { q.State = "success" }), ""},
		{"no reference, no provider ID", change(func(q *query) { q.Reference, q.ProviderID = "", "" }), ""},

		{"pending without a query", func(o *op) { o.Status, o.Revalidate = nil, nowpay.RevalidatePending }, "it has no status query"},
		{"always without a query", func(o *op) { o.Status, o.Revalidate = nil, nowpay.RevalidateAlways }, "it has no status query"},
		{"unknown policy", func(o *op) { o.Revalidate = "sometimes" }, `revalidate must be "never", "pending" or "always"`},
		{"moves no money", func(o *op) { o.MovesMoney = false }, "only an operation that moves money"},
		{"own status", func(o *op) { o.Status.Operation = o.Name }, "the status operation must be another"},
		{"bad status", change(func(q *query) { q.Operation = "history" }), "the status operation must be another"},
		{"no status", change(func(q *query) { q.Operation = "" }), "the status operation must be another"},
		{"nothing sent", change(func(q *query) { q.Send = nil }), "it must send a field"},
		{"bad name sent", change(func(q *query) { q.Send[0].Name = "a b" }), `send: "a b" is not a field name`},
		{"key sent", change(func(q *query) { q.Send[0].Name = "KEY" }), `send: "KEY" is not a field name`},
		{"sent twice", change(func(q *query) {
			q.Send = append(q.Send, field{"OurRequestID", nowpay.SourceRequestID})
		}), `send: field "OurRequestID" is there twice`},
		{"matched twice", change(func(q *query) {
			q.Match = append(q.Match, field{"Amount", nowpay.SourceRequestID})
		}), `match: field "Amount" is there twice`},
		{"no source", change(func(q *query) { q.Send[0].Source = "" }), `send "ourrequestid": unknown source ""`},
		{"unknown source", change(func(q *query) { q.Match[0].Source = "id" }), `match "Clientid": unknown source "id": it must be request_id, provider_id, amount, day, day_before, day_after or field: and`},
		{"no such field", change(func(q *query) { q.Match[0].Source = "field:nothing" }), `"nothing" is not a field of the operation`},
		{"empty field", change(func(q *query) { q.Match[0].Source = "field:" }), `"" is not a field of the operation`},
		{"day compared", change(func(q *query) { q.Match[0].Source = nowpay.SourceDay }), "a day can be sent, but is not compared"},
		{"no amount", func(o *op) { o.Amount = "" }, `match "amount": the operation has no amount`},
		{"bad rows", change(func(q *query) { q.Rows = "a.b" }), `"a.b" is not a field name`},
		{"bad provider ID", change(func(q *query) { q.ProviderID = "a/b" }), `"a/b" is not a field name`},
		{"bad reference", change(func(q *query) { q.Reference = "é" }), `"é" is not a field name`},
		{"no state", change(func(q *query) { q.State = "" }), "it must name the field that tells the state"},
		{"no states", change(func(q *query) { q.States = nil }), "which texts of the state"},
		{"empty state", change(func(q *query) { q.States[""] = nowpay.Failed }), "an empty state means nothing"},
		{"refused", change(func(q *query) { q.States["9"] = nowpay.Refused }), `the state "9" must mean "success", "failed" or "pending"`},
		{"unknown", change(func(q *query) { q.States["9"] = nowpay.Unknown }), `the state "9" must mean`},
		{"rows without an id", change(func(q *query) { q.Match = q.Match[2:] }), "rows may be of other transactions"},
		{"success is the state, without an id", withoutRows(func(q *query) {
			q.Match, q.State = nil, "Success"
		}), "the answer to a wrong key has a success of 0 too"},
		{"no id at all", withoutRows(func(q *query) {
			q.Match, q.Send[0].Source = nil, "field:number"
		}), "it must send or match request_id or provider_id"},
	} {
		o := recharge()
		o.Status = nowpay.HistoryQuery("recharge/history")
		test.change(&o)
		err := o.Validate()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: Validate() = %v, want nil", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: Validate() = %v, want %q", test.name, err, test.want)
		}
	}
}

func TestIndianDay(t *testing.T) {
	for instant, want := range map[string]string{
		"2026-11-26T18:29:59Z":      "2026-11-26",
		"2026-11-26T18:30:00Z":      "2026-11-27",
		"2026-11-26T23:59:00-08:00": "2026-11-27",
		"2026-02-28T20:00:00+05:30": "2026-02-28",
		"2028-02-28T18:30:00Z":      "2028-02-29",
	} {
		at, err := time.Parse(time.RFC3339, instant)
		if err != nil {
			t.Fatal(err)
		}
		if got := nowpay.IndianDay(at); got != want {
			t.Errorf("IndianDay(%s) = %s, want %s", instant, got, want)
		}
	}
}

func TestStatusBody(t *testing.T) {
	type field = nowpay.StatusField
	known := nowpay.Known{
		RequestID: "shop1001", ProviderID: "20211028pm231537111806", Amount: 150,
		Sent:   time.Date(2026, 2, 28, 18, 30, 0, 0, time.UTC), // the first of March in India
		Fields: map[string]string{"number": `9"8`},
	}
	all := []field{
		{"a", nowpay.SourceRequestID},
		{"b", nowpay.SourceProviderID},
		{"c", nowpay.SourceAmount},
		{"d", nowpay.SourceDayBefore},
		{"e", nowpay.SourceDay},
		{"f", nowpay.SourceDayAfter},
		{"g", "field:number"},
	}
	query := &nowpay.StatusQuery{Operation: "a/b", Send: all}
	status := &nowpay.Operation{Name: "a/b", Encoding: nowpay.JSON}
	for encoding, want := range map[nowpay.Encoding]string{
		nowpay.JSON: `{"a":"shop1001","b":"20211028pm231537111806","c":"1.50","d":"2026-02-28","e":"2026-03-01","f":"2026-03-02","g":"9\"8"}`,
		nowpay.Form: "a=shop1001&b=20211028pm231537111806&c=1.50&d=2026-02-28&e=2026-03-01&f=2026-03-02&g=9%228",
	} {
		status.Encoding = encoding
		body, err := query.Body(status, known)
		if err != nil {
			t.Fatal(err)
		}
		if string(body.Bytes()) != want || body.Encoding() != encoding {
			t.Errorf("%s body %s, want %s", encoding, body.Bytes(), want)
		}
		if v, ok := body.Get("g"); !ok || v.Text != `9"8` {
			t.Errorf("%s body: g is %q", encoding, v.Text)
		}
	}

	for _, f := range all {
		query.Send = []field{f}
		if body, err := query.Body(status, nowpay.Known{}); body != nil || !errors.Is(err, nowpay.ErrCannotAsk) {
			t.Errorf("%s of nothing: %v, %v", f.Source, body, err)
		}
	}
	status.Fields = []nowpay.Field{{Name: "a", Format: nowpay.FormatAlphanumeric, Max: 5}}
	query.Send = all[:1]
	_, err := query.Body(status, known)
	var fieldError *nowpay.FieldError
	if !errors.As(err, &fieldError) || fieldError.Field != "a" || strings.Contains(err.Error(), "shop") {
		t.Errorf("too long for the status operation: %v", err)
	}
}

func TestObjects(t *testing.T) {
	rows := func(text string) ([]string, error) {
		v, _ := mustJSON(t, `{"rows":`+text+`}`).Get("rows")
		bodies, err := v.Objects()
		var texts []string
		for _, b := range bodies {
			texts = append(texts, string(b.Bytes()))
		}
		return texts, err
	}
	for text, want := range map[string][]string{
		`[]`:                                nil,
		` [ ] `:                             nil,
		`[{}]`:                              {`{}`},
		"[ {\"a\":[{}]} ,\n{ \"b\" : 2 } ]": {`{"a":[{}]}`, `{ "b" : 2 }`},
	} {
		if got, err := rows(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("Objects of %s = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{`{}`, `null`, `"[]"`, `1`, `true`, `[1]`, `[{},null]`, `[[]]`, `[{},"{}"]`} {
		if got, err := rows(text); !errors.Is(err, nowpay.ErrMalformed) || len(got) > 0 {
			t.Errorf("Objects of %s = %q, %v, want %v", text, got, err, nowpay.ErrMalformed)
		}
	}
	if _, err := (nowpay.Value{}).Objects(); !errors.Is(err, nowpay.ErrMalformed) {
		t.Errorf("Objects of nothing: %v", err)
	}
}

func TestCheckField(t *testing.T) {
	o := recharge()
	value := func(text string) nowpay.Value { return nowpay.Value{Kind: nowpay.String, Text: text} }
	expectField(t, o.CheckField("yourreqid", value(strings.Repeat("a", 50))), "yourreqid", "", "50 bytes")
	expectField(t, o.CheckField("yourreqid", value(strings.Repeat("a", 51))), "yourreqid", "must not be longer than 50 bytes", "51 bytes")
	expectField(t, o.CheckField("number", value("shop1")), "number", "must be digits", "letters")
	expectField(t, o.CheckField("nothing", value("")), "nothing", "", "not a field")
}

func TestKnownText(t *testing.T) {
	var nothing nowpay.Known
	for _, source := range []nowpay.StatusSource{
		nowpay.SourceRequestID, nowpay.SourceProviderID, nowpay.SourceAmount,
		nowpay.SourceDay, nowpay.SourceDayBefore, nowpay.SourceDayAfter, "field:a", "field:", "", "x",
	} {
		if text, ok := nothing.Text(source); ok || text != "" {
			t.Errorf("Text(%q) of nothing = %q, %v", source, text, ok)
		}
	}
}
