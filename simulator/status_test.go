package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// plainKey is that of requests made by post.
const plainKey = "0123456789abcdef"

// rowsOf asks bank/payout_status and gives one field of each row.
func (b *bench) rowsOf(t *testing.T, field string, query body) []string {
	t.Helper()
	return columnOf(t, b.call("bank/payout_status", query), field)
}

func columnOf(t interface {
	Helper()
	Errorf(string, ...any)
}, a answer, field string,
) []string {
	t.Helper()
	data, ok := a.json["data"].([]any)
	if !ok || a.text("success") != "1" {
		t.Errorf("no rows in %s", a.body)
	}
	column := []string{}
	for _, row := range data {
		members, _ := row.(map[string]any)
		text, _ := members[field].(string)
		column = append(column, text)
	}
	return column
}

// TestPayoutStatus: rows of payouts and transfers, by either id, with the traps
// of the history.
func TestPayoutStatus(t *testing.T) {
	b := start(t)
	first := b.call("bank/payout", payout("p10")).text("ourrequestid")
	b.call("bank/payout", payout("p1").with("name", "sim:failed"))
	b.call("bank/account_transfer", body{"snumber": "1", "beneficiaryid": "2", "remitterid": "3", "amount": "7", "yourrequestid": "p11", "transferMode": "IMPS"})
	b.call("bank/wallet_transfer", body{"beneficiaryPhoneNo": "1", "amount": "1", "yourrequestid": "p12", "transferMode": "PAYTM", "note": "sim:pending"})
	b.call("bank/upi_transfer", body{"beneficiaryVPA": "a@upi", "amount": "5", "yourrequestid": "p13", "transferMode": "UPI"})
	b.call("recharge/dorecharge", recharge("p14"))
	b.call("bank/payout", payout("q1").with("name", "sim:ambiguous"))

	a := b.call("bank/payout_status", body{"yourrequestid": "p10"})
	e := b.Ledger().Find("p10")[0]
	want := `{"success":"1","message":"Success","data":[{"ourrequestid":"` + first + `","yourrequestid":"p10","amount":"150.50","status":"1","rrn":"` +
		e.RRN + `","beneficiaryName":"Asha Rao","date":"2021-10-28 02:15:07 am"}]}`
	if a.body != want {
		t.Errorf("got\n%s\nwant\n%s", a.body, want)
	}
	if a := b.call("bank/payout_status", body{"fdate": "2021-10-28"}); a.body != `{"success":"0","message":"Missing Field yourrequestid"}` {
		t.Errorf("without an id: %s", a.body)
	}

	day := body{"yourrequestid": "p1"}
	for name, tt := range map[string]struct {
		query body
		field string
		want  []string
	}{
		"prefix, newest first":      {day, "yourrequestid", []string{"p12", "p11", "p1", "p10"}},
		"their states":              {day, "status", []string{"2", "1", "0", "1"}},
		"names of success only":     {day, "beneficiaryName", []string{"", "SIMULATED CUSTOMER", "", "Asha Rao"}},
		"ambiguous is pending":      {body{"yourrequestid": "q1"}, "status", []string{"2"}},
		"by the other id":           {body{"ourrequestid": first}, "yourrequestid", []string{"p10"}},
		"prefix of the other id":    {body{"ourrequestid": "20211028am"}, "yourrequestid", []string{"q1", "p12", "p11", "p1", "p10"}},
		"by both":                   {body{"ourrequestid": first, "yourrequestid": "p1"}, "yourrequestid", []string{"p10"}},
		"by both, of two":           {body{"ourrequestid": first, "yourrequestid": "p11"}, "yourrequestid", []string{}},
		"unknown":                   {body{"yourrequestid": "nothing"}, "yourrequestid", []string{}},
		"longer than there is":      {body{"yourrequestid": "p100"}, "yourrequestid", []string{}},
		"of another operation":      {body{"yourrequestid": "p13"}, "yourrequestid", []string{}},
		"of the day":                {day.with("fdate", "2021-10-28").with("tdate", "2021-10-28"), "yourrequestid", []string{"p12", "p11", "p1", "p10"}},
		"of the day before":         {day.with("tdate", "2021-10-27"), "yourrequestid", []string{}},
		"since the day after":       {day.with("fdate", "2021-10-29"), "yourrequestid", []string{}},
		"by the number of a number": {body{"yourrequestid": 1}, "yourrequestid", []string{}},
	} {
		if got := b.rowsOf(t, tt.field, tt.query); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}

	b.clock.now = b.clock.now.Add(24 * time.Hour)
	if got := b.rowsOf(t, "status", day); len(got) != 0 {
		t.Errorf("yesterday's without dates: %q", got)
	}
	if got := b.rowsOf(t, "status", day.with("fdate", "2021-10-28")); len(got) != 4 {
		t.Errorf("since yesterday: %q", got)
	}
}

// TestStatusFaults: what a status query gets wrong is in its rows.
func TestStatusFaults(t *testing.T) {
	b := start(t)
	id := b.call("bank/payout", payout("payout-1001")).text("ourrequestid")
	b.call("bank/payout", payout("payout-1002"))
	query := body{"yourrequestid": "payout-1001"}
	for _, tt := range []struct {
		kind  simulator.Kind
		field string
		want  []string
	}{
		{simulator.Success, "ourrequestid", []string{id}},
		{simulator.HistoryEmpty, "yourrequestid", []string{}},
		{simulator.HistoryPrefix, "yourrequestid", []string{"payout-1002", "payout-1001"}},
		{simulator.OtherID, "yourrequestid", []string{"payout-10010"}},
		{simulator.OtherAmount, "amount", []string{"151.50"}},
		{simulator.NoProviderID, "ourrequestid", []string{""}},
		{simulator.StatusContradicts, "status", []string{"0"}},
	} {
		b.fault(simulator.Fault{Kind: tt.kind, Operation: "bank/payout_status", Times: 1})
		if got := b.rowsOf(t, tt.field, query); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.kind, got, tt.want)
		}
	}
	recharged := b.call("recharge/dorecharge", recharge("r1")).text("ourrequestid")
	b.fault(simulator.Fault{Kind: simulator.NoProviderID, Operation: "recharge/history", Times: 1})
	if a := b.call("recharge/history", body{"ourrequestid": recharged}); strings.Contains(a.body, recharged) || len(columnOf(t, a, "Clientid")) != 1 {
		t.Errorf("history without ids: %s", a.body)
	}
	for kind, want := range map[simulator.Kind]string{
		simulator.Failed:         `{"success":"0","message":"Failed"}`,
		simulator.WrongKey:       `{"success":"0","message":"Invalid Username Or Key"}`,
		simulator.UnknownSuccess: `{"success":"7",`,
		simulator.KeyEcho:        `"message":"Debug key=`,
	} {
		b.fault(simulator.Fault{Kind: kind, Operation: "bank/payout_status", Times: 1})
		if a := b.call("bank/payout_status", query); !strings.Contains(a.body, want) {
			t.Errorf("%s: %s, want %s in it", kind, a.body, want)
		}
	}
}

// TestStatusContradicts: each status query says the opposite of the books.
func TestStatusContradicts(t *testing.T) {
	coupon := func(id string) body {
		return body{"psaid": "P1", "type": "1", "qty": "3", "yourrequestid": id}
	}
	for _, tt := range []struct {
		operation, query string
		members          func(id string) body
		says             func(a answer) string
		want             [3]string // of a success, a failure and what is pending
	}{
		{"recharge/dorecharge", "recharge/history", recharge, func(a answer) string { return fmt.Sprint(columnOf(t, a, "status")) }, [3]string{"[0]", "[1]", "[2]"}},
		{"bank/payout", "bank/payout_status", payout, func(a answer) string { return fmt.Sprint(columnOf(t, a, "status")) }, [3]string{"[0]", "[1]", "[2]"}},
		{"pan/managecoupon", "pan/coupon_status", coupon, func(a answer) string { return a.text("success") + a.text("coupon_status") }, [3]string{"0REJECTED", "1APPROVED", "2PENDING"}},
	} {
		b := start(t)
		b.fault(simulator.Fault{Kind: simulator.StatusContradicts, Operation: tt.query})
		for i, kind := range []simulator.Kind{simulator.Success, simulator.Failed, simulator.Pending} {
			b.fault(simulator.Fault{Kind: kind, Operation: tt.operation, Times: 1})
			id := b.call(tt.operation, tt.members("a"+string(kind))).text("ourrequestid")
			a := b.call(tt.query, body{"ourrequestid": id})
			if got := tt.says(a); got != tt.want[i] {
				t.Errorf("%s of a %s: %s, want %s", tt.query, kind, got, tt.want[i])
			}
			if kind == simulator.Failed && tt.query == "bank/payout_status" && !slices.ContainsFunc(columnOf(t, a, "rrn"), func(s string) bool { return s != "" }) {
				t.Errorf("a success without rrn is none: %s", a.body)
			}
		}
	}
}

// TestStatusLookup: lookups by index find what a look at every entry finds.
func TestStatusLookup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := newClock()
		sim, err := simulator.New(simulator.Config{Username: username, Key: plainKey, Now: now.Now})
		if err != nil {
			t.Fatal(err)
		}
		id := rapid.StringMatching(`[ab1]{1,4}`)
		for _, id := range rapid.SliceOfN(id, 0, 30).Draw(t, "ids") {
			kind := rapid.SampledFrom([]string{"Asha", "sim:id-collision", "sim:failed"}).Draw(t, "kind")
			post(sim.Handler(), "bank/payout", id, "1", kind)
			now.now = now.now.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "seconds")) * time.Second)
		}
		entries := sim.Ledger().Entries

		prefix := id.Draw(t, "asked")
		ours := ""
		if len(entries) > 0 && rapid.Bool().Draw(t, "by both") {
			full := rapid.SampledFrom(entries).Draw(t, "entry").ProviderID
			ours = full[:rapid.IntRange(0, len(full)).Draw(t, "length")]
		}
		want := []string{}
		for _, e := range slices.Backward(entries) {
			if strings.HasPrefix(e.RequestID, prefix) && strings.HasPrefix(e.ProviderID, ours) {
				want = append(want, e.ProviderID+" "+e.RequestID)
			}
		}
		text := fmt.Sprintf(`{"username":%q,"key":%q,"yourrequestid":%q,"ourrequestid":%q}`, username, plainKey, prefix, ours)
		a := answer{body: offline(sim.Handler(), "bank/payout_status", "application/json", text).Body.String()}
		if err := json.Unmarshal([]byte(a.body), &a.json); err != nil {
			t.Fatal(err)
		}
		got := columnOf(t, a, "ourrequestid")
		for i, yours := range columnOf(t, a, "yourrequestid") {
			got[i] += " " + yours
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q and %q: %q, want %q", prefix, ours, got, want)
		}
		if len(entries) > 0 {
			checkFlip(t, sim, rapid.SampledFrom(entries).Draw(t, "flipped").ProviderID)
		}
	})
}

// checkFlip flips by a provider ID, and looks that it was the newest entry of it.
func checkFlip(t *rapid.T, sim *simulator.Simulator, providerID string) {
	var newest simulator.Entry
	for _, e := range sim.Ledger().Entries {
		if e.ProviderID == providerID {
			newest = e
		}
	}
	to := simulator.StateFailed
	if newest.State == to {
		to = simulator.StateSuccess
	}
	if err := sim.FlipFinal(providerID, to); err != nil {
		t.Fatal(err)
	}
	if e := sim.Ledger().Entries[newest.Number-1]; e.State != to {
		t.Fatalf("entry %d of %s is %s, want %s", e.Number, providerID, e.State, to)
	}
}

// BenchmarkStatus asks about one of many transactions.
func BenchmarkStatus(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		sim, err := simulator.New(simulator.Config{Username: username, Key: plainKey, AEPSBalance: 1 << 40, Now: newClock().Now})
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			post(sim.Handler(), "bank/payout", fmt.Sprintf("%08d", i*7919%n), "1", "Asha")
		}
		text := fmt.Sprintf(`{"username":%q,"key":%q,"yourrequestid":"%08d"}`, username, plainKey, n/2)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if r := offline(sim.Handler(), "bank/payout_status", "application/json", text); r.Code != http.StatusOK {
					b.Fatal(r.Code)
				}
			}
		})
	}
}
