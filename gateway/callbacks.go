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
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// Callbacks says whose callbacks are taken, and what they may do.
type Callbacks struct {
	// From are the networks from which the provider calls. None: nobody's callbacks
	// are taken.
	From []netip.Prefix
	// Proof reports whether a request carries the secret that was registered with
	// the URL. Nil: there is none.
	Proof func(CallbackRequest) bool
	// Signed asks for a signature that the verifier of one of the accounts accepts.
	Signed bool
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
	// recorded, and maxExact those that have both of its ids.
	maxCallbacks = 50
	maxExact     = 500
	// maxCandidates bounds the transactions with the id of a callback: one of each
	// account.
	maxCandidates = 1000
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
	Target string // the request target, byte for byte
	Scheme string // http or https, and the Host header
	Host   string
	Early  bool // came before the TLS handshake was complete
	Header http.Header
	Body   io.Reader
}

// What becomes of a callback request.
const (
	CallbackRefused   = "refused"   // from a wrong address, or without the secret or the signature
	CallbackBroken    = "broken"    // it did not arrive whole
	CallbackForgotten = "forgotten" // one of very many, of no transaction or of the same one
	CallbackLost      = "lost"      // it could not be recorded
	CallbackRecorded  = "recorded"
)

// Callback takes a callback, records it, and says so. It believes nothing of it.
func (g *Gateway) Callback(ctx context.Context, r CallbackRequest) Answer {
	result, kind, err := g.takeCallback(ctx, r)
	g.CalledBack(result)
	if result != CallbackRefused || g.refusals.AllowN(g.Now(), 1) {
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
	received := receivedCallback{Received: callback.Received{
		Method: r.Method, ContentType: strings.Join(r.Header.Values("Content-Type"), ", "), Query: r.Query, Body: body,
	}}
	if g.Callbacks.Signed {
		received.Accounts, err = g.provenCallback(ctx, r, body)
		switch {
		case errors.Is(err, secret.ErrUnavailable): // it may be genuine
			return CallbackLost, "", err
		case err != nil:
			return CallbackRefused, "", err
		}
	}
	says, err := g.Callbacks.Shapes.Read(received.Received)
	m, bothIDs := journal.Message{Box: journal.Inbox, Kind: says.Shape, Due: g.Now()}, false
	if err != nil {
		m.Kind = unreadable
	} else if t, findErr := g.matching(ctx, says, received.Accounts); findErr == nil {
		m.Lane, m.Transaction, bothIDs = t.Account, t.ID, exact(t, says)
	} else if !errors.Is(findErr, journal.ErrNotFound) {
		return CallbackLost, m.Kind, findErr
	}
	if forget, forgetErr := g.tooMany(ctx, m, bothIDs); forgetErr != nil {
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

// tooMany reports whether a callback is one of very many. One with both of the
// transaction's ids is not kept out by those that have not.
func (g *Gateway) tooMany(ctx context.Context, m journal.Message, bothIDs bool) (bool, error) {
	if m.Transaction == "" {
		return !g.strays.AllowN(g.Now(), 1), nil
	}
	most := maxCallbacks
	if bothIDs {
		most = maxExact
	}
	n, err := g.Journal.CountMessages(ctx, journal.MessageFilter{Box: journal.Inbox, Transaction: m.Transaction, Limit: most})
	return n >= most, err
}

// mayCallBack reports whether a callback is the provider's, as far as its address
// and the secret tell.
func (g *Gateway) mayCallBack(r CallbackRequest) bool {
	source := r.Source.Unmap().WithZone("")
	return g.Callbacks != nil && source.IsValid() && !r.Early &&
		slices.ContainsFunc(g.Callbacks.From, func(p netip.Prefix) bool { return p.Contains(source) }) &&
		(g.Callbacks.Proof == nil || g.Callbacks.Proof(r))
}

// receivedCallback is a callback as it is recorded.
type receivedCallback struct {
	callback.Received
	// Accounts are those by whose keys it is signed; nil: it need not be.
	Accounts []string `json:",omitempty"`
}

// identity tells repeated callbacks: those of other accounts are others.
func (r receivedCallback) identity() []byte {
	digest := r.Digest()
	return append(digest[:], strings.Join(r.Accounts, " ")...)
}

// recordCallback records a callback durably. What is too large to be one is cut.
func (g *Gateway) recordCallback(ctx context.Context, m journal.Message, received receivedCallback) error {
	var err error
	if m.ID, err = g.Journal.MessageID(received.identity()); err != nil {
		return err
	}
	const most = callback.MaxBody + 1 // it stays too large
	received.Body, received.Query = received.Body[:min(len(received.Body), most)], received.Query[:min(len(received.Query), most)]
	content, err := json.Marshal(received)
	if err != nil {
		return fmt.Errorf("writing a callback as JSON: %w", err)
	}
	return g.Journal.Receive(ctx, m, content)
}

// matching finds the one transaction that a callback is about: all ids and the
// amount that it names, as far as they are known, must be the transaction's. Where
// several accounts have one with its request ID, that with both ids is meant. Only
// those of the accounts count, unless there are none. The error wraps
// [journal.ErrNotFound] if there is none, or more than one.
func (g *Gateway) matching(ctx context.Context, c callback.Callback, accounts []string) (journal.Transaction, error) {
	filter := journal.Filter{ProviderID: c.ProviderID}
	if c.RequestID != "" {
		filter = journal.Filter{RequestID: c.RequestID}
	}
	filter.Limit = maxCandidates
	var fitting, exactly []journal.Transaction
	for t, err := range g.Journal.List(ctx, filter) {
		switch {
		case err != nil:
			return t, err
		case !fits(t, c) || accounts != nil && !slices.Contains(accounts, t.Account):
		case exact(t, c):
			exactly = append(exactly, t)
		default:
			fitting = append(fitting, t)
		}
	}
	switch {
	case len(exactly) == 1:
		return exactly[0], nil
	case len(exactly) == 0 && len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return journal.Transaction{}, errSeveral
	}
	return journal.Transaction{}, journal.ErrNotFound
}

// errSeveral means that a callback fits several transactions, as long as the
// provider's ids of them are not known.
var errSeveral = fmt.Errorf("%w: there are several", journal.ErrNotFound)

// fits reports whether nothing that a callback names is another transaction's.
func fits(t journal.Transaction, c callback.Callback) bool {
	return (c.ProviderID == "" || t.ProviderID == "" || c.ProviderID == t.ProviderID) &&
		(c.Amount == 0 || t.Amount == 0 || c.Amount == t.Amount)
}

// exact reports whether a callback names both ids of the transaction.
func exact(t journal.Transaction, c callback.Callback) bool {
	return c.RequestID != "" && c.RequestID == t.RequestID && c.ProviderID != "" && c.ProviderID == t.ProviderID
}
