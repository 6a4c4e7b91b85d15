package callback

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Callback is what a callback says. Nothing of it is proven.
type Callback struct {
	// Shape is the name of the shape that it was read by.
	Shape string
	// RequestID is the id that was sent to Nowpay, ProviderID Nowpay's own. One of them may be "": it names none.
	RequestID, ProviderID string
	// Reference of the bank or the operator, "" if it names none.
	Reference string
	// Message is a text for people, "" if it has none. It is as it came, without NUL but perhaps with other
	// control characters, and as long as a callback may be.
	Message string
	// Amount is 0 if it names none.
	Amount nowpay.Paise
	// Says is Success, Failed or Pending; Unknown if the shape does not list the text of the state.
	Says nowpay.Outcome
}

// ErrUnreadable is wrapped by all errors of [Table.Read], with a reason that holds nothing of the callback and
// may be logged.
var ErrUnreadable = errors.New("unreadable callback")

// Read reads a callback by the first shape whose state is there, and of whose ids one is there and not blank.
// If that is not the user's own, all shapes that fit too must say the same, and what the first does not name is
// taken from them: they differ in where they look, not in what they mean. All errors wrap [ErrUnreadable].
//
// JSON null is as good as a field that is not there, a number as good as its text. A boolean can only be a
// state, as "true" or "false". An id that is blank is none.
func (t Table) Read(r Received) (Callback, error) {
	find, err := r.fields()
	if err != nil {
		return Callback{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	c, err := t.read(find)
	if err != nil {
		return Callback{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return c, nil
}

func (t Table) read(find lookup) (Callback, error) {
	var c Callback
	for i := range t {
		other, fits, err := t[i].read(find)
		switch {
		case err != nil:
			return Callback{}, fmt.Errorf("reading it as %q: %w", t[i].Name, err)
		case !fits:
		case c.Shape != "" && !c.agrees(other):
			return Callback{}, fmt.Errorf("read as %q it says something else than as %q", other.Shape, c.Shape)
		case c.Shape == "" && t[i].own:
			return other, nil
		default:
			c = c.with(other)
		}
	}
	if c.Shape == "" {
		return Callback{}, errors.New("no shape fits: none has both its state and an id")
	}
	return c, nil
}

// agrees reports whether what both name is the same.
func (c Callback) agrees(other Callback) bool {
	return c.Says == other.Says &&
		agree(c.RequestID, other.RequestID) &&
		agree(c.ProviderID, other.ProviderID) &&
		agree(c.Amount, other.Amount)
}

func agree[T comparable](a, b T) bool {
	var none T
	return a == none || b == none || a == b
}

// with gives the callback with what only other names.
func (c Callback) with(other Callback) Callback {
	return Callback{
		Shape:      cmp.Or(c.Shape, other.Shape),
		RequestID:  cmp.Or(c.RequestID, other.RequestID),
		ProviderID: cmp.Or(c.ProviderID, other.ProviderID),
		Reference:  cmp.Or(c.Reference, other.Reference),
		Message:    cmp.Or(c.Message, other.Message),
		Amount:     cmp.Or(c.Amount, other.Amount),
		Says:       cmp.Or(c.Says, other.Says),
	}
}

// read gives what the shape makes of the fields, and false if it does not fit.
func (s *Shape) read(find lookup) (c Callback, fits bool, err error) {
	r := reader{find: find}
	state, ok := r.state(s.State)
	if !ok {
		return Callback{}, false, r.err
	}
	c = Callback{
		Shape:      s.Name,
		Says:       s.says(state),
		RequestID:  r.id(s.RequestID),
		ProviderID: r.id(s.ProviderID),
	}
	if c.RequestID == "" && c.ProviderID == "" {
		return Callback{}, false, r.err
	}
	c.Reference = r.id(s.Reference)
	c.Message = r.message(s.Message)
	c.Amount = r.amount(s.Amount)
	return c, r.err == nil, r.err
}

// reader reads fields at their paths and keeps the first error.
type reader struct {
	find lookup
	err  error
}

// value gives the scalar at a path, and false if there is none.
func (r *reader) value(path string) (nowpay.Value, bool) {
	if path == "" || r.err != nil {
		return nowpay.Value{}, false
	}
	v, ok, err := r.find(path)
	switch {
	case err != nil:
		r.fail(path, err.Error())
	case !ok || v.Kind == nowpay.Null:
	case v.Kind == nowpay.Object || v.Kind == nowpay.Array:
		r.fail(path, "an object or an array where a text was expected")
	default:
		return v, true
	}
	return nowpay.Value{}, false
}

func (r *reader) state(path string) (string, bool) {
	v, ok := r.value(path)
	if v.Kind == nowpay.Bool {
		return string(v.Raw), ok
	}
	return v.Text, ok
}

// text gives the text of a string or a number, "" if there is none.
func (r *reader) text(path string) string {
	v, ok := r.value(path)
	if ok && v.Kind != nowpay.String && v.Kind != nowpay.Number {
		r.fail(path, "neither a string nor a number")
	}
	return v.Text
}

// id reads an id or a reference.
func (r *reader) id(path string) string {
	text := r.text(path)
	if !isFit(text) {
		r.fail(path, "longer than 256 bytes or not printable")
	}
	if isBlank(text) {
		return ""
	}
	return text
}

func (r *reader) message(path string) string {
	text := r.text(path)
	if strings.ContainsRune(text, 0) { // not every store can keep it, and forms cannot have it
		r.fail(path, "NUL in a text")
	}
	return text
}

func (r *reader) amount(path string) nowpay.Paise {
	v, ok := r.value(path)
	if !ok {
		return 0
	}
	amount, err := v.Amount()
	if err != nil {
		r.fail(path, err.Error())
	}
	return amount
}

func (r *reader) fail(path, reason string) {
	if r.err == nil {
		r.err = fmt.Errorf("field %q: %s", path, reason)
	}
}
