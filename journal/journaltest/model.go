package journaltest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// random are the tests with random batches.
var random = []test{{name: "Random", run: testRandom}}

// testRandom compares the store with a few maps in memory, over random
// sequences of batches of which some fail. All sequences share the store: each
// has accounts, merchants and a chain of its own.
func testRandom(t *testing.T, store journal.Store) {
	sequence := 0
	rapid.Check(t, func(t *rapid.T) {
		sequence++
		m := newModel(t, store, sequence)
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			rapid.SampledFrom([]func(*rapid.T){
				m.batch, m.batch, m.lockDue, m.lockByRequest, m.list,
			}).Draw(t, "step")(t)
		}
		m.compare(t)
	})
}

// model is what the store should hold of one sequence.
type model struct {
	store     journal.Store
	sequence  int
	accounts  []string
	merchants []string
	content
}

// content is what batches change.
type content struct {
	rows   map[journal.RequestKey]journal.Transaction
	events []journal.Event
	chain  journal.Chain
	spent  map[journal.Spending]nowpay.Paise // the keys have no amount
	nonces map[journal.NonceID]time.Time     // when they expire
}

func (c content) clone() content {
	c.rows, c.events, c.spent = maps.Clone(c.rows), slices.Clone(c.events), maps.Clone(c.spent)
	c.nonces = maps.Clone(c.nonces)
	return c
}

func newModel(t *rapid.T, store journal.Store, sequence int) *model {
	m := &model{
		store:     store,
		sequence:  sequence,
		accounts:  []string{fmt.Sprintf("a%d", sequence), fmt.Sprintf("b%d", sequence)},
		merchants: []string{fmt.Sprintf("shop%d", sequence), fmt.Sprintf("kiosk%d", sequence)},
		content: content{
			rows:   map[journal.RequestKey]journal.Transaction{},
			chain:  NewChain(int64(sequence)),
			spent:  map[journal.Spending]nowpay.Paise{},
			nonces: map[journal.NonceID]time.Time{},
		},
	}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.AddChain(ctx, m.chain)
		return err
	})
	return m
}

// batch runs some operations in one transaction, which may fail in the end.
func (m *model) batch(t *rapid.T) {
	before := m.clone()
	fail := rapid.IntRange(0, 3).Draw(t, "fail") == 0
	err := m.store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		for range rapid.IntRange(1, 4).Draw(t, "operations") {
			operation := rapid.SampledFrom([]func(context.Context, *rapid.T, journal.Tx) error{
				m.insert, m.insert, m.update, m.lockSpending, m.addNonces,
			}).Draw(t, "operation")
			if err := operation(ctx, t, tx); err != nil {
				return err
			}
		}
		if fail {
			return errRefused
		}
		return nil
	})
	switch {
	case fail:
		checkError(t, "Write", err, errRefused)
		m.content = before
	case err != nil:
		t.Fatalf("Write() = %v", err)
	}
}

// insert begins transactions, of which some have a request ID that is taken.
func (m *model) insert(ctx context.Context, t *rapid.T, tx journal.Tx) error {
	keys := rapid.SliceOfNDistinct(rapid.Custom(m.drawKey), 1, 5, rapid.ID).Draw(t, "keys")
	var rows []journal.Transaction
	var want []string
	for i, key := range keys {
		row := NewTransaction(m.sequence<<20 | len(m.rows)<<4 | i)
		row.Account, row.RequestID = key.Account, key.RequestID
		row.Merchant = rapid.SampledFrom(m.merchants).Draw(t, "merchant")
		m.drawState(t, &row)
		rows = append(rows, row)
		if _, taken := m.rows[key]; !taken {
			want = append(want, row.ID)
		}
	}
	added, err := tx.Insert(ctx, rows)
	if err != nil {
		return err
	}
	checkSet(t, "added", added, want)
	return m.wrote(ctx, tx, slices.DeleteFunc(rows, func(row journal.Transaction) bool {
		return !slices.Contains(want, row.ID)
	}))
}

// update changes transactions that are there.
func (m *model) update(ctx context.Context, t *rapid.T, tx journal.Tx) error {
	if len(m.rows) == 0 {
		return nil
	}
	n := rapid.IntRange(1, min(4, len(m.rows))).Draw(t, "changes")
	rows := rapid.Permutation(m.sorted()).Draw(t, "rows")[:n]
	locked, err := tx.LockByID(ctx, idsOf(rows))
	if err != nil {
		return err
	}
	check(t, "LockByID", locked, slices.SortedFunc(slices.Values(rows), byID))
	for i := range rows {
		rows[i].Version++
		rows[i].Updated = rows[i].Updated.Add(time.Second)
		m.drawState(t, &rows[i])
	}
	if err := tx.Update(ctx, rows); err != nil {
		return err
	}
	return m.wrote(ctx, tx, rows)
}

// wrote takes rows that were written into the model, and keeps the sums and the
// chain in step.
func (m *model) wrote(ctx context.Context, tx journal.Tx, rows []journal.Transaction) error {
	if len(rows) == 0 {
		return nil
	}
	var events []journal.Event
	var amounts []journal.Spending
	for _, row := range rows {
		difference := spends(row)
		if old, ok := m.rows[keyOf(row)]; ok {
			difference -= spends(old)
		}
		key := journal.Spending{Merchant: row.Merchant, Day: row.Day}
		m.spent[key] += difference
		key.Amount = difference
		amounts = append(amounts, key)
		events = append(events, NewEvent(row, m.chain.ID, m.chain.Number+int64(len(events))+1))
		m.rows[keyOf(row)] = row
	}
	before := m.chain.Number
	m.chain = after(m.chain, events...)
	m.events = append(m.events, events...)
	if err := tx.AddSpending(ctx, amounts); err != nil {
		return err
	}
	return tx.Append(ctx, events, before, m.chain)
}

func spends(row journal.Transaction) nowpay.Paise {
	if row.State.Spends() {
		return row.Amount
	}
	return 0
}

// spending is what a merchant spends.
func (m *model) spending(name string) nowpay.Paise {
	return m.spent[journal.Spending{Merchant: name, Day: today}]
}

func (m *model) lockSpending(ctx context.Context, t *rapid.T, tx journal.Tx) error {
	name := rapid.SampledFrom(m.merchants).Draw(t, "merchant")
	key := journal.Spending{Merchant: name, Day: today}
	got, err := tx.LockSpending(ctx, []journal.Spending{key})
	if err != nil {
		return err
	}
	check(t, "LockSpending", got, []journal.Spending{{Merchant: name, Day: today, Amount: m.spent[key]}})
	return nil
}

// addNonces adds nonces, of which some are there and some have expired, at any time.
func (m *model) addNonces(ctx context.Context, t *rapid.T, tx journal.Tx) error {
	at := func(what string) time.Time {
		return start.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, what)) * time.Minute)
	}
	now := at("now")
	var all []journal.UsedNonce
	var want []string
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 1, 5, rapid.ID).Draw(t, "nonces") {
		nonce := newNonce(m.sequence<<20 | n)
		nonce.Expires = at("expires")
		all = append(all, nonce)
		if expires, there := m.nonces[nonce.ID]; !there || !expires.After(now) {
			want = append(want, nonceIDs(all[len(all)-1:])...)
			m.nonces[nonce.ID] = nonce.Expires
		}
	}
	added, err := tx.AddNonces(ctx, all, now)
	checkSet(t, "added nonces", names(added), want)
	return err
}

func (m *model) lockDue(t *rapid.T) {
	now := start.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "now")) * time.Minute)
	limit := rapid.IntRange(1, 10).Draw(t, "limit")
	var want []journal.Transaction
	for _, row := range m.sorted() {
		if row.Account == m.accounts[0] && !row.NextCheck.IsZero() && !row.NextCheck.After(now) {
			want = append(want, row)
		}
	}
	slices.SortStableFunc(want, func(a, b journal.Transaction) int { return a.NextCheck.Compare(b.NextCheck) })
	want = want[:min(len(want), limit)]
	write(t, m.store, func(ctx context.Context, tx journal.Tx) error {
		got, err := tx.LockDue(ctx, m.accounts[:1], now, limit)
		// The order of those that wait equally long is left open.
		if len(got) != len(want) {
			t.Errorf("LockDue: %d rows, want %d", len(got), len(want))
			return err
		}
		for i := range got {
			if !got[i].NextCheck.Equal(want[i].NextCheck) {
				t.Errorf("LockDue: number %d waits since %v, want %v", i, got[i].NextCheck, want[i].NextCheck)
			}
			checkOne(t, "LockDue", got[i], err, m.rows[keyOf(got[i])])
		}
		return err
	})
}

func (m *model) lockByRequest(t *rapid.T) {
	keys := rapid.SliceOfNDistinct(rapid.Custom(m.drawKey), 1, 5, rapid.ID).Draw(t, "keys")
	var want []string
	for _, key := range keys {
		if row, ok := m.rows[key]; ok {
			want = append(want, row.ID)
		}
	}
	write(t, m.store, func(ctx context.Context, tx journal.Tx) error {
		got, err := tx.LockByRequest(ctx, keys)
		checkSet(t, "LockByRequest", idsOf(got), want)
		return err
	})
}

func (m *model) list(t *rapid.T) {
	filter := journal.Filter{
		Account:  rapid.SampledFrom(m.accounts).Draw(t, "account"),
		Merchant: rapid.SampledFrom(append(m.merchants, "")).Draw(t, "merchant"),
		States:   rapid.SliceOfN(rapid.SampledFrom(states), 0, 3).Draw(t, "states"),
		Limit:    rapid.IntRange(0, 3).Draw(t, "limit"),
	}
	filter.Attention = rapid.Bool().Draw(t, "attention")
	if len(m.rows) > 0 {
		filter.Since = m.sorted()[0].Created // there are those of other sequences
	}
	check(t, fmt.Sprintf("List(%+v)", filter), collect(t, m.store.List(t.Context(), filter)), list(filter, m.sorted()))
}

// compare looks at all of the sequence.
func (m *model) compare(t *rapid.T) {
	check(t, "events", collect(t, m.store.AllEvents(t.Context(), m.chain.ID)), m.events)
	chain, err := m.store.Chain(t.Context(), m.chain.ID)
	checkOne(t, "chain", chain, err, m.chain)
	for _, row := range m.rows {
		got, err := m.store.ByRequest(t.Context(), keyOf(row))
		checkOne(t, "row", got, err, row)
	}
	for _, name := range m.merchants {
		checkSpent(t, m.store, name, today, m.spending(name))
	}
}

// sorted returns the rows by ID.
func (m *model) sorted() []journal.Transaction {
	return slices.SortedFunc(maps.Values(m.rows), byID)
}

func (m *model) drawKey(t *rapid.T) journal.RequestKey {
	return journal.RequestKey{
		Account:   rapid.SampledFrom(m.accounts).Draw(t, "account"),
		RequestID: fmt.Sprintf("R%d", rapid.IntRange(1, 12).Draw(t, "request")),
	}
}

// drawState changes a row as the journal might.
func (m *model) drawState(t *rapid.T, row *journal.Transaction) {
	row.State = rapid.SampledFrom(states).Draw(t, "state")
	row.NextCheck, row.Attention = time.Time{}, time.Time{}
	if minutes := rapid.IntRange(0, 9).Draw(t, "next check"); minutes > 0 {
		row.NextCheck = start.Add(time.Duration(minutes) * time.Minute)
	}
	if rapid.Bool().Draw(t, "attention") {
		row.Attention = row.Updated
	}
}

var _ tb = (*testing.T)(nil)
