package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// Callbacks says whose callbacks are taken, and what they may do.
type Callbacks struct {
	// From are the networks from which the provider calls. None: nobody's callbacks
	// are taken.
	From []netip.Prefix
	// Proof reports whether a request carries the secret that was registered with
	// the URL. Nil: there is none.
	Proof func(CallbackRequest) bool
	// Settle lets a callback settle a transaction where no status operation can be
	// asked. Otherwise a person is called for.
	Settle bool
	// Shapes are the forms of callbacks that are understood.
	Shapes callback.Table
}

const (
	// strayRate and strayBurst bound how many callbacks are recorded each second of
	// which nothing is known: unreadable ones, and those of no transaction. What is
	// beyond is counted and forgotten.
	strayRate  = 5
	strayBurst = 1000
	// maxCallbacks bounds how many different callbacks of one transaction are
	// recorded.
	maxCallbacks = 50
	// refusalRate and refusalBurst bound how many refused requests are logged each
	// second. All are counted.
	refusalRate  = 1
	refusalBurst = 20
	// unreadable is the kind of a callback that has no known form.
	unreadable = "unreadable"
)

// CallbackRequest is a callback as it was received.
type CallbackRequest struct {
	Source netip.Addr // invalid if it could not be relied on
	Method string
	Path   string
	Query  string
	Early  bool // came before the TLS handshake was complete
	Header http.Header
	Body   io.Reader
}

// What becomes of a callback request.
const (
	CallbackRefused   = "refused"   // from a wrong address, or without the secret
	CallbackBroken    = "broken"    // it did not arrive whole
	CallbackForgotten = "forgotten" // one of very many, of no transaction or of the same one
	CallbackLost      = "lost"      // it could not be recorded
	CallbackRecorded  = "recorded"
)

// Callback takes a callback, records it, and says so. It believes nothing of it.
func (g *Gateway) Callback(ctx context.Context, r CallbackRequest) Answer {
	result, kind, err := g.takeCallback(ctx, r)
	g.CalledBack(result)
	if result != CallbackRefused || g.refusals.Allow() {
		g.logCallback(ctx, r, result, kind, err)
	}
	status := http.StatusOK
	switch result {
	case CallbackRefused:
		status = http.StatusForbidden
	case CallbackBroken:
		status = http.StatusBadRequest
	case CallbackLost:
		status = http.StatusServiceUnavailable
	}
	return Answer{Status: status, Header: http.Header{"Cache-Control": {"no-store"}}}
}

func (g *Gateway) logCallback(ctx context.Context, r CallbackRequest, result, kind string, err error) {
	level := slog.LevelInfo
	switch result {
	case CallbackRefused, CallbackForgotten, CallbackBroken:
		level = slog.LevelWarn
	case CallbackLost:
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("result", result), slog.String("source", r.Source.String())}
	if kind != "" {
		attrs = append(attrs, slog.String("shape", kind))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	g.Logger.LogAttrs(ctx, level, "callback", attrs...)
}

// takeCallback does what Callback says, and tells what became of it.
func (g *Gateway) takeCallback(ctx context.Context, r CallbackRequest) (result, kind string, err error) {
	if !g.mayCallBack(r) {
		return CallbackRefused, "", nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, callback.MaxBody+1))
	if err != nil {
		return CallbackBroken, "", fmt.Errorf("reading the body: %w", err)
	}
	received := callback.Received{Method: r.Method, ContentType: r.Header.Get("Content-Type"), Query: r.Query, Body: body}
	says, err := g.Callbacks.Shapes.Read(received)
	m := journal.Message{Box: journal.Inbox, Kind: says.Shape, Due: g.Now()}
	if err != nil {
		m.Kind = unreadable
	} else if t, findErr := g.matching(ctx, says); findErr == nil {
		m.Lane, m.Transaction = t.Account, t.ID
	} else if !errors.Is(findErr, journal.ErrNotFound) {
		return CallbackLost, m.Kind, findErr
	}
	if forget, forgetErr := g.tooMany(ctx, m); forgetErr != nil {
		return CallbackLost, m.Kind, forgetErr
	} else if forget {
		return CallbackForgotten, m.Kind, err
	}
	if recordErr := g.recordCallback(ctx, m, received); recordErr != nil {
		return CallbackLost, m.Kind, recordErr
	}
	g.inbox.rouse()
	return CallbackRecorded, m.Kind, err
}

// tooMany reports whether a callback is one of very many.
func (g *Gateway) tooMany(ctx context.Context, m journal.Message) (bool, error) {
	if m.Transaction == "" {
		return !g.strays.Allow(), nil
	}
	n := 0
	for _, err := range g.Journal.Messages(ctx, journal.MessageFilter{Box: journal.Inbox, Transaction: m.Transaction, Limit: maxCallbacks}) {
		if err != nil {
			return false, err
		}
		n++
	}
	return n >= maxCallbacks, nil
}

// mayCallBack reports whether a callback is the provider's, as far as its address
// and the secret tell.
func (g *Gateway) mayCallBack(r CallbackRequest) bool {
	source := r.Source.Unmap().WithZone("")
	return g.Callbacks != nil && source.IsValid() && !r.Early &&
		slices.ContainsFunc(g.Callbacks.From, func(p netip.Prefix) bool { return p.Contains(source) }) &&
		(g.Callbacks.Proof == nil || g.Callbacks.Proof(r))
}

// recordCallback records a callback durably. What is too large to be one is cut.
func (g *Gateway) recordCallback(ctx context.Context, m journal.Message, received callback.Received) error {
	digest := received.Digest()
	var err error
	if m.ID, err = g.Journal.MessageID(digest[:]); err != nil {
		return err
	}
	received.Body = received.Body[:min(len(received.Body), callback.MaxBody)]
	received.Query = received.Query[:min(len(received.Query), callback.MaxBody)]
	content, err := json.Marshal(received)
	if err != nil {
		return fmt.Errorf("writing a callback as JSON: %w", err)
	}
	return g.Journal.Receive(ctx, m, content)
}

// matching finds the one transaction that a callback is about: all ids and the
// amount that it names, as far as they are known, must be the transaction's. The
// error is [journal.ErrNotFound] if there is none, or more than one.
func (g *Gateway) matching(ctx context.Context, c callback.Callback) (found journal.Transaction, err error) {
	filter := journal.Filter{ProviderID: c.ProviderID, Limit: 10}
	if c.RequestID != "" {
		filter = journal.Filter{RequestID: c.RequestID, Limit: 10}
	}
	n := 0
	for t, err := range g.Journal.List(ctx, filter) {
		if err != nil {
			return found, err
		}
		if fits(t, c) {
			found, n = t, n+1
		}
	}
	if n != 1 {
		return journal.Transaction{}, journal.ErrNotFound
	}
	return found, nil
}

func fits(t journal.Transaction, c callback.Callback) bool {
	return (c.ProviderID == "" || t.ProviderID == "" || c.ProviderID == t.ProviderID) &&
		(c.Amount == 0 || t.Amount == 0 || c.Amount == t.Amount)
}
