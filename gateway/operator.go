package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// ErrByHand means that what a person says of a transaction cannot be recorded
// as it stands.
var ErrByHand = errors.New("settling by hand")

// Told is what the provider told of a transaction.
type Told struct {
	Transaction journal.Transaction     // after that was recorded
	Verdict     integrity.StatusVerdict // of the provider's answer
}

// ByHand is what a person says of a transaction.
type ByHand struct {
	// State is success, failed or refused. Required.
	State journal.State `json:"state"`
	// From is the state that the person saw; any other is left as it is. Empty:
	// any.
	From journal.State `json:"from,omitempty"`
	// Actor is the person, Reason why it is so. Both are required, and kept for
	// ever; neither should say anything about a customer.
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	// ProviderID and Reference (the bank's) replace what is known, unless empty.
	ProviderID string `json:"provider_id,omitempty"`
	Reference  string `json:"reference,omitempty"`
}

// What a person may write.
const (
	maxActor  = 100 // bytes
	maxReason = 1000
	maxID     = 100
)

// check refuses what would be of no use to whoever reads it later.
func (h *ByHand) check() error {
	switch {
	case h.State != journal.Success && h.State != journal.Failed && h.State != journal.Refused:
		return fmt.Errorf("%w: the state must be success, failed or refused", ErrByHand)
	case strings.TrimSpace(h.Actor) == "":
		return fmt.Errorf("%w: it takes the name of a person", ErrByHand)
	case strings.TrimSpace(h.Reason) == "":
		return fmt.Errorf("%w: it takes a reason", ErrByHand)
	}
	for _, text := range []struct {
		name, value string
		most        int
	}{
		{"name", h.Actor, maxActor},
		{"reason", h.Reason, maxReason},
		{"provider's id", h.ProviderID, maxID},
		{"bank's reference", h.Reference, maxID},
	} {
		if len(text.value) > text.most || strings.ContainsFunc(text.value, notPrintable) {
			return fmt.Errorf("%w: the %s must be one line of at most %d bytes of text", ErrByHand, text.name, text.most)
		}
	}
	return nil
}

// Revalidate asks the provider about a transaction for an operator, within the
// limits that hold for merchants. An error means that it was not asked, or gave
// no answer: [journal.ErrNotFound], [journal.ErrTransition] while the request is
// under way, [ErrNoStatus], [nowpay.ErrCannotAsk], [ErrAskedOften], or why the
// call failed.
func (g *Gateway) Revalidate(ctx context.Context, id string) (Told, error) {
	t, err := g.Journal.Get(ctx, id)
	switch {
	case err != nil:
		return Told{}, err
	case t.State == journal.Created || t.State == journal.Sent:
		return Told{}, fmt.Errorf("%w: %w", journal.ErrTransition, errUnderWay)
	}
	return g.inquire(ctx, t, journal.ByRevalidation)
}

// SettleByHand records what a person says of a transaction that is not under
// way, and returns it as it was before and is after. Its errors wrap
// [ErrByHand], [journal.ErrNotFound], [journal.ErrTransition] (also where it
// says nothing new) or [journal.ErrUnavailable].
func (g *Gateway) SettleByHand(ctx context.Context, id string, h ByHand) (before, after journal.Transaction, err error) {
	if err := h.check(); err != nil {
		return before, after, err
	}
	before, err = g.Journal.Get(ctx, id)
	switch {
	case err != nil:
		return before, after, err
	case h.From != "" && h.From != before.State:
		return before, after, fmt.Errorf("%w: it is %s, not %s", journal.ErrTransition, before.State, h.From)
	}
	after, err = g.Journal.Change(ctx, id, journal.Change{
		State: h.State, From: before.State, Cause: journal.ByOperator, Actor: h.Actor, Reason: h.Reason,
		ProviderID: h.ProviderID, Reference: h.Reference, Next: g.next, Notify: g.notifies(before.Merchant),
	})
	g.outbox.rouse()
	if err == nil && after.Version == before.Version {
		err = fmt.Errorf("%w: it is %s already, and nothing was recorded", journal.ErrTransition, after.State)
	}
	return before, after, err
}
