package gateway

import (
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// What the header Nowpay-Gateway-Integrity says.
const (
	verified    = "verified"    // every check passed
	revalidated = "revalidated" // and the provider's own status says the same
	unverified  = "unverified"  // a check failed, or there was nothing to check
)

// Record is the account of one exchange: the line in the log, and the source
// of the metrics. It shows no body and no secret; personal fields are masked.
type Record struct {
	ID       string
	Start    time.Time
	Duration time.Duration // of the whole exchange

	// The decision.
	Merchant  string     // "" if the caller was not identified
	Source    netip.Addr // unmapped, without a zone; invalid if it could not be relied on
	Operation string     // "" if there is no such operation
	Rule      string     // the rule that decided
	Reason    string     // why not, as a problem code; "" if allowed
	Problem   Code       // what the merchant was refused with; "" if the provider's answer was passed on

	// What was asked for; set once the body was read.
	RequestID string // the merchant's own, without a prefix
	Amount    nowpay.Paise

	// Transaction is the one that the exchange began or repeats; "" if it moves
	// no money, or was refused before it was recorded.
	Transaction string
	Repeat      bool // the request ID was known: nothing was sent

	// What became of it; set once the request was signed.
	CredentialVersion int64
	EgressAddress     netip.Addr
	ProviderStatus    int           // HTTP status; 0 without an answer
	ProviderDuration  time.Duration // from the first byte sent to the last received, with the status call that confirms it
	ProviderID        string
	Outcome           nowpay.Outcome
	Integrity         string
	Findings          []integrity.Finding
	Err               error // why there is no answer, for the log alone

	maybeSent bool              // a byte may have left
	called    *nowpay.Operation // whose fields are shown of body; nil: none was read
	body      *nowpay.Body
}

// note takes over what the whitelist decided.
func (r *Record) note(d whitelist.Decision) {
	r.Rule, r.Reason = d.Rule, string(d.Reason)
	if d.Merchant != nil {
		r.Merchant = d.Merchant.Name
	}
}

// shownLength bounds what the log repeats of a field that is not personal.
const shownLength = 64

// HasFields reports whether there are any [Record.Fields].
func (r *Record) HasFields() bool {
	return r.called != nil && slices.ContainsFunc(r.called.Fields, func(f nowpay.Field) bool {
		_, ok := r.body.Get(f.Name)
		return ok
	})
}

// Fields yields names and values of the operation's own fields as they were sent,
// personal ones masked. Fields that the catalogue does not know are left out: they
// may hold anything.
func (r *Record) Fields() iter.Seq2[string, string] {
	return func(yield func(name, text string) bool) {
		if r.called == nil {
			return
		}
		for i := range r.called.Fields {
			name := r.called.Fields[i].Name
			value, ok := r.body.Get(name)
			if !ok {
				continue
			}
			text := value.Text
			switch {
			case r.called.IsPersonal(name):
				text = mask(text)
			case len(text) > shownLength:
				text = strings.ToValidUTF8(text[:shownLength], "") // without half a letter
			}
			if !yield(name, text) {
				return
			}
		}
	}
}

// mask hides a personal value. The last four characters of a long number are
// kept: operators compare them with what a customer reads out.
func mask(text string) string {
	const kept, shortest = 4, 9
	if len(text) < shortest {
		return "***"
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return "***"
		}
	}
	return "***" + text[len(text)-kept:]
}

// Admitted reports whether the request passed all that is asked of it before
// something is signed: the whitelist, and the reading of its body.
func (r *Record) Admitted() bool { return r.Problem == "" || r.Outcome != "" }

// Level makes what needs a person's eye stand out: a refusal by the provider
// (key, address, balance or a missing field), an unknown outcome, a failed check.
func (r *Record) Level() slog.Level {
	switch {
	case slices.Contains(r.Findings, integrity.KeyLeak):
		return slog.LevelError
	case len(r.Findings) > 0, r.Outcome == nowpay.Unknown, r.Outcome == nowpay.Refused, r.Outcome == nowpay.Unsent:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}
