package postgres

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	messageChanging = `id, transaction_id, state, note, updated, due, tries`
	messageColumns  = messageChanging + `, created, box, lane, seq, kind, seen, key_id, sealed`
	isWaiting       = `state = 'waiting'` // as in the indexes, to the letter
)

func messageChanges(messages []journal.Message) []any {
	return []any{
		array(messages, func(m *journal.Message) string { return m.ID }),
		array(messages, func(m *journal.Message) string { return m.Transaction }),
		array(messages, func(m *journal.Message) string { return string(m.State) }),
		array(messages, func(m *journal.Message) string { return m.Note }),
		array(messages, func(m *journal.Message) int64 { return micros(m.Updated) }),
		array(messages, func(m *journal.Message) int64 { return micros(m.Due) }),
		array(messages, func(m *journal.Message) int64 { return int64(m.Tries) }),
	}
}

func messageArrays(messages []journal.Message) []any {
	return append(messageChanges(messages),
		array(messages, func(m *journal.Message) int64 { return micros(m.Created) }),
		array(messages, func(m *journal.Message) string { return string(m.Box) }),
		array(messages, func(m *journal.Message) string { return m.Lane }),
		array(messages, func(m *journal.Message) int64 { return int64(m.Seq) }),
		array(messages, func(m *journal.Message) string { return m.Kind }),
		array(messages, func(m *journal.Message) int64 { return int64(m.Seen) }),
		array(messages, func(m *journal.Message) int64 { return m.KeyID }),
		array(messages, func(m *journal.Message) []byte { return blob(m.Sealed) }))
}

func scanMessage(row pgx.CollectableRow) (m journal.Message, err error) {
	err = row.Scan(&m.ID, &m.Transaction, (*string)(&m.State), &m.Note, at(&m.Updated), at(&m.Due), &m.Tries,
		at(&m.Created), (*string)(&m.Box), &m.Lane, &m.Seq, &m.Kind, &m.Seen, &m.KeyID, &m.Sealed)
	return m, err
}

// AddMessages implements [journal.Tx]. Each is a statement of its own: the same
// one may be among them twice, and a statement can change a row only once. What
// came again begins again, if it was of no use before.
func (t *tx) AddMessages(_ context.Context, messages []journal.Message) error {
	if len(messages) == 0 {
		return t.err
	}
	var again []string
	for column := range strings.SplitSeq(`state, note, due, tries`, ", ") {
		again = append(again, fmt.Sprintf(`%[1]s = CASE WHEN messages.state = 'dead' OR messages.box = 'out' AND messages.state <> 'waiting'
			THEN excluded.%[1]s ELSE messages.%[1]s END`, column))
	}
	// In one order, so that gateways wait for each other rather than deadlock.
	messages = slices.SortedStableFunc(slices.Values(messages), func(a, b journal.Message) int { return strings.Compare(a.ID, b.ID) })
	for i := range messages {
		t.waiting.Queue(`INSERT INTO messages (`+messageColumns+`)
			SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[],
				$7::BIGINT[], $8::BIGINT[], $9::TEXT[], $10::TEXT[], $11::BIGINT[], $12::TEXT[], $13::BIGINT[],
				$14::BIGINT[], $15::BYTEA[])
			ON CONFLICT (id) DO UPDATE SET seen = messages.seen + excluded.seen, updated = excluded.updated, `+
			strings.Join(again, ", "), messageArrays(messages[i:i+1])...)
	}
	return t.err
}

// LockMessages implements [journal.Tx].
func (t *tx) LockMessages(ctx context.Context, ids []string) ([]journal.Message, error) {
	if len(ids) == 0 {
		return nil, t.err
	}
	return query(ctx, t, scanMessage, `SELECT `+messageColumns+` FROM messages WHERE id = ANY ($1::TEXT[])
		ORDER BY id COLLATE "C" FOR UPDATE`, ids)
}

// LockMessagesDue implements [journal.Tx]. What another gateway has claimed
// meanwhile is left out by the conditions that stand once more beside the lock.
func (t *tx) LockMessagesDue(ctx context.Context, c journal.MessageClaim, now time.Time) ([]journal.Message, error) {
	if len(c.Lanes) == 0 {
		return nil, t.err
	}
	return query(ctx, t, scanMessage, `SELECT `+messageColumns+` FROM messages WHERE id IN
			(SELECT due.id FROM unnest($3::TEXT[]) AS wanted (wanted_lane) CROSS JOIN LATERAL (
				SELECT id FROM messages AS m WHERE `+isWaiting+` AND box = $1 AND lane = wanted_lane AND due > 0 AND due <= $2
					AND (transaction_id = '' OR NOT EXISTS (SELECT 1 FROM messages AS e
						WHERE e.transaction_id = m.transaction_id AND e.box = m.box AND e.seq < m.seq AND e.`+isWaiting+`))
				ORDER BY due, id LIMIT $4) AS due LIMIT $5)
			AND `+isWaiting+` AND due <= $2
		ORDER BY lane, due, id FOR UPDATE SKIP LOCKED`, string(c.Box), micros(now), c.Lanes, c.PerLane, c.Limit)
}

// UpdateMessages implements [journal.Tx].
func (t *tx) UpdateMessages(_ context.Context, messages []journal.Message) error {
	if len(messages) > 0 {
		t.demand(len(messages), `UPDATE messages SET transaction_id = n.transaction_id, state = n.state, note = n.note,
				updated = n.updated, due = n.due, tries = n.tries
			FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[])
				AS n (`+messageChanging+`)
			WHERE messages.id = n.id RETURNING 1`, messageChanges(messages)...)
	}
	return t.err
}

// DeleteMessages implements [journal.Tx].
func (t *tx) DeleteMessages(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := query(ctx, t, pgx.RowTo[string], `DELETE FROM messages WHERE id IN
		(SELECT id FROM messages WHERE state <> 'waiting' AND updated < $1 ORDER BY updated LIMIT $2 FOR UPDATE SKIP LOCKED)
		RETURNING id`, micros(before), limit)
	return len(deleted), err
}

// Message implements [journal.Reader].
func (r reader) Message(ctx context.Context, id string) (journal.Message, error) {
	return one(ctx, r, scanMessage, `SELECT `+messageColumns+` FROM messages WHERE id = $1`, id)
}

// Messages implements [journal.Reader].
func (r reader) Messages(ctx context.Context, f journal.MessageFilter) iter.Seq2[journal.Message, error] {
	return pages(func(last *journal.Message, read int) ([]journal.Message, error) {
		limit := pageSize
		if f.Limit > 0 {
			limit = min(limit, f.Limit-read)
		}
		where, args := messageConditions(f)
		if last != nil {
			args = append(args, micros(last.Created), last.ID)
			where += fmt.Sprintf(" AND (created, id) < ($%d, $%d)", len(args)-1, len(args))
		}
		return all(ctx, r, scanMessage, fmt.Sprintf(`SELECT %s FROM messages WHERE %s ORDER BY created DESC, id DESC LIMIT %d`,
			messageColumns, where, limit), args...)
	})
}

// messageConditions are those of a filter, without its limit.
func messageConditions(f journal.MessageFilter) (where string, args []any) {
	terms := []string{"true"}
	for _, c := range []struct{ column, value string }{
		{"box", string(f.Box)}, {"lane", f.Lane}, {"transaction_id", f.Transaction}, {"state", string(f.State)},
	} {
		if c.value != "" {
			args = append(args, c.value)
			terms = append(terms, fmt.Sprintf("%s = $%d", c.column, len(args)))
		}
	}
	return strings.Join(terms, " AND "), args
}

// CountMessages implements [journal.Reader].
func (r reader) CountMessages(ctx context.Context, f journal.MessageFilter) (int, error) {
	where, args := messageConditions(f)
	limit := "ALL"
	if f.Limit > 0 {
		limit = strconv.Itoa(f.Limit)
	}
	return one(ctx, r, pgx.RowTo[int], fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM messages WHERE %s LIMIT %s) AS found`, where, limit), args...)
}

// MessageStats implements [journal.Reader].
func (r reader) MessageStats(ctx context.Context) ([]journal.MessageStats, error) {
	return all(ctx, r, func(row pgx.CollectableRow) (s journal.MessageStats, err error) {
		err = row.Scan((*string)(&s.Box), &s.Lane, &s.Count, at(&s.Oldest))
		return s, err
	}, `SELECT box, lane, count(*), min(created) FROM messages WHERE `+isWaiting+` GROUP BY box, lane ORDER BY box, lane`)
}
