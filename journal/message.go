package journal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Box tells messages apart by where they go.
type Box string

// The boxes.
const (
	Inbox  Box = "in"  // callbacks of the provider
	Outbox Box = "out" // notifications to merchants
)

// MessageState is how far a message is.
type MessageState string

// The states. All but the first are final, until somebody wants it again.
const (
	Waiting MessageState = "waiting"
	Done    MessageState = "done"    // a callback that was worked off, a notification that was delivered
	Dead    MessageState = "dead"    // a callback of no use, a notification that cannot be delivered
	Dropped MessageState = "dropped" // a person does not want it any more
)

// Message is a callback that came in, or a notification that is to go out. Times
// are whole microseconds.
type Message struct {
	ID          string // of a callback: of its content, so that one that is repeated is the same
	Box         Box
	Lane        string // whose it is: nobody's messages hold up those of others
	Transaction string // the ID of the one it is about; "" while none is known
	Seq         int    // the order among the messages of a transaction in a box
	Kind        string // what it says, or of which form it is
	State       MessageState
	Note        string // what became of it last, in words that may be shown
	Created     time.Time
	Updated     time.Time
	Due         time.Time // when to work on it; zero: never
	Tries       int       // how often it was worked on
	Seen        int       // how often it came
	KeyID       int64     // the data key of Sealed
	Sealed      []byte    // the encrypted content; none: it has none
}

// maxNote bounds a note, in bytes.
const maxNote = 200

// MessageClaim asks for messages that are due.
type MessageClaim struct {
	Box     Box
	Lanes   []string // of which messages are wanted, the first ones first
	PerLane int      // at most so many of a lane
	Limit   int      // and all in all
	Lease   time.Duration
}

// MessageFilter selects messages. Zero fields select all.
type MessageFilter struct {
	Box         Box
	Lane        string
	Transaction string
	State       MessageState
	Limit       int
}

// MessageStats is how many messages of a lane wait.
type MessageStats struct {
	Box    Box
	Lane   string
	Count  int
	Oldest time.Time // when the oldest of them was made
}

// Receive records a callback, durably, before it returns nil. One that is there
// already is counted; if it was of no use then, it is looked at again. ID, Box,
// Lane, Transaction, Kind and Due are what the caller says.
func (j *Journal) Receive(ctx context.Context, m Message, content []byte) error {
	key := j.keys.newest()
	if key == nil {
		return errUnopened
	}
	now := truncate(j.options.Now())
	m.State, m.Created, m.Updated, m.Due, m.Seen = Waiting, now, now, truncate(m.Due), 1
	m.KeyID, m.Sealed = key.id, key.aead.Seal(nil, nil, content, messageName(m.ID)) //nolint:gosec // G407: it chooses the nonce itself
	return j.write(ctx, func(ctx context.Context, tx Tx) error { return tx.AddMessages(ctx, []Message{m}) })
}

var errUnopened = fmt.Errorf("%w: it was not opened yet", ErrUnavailable)

// MessageContent decrypts what came.
func (j *Journal) MessageContent(m *Message) ([]byte, error) {
	key, err := j.keys.get(m.KeyID)
	if err != nil {
		return nil, err
	}
	content, err := key.aead.Open(nil, nil, m.Sealed, messageName(m.ID))
	if err != nil {
		return nil, fmt.Errorf("%w: the content of message %s cannot be decrypted", ErrKey, m.ID)
	}
	return content, nil
}

func messageName(id string) []byte { return []byte("nowpay journal message " + id) }

// MessageID is an ID out of a content: of the same length for all, and it tells
// nothing of it to those who have no key.
func (j *Journal) MessageID(content []byte) (string, error) {
	// Always by the first key: a repeated callback must be the same for ever.
	key, err := j.keys.get(1)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("cb_%x", key.sum("message", content)[:sha256.Size/2]), nil
}

// Notify has a transaction's merchant told of it as it is now, once more if it
// was told before. The error is [ErrTransition] unless the transaction is final or
// contradicted.
func (j *Journal) Notify(ctx context.Context, id string) error {
	o := &operation{id: id, notify: true, done: make(chan struct{})}
	if err := j.submit(ctx, o); err != nil {
		return err
	}
	return o.err
}

// NotifyLater is Notify behind what is being written of the transaction at the
// moment, and waits for none of it. (What is written later tells by itself, see
// [Change].)
func (j *Journal) NotifyLater(ctx context.Context, id string) {
	o := &operation{id: id, notify: true, must: true, done: make(chan struct{})}
	select {
	case j.queue <- o:
	case <-j.written:
	case <-ctx.Done():
	}
}

// ClaimMessages takes messages that are due, of each lane those that wait longest
// first, for the time of the lease, which is until their Due. Of the messages of a
// transaction in a box it is always the first that waits.
func (j *Journal) ClaimMessages(ctx context.Context, c MessageClaim) ([]Message, error) {
	var claimed []Message
	err := j.write(ctx, func(ctx context.Context, tx Tx) (err error) {
		now := truncate(j.options.Now())
		if claimed, err = tx.LockMessagesDue(ctx, c, now); err != nil {
			return err
		}
		for i := range claimed {
			claimed[i].Due = truncate(now.Add(c.Lease))
		}
		return tx.UpdateMessages(ctx, claimed)
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// FinishMessage writes what came of working on a message that was claimed:
// Transaction, State, Note, Due and Tries. If the lease is over and it was claimed
// again, or a person was quicker, it stays as it is.
func (j *Journal) FinishMessage(ctx context.Context, claimed, after Message) error {
	_, err := j.changeMessage(ctx, claimed.ID, func(now *Message) bool {
		if now.State != Waiting || !now.Due.Equal(claimed.Due) {
			return false
		}
		now.Transaction, now.State, now.Note, now.Due, now.Tries = after.Transaction, after.State, after.Note, after.Due, after.Tries
		return true
	})
	return err
}

// ReplayMessage has a message worked on again from the beginning.
func (j *Journal) ReplayMessage(ctx context.Context, id string) (Message, error) {
	return j.changeMessage(ctx, id, func(m *Message) bool {
		m.State, m.Due, m.Tries, m.Note = Waiting, j.options.Now(), 0, "to be worked on again"
		return true
	})
}

// DropMessage gives a message up. The error is [ErrTransition] if it does not
// wait.
func (j *Journal) DropMessage(ctx context.Context, id, note string) (Message, error) {
	waited := false
	m, err := j.changeMessage(ctx, id, func(m *Message) bool {
		waited = m.State == Waiting || m.State == Dead
		m.State, m.Note, m.Due = Dropped, note, time.Time{}
		return waited
	})
	if err == nil && !waited {
		err = fmt.Errorf("dropping message %s: %w", id, ErrTransition)
	}
	return m, err
}

// changeMessage changes one message, if change wants to.
func (j *Journal) changeMessage(ctx context.Context, id string, change func(*Message) bool) (m Message, err error) {
	err = j.write(ctx, func(ctx context.Context, tx Tx) error {
		found, err := tx.LockMessages(ctx, []string{id})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			m = Message{}
			return nil
		}
		m = found[0]
		changed := m
		if !change(&changed) {
			return nil
		}
		if changed.State != Waiting {
			changed.Due = time.Time{}
		}
		changed.Note = strings.ToValidUTF8(changed.Note[:min(len(changed.Note), maxNote)], "") // a database may refuse half a letter
		changed.Due, changed.Updated = truncate(changed.Due), truncate(j.options.Now())
		m = changed
		return tx.UpdateMessages(ctx, []Message{changed})
	})
	if err == nil && m.ID == "" {
		err = ErrNotFound
	}
	return m, err
}

// PruneMessages deletes messages that do not wait and have not changed since the
// time, at most limit, and returns how many.
func (j *Journal) PruneMessages(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	err = j.write(ctx, func(ctx context.Context, tx Tx) error {
		deleted, err = tx.DeleteMessages(ctx, before, limit)
		return err
	})
	return deleted, err
}

// Message finds a message by its ID.
func (j *Journal) Message(ctx context.Context, id string) (Message, error) {
	return j.options.Store.Message(ctx, id)
}

// Messages yields messages, the newest first. It ends after the first error.
func (j *Journal) Messages(ctx context.Context, f MessageFilter) iter.Seq2[Message, error] {
	return j.options.Store.Messages(ctx, f)
}

// CountMessages counts messages of a filter, up to its limit.
func (j *Journal) CountMessages(ctx context.Context, f MessageFilter) (int, error) {
	return j.options.Store.CountMessages(ctx, f)
}

// MessageStats counts what waits.
func (j *Journal) MessageStats(ctx context.Context) ([]MessageStats, error) {
	return j.options.Store.MessageStats(ctx)
}

// write runs something of its own in the batch that comes next.
func (j *Journal) write(ctx context.Context, run func(context.Context, Tx) error) error {
	o := &operation{other: run, done: make(chan struct{})}
	if err := j.submit(ctx, o); err != nil {
		return err
	}
	return o.err
}

// notify makes a notification of a row as it is now.
func (b *batch) notify(t *Transaction, kind Kind) {
	b.messages = append(b.messages, Message{
		ID: fmt.Sprintf("%s-%d", t.ID, t.Version), Box: Outbox, Lane: t.Merchant, Transaction: t.ID, Seq: t.Version,
		Kind: string(kind), State: Waiting, Created: b.now, Updated: b.now, Due: b.now, Seen: 1,
	})
}

// notifyAgain is notify for who asks for it.
func (b *batch) notifyAgain(id string) error {
	t := b.rows[id]
	switch {
	case t == nil:
		return ErrNotFound
	case t.Reversed != "":
		b.notify(t, KindReversed)
	case t.State.Final() && !(t.State == Unsent && !t.Attention.IsZero()): // of which somebody says that it was sent
		b.notify(t, Kind(t.State))
	default:
		return fmt.Errorf("telling of a transaction that is %s: %w", t.State, ErrTransition)
	}
	return nil
}

// tellsMerchant is what of a change the merchant is told; "" if nothing.
func tellsMerchant(before, after *Transaction) Kind {
	switch {
	case after.Reversed != "" && after.Reversed != before.Reversed:
		return KindReversed
	case after.State.Final() && after.Reversed == "" && (after.State != before.State || before.Reversed != ""): // also what was reversed, and is not
		return Kind(after.State)
	}
	return ""
}
