package sqlite

import (
	"context"
	"database/sql"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	messageColumns = "id, box, lane, seq, kind, created, seen, key_id, sealed, " + messageChanging
	// Those that change come last.
	messageChanging = "transaction_id, state, note, updated, due, tries"
	isWaiting       = "state = 'waiting'" // as in the indexes, to the letter
)

func messageValues(m *journal.Message) []any {
	return append([]any{m.ID, string(m.Box), m.Lane, int64(m.Seq), m.Kind, micros(m.Created), int64(m.Seen), m.KeyID, blob(m.Sealed)}, messageChanges(m)...)
}

func messageChanges(m *journal.Message) []any {
	return []any{m.Transaction, string(m.State), m.Note, micros(m.Updated), micros(m.Due), int64(m.Tries)}
}

func scanMessage(rows *sql.Rows) (m journal.Message, err error) {
	err = rows.Scan(&m.ID, &m.Box, &m.Lane, &m.Seq, &m.Kind, at(&m.Created), &m.Seen, &m.KeyID, &m.Sealed,
		&m.Transaction, &m.State, &m.Note, at(&m.Updated), at(&m.Due), &m.Tries)
	return m, err
}

// addMessage is the statement of AddMessages: what came again begins again, if it
// was of no use before or is asked for.
func addMessage() string {
	var again []string
	for column := range strings.SplitSeq("state, note, due, tries", ", ") {
		again = append(again, column+" = CASE WHEN messages.state = 'dead' OR messages.box = 'out' AND messages.state <> 'waiting'"+
			" THEN excluded."+column+" ELSE messages."+column+" END")
	}
	return "INSERT INTO messages (" + messageColumns + ") VALUES (" + placeholders(messageColumns) + ")" +
		" ON CONFLICT DO UPDATE SET seen = messages.seen + excluded.seen, updated = excluded.updated, " + strings.Join(again, ", ")
}

func (t *transaction) AddMessages(ctx context.Context, messages []journal.Message) error {
	for i := range messages {
		if err := t.must(ctx, "adding a message", 1, t.addMessage, messageValues(&messages[i])...); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) LockMessages(ctx context.Context, ids []string) (all []journal.Message, err error) {
	for _, id := range slices.Sorted(slices.Values(ids)) {
		found, err := locked(ctx, t, scanMessage, t.lockMessage, id)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (t *transaction) LockMessagesDue(ctx context.Context, c journal.MessageClaim, now time.Time) (all []journal.Message, err error) {
	waiting, err := locked(ctx, t, scanValue[string], t.waitingLanes, string(c.Box))
	if err != nil {
		return nil, err
	}
	for _, lane := range c.Lanes {
		limit := min(c.PerLane, c.Limit-len(all))
		if _, ok := slices.BinarySearch(waiting, lane); !ok || limit <= 0 {
			continue
		}
		due, err := locked(ctx, t, scanMessage, t.messagesDue, string(c.Box), lane, micros(now), limit)
		if err != nil {
			return nil, err
		}
		all = append(all, due...)
	}
	return all, nil
}

const (
	// waitingLanes goes from one lane to the next by the index: messages do not
	// count, however many wait.
	waitingLanes = "WITH RECURSIVE lanes (lane) AS (SELECT min(lane) FROM messages WHERE " + isWaiting + " AND box = ?1 UNION ALL" +
		" SELECT (SELECT min(lane) FROM messages WHERE " + isWaiting + " AND box = ?1 AND lane > lanes.lane) FROM lanes WHERE lane IS NOT NULL)" +
		" SELECT lane FROM lanes WHERE lane IS NOT NULL"
	messagesDue = "SELECT " + messageColumns + " FROM messages AS m WHERE " + isWaiting + " AND box = ? AND lane = ? AND due > 0 AND due <= ?" +
		" AND (transaction_id = '' OR NOT EXISTS (SELECT 1 FROM messages AS e WHERE e.transaction_id = m.transaction_id" +
		" AND e.box = m.box AND e.seq < m.seq AND e." + isWaiting + ")) ORDER BY due, id LIMIT ?"
)

func (t *transaction) UpdateMessages(ctx context.Context, messages []journal.Message) error {
	for i := range messages {
		m := &messages[i]
		if err := t.must(ctx, "updating a message", 1, t.updateMessage, append(messageChanges(m), m.ID)...); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) DeleteMessages(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, "deleting messages", t.deleteMessages, micros(before), int64(limit))
	return int(n), err
}

func (r reader) Message(ctx context.Context, id string) (journal.Message, error) {
	return one(ctx, r, scanMessage, "SELECT "+messageColumns+" FROM messages WHERE id = ?", id)
}

func (r reader) Messages(ctx context.Context, f journal.MessageFilter) iter.Seq2[journal.Message, error] {
	left := f.Limit
	return pages(func(last *journal.Message) ([]journal.Message, error) {
		limit := page
		if f.Limit > 0 {
			limit = min(left, page)
		}
		where, args := messageConditions(f)
		if last != nil {
			where, args = where+" AND (created, id) < (?, ?)", append(args, micros(last.Created), last.ID)
		}
		all, err := read(ctx, r, scanMessage, "SELECT "+messageColumns+" FROM messages WHERE "+
			where+" ORDER BY created DESC, id DESC LIMIT ?", append(args, limit)...)
		left -= len(all)
		return all, err
	})
}

// messageConditions says in SQL what a filter selects, without its limit.
func messageConditions(f journal.MessageFilter) (where string, args []any) {
	conditions := []string{"true"}
	for _, c := range []struct{ column, value string }{
		{"box", string(f.Box)}, {"lane", f.Lane}, {"transaction_id", f.Transaction}, {"state", string(f.State)},
	} {
		if c.value != "" {
			conditions, args = append(conditions, c.column+" = ?"), append(args, c.value)
		}
	}
	return strings.Join(conditions, " AND "), args
}

func (r reader) CountMessages(ctx context.Context, f journal.MessageFilter) (int, error) {
	where, args := messageConditions(f)
	limit := -1 // none
	if f.Limit > 0 {
		limit = f.Limit
	}
	return one(ctx, r, scanValue[int], "SELECT count(*) FROM (SELECT 1 FROM messages WHERE "+where+" LIMIT ?)", append(args, limit)...)
}

func (r reader) MessageStats(ctx context.Context) ([]journal.MessageStats, error) {
	return read(ctx, r, func(rows *sql.Rows) (s journal.MessageStats, err error) {
		err = rows.Scan(&s.Box, &s.Lane, &s.Count, at(&s.Oldest))
		return s, err
	}, "SELECT box, lane, count(*), min(created) FROM messages WHERE "+isWaiting+" GROUP BY box, lane ORDER BY box, lane")
}
