package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// messageDesk is what an operator can do with messages.
type messageDesk interface {
	// messages yields the messages of a filter, newest first, until the first
	// error.
	messages(ctx context.Context, f journal.MessageFilter) iter.Seq2[message, error]
	// message finds one, and also decrypts what a callback says if body is set.
	message(ctx context.Context, id string, body bool) (messageDetails, error)
	// replay has a message worked on again from the beginning.
	replay(ctx context.Context, id string) (message, error)
	// drop gives up a message that waits or is dead.
	drop(ctx context.Context, id, reason string) (message, error)
	// sendTest sends a merchant a notification of a transaction that never was.
	sendTest(ctx context.Context, merchant string) (delivery, error)
}

// message is a callback or a notification as operators see it. Nothing in it tells
// anything about a person.
type message struct {
	Message     string               `json:"message"` // of a notification: as its merchant knows it
	Box         journal.Box          `json:"box"`
	Created     time.Time            `json:"created"`
	Updated     time.Time            `json:"updated"`
	Merchant    string               `json:"merchant,omitempty"` // of a notification
	Account     string               `json:"account,omitempty"`  // of a callback's transaction
	Transaction string               `json:"transaction,omitempty"`
	Kind        string               `json:"kind,omitempty"`  // of a notification
	Shape       string               `json:"shape,omitempty"` // of a callback
	State       journal.MessageState `json:"state"`
	Note        string               `json:"note,omitempty"`
	Tries       int                  `json:"tries"`
	NextTry     time.Time            `json:"next_try,omitzero"`
	Received    int                  `json:"received,omitempty"` // how often a callback came
}

const (
	// notificationPrefix is what merchants see in front of a message's ID.
	notificationPrefix = "msg_"
	// callbackPrefix is what the ID of every callback begins with.
	callbackPrefix = "cb_"
	// maxDropReason is how many bytes of a reason the journal keeps.
	maxDropReason = 200
)

func newMessage(m journal.Message) message {
	shown := message{
		Message: m.ID, Box: m.Box, Created: m.Created.UTC(), Updated: m.Updated.UTC(), Transaction: m.Transaction,
		State: m.State, Note: m.Note, Tries: m.Tries, NextTry: m.Due.UTC(),
	}
	if m.Box == journal.Inbox {
		shown.Account, shown.Shape, shown.Received = m.Lane, m.Kind, m.Seen
	} else {
		shown.Message, shown.Merchant, shown.Kind = notificationPrefix+m.ID, m.Lane, m.Kind
	}
	return shown
}

// messageDetails are all of a message.
type messageDetails struct {
	message
	Content *callbackContent `json:"content,omitempty"`
}

// callbackContent is what is stored encrypted of a callback, since it tells
// something about a person.
type callbackContent struct {
	Method      string `json:"method"`
	ContentType string `json:"content_type,omitempty"`
	Query       string `json:"query,omitempty"`
	Body        string `json:"body,omitempty"`
	Bytes       []byte `json:"bytes,omitempty"` // instead of a body that is no text in UTF-8
}

// delivery is what became of a test.
type delivery struct {
	Delivered bool   `json:"delivered"`
	Result    string `json:"result"`
	Error     string `json:"error,omitempty"` // more of it
}

// What cannot be done with messages.
var (
	errNoMessage = errors.New("there is no such message")
	errDropped   = errors.New("only a message that waits, or is dead, can be dropped")
	errReason    = fmt.Errorf("it takes a reason, in one line of at most %d bytes of text", maxDropReason)
	errNoContent = errors.New("only a callback has a body; that of a notification is made of its transaction when it is sent")
	errNoURL     = errors.New("the merchant has no notify URL")
)

func (d *ownDesk) messages(ctx context.Context, f journal.MessageFilter) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for m, err := range d.journal.Messages(ctx, f) {
			if !yield(newMessage(m), err) {
				return
			}
		}
	}
}

func (d *ownDesk) message(ctx context.Context, id string, body bool) (messageDetails, error) {
	m, err := d.journal.Message(ctx, messageKey(id))
	if err != nil {
		return messageDetails{}, ofMessage(err)
	}
	shown := messageDetails{message: newMessage(m)}
	if body {
		shown.Content, err = d.callbackContent(&m)
	}
	return shown, err
}

// callbackContent decrypts what came.
func (d *ownDesk) callbackContent(m *journal.Message) (*callbackContent, error) {
	if m.Box != journal.Inbox {
		return nil, errNoContent
	}
	raw, err := d.journal.MessageContent(m)
	if err != nil {
		return nil, err
	}
	var received callback.Received
	if json.Unmarshal(raw, &received) != nil { // whose error would quote it
		return nil, errors.New("reading a callback: it is not as this gateway records them")
	}
	c := &callbackContent{Method: received.Method, ContentType: received.ContentType, Query: received.Query}
	if utf8.Valid(received.Body) {
		c.Body = string(received.Body)
	} else {
		c.Bytes = received.Body
	}
	return c, nil
}

func (d *ownDesk) replay(ctx context.Context, id string) (message, error) {
	m, err := d.journal.ReplayMessage(ctx, messageKey(id))
	if err != nil {
		return message{}, ofMessage(err)
	}
	return newMessage(m), nil
}

func (d *ownDesk) drop(ctx context.Context, id, reason string) (message, error) {
	if strings.TrimSpace(reason) == "" || len(reason) > maxDropReason || shown(reason) != reason {
		return message{}, errReason
	}
	m, err := d.journal.DropMessage(ctx, messageKey(id), reason)
	switch {
	case errors.Is(err, journal.ErrTransition):
		return message{}, fmt.Errorf("%w: it is %s", errDropped, m.State)
	case err != nil:
		return message{}, ofMessage(err)
	}
	return newMessage(m), nil
}

func (d *ownDesk) sendTest(ctx context.Context, merchant string) (delivery, error) {
	if d.gateway.Notify[merchant] == nil {
		return delivery{}, fmt.Errorf("%w: %q", errNoURL, merchant)
	}
	result, err := d.gateway.SendTest(ctx, merchant)
	if err != nil {
		return delivery{}, err
	}
	told := delivery{Delivered: result.Delivered(), Result: result.String()}
	if result.Err != nil {
		told.Error = result.Err.Error()
	}
	return told, nil
}

// messageKey is the ID of a message in the journal.
func messageKey(id string) string { return strings.TrimPrefix(id, notificationPrefix) }

// ofMessage is an error of the journal, whose own words are about transactions.
func ofMessage(err error) error {
	if errors.Is(err, journal.ErrNotFound) {
		return errNoMessage
	}
	return err
}

// parseMessageFilter is parseFilter for messages. A lane is an account or a
// merchant, so that the box must be known.
func parseMessageFilter(query url.Values) (journal.MessageFilter, error) {
	f := journal.MessageFilter{Box: journal.Box(query.Get("box"))}
	lane := map[journal.Box]string{journal.Inbox: "account", journal.Outbox: "merchant"}[f.Box]
	if lane == "" {
		return f, fmt.Errorf("box: must be %s or %s", journal.Inbox, journal.Outbox)
	}
	err := readQuery(query, func(name, value string) (err error) {
		switch name {
		case "box":
		case lane:
			f.Lane = value
		case "transaction":
			f.Transaction = value
		case "state":
			f.State, err = parseMessageState(value)
		case "limit":
			f.Limit, err = parseCount(value, "messages")
		default:
			err = errNoFilter
		}
		return err
	})
	return f, err
}

// messageQuery is the query that parseMessageFilter reads as the filter.
func messageQuery(f journal.MessageFilter) url.Values {
	query := url.Values{"box": {string(f.Box)}}
	lane := "merchant"
	if f.Box == journal.Inbox {
		lane = "account"
	}
	for name, value := range map[string]string{lane: f.Lane, "transaction": f.Transaction, "state": string(f.State)} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	return query
}

func parseMessageState(text string) (journal.MessageState, error) {
	switch state := journal.MessageState(text); state {
	case journal.Waiting, journal.Done, journal.Dead, journal.Dropped:
		return state, nil
	default:
		return "", fmt.Errorf("there is no state %q", text)
	}
}
