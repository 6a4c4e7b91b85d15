package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// askAgain is the shortest time between two status calls about a transaction
// that merchants can bring about.
const askAgain = 2 * time.Second

// Why a transaction is not asked about.
var (
	// ErrNoStatus means that no operation tells what became of the transaction,
	// or that it is not to be asked.
	ErrNoStatus = errors.New("there is no status operation for the transaction")
	// ErrAskedOften means that the limit of status calls is reached, or that
	// the transaction was asked about a moment ago.
	ErrAskedOften = errors.New("asked often enough for now")
)

// StatusCall is the account of one status call, or of one that was not made.
type StatusCall struct {
	Account, Operation string // the operation that moved the money
	Transaction        string
	Cause              journal.Cause
	Outcome            nowpay.Outcome // what the answer says; Unknown if nothing
	Findings           []integrity.Finding
	Err                error // why there was no call, or no answer
}

// asking keeps status calls within bounds.
type asking struct {
	calls  singleflight.Group // by transaction
	limits map[string]*rate.Limiter

	mu     sync.Mutex
	recent map[string]time.Time // when a transaction was asked about
}

func newAsking(cfg Config) *asking {
	a := &asking{limits: make(map[string]*rate.Limiter), recent: make(map[string]time.Time)}
	perSecond := rate.Limit(float64(cfg.Reconcile.StatusRate.Requests) / cfg.Reconcile.StatusRate.Per.Seconds())
	for account := range cfg.Accounts {
		a.limits[account] = rate.NewLimiter(perSecond, cfg.Reconcile.StatusRate.Burst)
	}
	return a
}

// often notes that a transaction is asked about, and reports whether it was a
// moment ago already.
func (a *asking) often(id string, now time.Time) bool {
	const many = 10_000
	a.mu.Lock()
	defer a.mu.Unlock()
	if asked, ok := a.recent[id]; ok && now.Sub(asked).Abs() < askAgain {
		return true
	}
	if len(a.recent) >= many {
		clear(a.recent)
	}
	a.recent[id] = now
	return false
}

// revalidate asks the provider what became of a transaction, once for all who
// want to know at the same time, and records what it says. It returns the
// transaction as it is then. Merchants are held back by [ErrAskedOften]; the
// background waits for its turn.
func (g *Gateway) revalidate(ctx context.Context, t journal.Transaction, cause journal.Cause) (journal.Transaction, error) {
	told, err := g.inquire(ctx, t, cause)
	if err != nil {
		return t, err
	}
	return told.Transaction, nil
}

// inquire is revalidate for those who want to hear the provider's words.
func (g *Gateway) inquire(ctx context.Context, t journal.Transaction, cause journal.Cause) (Told, error) {
	if inBackground(cause) { // not while others wait for the same call: they are not as patient
		if err := g.awaitTurn(ctx, t.Account); err != nil {
			return Told{}, err
		}
	} else {
		ctx = context.WithoutCancel(ctx) // what one asks for all is not given up with one
	}
	told, err, _ := g.asking.calls.Do(t.ID, func() (any, error) { return g.askAndRecord(ctx, t, cause) })
	if err != nil {
		return Told{}, err //nolint:wrapcheck // it is from askAndRecord
	}
	return told.(Told), nil
}

func (g *Gateway) askAndRecord(ctx context.Context, t journal.Transaction, cause journal.Cause) (told Told, err error) {
	content, err := g.Journal.Content(&t)
	if err != nil {
		return told, err
	}
	verdict, err := g.ask(ctx, t, knownOf(t, content.Fields), cause)
	if err != nil {
		return told, err
	}
	change := journal.Change{Cause: cause, Attempt: t.Attempt, Checked: true, Evidence: statusEvidence(verdict), Next: g.next, Notify: g.notifies(t.Merchant)}
	switch {
	case cause == journal.ByDailyCheck:
		change.Next = never // once is enough
	case t.State.Final():
		change.Next = nil // the daily check stays when it is
	}
	if verdict.Outcome != nowpay.Unknown {
		change.State, change.ProviderID, change.Reference = journal.State(verdict.Outcome), verdict.ProviderID, verdict.Reference
		change.Integrity = revalidated
	}
	after, err := g.Journal.Change(ctx, t.ID, change)
	if errors.Is(err, journal.ErrTransition) { // something else was quicker
		after, err = g.Journal.Get(ctx, t.ID)
		return Told{after, verdict}, err
	}
	if err == nil && after.Reversed != "" && after.Reversed != t.Reversed {
		g.alarm(ctx, after)
	}
	if err == nil && after.Version != t.Version {
		g.outbox.rouse()
	}
	return Told{after, verdict}, err
}

// alarm calls for a person.
func (g *Gateway) alarm(ctx context.Context, t journal.Transaction) {
	g.Logger.ErrorContext(ctx, "the provider contradicts itself; a person must look at it",
		"transaction", t.ID, "merchant", t.Merchant, "operation", t.Operation, "state", string(t.State), "provider_says", string(t.Reversed))
}

// knownOf is what the provider can be asked by. The day is that of the attempt
// that was sent: the transaction may have been made on an earlier one.
func knownOf(t journal.Transaction, fields map[string]string) nowpay.Known {
	return nowpay.Known{RequestID: t.RequestID, ProviderID: t.ProviderID, Amount: t.Amount, Sent: noonOf(t.Day), Fields: fields}
}

// ask makes one status call, signed and sent as every other request is.
func (g *Gateway) ask(ctx context.Context, t journal.Transaction, known nowpay.Known, cause journal.Cause) (verdict integrity.StatusVerdict, err error) {
	defer func() {
		if !errors.Is(err, ErrNoStatus) && !errors.Is(err, ErrAskedOften) {
			g.observe(ctx, t, cause, verdict, err)
		}
	}()
	verdict.Outcome = nowpay.Unknown
	operation, ok := g.Catalogue.Lookup(t.Operation)
	if !ok || operation.Status == nil || operation.RevalidatePolicy() == nowpay.RevalidateNever {
		return verdict, ErrNoStatus
	}
	status, ok := g.Catalogue.Lookup(operation.Status.Operation)
	if !ok {
		return verdict, ErrNoStatus
	}
	body, err := operation.Status.Body(status, known)
	if err != nil {
		return verdict, err
	}
	ctx, cancel, err := g.mayAsk(ctx, t, cause)
	if err != nil {
		return verdict, err
	}
	defer cancel()
	x := &exchange{account: t.Account, operation: status, body: body}
	asked := integrity.Asked{Operation: operation, StatusOperation: status, Known: known, Live: g.Accounts[t.Account].Live}
	verdict, err = g.askOnce(ctx, x, asked)
	wrongKey := func(f integrity.Finding) bool { return f == integrity.QueryRefused || f == integrity.Unproven }
	if slices.ContainsFunc(verdict.Findings, wrongKey) && g.replaced(ctx, x) {
		verdict, err = g.askOnce(ctx, x, asked)
	}
	return verdict, err
}

// askOnce signs and sends a status query, and reads the answer.
func (g *Gateway) askOnce(ctx context.Context, x *exchange, asked integrity.Asked) (verdict integrity.StatusVerdict, err error) {
	verdict.Outcome = nowpay.Unknown
	signed, credential, problem := g.sign(ctx, x)
	if problem != nil {
		return verdict, x.failure(problem)
	}
	defer credential.Release()
	response, problem := g.send(ctx, x, signed)
	if problem != nil || response == nil {
		return verdict, x.failure(problem)
	}
	answer, err := g.prove(ctx, x, signed, response, credential)
	if err != nil {
		verdict.Findings = []integrity.Finding{integrity.Unproven}
		return verdict, err
	}
	verdict = integrity.CheckStatus(asked, answer, credential.Key())
	if verdict.Leak {
		clear(answer.Body)
	}
	return verdict, nil
}

// failure is why an exchange of the gateway's own has no answer.
func (x *exchange) failure(problem *Problem) error {
	switch {
	case x.record.Err != nil:
		return fmt.Errorf("asking %s: %w", x.operation.Name, x.record.Err)
	case problem != nil:
		return fmt.Errorf("asking %s: %s", x.operation.Name, problem.Code)
	}
	return fmt.Errorf("asking %s: no answer", x.operation.Name)
}

// mayAsk takes one of the account's status calls, and gives the time that it may
// take: at once or not at all for those who only want to know, and within that
// time for an exchange that waits for it. The background has had its turn.
func (g *Gateway) mayAsk(ctx context.Context, t journal.Transaction, cause journal.Cause) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, g.Reconcile.StatusTimeout)
	var err error
	switch limiter := g.asking.limits[t.Account]; {
	case limiter == nil:
		err = fmt.Errorf("asking with account %s: %w", t.Account, ErrNoStatus)
	case inBackground(cause):
	case cause == journal.ByExchange:
		err = g.awaitTurn(ctx, t.Account)
	case g.asking.often(t.ID, g.Now()) || !limiter.Allow():
		err = ErrAskedOften
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return ctx, cancel, nil
}

// awaitTurn waits for one of the account's status calls.
func (g *Gateway) awaitTurn(ctx context.Context, account string) error {
	limiter := g.asking.limits[account]
	if limiter == nil {
		return fmt.Errorf("asking with account %s: %w", account, ErrNoStatus)
	}
	if err := limiter.Wait(ctx); err != nil {
		return fmt.Errorf("waiting for a status call of account %s: %w: %w", account, ErrAskedOften, err)
	}
	return nil
}

func inBackground(cause journal.Cause) bool {
	return cause == journal.ByReconciliation || cause == journal.ByDailyCheck || cause == journal.ByCallback
}

// observe logs and counts a status call.
func (g *Gateway) observe(ctx context.Context, t journal.Transaction, cause journal.Cause, verdict integrity.StatusVerdict, err error) {
	call := StatusCall{
		Account: t.Account, Operation: t.Operation, Transaction: t.ID, Cause: cause,
		Outcome: verdict.Outcome, Findings: verdict.Findings, Err: err,
	}
	g.Observed(call)
	level := slog.LevelInfo
	switch {
	case verdict.Leak:
		level = slog.LevelError
	case len(verdict.Findings) > 0 || err != nil && !errors.Is(err, nowpay.ErrCannotAsk):
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("transaction", t.ID), slog.String("merchant", t.Merchant), slog.String("operation", t.Operation),
		slog.String("cause", string(cause)), slog.String("state", string(t.State)), slog.String("provider_says", string(verdict.Outcome)),
	}
	if len(verdict.Findings) > 0 {
		attrs = append(attrs, slog.Any("findings", verdict.Findings))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	g.Logger.LogAttrs(ctx, level, "status call", attrs...)
}

// statusEvidence is what a status call told, as far as it may be stored in the
// open.
func statusEvidence(v integrity.StatusVerdict) string {
	evidence := map[string]any{"provider_says": v.Outcome, "found": v.Found}
	if len(v.Findings) > 0 {
		evidence["findings"] = v.Findings
	}
	return evidenceText(evidence)
}

// confirm asks for the provider's own status before an answer is passed on, for
// operations that want it, and gives the answer that both allow.
func (g *Gateway) confirm(ctx context.Context, x *exchange, answer Answer) Answer {
	known := knownOf(x.transaction, x.statusFields())
	known.ProviderID = x.record.ProviderID
	began := g.Now()
	verdict, err := g.ask(ctx, x.transaction, known, journal.ByExchange)
	x.record.ProviderDuration += g.Now().Sub(began)
	said := x.record.Outcome
	switch {
	case err == nil && verdict.Outcome == said && said != nowpay.Unknown:
		x.record.Integrity = revalidated
		return answer
	case said == nowpay.Refused && !knowsOf(verdict):
		x.unconfirmed = err != nil || !onlyRefused(verdict.Findings) // to be asked about once more, in the background
		return answer
	case said == nowpay.Unknown && verdict.Outcome == nowpay.Unknown:
		return answer // nothing speaks against it
	case said == nowpay.Pending, said == nowpay.Unknown:
		return x.believe(verdict, answer)
	case said == nowpay.Refused, verdict.Outcome == nowpay.Success, verdict.Outcome == nowpay.Failed:
		x.disputed = journal.State(said)
		x.record.Findings = append(x.record.Findings, integrity.Contradiction)
		contradicted, _ := g.unknown(x, "", "")
		return contradicted
	}
	// Success or failure without a word of the provider's status: not yet.
	x.record.Outcome, x.record.Integrity = nowpay.Pending, unverified
	return ownAnswer(x)
}

// knowsOf reports whether the provider knows of a transaction, or of several, under
// an id of ours.
func knowsOf(v integrity.StatusVerdict) bool {
	ours := []integrity.Finding{integrity.ManyRows, integrity.WrongRequestID, integrity.WrongProviderID}
	return v.Found || slices.ContainsFunc(v.Findings, func(f integrity.Finding) bool { return slices.Contains(ours, f) })
}

// onlyRefused reports whether nothing is wrong with the answer to a status query
// but that the query was refused, as it is with a key that is refused.
func onlyRefused(findings []integrity.Finding) bool {
	return !slices.ContainsFunc(findings, func(f integrity.Finding) bool { return f != integrity.QueryRefused })
}

// believe takes over what the status says of a transaction whose own answer left
// it open.
func (x *exchange) believe(verdict integrity.StatusVerdict, answer Answer) Answer {
	if verdict.Outcome == nowpay.Unknown {
		return answer
	}
	x.record.Outcome, x.record.Integrity = verdict.Outcome, revalidated
	if verdict.ProviderID != "" {
		x.record.ProviderID = verdict.ProviderID
	}
	return composed(x.operation, verdict.Outcome, x.fieldsOf(verdict.Reference))
}

// fieldsOf are the fields of an answer that the gateway composes.
func (x *exchange) fieldsOf(reference string) map[string]string {
	fields := map[string]string{x.operation.AnswerID(): x.ownID, x.operation.ProviderID: x.record.ProviderID}
	if len(x.operation.SuccessNeeds) == 1 && x.record.Outcome == nowpay.Success {
		fields[x.operation.SuccessNeeds[0]] = reference
	}
	return fields
}

// statusFields are the fields of the request that a status query needs.
func (x *exchange) statusFields() map[string]string {
	query := x.operation.Status
	if query == nil {
		return nil
	}
	fields := make(map[string]string)
	for _, list := range [][]nowpay.StatusField{query.Send, query.Match} {
		for _, field := range list {
			name, ok := strings.CutPrefix(string(field.Source), string(nowpay.SourceField))
			if value, there := x.body.Get(name); ok && there {
				fields[name] = value.Text
			}
		}
	}
	return fields
}
