package nowpay

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Revalidate says when Nowpay is asked, server to server, what became of a transaction.
type Revalidate string

const (
	// RevalidateNever asks by itself never; what is pending waits for a callback or a person.
	RevalidateNever Revalidate = "never"
	// RevalidatePending asks about what is pending or unknown.
	RevalidatePending Revalidate = "pending"
	// RevalidateAlways asks also before an answer is passed on, and believes no success that is not confirmed.
	RevalidateAlways Revalidate = "always"
)

// StatusQuery says how to ask what became of a transaction, and how to read the answer. It must not be
// modified once its operation is in a [Catalogue].
type StatusQuery struct {
	// Operation that is called, such as "pan/coupon_status". It moves no money.
	Operation string
	// Send are the fields of the request.
	Send []StatusField
	// Rows is the field of the answer with an array of rows, of which one is the transaction's; the answer's
	// own `success` is then about the query. "" if the answer is about the transaction itself.
	Rows string
	// Match are fields of the row that must be there and equal. The same text is demanded, but for amounts,
	// which are compared as such, and for what is not known of the transaction, which is not compared.
	Match []StatusField
	// State is the field of the row that tells the state.
	State string
	// States says what its texts mean: [Success], [Failed] or [Pending]. All others mean nothing.
	States map[string]Outcome
	// ProviderID and Reference are fields of the row with Nowpay's id and the bank's reference; "" if it has none.
	ProviderID, Reference string
}

// StatusField is a field of a status request or its answer, and what of the transaction it holds.
type StatusField struct {
	Name   string
	Source StatusSource
}

// StatusSource names something that is known of a transaction.
type StatusSource string

const (
	// SourceRequestID is the request ID as it was sent to Nowpay.
	SourceRequestID StatusSource = "request_id"
	// SourceProviderID is Nowpay's id. Without an answer it is not known.
	SourceProviderID StatusSource = "provider_id"
	// SourceAmount is the amount in rupees, as in "1.50".
	SourceAmount StatusSource = "amount"
	// SourceDay is the Indian calendar day of the request, as in "2026-11-26": a query may find today's only.
	SourceDay StatusSource = "day"
	// SourceDayBefore is the day before: clocks differ about midnight.
	SourceDayBefore StatusSource = "day_before"
	// SourceDayAfter is the day after.
	SourceDayAfter StatusSource = "day_after"
	// SourceField begins the name of a field of the transaction's own request, as in "field:psaid".
	SourceField StatusSource = "field:"
)

// HistoryQuery asks operation as the provider documents it for its recharge history: by Nowpay's id, which rows
// call Clientid. The page lists no states; those here are reported, and what is not among them means nothing.
func HistoryQuery(operation string) *StatusQuery {
	return &StatusQuery{
		Operation: operation,
		Send:      []StatusField{{"ourrequestid", SourceProviderID}},
		Rows:      "data",
		Match:     []StatusField{{"Clientid", SourceProviderID}, {"yourreqid", SourceRequestID}, {"amount", SourceAmount}},
		State:     "status",
		States:    map[string]Outcome{"1": Success, "0": Failed, "2": Pending},

		ProviderID: "Clientid",
		Reference:  "op_referenceid",
	}
}

// RevalidatePolicy says when Nowpay is asked about the operation's transactions: never "".
func (o *Operation) RevalidatePolicy() Revalidate {
	switch {
	case o.Revalidate != "":
		return o.Revalidate
	case o.Status != nil:
		return RevalidatePending
	}
	return RevalidateNever
}

// Known is what is known of a transaction that Nowpay is asked about. What is zero is not known.
type Known struct {
	// RequestID as it was sent to Nowpay, with its prefix if it has one.
	RequestID string
	// ProviderID is Nowpay's id.
	ProviderID string
	// Amount of the request.
	Amount Paise
	// Sent is when the request was sent.
	Sent time.Time
	// Fields are the texts of the request's own fields that the query names.
	Fields map[string]string
}

// Text is what the source holds, false if that is not known.
func (k *Known) Text(source StatusSource) (text string, ok bool) {
	name, isField := source.field()
	days, isDay := source.days()
	switch {
	case isField:
		text = k.Fields[name]
	case isDay && !k.Sent.IsZero():
		text = IndianDay(k.Sent.Add(time.Duration(days) * 24 * time.Hour))
	case source == SourceRequestID:
		text = k.RequestID
	case source == SourceProviderID:
		text = k.ProviderID
	case source == SourceAmount && k.Amount != 0:
		text = k.Amount.String()
	}
	return text, text != ""
}

// IndianDay is the calendar day in India, as in "2026-11-26".
func IndianDay(t time.Time) string {
	const ahead = 5*time.Hour + 30*time.Minute // all year round
	return t.UTC().Add(ahead).Format(time.DateOnly)
}

// ErrCannotAsk means that what Nowpay would have to be asked by is not known of the transaction.
var ErrCannotAsk = errors.New("what to ask by is not known")

// Body is the request that asks about a transaction, without username and key; status is the operation that is
// called. The error wraps [ErrCannotAsk], or is a *[FieldError] if status does not take what is known.
func (q *StatusQuery) Body(status *Operation, k Known) (*Body, error) {
	members := make([]Member, len(q.Send))
	for i, f := range q.Send {
		text, ok := k.Text(f.Source)
		if !ok {
			return nil, fmt.Errorf("asking %s: %w: %s", q.Operation, ErrCannotAsk, f.Source)
		}
		members[i] = Member{Name: f.Name, Value: []byte(text)}
	}
	body, err := newBody(status.Encoding, members)
	if err == nil {
		err = status.CheckFields(body)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", q.Operation, err)
	}
	return body, nil
}

func newBody(e Encoding, members []Member) (*Body, error) {
	if e == Form {
		return ParseForm((&Body{encoding: Form}).Splice(nil, members...), Limits{})
	}
	empty := &Body{encoding: JSON, raw: []byte("{}"), head: len("{")}
	return ParseJSON(empty.Splice(nil, members...), Limits{})
}

// field is the name of the field of the transaction's request that the source is.
func (s StatusSource) field() (name string, ok bool) {
	name, ok = strings.CutPrefix(string(s), string(SourceField))
	return name, ok
}

// days is how far the day that the source is lies behind the day of the request.
func (s StatusSource) days() (n int, ok bool) {
	switch s {
	case SourceDayBefore:
		return -1, true
	case SourceDay:
		return 0, true
	case SourceDayAfter:
		return 1, true
	default:
		return 0, false
	}
}

func (s StatusSource) isID() bool { return s == SourceRequestID || s == SourceProviderID }

func (o *Operation) validateStatus() error {
	switch o.Revalidate {
	case "", RevalidateNever:
	case RevalidatePending, RevalidateAlways:
		if o.Status == nil {
			return fmt.Errorf("to revalidate %q, say how: it has no status query", o.Revalidate)
		}
	default:
		return fmt.Errorf("revalidate must be %q, %q or %q", RevalidateNever, RevalidatePending, RevalidateAlways)
	}
	switch {
	case o.Status == nil:
		return nil
	case !o.MovesMoney:
		return errors.New("only an operation that moves money has a status query")
	case !isRoute(o.Status.Operation) || o.Status.Operation == o.Name:
		return errors.New("the status operation must be another operation, named group/action")
	}
	if err := o.Status.validate(o); err != nil {
		return fmt.Errorf("status query: %w", err)
	}
	return nil
}

// validate checks the query about transactions of o.
func (q *StatusQuery) validate(o *Operation) error {
	if len(q.Send) == 0 {
		return errors.New("it must send a field: what to ask by")
	}
	if err := validateStatusFields("send", q.Send, o); err != nil {
		return err
	}
	if err := validateStatusFields("match", q.Match, o); err != nil {
		return err
	}
	for _, f := range q.Match {
		if _, isDay := f.Source.days(); isDay {
			return fmt.Errorf("match %q: a day can be sent, but is not compared", f.Name)
		}
	}
	for _, name := range []string{q.Rows, q.ProviderID, q.Reference} {
		if name != "" && !isName(name) {
			return fmt.Errorf("%q is not a field name", name)
		}
	}
	if !isName(q.State) {
		return errors.New("it must name the field that tells the state")
	}
	if err := validateStates(q.States); err != nil {
		return err
	}
	return q.validateIDs()
}

func validateStatusFields(word string, fields []StatusField, o *Operation) error {
	for i, f := range fields {
		if !isName(f.Name) || isCredential(f.Name) {
			return fmt.Errorf("%s: %q is not a field name that can be used here", word, f.Name)
		}
		same := func(other StatusField) bool { return strings.EqualFold(other.Name, f.Name) }
		if slices.ContainsFunc(fields[:i], same) {
			return fmt.Errorf("%s: field %q is there twice", word, f.Name)
		}
		if err := f.Source.validate(o); err != nil {
			return fmt.Errorf("%s %q: %w", word, f.Name, err)
		}
	}
	return nil
}

// validate checks that transactions of o can have what the source names.
func (s StatusSource) validate(o *Operation) error {
	if name, ok := s.field(); ok {
		if _, known := o.field(name); !known {
			return fmt.Errorf("%q is not a field of the operation", name)
		}
		return nil
	}
	switch s {
	case SourceRequestID, SourceProviderID, SourceDay, SourceDayBefore, SourceDayAfter:
		return nil
	case SourceAmount:
		if o.Amount == "" {
			return errors.New("the operation has no amount")
		}
		return nil
	default:
		return fmt.Errorf("unknown source %q: it must be %s, %s, %s, %s, %s, %s or %s and a field's name", s,
			SourceRequestID, SourceProviderID, SourceAmount, SourceDay, SourceDayBefore, SourceDayAfter, SourceField)
	}
}

func validateStates(states map[string]Outcome) error {
	if len(states) == 0 {
		return errors.New("it must say which texts of the state mean success, failed or pending")
	}
	for _, text := range slices.Sorted(maps.Keys(states)) {
		if text == "" {
			return errors.New("an empty state means nothing")
		}
		switch outcome := states[text]; outcome {
		case Success, Failed, Pending:
		default:
			return fmt.Errorf("the state %q must mean %q, %q or %q", text, Success, Failed, Pending)
		}
	}
	return nil
}

// validateIDs checks that the answer can be told from one about another transaction, and from a refusal.
func (q *StatusQuery) validateIDs() error {
	hasID := func(fields []StatusField) bool {
		return slices.ContainsFunc(fields, func(f StatusField) bool { return f.Source.isID() })
	}
	switch matched := hasID(q.Match); {
	case matched:
		return nil
	case q.Rows != "":
		return fmt.Errorf("it must match %s or %s: rows may be of other transactions", SourceRequestID, SourceProviderID)
	case strings.EqualFold(q.State, "success"):
		return fmt.Errorf("it must match %s or %s: the answer to a wrong key has a success of 0 too", SourceRequestID, SourceProviderID)
	case !hasID(q.Send):
		return fmt.Errorf("it must send or match %s or %s", SourceRequestID, SourceProviderID)
	}
	return nil
}
