package integrity

import (
	"iter"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// Asked is which transaction Nowpay was asked about, and how.
type Asked struct {
	// Operation that moved the money. It must not be nil, nor its status query.
	Operation *nowpay.Operation
	// StatusOperation is the one that was called. It must not be nil.
	StatusOperation *nowpay.Operation
	// Known is what was known of the transaction when the query was sent.
	Known nowpay.Known
	// Live is as in [Sent].
	Live bool
}

// StatusVerdict is what the answer to a status query is worth.
type StatusVerdict struct {
	// Outcome is Success, Failed or Pending only if the answer says so of this
	// very transaction. Unknown is not a state: the answer does not tell.
	Outcome nowpay.Outcome
	// Found is set if the answer has exactly one row with an id of the
	// transaction, and nothing in it is another's. Without it and without
	// findings Nowpay says that it knows no such transaction, or no id was
	// known to tell it by: that is never "failed".
	Found bool
	// ProviderID and Reference are Nowpay's id and the bank's reference, each at
	// most 100 bytes of printable text. Each is empty if the answer has none or if it is not certain to be free of the
	// key; both are if the outcome is Unknown.
	ProviderID, Reference string
	// Findings are all that is wrong with the answer, each once. With one other
	// than KeyLeak the outcome is Unknown, but for MissingField alone, which
	// makes a success Pending.
	Findings []Finding
	// Leak is set if the key is in the answer, in whatever part of it.
	Leak bool
}

// CheckStatus judges the answer to a status query. It is a pure function, safe
// for concurrent use, and panics for no answer. The key must stay valid until
// it returns.
func CheckStatus(asked Asked, ans Answer, key secret.Value) StatusVerdict {
	v := StatusVerdict{Outcome: nowpay.Unknown}
	body, findings := read(ans, asked.Live)
	if len(findings) == 0 {
		v = readStatus(asked, body)
	} else {
		v.Findings = findings
	}

	f := newFinder(key.Reveal())
	defer f.wipe()
	if f.inAnswer(ans, body) {
		v.Leak = true
		v.Findings = append(v.Findings, KeyLeak)
		clean := scrub(body, ans.Header, f) != nil
		for _, text := range []*string{&v.ProviderID, &v.Reference} {
			if !clean || f.wholeText(*text) {
				*text = ""
			}
		}
	}
	return v
}

// readStatus finds the transaction's row, and reads it.
func readStatus(asked Asked, body *nowpay.Body) StatusVerdict {
	v := StatusVerdict{Outcome: nowpay.Unknown}
	rows, findings := readRows(asked, body)
	if len(findings) > 0 || !asked.identifies() {
		v.Findings = findings
		return v
	}
	row, findings := asked.ownRow(rows)
	if row == nil {
		v.Findings = findings
		return v
	}
	state := asked.readState(body, row)
	v.Findings = appendNew(asked.compare(row), state.Findings...)
	v.Found = !slices.ContainsFunc(v.Findings, isOfAnother)
	switch {
	case len(v.Findings) == 0:
		v.Outcome = state.Outcome
	case slices.Equal(v.Findings, []Finding{MissingField}):
		v.Outcome = nowpay.Pending
	default:
		return v
	}
	v.ProviderID, v.Reference = state.ProviderID, state.Reference
	return v
}

// readRows gives the rows of the answer; it is one itself where it is about the
// transaction. Where it has rows, `success` is about the query.
func readRows(asked Asked, body *nowpay.Body) ([]*nowpay.Body, []Finding) {
	q := asked.Operation.Status
	says := asked.StatusOperation.Scale.Read(textOf(body, "success"))
	if q.Rows == "" {
		return []*nowpay.Body{body}, collect(
			check{AmbiguousName, hasNoOtherCase(body, "success")},
			check{QueryRefused, says != nowpay.Failed || !isEmpty(body, q.State)},
			check{WrongSuccess, says != nowpay.Unknown},
		)
	}
	findings := collect(
		check{AmbiguousName, hasNoOtherCase(body, "success", q.Rows)},
		check{QueryRefused, says != nowpay.Failed},
		check{WrongSuccess, says == nowpay.Success || says == nowpay.Failed},
	)
	if len(findings) > 0 {
		return nil, findings
	}
	data, _ := body.Get(q.Rows)
	rows, err := data.Objects()
	if err != nil {
		return nil, []Finding{Malformed}
	}
	return rows, nil
}

// identifies reports whether enough is known to tell the transaction from
// others: an id to compare or, where none is compared, to have asked by.
func (a *Asked) identifies() bool {
	q := a.Operation.Status
	ids := slices.Collect(idsOf(q.Match))
	if len(ids) == 0 {
		ids = slices.Collect(idsOf(q.Send))
	}
	return slices.ContainsFunc(ids, func(id nowpay.StatusField) bool {
		_, known := a.Known.Text(id.Source)
		return known
	})
}

// ownRow gives the row that has an id of the transaction: nil if there is none,
// or if it is not certain which one it is.
func (a *Asked) ownRow(rows []*nowpay.Body) (own *nowpay.Body, findings []Finding) {
	q := a.Operation.Status
	names := append(make([]string, 0, 3+len(q.Match)), q.State, q.ProviderID, q.Reference)
	for _, m := range q.Match {
		names = append(names, m.Name)
	}
	for _, row := range rows {
		if !hasNoOtherCase(row, names...) {
			return nil, []Finding{AmbiguousName}
		}
		if q.Rows != "" && !a.hasID(row) {
			continue // of another transaction: Nowpay matches by the beginning of an id
		}
		if own != nil {
			return nil, []Finding{ManyRows}
		}
		own = row
	}
	return own, nil
}

// hasID reports whether one of the transaction's ids is in the row.
func (a *Asked) hasID(row *nowpay.Body) bool {
	for id := range idsOf(a.Operation.Status.Match) {
		if want, known := a.Known.Text(id.Source); known && textOf(row, id.Name) == want {
			return true
		}
	}
	return false
}

// compare finds what in the row is not as it is known of the transaction.
func (a *Asked) compare(row *nowpay.Body) []Finding {
	var differs []Finding
	for _, m := range a.Operation.Status.Match {
		want, known := a.Known.Text(m.Source)
		if !known {
			continue
		}
		same := textOf(row, m.Name) == want
		if m.Source == nowpay.SourceAmount {
			v, _ := row.Get(m.Name)
			amount, err := v.Amount()
			same = err == nil && amount == a.Known.Amount
		}
		if !same {
			differs = appendNew(differs, findingFor(m.Source))
		}
	}
	return differs
}

// findingFor is what it means that the source differs.
func findingFor(source nowpay.StatusSource) Finding {
	switch source {
	case nowpay.SourceRequestID:
		return WrongRequestID
	case nowpay.SourceProviderID:
		return WrongProviderID
	case nowpay.SourceAmount:
		return WrongAmount
	default:
		return WrongField
	}
}

func appendNew(findings []Finding, more ...Finding) []Finding {
	for _, finding := range more {
		if !slices.Contains(findings, finding) {
			findings = append(findings, finding)
		}
	}
	return findings
}

// readState reads what the row tells, beyond what it repeats.
func (a *Asked) readState(body, row *nowpay.Body) StatusVerdict {
	q := a.Operation.Status
	outcome, told := q.States[textOf(row, q.State)]
	says := a.StatusOperation.Scale.Read(textOf(body, "success"))
	v := StatusVerdict{
		Outcome:    outcome,
		ProviderID: textUnlessBlank(row, q.ProviderID),
		Reference:  textUnlessBlank(row, q.Reference),
	}
	if !isFit(v.Reference) {
		v.Reference = ""
	}
	needsReference := q.Reference != "" && len(a.Operation.SuccessNeeds) > 0
	v.Findings = collect(
		check{WrongProviderID, q.ProviderID == "" || v.ProviderID != "" && isFit(v.ProviderID) && a.isProviderID(v.ProviderID)},
		check{WrongState, told},
		check{Contradiction, q.Rows != "" || !told || says == outcome},
		check{MissingField, outcome != nowpay.Success || !needsReference || isReference(v.Reference)},
	)
	return v
}

func (a *Asked) isProviderID(id string) bool {
	return a.Known.ProviderID == "" || a.Known.ProviderID == id
}

// isOfAnother reports whether the finding makes a row one of another transaction.
func isOfAnother(f Finding) bool {
	return f == WrongRequestID || f == WrongProviderID || f == WrongField
}

// idsOf yields the fields that hold an id of the transaction.
func idsOf(fields []nowpay.StatusField) iter.Seq[nowpay.StatusField] {
	return func(yield func(nowpay.StatusField) bool) {
		for _, f := range fields {
			if (f.Source == nowpay.SourceRequestID || f.Source == nowpay.SourceProviderID) && !yield(f) {
				return
			}
		}
	}
}
