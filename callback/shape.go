package callback

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Shape says where a callback of one form has what, as data. Paths are member names joined by dots, as in
// "result.orderId": at most 8 names of ASCII letters, digits, '_' and '-', and 256 bytes. "" means that it has
// none. A shape must not be modified once it is in a [Table].
type Shape struct {
	// Name is 1 to 32 of a-z, 0-9, '_' and '-', and unique in a table.
	Name string
	// RequestID is the path of the request ID as it was sent to Nowpay, ProviderID that of Nowpay's own id. One
	// of them is needed.
	RequestID, ProviderID string
	// State is the path of the text that says what became of the transaction. It is needed.
	State string
	// Reference is the path of the bank's or the operator's reference.
	Reference string
	// Message is the path of a text for people.
	Message string
	// Amount is the path of the amount in rupees.
	Amount string
	// Success, Failed and Pending are the texts of State, compared without letter case. All others mean nothing.
	// Success and Failed must not be empty.
	Success, Failed, Pending []string

	own bool // the user's: it goes before all others, even if they disagree
}

const (
	maxName  = 32
	maxPath  = 256
	maxDepth = 8 // of a body, so also of a path
)

// Validate checks that the shape can be used. Errors say what to do.
func (s *Shape) Validate() error {
	switch {
	case len(s.Name) > maxName || !consists(s.Name, isLowerAlphanumeric):
		return errors.New("name must be 1 to 32 of a-z, 0-9, '_' and '-'")
	case s.State == "":
		return errors.New("state must be the path of the text that says what became of the transaction")
	case s.RequestID == "" && s.ProviderID == "":
		return errors.New("request id or provider id must be a path: without an id nobody knows which transaction is meant")
	case len(s.Success) == 0 || len(s.Failed) == 0:
		return errors.New("success and failed must each list at least one text of the state")
	}
	if err := s.validatePaths(); err != nil {
		return err
	}
	return s.validateTexts()
}

func (s *Shape) validatePaths() error {
	paths := []struct{ field, path string }{
		{"request id", s.RequestID},
		{"provider id", s.ProviderID},
		{"state", s.State},
		{"reference", s.Reference},
		{"message", s.Message},
		{"amount", s.Amount},
	}
	for i, p := range paths {
		if p.path == "" {
			continue
		}
		if !isPath(p.path) {
			return fmt.Errorf("path %q of %s must be 1 to 8 names of letters, digits, '_' and '-', joined by dots", p.path, p.field)
		}
		for j, other := range paths {
			switch {
			case j < i && other.path == p.path:
				return fmt.Errorf("%s and %s must have different paths, not both %q", other.field, p.field, p.path)
			case strings.HasPrefix(other.path, p.path+"."):
				return fmt.Errorf("path %q of %s must not lead through %q, which is the value of %s", other.path, other.field, p.path, p.field)
			}
		}
	}
	return nil
}

func (s *Shape) validateTexts() error {
	var seen []string
	for _, texts := range [][]string{s.Success, s.Failed, s.Pending} {
		for _, text := range texts {
			if isBlank(text) || !isFit(text) {
				return errors.New("texts of the state must be printable, not blank, and at most 256 bytes long")
			}
			if contains(seen, text) {
				return fmt.Errorf("text %q of the state must be listed once: letter case does not count", text)
			}
			seen = append(seen, text)
		}
	}
	return nil
}

// says gives what a text of State means.
func (s *Shape) says(text string) nowpay.Outcome {
	switch {
	case contains(s.Success, text):
		return nowpay.Success
	case contains(s.Failed, text):
		return nowpay.Failed
	case contains(s.Pending, text):
		return nowpay.Pending
	}
	return nowpay.Unknown
}

// Shapes gives a fresh copy of the built-in shapes. None of them is documented by Nowpay.
//
//   - "envelope" is reported for transfers and payouts. It borrows the names of another provider: `orderId`
//     is our request ID, `paytmOrderId` is Nowpay's id.
//   - "flat" has the fields that are reported of Nowpay's own hook for recharges.
//   - "answer" is what Nowpay's ordinary answers look like, which tell the state by `success`.
//   - "flat-reqid" and "answer-reqid" are the same with Nowpay's other name for the request ID.
func Shapes() []Shape {
	return []Shape{
		{
			Name:       "envelope",
			RequestID:  "result.orderId",
			ProviderID: "result.paytmOrderId",
			State:      "status",
			Reference:  "result.rrn",
			Message:    "statusMessage",
			Success:    []string{"SUCCESS"},
			Failed:     []string{"FAILED"},
			Pending:    []string{"PENDING"},
		},
		flat("flat", "yourrequestid"),
		flat("flat-reqid", "yourreqid"),
		answer("answer", "yourrequestid"),
		answer("answer-reqid", "yourreqid"),
	}
}

func flat(name, requestID string) Shape {
	return Shape{
		Name:       name,
		RequestID:  requestID,
		ProviderID: "ourrequestid",
		State:      "status",
		Reference:  "op_ref_id",
		Message:    "message",
		Success:    []string{"1", "SUCCESS"},
		Failed:     []string{"0", "FAILED"},
		Pending:    []string{"2", "PENDING"},
	}
}

func answer(name, requestID string) Shape {
	s := flat(name, requestID)
	s.State, s.Reference, s.Amount = "success", "rrn", "amount"
	return s
}

// Table is the shapes that callbacks may have, those that count more first. One that [NewTable] did not make
// has no shapes of the user's own; the zero Table reads nothing.
type Table []Shape

// NewTable puts the user's own shapes in front of the built-in ones. One with the name of a built-in shape
// replaces it. Shapes that are not valid and two own shapes of one name are errors.
func NewTable(own []Shape) (Table, error) {
	names := make(map[string]bool, len(own))
	var t Table
	for _, s := range own {
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("checking callback shape %q: %w", s.Name, err)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("checking callback shape %q: name must be another, it is taken by a shape above", s.Name)
		}
		names[s.Name] = true
		s.own = true
		t = append(t, s)
	}
	for _, s := range Shapes() {
		if !names[s.Name] {
			t = append(t, s)
		}
	}
	return t, nil
}

// contains reports whether text is in the list in any letter case. Letters of other lengths are other letters,
// though Unicode folds the long s into s.
func contains(list []string, text string) bool {
	for _, s := range list {
		if len(s) == len(text) && strings.EqualFold(s, text) {
			return true
		}
	}
	return false
}

// isPath reports whether s is names joined by dots.
func isPath(s string) bool {
	names := strings.Split(s, ".")
	if len(s) > maxPath || len(names) > maxDepth {
		return false
	}
	for _, name := range names {
		if !isName(name) {
			return false
		}
	}
	return true
}

func isName(s string) bool { return consists(s, isAlphanumeric) }

// consists reports whether s is one or more characters that are allowed, '_' or '-'.
func consists(s string, allowed func(rune) bool) bool {
	other := func(r rune) bool { return !allowed(r) && r != '_' && r != '-' }
	return s != "" && !strings.ContainsFunc(s, other)
}

func isLowerAlphanumeric(r rune) bool { return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' }

func isAlphanumeric(r rune) bool { return isLowerAlphanumeric(r) || 'A' <= r && r <= 'Z' }

// maxID is how long an id or a reference may be, in bytes.
const maxID = 256

// isFit reports whether a text may be taken for an id or a reference, which are stored, indexed and logged.
func isFit(text string) bool {
	unfit := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	return len(text) <= maxID && !strings.ContainsFunc(text, unfit)
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }
