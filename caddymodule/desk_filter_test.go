package caddymodule

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

var filterNow = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)

func TestParseFilter(t *testing.T) {
	for _, tt := range []struct {
		query string
		want  journal.Filter
		err   string
	}{
		{query: "", want: journal.Filter{}},
		{query: "state=pending&state=unknown&limit=3", want: journal.Filter{States: []journal.State{journal.Pending, journal.Unknown}, Limit: 3}},
		{query: "since=24h", want: journal.Filter{Since: filterNow.Add(-24 * time.Hour)}},
		{query: "since=2026-11-25&until=2026-11-26", want: journal.Filter{
			Since: time.Date(2026, 11, 24, 18, 30, 0, 0, time.UTC), Until: time.Date(2026, 11, 25, 18, 30, 0, 0, time.UTC),
		}},
		{query: "until=2026-11-26T10:00:00.5%2B05:30", want: journal.Filter{Until: time.Date(2026, 11, 26, 4, 30, 0, 500_000_000, time.UTC)}},
		{query: "needs_person=true&reversed=true", want: journal.Filter{Attention: true, Reversed: true}},

		{query: "stat=pending", err: "stat: there is no such filter"},
		{query: "state=Pending", err: `state: there is no state "Pending"`},
		{query: "merchant=", err: "merchant: has no value"},
		{query: "merchant=a&merchant=b", err: "merchant: is there more than once"},
		{query: "since=-1h", err: "in the future"},
		{query: "since=yesterday", err: "neither a duration"},
		{query: "since=2026-11-31", err: "neither a duration"},
		{query: "needs_person=1", err: `"1" is not true`},
		{query: "limit=-1", err: "no number of transactions"},
		{query: "limit=1e3", err: "no number of transactions"},
	} {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseFilter(query, filterNow)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("parseFilter(%q): %v, want %q", tt.query, err, tt.err)
			}
			continue
		}
		got.Since, got.Until = got.Since.UTC(), got.Until.UTC()
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseFilter(%q) = %+v, %v, want %+v", tt.query, got, err, tt.want)
		}
	}
}

// TestFilterTravels: a gateway is asked for exactly what its operator asks for.
func TestFilterTravels(t *testing.T) {
	states := []journal.State{
		journal.Created, journal.Sent, journal.Success, journal.Failed, journal.Refused, journal.Pending, journal.Unknown, journal.Unsent,
	}
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.StringN(0, 20, -1).Draw(t, name) }
		at := func(name string) time.Time {
			if rapid.Bool().Draw(t, name+" set") {
				return time.Time{}
			}
			return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, name)).UTC()
		}
		want := journal.Filter{
			Account: text("account"), Merchant: text("merchant"), Operation: text("operation"), RequestID: text("request"),
			ProviderID: text("provider"), Before: text("before"), Since: at("since"), Until: at("until"),
			States:    rapid.SliceOfN(rapid.SampledFrom(states), 1, 3).Draw(t, "states"),
			Attention: rapid.Bool().Draw(t, "attention"), Reversed: rapid.Bool().Draw(t, "reversed"),
			Limit: rapid.IntRange(0, 1000).Draw(t, "limit"),
		}
		query, err := url.ParseQuery(filterQuery(want).Encode())
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseFilter(query, filterNow)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("it arrives as %+v, %v, was %+v", got, err, want)
		}
	})
}
