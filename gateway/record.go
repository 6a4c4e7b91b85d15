package gateway

import (
	"context"
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
// of the metrics. It holds no body and no secret; personal fields are masked.
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
	Fields    []slog.Attr // the operation's own fields, personal ones masked

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

	maybeSent bool // a byte may have left
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

// noteBody keeps the operation's own fields for the log. Fields that the
// catalogue does not know are left out: they may hold anything.
func (r *Record) noteBody(operation *nowpay.Operation, body *nowpay.Body) {
	for _, field := range operation.Fields {
		value, ok := body.Get(field.Name)
		if !ok {
			continue
		}
		text := value.Text
		switch {
		case operation.IsPersonal(field.Name):
			text = mask(text)
		case len(text) > shownLength:
			text = strings.ToValidUTF8(text[:shownLength], "") // without half a letter
		}
		r.Fields = append(r.Fields, slog.String(field.Name, text))
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

// log writes the record as one line.
func (r *Record) log(ctx context.Context, logger *slog.Logger) {
	level := r.level()
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 24)
	attrs = append(attrs,
		slog.String("exchange", r.ID),
		slog.String("merchant", r.Merchant),
		slog.String("source", addressText(r.Source)),
		slog.String("operation", r.Operation),
		slog.Bool("allowed", r.admitted()),
		slog.String("rule", r.Rule),
		slog.String("reason", r.Reason),
		slog.String("problem", string(r.Problem)),
		slog.Duration("duration", r.Duration),
	)
	if r.RequestID != "" {
		attrs = append(attrs, slog.String("request_id", r.RequestID))
	}
	if r.Transaction != "" {
		attrs = append(attrs, slog.String("transaction", r.Transaction), slog.Bool("repeat", r.Repeat))
	}
	if r.Amount != 0 {
		attrs = append(attrs, slog.String("amount", r.Amount.String()))
	}
	if len(r.Fields) > 0 {
		attrs = append(attrs, slog.GroupAttrs("fields", r.Fields...))
	}
	if r.Outcome != "" {
		attrs = append(attrs, r.outcomeAttrs()...)
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	logger.LogAttrs(ctx, level, "exchange", attrs...)
}

// admitted reports whether the request passed all that is asked of it before
// something is signed: the whitelist, and the reading of its body.
func (r *Record) admitted() bool { return r.Problem == "" || r.Outcome != "" }

// outcomeAttrs are the attributes of an exchange that came as far as signing.
func (r *Record) outcomeAttrs() []slog.Attr {
	return []slog.Attr{
		slog.String("outcome", string(r.Outcome)),
		slog.String("integrity", r.Integrity),
		slog.Any("findings", r.Findings),
		slog.String("provider_id", r.ProviderID),
		slog.Int("provider_status", r.ProviderStatus),
		slog.Duration("provider_duration", r.ProviderDuration),
		slog.Int64("credential_version", r.CredentialVersion),
		slog.String("egress_address", addressText(r.EgressAddress)),
	}
}

// level makes what needs a person's eye stand out: a refusal by the provider
// (key, address, balance or a missing field), an unknown outcome, a failed check.
func (r *Record) level() slog.Level {
	switch {
	case slices.Contains(r.Findings, integrity.KeyLeak):
		return slog.LevelError
	case len(r.Findings) > 0, r.Outcome == nowpay.Unknown, r.Outcome == nowpay.Refused, r.Outcome == nowpay.Unsent:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// addressText is the address, or nothing where none was used.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
