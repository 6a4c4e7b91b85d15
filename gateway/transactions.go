package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// TransactionView is a transaction as its merchant sees it.
type TransactionView struct {
	RequestID   string `json:"request_id"` // the merchant's own
	Transaction string `json:"transaction"`
	Operation   string `json:"operation"`
	// State is "sent" while the request is under way, then the outcome.
	State      journal.State `json:"state"`
	Outcome    journal.State `json:"outcome,omitempty"` // absent while the state is "sent"
	Final      bool          `json:"final"`
	Amount     string        `json:"amount,omitempty"` // rupees
	ProviderID string        `json:"provider_id,omitempty"`
	Reference  string        `json:"reference,omitempty"` // the bank's
	Integrity  string        `json:"integrity,omitempty"`
	// Reversed is what the provider said later, against a final state.
	Reversed journal.State `json:"reversed,omitempty"`
	// NeedsPerson is set if it could not be settled in time.
	NeedsPerson bool        `json:"needs_person"`
	Created     time.Time   `json:"created"`
	Updated     time.Time   `json:"updated"`
	Events      []EventView `json:"events"` // the newest, at most 100
	// EventsLeftOut is how many older ones there are.
	EventsLeftOut int `json:"events_left_out,omitempty"`

	// Asked is set in the answer to a revalidation, and says whether the
	// provider was asked; if not, Detail says why.
	Asked  *bool  `json:"asked,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Notified is set in the answer to a call that asks to be notified, and says
	// whether that will happen; if not, Detail says why.
	Notified *bool `json:"notified,omitempty"`
	// Match is set if the merchant said what it takes for true.
	Match *bool `json:"match,omitempty"`
}

// EventView is an event as a merchant sees it.
type EventView struct {
	At    time.Time     `json:"at"`
	Event journal.Kind  `json:"event"`
	Cause journal.Cause `json:"cause"`
}

// claim is what a merchant, or its customer's browser, takes for true.
type claim struct {
	amount, status string
}

const (
	transactionsPath = "/transactions/"
	revalidatePath   = "/revalidate"
	notifyPath       = "/notify"
	// maxClaim bounds the body of a revalidation.
	maxClaim = 4096
	// maxRequestID bounds a merchant's own request ID, in bytes: it is indexed, and
	// logged.
	maxRequestID = 256
	// maxEvents bounds the timeline that is shown: whoever repeats a request that
	// cannot be sent makes it longer and longer.
	maxEvents = 100
)

// Transactions answers a merchant about one of its own transactions:
//
//	GET  /transactions/{request_id}
//	POST /transactions/{request_id}/revalidate
//	POST /transactions/{request_id}/notify
func (g *Gateway) Transactions(ctx context.Context, r Request) Answer {
	x := g.begin(r)
	x.record.ID = g.NewID()
	answer, problem := g.transactions(ctx, x, r)
	return g.close(ctx, x, answer, problem)
}

func (g *Gateway) transactions(ctx context.Context, x *exchange, r Request) (Answer, *Problem) {
	if problem := refuseEarly(x, r); problem != nil {
		return Answer{}, problem
	}
	merchant, problem := g.decide(ctx, x, r, "")
	if problem != nil {
		return Answer{}, problem
	}
	if strings.HasSuffix(r.Target, revalidatePath) {
		place, problem := g.enter(x)
		if problem != nil {
			return Answer{}, problem
		}
		defer place.GiveBack()
	}
	if problem := g.throttle(merchant); problem != nil {
		return Answer{}, problem
	}
	id, action, problem := parseTransactionTarget(r)
	if problem != nil {
		return Answer{}, problem
	}
	var claimed *claim
	if action != "" {
		if claimed, problem = g.readClaim(x, r, action); problem != nil {
			return Answer{}, problem
		}
	}
	if problem := g.useNonce(ctx, x); problem != nil {
		return Answer{}, problem
	}
	t, problem := g.ownTransaction(ctx, x, merchant, id)
	if problem != nil {
		return Answer{}, problem
	}
	var asked, told error
	switch action {
	case revalidatePath:
		t, asked = g.askForMerchant(ctx, t)
	case notifyPath:
		told = g.notifyAgain(ctx, t)
	}
	view, err := g.viewOf(ctx, merchant.RequestIDPrefix, t)
	if err != nil {
		x.record.Err = err
		return Answer{}, &Problem{Code: JournalUnavailable, Detail: "the transaction cannot be read now"}
	}
	switch action {
	case notifyPath:
		view.tellNotified(told)
	case revalidatePath:
		view.tellAsked(asked)
		if claimed != nil {
			match := claimed.matches(t)
			view.Match = &match
		}
	}
	return jsonAnswer(view), nil
}

// parseTransactionTarget reads the path. It must be exactly one of the three; the
// action of the first is "".
func parseTransactionTarget(r Request) (id, action string, problem *Problem) {
	rest, _ := strings.CutPrefix(r.Target, transactionsPath)
	for _, path := range []string{revalidatePath, notifyPath} {
		if before, ok := strings.CutSuffix(rest, path); ok {
			rest, action = before, path
			break
		}
	}
	id, err := url.PathUnescape(rest)
	if err != nil || id == "" || !isRequestID(id) || strings.ContainsAny(rest, "/?") {
		return "", "", &Problem{Code: NotFound, Detail: "write GET /transactions/<request id>, or POST /transactions/<request id>/revalidate or …/notify"}
	}
	allowed := []string{http.MethodGet, http.MethodHead}
	if action != "" {
		allowed = []string{http.MethodPost}
	}
	if !slices.Contains(allowed, r.Method) {
		return "", "", &Problem{Code: MethodNotAllowed, Detail: "transactions are read with GET; they are revalidated, and told of once more, with POST", Allow: allowed[0]}
	}
	return id, action, nil
}

// isRequestID reports whether a text may be a request ID.
func isRequestID(text string) bool {
	return len(text) <= maxRequestID && !strings.ContainsFunc(text, notPrintable)
}

// notPrintable is for what is in no id, and what a database may choke on.
func notPrintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// ownTransaction finds a transaction of the merchant. That of another merchant
// is not there.
func (g *Gateway) ownTransaction(ctx context.Context, x *exchange, merchant *whitelist.Merchant, id string) (journal.Transaction, *Problem) {
	x.record.RequestID = id
	t, err := g.Journal.Find(ctx, journal.RequestKey{Account: merchant.Account, RequestID: merchant.RequestIDPrefix + id})
	switch {
	case errors.Is(err, journal.ErrNotFound), err == nil && t.Merchant != merchant.Name:
		return t, &Problem{Code: NotFound, Detail: "the merchant has no transaction with this request ID"}
	case err != nil:
		x.record.Err = err
		return t, &Problem{Code: JournalUnavailable, Detail: "the transaction cannot be read now"}
	}
	x.record.Transaction = t.ID
	return t, nil
}

// askForMerchant asks the provider about a transaction, unless it is certain
// that there is nothing to ask, and tells why it did not.
func (g *Gateway) askForMerchant(ctx context.Context, t journal.Transaction) (journal.Transaction, error) {
	if t.State == journal.Created || t.State == journal.Sent {
		return t, errUnderWay
	}
	return g.revalidate(ctx, t, journal.ByRevalidation)
}

var errUnderWay = errors.New("the request is still under way")

// tellAsked says whether the provider was asked, in words for the merchant.
func (v *TransactionView) tellAsked(err error) {
	asked := err == nil
	v.Asked = &asked
	switch {
	case asked:
	case errors.Is(err, errUnderWay):
		v.Detail = "the request is still under way; ask again when it is answered"
	case errors.Is(err, ErrNoStatus):
		v.Detail = "the provider has no status call for this operation that the gateway knows"
	case errors.Is(err, nowpay.ErrCannotAsk):
		v.Detail = "the provider gave no id of its own to ask by; the transaction is settled otherwise"
	case errors.Is(err, ErrAskedOften):
		v.Detail = "the provider was asked often enough for now; ask again later"
	default:
		v.Detail = "the provider gave no answer that can be trusted; ask again later"
	}
}

// notifyAgain has the merchant told of a transaction once more.
func (g *Gateway) notifyAgain(ctx context.Context, t journal.Transaction) error {
	if !g.notifies(t.Merchant) {
		return errNoNotifyURL
	}
	err := g.Journal.Notify(ctx, t.ID)
	if err == nil {
		g.outbox.rouse()
	}
	return err
}

var errNoNotifyURL = errors.New("the merchant has no notify URL")

// tellNotified says whether the merchant will be notified, in words for it.
func (v *TransactionView) tellNotified(err error) {
	will := err == nil
	v.Notified = &will
	switch {
	case will:
	case errors.Is(err, errNoNotifyURL):
		v.Detail = "no notify URL is configured for the merchant"
	case errors.Is(err, journal.ErrTransition):
		v.Detail = "the transaction is not final; it is told of when it is"
	default:
		v.Detail = "the notification cannot be recorded now; ask again later"
	}
}

// viewOf is a transaction as its merchant, who has that prefix, sees it, with its
// events.
func (g *Gateway) viewOf(ctx context.Context, prefix string, t journal.Transaction) (*TransactionView, error) {
	content, err := g.Journal.Content(&t)
	if err != nil {
		return nil, err
	}
	events, err := g.Journal.NewestEvents(ctx, t.ID, maxEvents)
	if err != nil {
		return nil, err
	}
	view := &TransactionView{
		RequestID: strings.TrimPrefix(t.RequestID, prefix), Transaction: t.ID, Operation: t.Operation,
		State: t.State, Final: t.State.Final(), ProviderID: t.ProviderID, Reference: g.reference(t, content), Integrity: t.Integrity,
		Reversed: t.Reversed, NeedsPerson: !t.Attention.IsZero(), Created: t.Created.UTC(), Updated: t.Updated.UTC(),
		Events: make([]EventView, 0, len(events)),
	}
	switch {
	case t.State == journal.Created || t.State == journal.Sent:
	case t.State == journal.Unsent && (t.Reversed != "" || !t.Attention.IsZero()): // somebody says that it was sent
		view.Outcome, view.Final = journal.Unknown, false
	default:
		view.Outcome = t.State
	}
	if t.Amount > 0 {
		view.Amount = t.Amount.String()
	}
	if len(events) > 0 {
		view.EventsLeftOut = events[0].Seq
	}
	for _, event := range events {
		view.Events = append(view.Events, EventView{event.At.UTC(), event.Kind, event.Cause})
	}
	return view, nil
}

// reference is the bank's reference: as a status query told it, or as it stands
// in the answer.
func (g *Gateway) reference(t journal.Transaction, content journal.Content) string {
	operation, ok := g.Catalogue.Lookup(t.Operation)
	if content.Reference != "" || content.Answer == nil || !ok || len(operation.SuccessNeeds) == 0 {
		return content.Reference
	}
	body, err := nowpay.ParseJSON(content.Answer.Body, nowpay.Limits{Bytes: len(content.Answer.Body)})
	if err != nil {
		return ""
	}
	value, _ := body.Get(operation.SuccessNeeds[0])
	return value.Text
}

// readClaim reads the optional body of a revalidation.
func (g *Gateway) readClaim(x *exchange, r Request, action string) (*claim, *Problem) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxClaim+1))
	switch {
	case err != nil:
		return nil, &Problem{Code: MalformedBody, Detail: "the body did not arrive whole"}
	case len(raw) > maxClaim:
		return nil, &Problem{Code: BodyTooLarge, Detail: "the body is an amount and a status"}
	}
	if problem := g.checkDigest(x, r.Header, raw); problem != nil {
		return nil, problem
	}
	if len(raw) == 0 || action != revalidatePath {
		return nil, nil
	}
	body, err := nowpay.ParseJSON(raw, nowpay.Limits{Bytes: maxClaim})
	if err != nil {
		return nil, &Problem{Code: MalformedBody, Detail: err.Error()}
	}
	c := new(claim)
	said := false
	for name, value := range body.Members() {
		said = true
		text := value.Kind == nowpay.String || value.Kind == nowpay.Number
		switch {
		case name == "amount" && text:
			c.amount = value.Text
		case name == "status" && text:
			c.status = value.Text
		default:
			return nil, &Problem{Code: InvalidField, Field: name, Detail: "the body is {\"amount\":…,\"status\":…}, each a string or a number"}
		}
	}
	if !said {
		return nil, nil
	}
	return c, nil
}

// matches compares a claim with what is recorded. What is not claimed is not
// compared, and what is not known matches nothing.
func (c *claim) matches(t journal.Transaction) bool {
	if c.amount != "" {
		amount, err := nowpay.ParseAmount(c.amount)
		if err != nil || t.Amount == 0 || amount != t.Amount {
			return false
		}
	}
	if c.status == "" {
		return true
	}
	state := t.State
	if t.Reversed != "" {
		return false // the provider contradicts itself: nothing is certain
	}
	switch strings.ToLower(c.status) {
	case "1", "success":
		return state == journal.Success
	case "0", "failed", "failure":
		return state == journal.Failed || state == journal.Refused
	case "2", "pending":
		return state == journal.Pending || state == journal.Unknown || state == journal.Sent
	case string(journal.Refused), string(journal.Unknown), string(journal.Unsent):
		return string(state) == strings.ToLower(c.status)
	}
	return false
}
