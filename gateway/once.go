package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// deadlineMargin is what an exchange may take beyond the time of its calls until
// its transaction counts as given up. Too short a time does no harm: an outcome
// that comes late is still recorded.
const deadlineMargin = 5 * time.Second

// once carries out an operation that moves money at most once for each request
// ID: record, send, settle, answer.
func (g *Gateway) once(ctx context.Context, x *exchange) (Answer, *Problem) {
	begun, problem := g.intend(ctx, x)
	if problem != nil {
		return Answer{}, problem
	}
	x.transaction = begun.Transaction
	x.record.Transaction = begun.Transaction.ID
	if !begun.Fresh {
		x.record.Repeat = true
		return g.repeat(ctx, x)
	}
	// From here on a merchant that hangs up changes nothing.
	ctx = context.WithoutCancel(ctx)
	answer, problem := g.carryConfirmed(ctx, x)
	return g.settle(ctx, x, answer, problem)
}

// intend records the intent. After a problem nothing may be sent.
func (g *Gateway) intend(ctx context.Context, x *exchange) (journal.Begun, *Problem) {
	if ctx.Err() != nil {
		return journal.Begun{}, x.cancelled()
	}
	begun, err := g.Journal.Begin(ctx, journal.Intent{
		ID: x.record.ID, Account: x.account, RequestID: x.sent.RequestID,
		Merchant: x.merchant.Name, Operation: x.operation.Name, Amount: x.sent.Amount,
		Canonical:  x.body.Canonical(),
		Fields:     x.statusFields(),
		Deadline:   g.Now().Add(g.Egress.Timeout() + g.Reconcile.StatusTimeout + deadlineMargin),
		DailyLimit: x.merchant.DailyAmount,
		Next:       g.next,
	})
	switch {
	case err == nil:
		return begun, nil
	case errors.Is(err, journal.ErrReused):
		return begun, &Problem{Code: RequestIDReused, Detail: "give every payment a request ID of its own; the one that has this ID is not changed by this request"}
	case errors.Is(err, journal.ErrDailyLimit):
		return begun, &Problem{Code: LimitExceeded, Detail: "the amount would exceed what the merchant may spend on an Indian calendar day", RetryAfter: untilTomorrow(g.Now())}
	case ctx.Err() != nil:
		return begun, x.cancelled()
	}
	x.record.Err = err
	return begun, &Problem{Code: JournalUnavailable, Detail: "nothing was sent; the same request ID may be sent again"}
}

// untilTomorrow is the time until the next Indian calendar day.
func untilTomorrow(now time.Time) time.Duration {
	return nextMidnight(now).Sub(now)
}

// carryConfirmed is carry and, where the operation wants it, the provider's word
// on the answer. A bug in it leaves an outcome to be settled.
func (g *Gateway) carryConfirmed(ctx context.Context, x *exchange) (answer Answer, problem *Problem) {
	defer func() {
		if p := recover(); p != nil {
			answer, problem = g.recovered(ctx, x, p)
		}
	}()
	answer, problem = g.carry(ctx, x)
	if problem == nil && x.operation.RevalidatePolicy() == nowpay.RevalidateAlways {
		answer = g.confirm(ctx, x, answer)
	}
	if x.keyMayBeWrong() {
		g.suspectKey(ctx, x)
	}
	return answer, problem
}

// settle records the outcome and answers. What could not be recorded in time is
// not told: the answer is then that the outcome is not known, which is what a
// repeat would be told if this process ended now.
func (g *Gateway) settle(ctx context.Context, x *exchange, answer Answer, problem *Problem) (Answer, *Problem) {
	change := journal.Change{
		State: journal.State(x.record.Outcome), Cause: journal.ByExchange, Attempt: x.transaction.Attempt,
		ProviderID: x.record.ProviderID, Integrity: x.record.Integrity, Evidence: x.evidence(), Next: g.next,
		Disputed: x.disputed, NotifyLate: g.notifies(x.merchant.Name),
	}
	if x.unconfirmed {
		change.Next = func(journal.Transaction) time.Time { return g.Now().Add(g.jitter(firstCheck)) }
	}
	if problem == nil && x.record.Outcome != nowpay.Unknown {
		change.Answer = &journal.Answer{ContentType: answer.Header.Get("Content-Type"), Body: answer.Body}
	}
	settled, err := g.Journal.Settle(ctx, x.transaction.ID, change)
	if err == nil && settled.Reversed != "" { // something else has settled it meanwhile, otherwise
		g.alarm(ctx, settled)
	}
	switch {
	case err == nil && settled.State == change.State:
		return answer, problem
	case problem != nil: // nothing was sent: that stays true
		x.record.Err = errors.Join(x.record.Err, err)
		return answer, problem
	}
	x.record.Err = errors.Join(x.record.Err, err)
	if g.notifies(x.merchant.Name) { // of what is told now as not known
		g.Journal.NotifyLater(ctx, x.transaction.ID)
	}
	return g.unknown(x, "", "")
}

// evidence is what led to the outcome, as far as it may be stored in the open.
func (x *exchange) evidence() string {
	evidence := struct {
		CredentialVersion int64               `json:"credential_version,omitzero"`
		EgressAddress     netip.Addr          `json:"egress_address,omitzero"`
		Error             string              `json:"error,omitzero"`
		Findings          []integrity.Finding `json:"findings,omitempty"`
		ProviderStatus    int                 `json:"provider_status,omitzero"`
	}{
		CredentialVersion: x.record.CredentialVersion, EgressAddress: x.record.EgressAddress,
		Findings: x.record.Findings, ProviderStatus: x.record.ProviderStatus,
	}
	if x.record.Err != nil {
		evidence.Error = x.record.Err.Error()
	}
	return evidenceText(evidence)
}

func evidenceText(evidence any) string {
	raw, err := json.Marshal(evidence)
	if err != nil { // cannot happen: numbers, texts and lists of them
		return "{}"
	}
	return string(raw)
}

// repeat answers a request whose ID is known. Nothing is sent, but for asking
// what became of it.
func (g *Gateway) repeat(ctx context.Context, x *exchange) (Answer, *Problem) {
	switch x.transaction.State {
	case journal.Created, journal.Sent:
		return Answer{}, &Problem{
			Code: InFlight, Detail: "the first request with this ID is not answered yet; ask again with the same request ID",
			RetryAfter: min(retryAfter, max(time.Second, x.transaction.Deadline.Sub(g.Now()))),
		}
	case journal.Pending, journal.Unknown:
		if x.transaction.Reversed != "" {
			break // a person decides
		}
		if asked, err := g.revalidate(ctx, x.transaction, journal.ByRevalidation); err == nil {
			x.transaction = asked
		}
	case journal.Success, journal.Failed, journal.Refused, journal.Unsent:
	}
	return g.replay(x)
}

// replay answers from the journal.
func (g *Gateway) replay(x *exchange) (Answer, *Problem) {
	t := &x.transaction
	x.record.Outcome, x.record.ProviderID, x.record.Integrity = nowpay.Outcome(t.State), t.ProviderID, t.Integrity
	unsure := contradicted(t)
	if unsure {
		x.record.Outcome = nowpay.Unknown
	}
	content, err := g.Journal.Content(t)
	if err != nil {
		x.record.Err = err
		return Answer{}, &Problem{Code: JournalUnavailable, Detail: "the request ID is known, and nothing was sent again; its answer cannot be read now"}
	}
	var answer Answer
	if stored := content.Answer; stored != nil && !unsure {
		answer = Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {stored.ContentType}}, Body: stored.Body}
	} else {
		answer = composed(x.operation, x.record.Outcome, x.fieldsOf(content.Reference))
	}
	if t.State.Final() && !unsure {
		answer.Header.Set(headerReplayed, "true")
	}
	return answer, nil
}

// contradicted reports whether the provider speaks against the state, so that "no
// money has moved" must not be told until a person has decided. That money has
// moved stays true for those who were told so.
func contradicted(t *journal.Transaction) bool {
	switch t.State {
	case journal.Unsent: // or it would have begun again
		return true
	case journal.Failed, journal.Refused:
		return t.Reversed == journal.Success || t.Reversed == journal.Pending
	case journal.Created, journal.Sent, journal.Success, journal.Pending, journal.Unknown:
	}
	return false
}
