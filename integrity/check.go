package integrity

import (
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// maxDepth is how deep an answer may be nested.
const maxDepth = 32

// Check judges an answer. It is a pure function, safe for concurrent use, and
// panics for no answer.
//
// The outcome says nothing of leaks: with Leak set it is still what became of
// the request. The key must stay valid until Check returns.
func Check(sent Sent, ans Answer, key secret.Value) Verdict {
	v := Verdict{Outcome: nowpay.Unknown, Header: make(http.Header)}
	body, findings := read(ans, sent.Live)
	if len(findings) == 0 {
		v.Outcome, v.ProviderID, findings = judge(sent, body)
	}
	v.Findings = findings
	pass := body
	if len(findings) > 0 {
		pass = nil
	}

	f := newFinder(key.Reveal())
	defer f.wipe()
	if f.inAnswer(ans, body) {
		v.Leak = true
		v.Findings = append(v.Findings, KeyLeak)
		clean := scrub(body, ans.Header, f)
		if v.ProviderID != textOf(clean, sent.Operation.ProviderID) {
			v.ProviderID = ""
		}
		if pass != nil {
			pass = passScrubbed(sent, clean, v.Outcome)
		}
	}
	if pass != nil {
		v.Body = pass.Bytes()
		passHeaders(v.Header, ans.Header, f)
	}
	return v
}

// passScrubbed gives the scrubbed body if it may be passed on and still says
// what became of the request, else nil.
func passScrubbed(sent Sent, clean *nowpay.Body, outcome nowpay.Outcome) *nowpay.Body {
	if clean == nil || !sent.Operation.MovesMoney {
		return nil
	}
	if says, _, _ := judge(sent, clean); says != outcome {
		return nil
	}
	return clean
}

// read checks what can be checked without knowing the operation. The body is
// nil if it cannot be parsed; with findings it is of use for finding leaks only.
func read(ans Answer, live bool) (*nowpay.Body, []Finding) {
	body := parse(ans.Body)
	return body, collect(
		check{Simulated, !live || !isSimulated(ans.Header)},
		check{WrongStatus, ans.Status == http.StatusOK},
		check{WrongContentType, isJSON(ans.Header)},
		check{WrongEncoding, isPlain(ans.Header)},
		check{Malformed, body != nil},
	)
}

// parse takes a body of any size, as that was bounded where it was read. It
// gives nil for one that is not strict JSON; why does not matter here.
func parse(text []byte) *nowpay.Body {
	body, err := nowpay.ParseJSON(text, nowpay.Limits{Bytes: max(len(text), 1), Depth: maxDepth})
	if err != nil {
		return nil
	}
	return body
}

// check is a finding unless ok.
type check struct {
	finding Finding
	ok      bool
}

func collect(checks ...check) []Finding {
	var findings []Finding
	for _, c := range checks {
		if !c.ok {
			findings = append(findings, c.finding)
		}
	}
	return findings
}

// judge reads the outcome by the operation's scale and lets it stand only if
// the answer belongs to the request and is complete. It also gives Nowpay's id.
func judge(sent Sent, body *nowpay.Body) (nowpay.Outcome, string, []Finding) {
	op := sent.Operation
	success := textOf(body, "success")
	id := textUnlessBlank(body, op.ProviderID)
	fit := isFit(id)
	said := op.Scale.Read(success)
	if said == nowpay.Failed && success == "0" && !created(op, body, id) {
		said = nowpay.Refused
	}
	// Only of a transaction that exists an answer can be expected to name the ids.
	named := said == nowpay.Success || said == nowpay.Failed

	findings := collect(
		check{AmbiguousName, unambiguous(op, body)},
		check{WrongSuccess, said != nowpay.Unknown},
		check{WrongRequestID, sameRequestID(sent, body, named && (id != "" || said == nowpay.Success))},
		check{WrongProviderID, op.ProviderID == "" || id != "" && fit || !named && isEmpty(body, op.ProviderID)},
		check{Contradiction, said != nowpay.Refused || op.ProviderID == "" || isBare(op, body)},
		check{WrongAmount, sameAmount(sent, body)},
		check{MissingField, said != nowpay.Success || isComplete(op, body)},
	)
	switch {
	case len(findings) == 0:
		return said, id, nil
	case slices.Equal(findings, []Finding{MissingField}):
		return nowpay.Pending, id, findings
	case !fit, slices.Contains(findings, WrongRequestID), slices.Contains(findings, AmbiguousName):
		id = "" // none, or perhaps of another's transaction
	}
	return nowpay.Unknown, id, findings
}

// created reports whether an answer with `success` 0 speaks of a transaction
// that Nowpay created. Where answers carry no id, a bare message speaks of none.
func created(op *nowpay.Operation, body *nowpay.Body, id string) bool {
	if op.ProviderID != "" {
		return id != ""
	}
	for name := range body.Members() {
		if name != "success" && name != "message" {
			return true
		}
	}
	return false
}

// unambiguous reports whether no field that is checked is there in another
// letter case.
func unambiguous(op *nowpay.Operation, body *nowpay.Body) bool {
	return hasNoOtherCase(body, "success", op.AnswerID(), op.ProviderID, op.Amount) && hasNoOtherCase(body, op.SuccessNeeds...)
}

// hasNoOtherCase reports whether none of the names is there in another letter
// case.
func hasNoOtherCase(body *nowpay.Body, names ...string) bool {
	for name := range body.Members() {
		for _, n := range names {
			if name != n && strings.EqualFold(name, n) {
				return false
			}
		}
	}
	return true
}

// sameRequestID reports whether the answer has the request ID that was sent,
// or none though it need not have one.
func sameRequestID(sent Sent, body *nowpay.Body, needed bool) bool {
	name := sent.Operation.AnswerID()
	if name == "" || sent.RequestID == "" {
		return true
	}
	if _, ok := body.Get(name); !ok {
		return !needed
	}
	return textOf(body, name) == sent.RequestID
}

// sameAmount reports whether the answer has the amount that was sent, or none.
func sameAmount(sent Sent, body *nowpay.Body) bool {
	if sent.Operation.Amount == "" || sent.Amount == 0 {
		return true
	}
	v, ok := body.Get(sent.Operation.Amount)
	if !ok {
		return true
	}
	amount, err := v.Amount()
	return err == nil && amount == sent.Amount
}

// isComplete reports whether a success has what it needs.
func isComplete(op *nowpay.Operation, body *nowpay.Body) bool {
	for _, name := range op.SuccessNeeds {
		if !isReference(textOf(body, name)) {
			return false
		}
	}
	return true
}

// isReference tells a bank's reference from zeros, "NA" and "null", which is
// what an unset one reads like: there must be a digit.
func isReference(text string) bool { return isFit(text) && strings.ContainsAny(text, "123456789") }

// maxID is how long an id or a reference may be, in bytes.
const maxID = 100

// isFit reports whether a text may be taken for an id or a reference, which are
// stored, indexed, logged and sent again.
func isFit(text string) bool {
	unfit := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	return len(text) <= maxID && !strings.ContainsFunc(text, unfit)
}

// isBare reports whether nothing in the answer speaks of a transaction: no bank
// reference, and no id of Nowpay's, however deep.
func isBare(op *nowpay.Operation, body *nowpay.Body) bool {
	for _, name := range op.SuccessNeeds {
		if !isEmpty(body, name) {
			return false
		}
	}
	bare := true
	body.ReplaceValues(func(name string, v nowpay.Value) ([]byte, bool) {
		if strings.EqualFold(name, op.ProviderID) && strings.TrimSpace(v.Text) != "" {
			bare = false
		}
		return nil, false
	})
	return bare
}

// isEmpty reports whether a field is missing, null or a blank string. Any
// other value is something, even if it is not understood.
func isEmpty(body *nowpay.Body, name string) bool {
	v, ok := body.Get(name)
	return !ok || v.Kind == nowpay.Null || v.Kind == nowpay.String && strings.TrimSpace(v.Text) == ""
}

// textOf gives the text of a string or number, "" for everything else and for
// no body.
func textOf(body *nowpay.Body, name string) string {
	if body == nil || name == "" {
		return ""
	}
	v, _ := body.Get(name)
	return v.Text
}

// textUnlessBlank is textOf for ids: a blank one is none.
func textUnlessBlank(body *nowpay.Body, name string) string {
	text := textOf(body, name)
	if strings.TrimSpace(text) == "" {
		return ""
	}
	return text
}
