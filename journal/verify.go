package journal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Report is what [Journal.Verify] found.
type Report struct {
	Transactions int      `json:"transactions"`
	Events       int      `json:"events"`
	Heads        []Head   `json:"heads"`
	Problems     []string `json:"problems"` // empty: nothing was changed or deleted
}

// Head is the end of a chain. One that was written down elsewhere before proves
// later that the events up to it are still those of then.
type Head struct {
	Chain   int64  `json:"chain"`
	Gateway string `json:"gateway"`
	Number  int64  `json:"number"`
	MAC     string `json:"mac"` // hex
}

// maxProblems bounds a report: a chain that is broken at its beginning is one
// problem, a table that was emptied is millions.
const maxProblems = 100

// Verify recomputes all chains, compares all rows with their events and what
// merchants spend with the rows, and looks whether the stored data keys and the
// key file fit, on a consistent state of the database. Heads that are given must
// still be there. It reads everything; the journal works on meanwhile.
func (j *Journal) Verify(ctx context.Context, known ...Head) (Report, error) {
	var report Report
	err := j.options.Store.Snapshot(ctx, func(ctx context.Context, r Reader) error {
		v := verification{
			Journal: j, reader: r, known: make(map[int64][]Head), keys: make(map[int64]*dataKey),
			checked: make(map[int64]int64), spends: make(map[spendingKey]nowpay.Paise),
			report: Report{Problems: []string{}, Heads: []Head{}},
		}
		defer func() { report = v.report }()
		v.know(known)
		for _, step := range []func(context.Context) error{v.dataKeys, v.chains, v.rows, v.orphans, v.spending} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return report, err
}

type verification struct {
	*Journal
	reader  Reader
	known   map[int64][]Head   // by chain: heads it had once
	keys    map[int64]*dataKey // that are stored and fit the key file
	checked map[int64]int64    // by chain: up to which number its events count
	spends  map[spendingKey]nowpay.Paise
	report  Report
}

func (v *verification) problem(format string, args ...any) {
	switch n := len(v.report.Problems); {
	case n < maxProblems:
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	case n == maxProblems:
		v.report.Problems = append(v.report.Problems, "and more")
	}
}

func (v *verification) know(heads []Head) {
	for _, head := range heads {
		v.known[head.Chain] = append(v.known[head.Chain], head)
	}
}

// dataKeys opens the data keys as a gateway does that starts now: those in
// memory would hide what is wrong until then.
func (v *verification) dataKeys(ctx context.Context) error {
	stored, err := v.reader.Keys(ctx)
	if err != nil {
		return err
	}
	masters, err := readKeyFile(v.options.KeyFile)
	if err != nil {
		v.problem("%v", err)
		masters = v.Journal.keys.masterKeys()
	}
	ring := keyring{masters: masters}
	for _, wrapped := range stored {
		key, err := ring.load(wrapped)
		if err != nil {
			v.problem("data key %d: it was changed, or the key file does not fit", wrapped.ID)
			continue
		}
		v.keys[key.id] = key
	}
	return nil
}

// chains checks that no chain is missing between others, each of them, and that
// there are no events but theirs.
func (v *verification) chains(ctx context.Context) error {
	chains, err := v.reader.Chains(ctx)
	if err != nil {
		return err
	}
	var before Chain
	for i := range chains { // all first: a chain knows heads of those before it
		if chains[i].ID < 1 {
			v.problem("chain %d: no gateway opened it", chains[i].ID)
			continue
		}
		v.opening(&before, &chains[i])
		before = chains[i]
	}
	for i := range chains {
		if chains[i].ID < 1 {
			continue
		}
		if err := v.chain(ctx, &chains[i]); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.known)) {
		if _, ok := v.checked[id]; !ok {
			v.problem("chain %d, which was known, is missing", id)
		}
	}
	events, err := v.reader.CountEvents(ctx)
	if err == nil && events != v.report.Events {
		v.problem("%d events are in no chain", events-v.report.Events)
	}
	return err
}

// opening checks how a chain begins and ends.
func (v *verification) opening(before, chain *Chain) {
	if gap := before.ID + 1; gap < chain.ID {
		v.problem("chains are missing: from %d to %d", gap, chain.ID-1)
	}
	key := v.keys[chain.KeyID]
	if key == nil {
		v.problem("chain %d: its data key %d is missing", chain.ID, chain.KeyID)
		return
	}
	switch {
	case chain.ID > before.ID+1: // its opening depends on what is missing
	case bytes.Equal(chain.Opening, key.opening(before.Opening, chain)):
		v.know(chain.heads())
	default:
		v.problem("chain %d: its opening was changed, or the chain before it", chain.ID)
	}
	if !bytes.Equal(chain.Sealing, key.sealing(chain)) {
		v.problem("chain %d: its head was changed", chain.ID)
	}
}

// chain checks the events of a chain, up to the first that does not fit. Those
// behind it are not told of one by one.
func (v *verification) chain(ctx context.Context, chain *Chain) error {
	key := v.keys[chain.KeyID]
	mac, number, fits := chain.Opening, int64(0), key != nil
	known := v.compare(v.knownOf(chain.ID), number, mac)
	for event, err := range v.reader.AllEvents(ctx, chain.ID) {
		if err != nil {
			return err
		}
		v.report.Events++
		switch {
		case !fits:
		case event.Number != number+1:
			v.problem("chain %d: event %d is missing", chain.ID, number+1)
			fits = false
		case !bytes.Equal(event.MAC, key.mac(mac, &event)):
			v.problem("chain %d: event %d, of transaction %s, was changed", chain.ID, event.Number, event.Transaction)
			fits = false
		default:
			mac, number = event.MAC, event.Number
			known = v.compare(known, number, mac)
		}
	}
	if !fits {
		v.checked[chain.ID] = math.MaxInt64
		return nil
	}
	v.checked[chain.ID] = number
	if number != chain.Number || !bytes.Equal(mac, chain.MAC) {
		v.problem("chain %d: events after %d are missing", chain.ID, number)
	}
	if len(known) > 0 {
		v.problem("chain %d: event %d, which was known, is missing", chain.ID, known[len(known)-1].Number)
	}
	v.report.Heads = append(v.report.Heads, chain.head())
	return nil
}

// knownOf are the heads that are known of a chain, in order.
func (v *verification) knownOf(chain int64) []Head {
	known := slices.SortedFunc(slices.Values(v.known[chain]), func(a, b Head) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.MAC, b.MAC))
	})
	return slices.CompactFunc(known, func(a, b Head) bool { return a.Number == b.Number && a.MAC == b.MAC })
}

// compare compares an event with the heads that are known up to it, and returns
// those behind it.
func (v *verification) compare(known []Head, number int64, mac []byte) []Head {
	for ; len(known) > 0 && known[0].Number <= number; known = known[1:] {
		if known[0].MAC != hex.EncodeToString(mac) {
			v.problem("chain %d: event %d is not the one that was known", known[0].Chain, known[0].Number)
		}
	}
	return known
}

// rows checks that every transaction is as its last event left it, and that
// those that are not settled will be.
func (v *verification) rows(ctx context.Context) error {
	for last, err := range v.reader.LastEvents(ctx) {
		if err != nil {
			return err
		}
		v.report.Transactions++
		t, event := &last.Transaction, &last.Event
		switch {
		case event.Number < 1 || event.Number > v.checked[event.Chain] || last.Events != t.Version:
			v.problem("transaction %s: events are missing, or in no chain", t.ID)
		case !bytes.Equal(event.Row, t.digest()):
			v.problem("transaction %s: its row was changed", t.ID)
		case v.keys[t.KeyID] == nil:
			v.problem("transaction %s: its data key %d is missing", t.ID, t.KeyID)
		case !t.State.Final() && t.NextCheck.IsZero() && t.Attention.IsZero():
			v.problem("transaction %s: it is %s, and nobody is to look at it again", t.ID, t.State)
		}
		if t.State.Spends() {
			v.spends[spendingKey{t.Merchant, t.Day}] += t.Amount
		}
	}
	return nil
}

func (v *verification) orphans(ctx context.Context) error {
	for id, err := range v.reader.Orphans(ctx) {
		if err != nil {
			return err
		}
		v.problem("transaction %s: its row is missing", id)
	}
	return nil
}

// spending compares what merchants spend with their transactions.
func (v *verification) spending(ctx context.Context) error {
	differs := func(key spendingKey, counted nowpay.Paise) {
		if says := v.spends[key]; counted != says {
			v.problem("merchant %q, day %d: %s are counted as spent, and the transactions say %s", key.merchant, key.day, counted, says)
		}
	}
	for spent, err := range v.reader.Spending(ctx) {
		if err != nil {
			return err
		}
		key := spendingKey{spent.Merchant, spent.Day}
		differs(key, spent.Amount)
		delete(v.spends, key)
	}
	for _, key := range slices.SortedFunc(maps.Keys(v.spends), compareSpendingKeys) {
		differs(key, 0)
	}
	return nil
}

func compareSpendingKeys(a, b spendingKey) int {
	return cmp.Or(cmp.Compare(a.merchant, b.merchant), cmp.Compare(a.day, b.day))
}
