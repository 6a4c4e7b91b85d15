package sqlite

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

func (r reader) List(ctx context.Context, filter journal.Filter) iter.Seq2[journal.Transaction, error] {
	left := filter.Limit
	return pages(func(last *journal.Transaction) ([]journal.Transaction, error) {
		limit := page
		if filter.Limit > 0 {
			limit = min(left, page)
		}
		if last != nil {
			filter.Before = last.ID
		}
		query, args := selection(filter)
		all, err := read(ctx, r, scanTransaction, query+" LIMIT ?", append(args, limit)...)
		left -= len(all)
		return all, err
	})
}

// drift is how far a transaction's ID and its creation may be apart.
const drift = time.Hour

// selection says in SQL what a filter selects, newest first. The conditions that
// are there twice are those of an index.
func selection(f journal.Filter) (query string, args []any) {
	query = "SELECT " + transactionColumns + " FROM transactions"
	order := " ORDER BY id DESC"
	var all []string
	add := func(condition string, values ...any) {
		all = append(all, condition)
		args = append(args, values...)
	}
	equals := func(column, value string) {
		if value != "" {
			add(column+" = ?", value)
		}
	}
	equals("account", f.Account)
	equals("merchant", f.Merchant)
	equals("operation", f.Operation)
	equals("request_id", f.RequestID)
	equals("provider_id", f.ProviderID)
	if f.ProviderID != "" {
		add("provider_id <> ''")
	}
	if len(f.States) > 0 {
		states := make([]any, len(f.States))
		for i, state := range f.States {
			states[i] = string(state)
		}
		add("state IN ("+list(len(states))+")", states...)
	}
	watched := func(condition string) {
		add(condition)
		order = " ORDER BY +id DESC" // to sort few rows, not to go through all in order
	}
	if len(f.States) > 0 && !slices.ContainsFunc(f.States, func(s journal.State) bool { return !unsettled(s) }) {
		watched(isOpen)
	}
	if f.Attention {
		watched("attention <> 0")
	}
	if f.Reversed {
		watched("reversed <> ''")
	}
	if f.Before != "" {
		add("id < ?", f.Before)
	}
	// IDs begin with their time: they find the day, and created the instant.
	if !f.Since.IsZero() {
		add("id >= ? AND created >= ?", firstID(f.Since.Add(-drift)), micros(f.Since))
	}
	if !f.Until.IsZero() {
		add("id < ? AND created < ?", firstID(f.Until.Add(drift)), micros(f.Until))
	}
	if len(all) > 0 {
		query += " WHERE " + strings.Join(all, " AND ")
	}
	return query + order, args
}

// list returns n placeholders.
func list(n int) string { return strings.Repeat("?, ", n-1) + "?" }

// unsettled reports whether isOpen holds.
func unsettled(state journal.State) bool {
	return state == journal.Created || state == journal.Sent || state == journal.Pending || state == journal.Unknown
}

// firstID is the smallest ID of that time.
func firstID(at time.Time) string {
	var id ulid.ULID
	if at.Before(time.UnixMilli(0)) {
		at = time.UnixMilli(0)
	}
	if err := id.SetTime(ulid.Timestamp(at)); err != nil { // in the year 10889
		_ = id.SetTime(ulid.MaxTime())
	}
	return id.String()
}
