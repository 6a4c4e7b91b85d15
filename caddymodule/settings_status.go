package caddymodule

import (
	"errors"
	"fmt"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// settings of a query that is only named are those that Nowpay documents, and
// nil for `none`.
func (q *StatusQuery) settings() (*nowpay.StatusQuery, error) {
	r := newResolver()
	operation := r.text("operation", q.Operation)
	if r.err != nil {
		return nil, r.err
	}
	bare := len(q.Send)+len(q.Match)+len(q.Success)+len(q.Failed)+len(q.Pending) == 0 && q.Rows+q.State+q.ProviderID+q.Reference == ""
	switch {
	case operation == "":
		return nil, errors.New("no operation: write `status <operation>` or `status none`")
	case operation == none && !bare:
		return nil, errors.New("`none` asks nothing, so it takes nothing further: name the operation to ask")
	case operation == none:
		return nil, nil
	case bare:
		return nowpay.HistoryQuery(operation), nil
	}
	query := &nowpay.StatusQuery{
		Operation:  operation,
		Send:       resolveStatusFields(r, "send", q.Send),
		Rows:       r.text("rows", q.Rows),
		Match:      resolveStatusFields(r, "match", q.Match),
		State:      r.text("state", q.State),
		States:     q.states(r),
		ProviderID: r.text("provider_id", q.ProviderID),
		Reference:  r.text("reference", q.Reference),
	}
	return query, r.err
}

func resolveStatusFields(r *resolver, list string, fields []*StatusField) []nowpay.StatusField {
	resolved := make([]nowpay.StatusField, len(fields))
	for i, f := range fields {
		if f == nil {
			f = new(StatusField) // which is refused, since it has no name
		}
		resolved[i] = nowpay.StatusField{
			Name: r.text(list, f.Name), Source: nowpay.StatusSource(r.text(list+" "+f.Name, f.Source)),
		}
	}
	return resolved
}

// states says of each text of the state what it means.
func (q *StatusQuery) states(r *resolver) map[string]nowpay.Outcome {
	states := make(map[string]nowpay.Outcome)
	add := func(outcome nowpay.Outcome, texts []string) {
		for _, text := range r.texts(string(outcome), texts) {
			if _, ok := states[text]; ok && r.err == nil {
				r.err = fmt.Errorf("%s: the state %q is given twice: it can mean one thing only", outcome, text)
			}
			states[text] = outcome
		}
	}
	add(nowpay.Success, q.Success)
	add(nowpay.Failed, q.Failed)
	add(nowpay.Pending, q.Pending)
	return states
}
