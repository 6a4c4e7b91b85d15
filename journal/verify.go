package journal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
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

// Verify recomputes all chains and compares all rows with their events, on a
// consistent state of the database. Heads that are given must still be there.
// It reads everything; the journal works on meanwhile.
func (j *Journal) Verify(ctx context.Context, known ...Head) (Report, error) {
	var report Report
	err := j.options.Store.Snapshot(ctx, func(ctx context.Context, r Reader) error {
		v := verification{Journal: j, reader: r, known: known, report: Report{Problems: []string{}, Heads: []Head{}}}
		defer func() { report = v.report }()
		if err := v.chains(ctx); err != nil {
			return err
		}
		return v.rows(ctx)
	})
	return report, err
}

type verification struct {
	*Journal
	reader Reader
	known  []Head
	report Report
}

func (v *verification) problem(format string, args ...any) {
	switch n := len(v.report.Problems); {
	case n < maxProblems:
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	case n == maxProblems:
		v.report.Problems = append(v.report.Problems, "and more")
	}
}

// chains checks that no chain is missing between others, and each of them.
func (v *verification) chains(ctx context.Context) error {
	chains, err := v.reader.Chains(ctx)
	if err != nil {
		return err
	}
	var before Chain
	for _, chain := range chains {
		for missing := before.ID + 1; missing < chain.ID; missing++ {
			v.problem("chain %d is missing", missing)
		}
		key, err := v.keys.get(chain.KeyID)
		if errors.Is(err, ErrKey) {
			v.problem("chain %d: its data key %d is missing", chain.ID, chain.KeyID)
			before = chain
			continue
		}
		if err != nil {
			return err
		}
		if chain.ID == before.ID+1 && !bytes.Equal(chain.Opening, key.opening(before.Opening, &chain)) {
			v.problem("chain %d: its opening was changed, or the chain before it", chain.ID)
		}
		if !bytes.Equal(chain.Sealing, key.sealing(&chain)) {
			v.problem("chain %d: its head was changed", chain.ID)
		}
		if err := v.chain(ctx, key, chain); err != nil {
			return err
		}
		v.report.Heads = append(v.report.Heads, Head{chain.ID, chain.Gateway, chain.Number, hex.EncodeToString(chain.MAC)})
		before = chain
	}
	for _, head := range v.known {
		if head.Chain > before.ID {
			v.problem("chain %d, which was known, is missing", head.Chain)
		}
	}
	return nil
}

// chain checks the events of a chain, up to the first that does not fit.
func (v *verification) chain(ctx context.Context, key *dataKey, chain Chain) error {
	mac, number := chain.Opening, int64(0)
	for event, err := range v.reader.AllEvents(ctx, chain.ID) {
		if err != nil {
			return err
		}
		v.report.Events++
		switch {
		case event.Number != number+1:
			v.problem("chain %d: event %d is missing", chain.ID, number+1)
			return nil
		case !bytes.Equal(event.MAC, key.mac(mac, &event)):
			v.problem("chain %d: event %d, of transaction %s, was changed", chain.ID, event.Number, event.Transaction)
			return nil
		}
		mac, number = event.MAC, event.Number
		for _, head := range v.known {
			if head.Chain == chain.ID && head.Number == number && head.MAC != hex.EncodeToString(mac) {
				v.problem("chain %d: event %d is not the one that was known", chain.ID, number)
			}
		}
	}
	if number != chain.Number || !bytes.Equal(mac, chain.MAC) {
		v.problem("chain %d: events after %d are missing", chain.ID, number)
	}
	for _, head := range v.known {
		if head.Chain == chain.ID && head.Number > number {
			v.problem("chain %d: event %d, which was known, is missing", chain.ID, head.Number)
		}
	}
	return nil
}

// rows checks that every transaction is as its last event left it.
func (v *verification) rows(ctx context.Context) error {
	for last, err := range v.reader.LastEvents(ctx) {
		if err != nil {
			return err
		}
		v.report.Transactions++
		t := &last.Transaction
		switch {
		case last.Event.Number == 0 || last.Events != t.Version:
			v.problem("transaction %s: events are missing", t.ID)
		case !bytes.Equal(last.Event.Row, t.digest()):
			v.problem("transaction %s: its row was changed", t.ID)
		}
	}
	for id, err := range v.reader.Orphans(ctx) {
		if err != nil {
			return err
		}
		v.problem("transaction %s: its row is missing", id)
	}
	return nil
}
