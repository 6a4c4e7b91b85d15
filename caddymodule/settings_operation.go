package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// none is the word for a trait that an operation does not have.
const none = "none"

// catalogue is the documented operations with the corrections and additions
// of the configuration.
func (a *App) catalogue() (*nowpay.Catalogue, error) {
	operations := nowpay.Documented()
	for _, name := range slices.Sorted(maps.Keys(a.Operations)) {
		i := slices.IndexFunc(operations, func(o nowpay.Operation) bool { return o.Name == name })
		documented := i >= 0
		if !documented {
			i = len(operations)
			operations = append(operations, nowpay.Operation{
				Name: name, Method: http.MethodPost, Encoding: nowpay.JSON, Scale: nowpay.Scale012,
			})
		}
		correction := a.Operations[name]
		switch {
		case correction == nil:
			return nil, fmt.Errorf("operation %q: it is null", name)
		case !documented && correction.MovesMoney == nil:
			// The default would be a guess about money, and a misspelt name a
			// correction that corrects nothing.
			return nil, fmt.Errorf("operation %q: it is not in the catalogue; if that is right, write `moves_money on` or `moves_money off`", name)
		}
		if err := correction.apply(&operations[i]); err != nil {
			return nil, fmt.Errorf("operation %q: %w", name, err)
		}
	}
	return nowpay.NewCatalogue(operations)
}

// apply changes what is named in o.
func (o *Operation) apply(to *nowpay.Operation) error {
	r := newResolver()
	if o.MovesMoney != nil {
		to.MovesMoney = *o.MovesMoney
	}
	if o.MayCost != nil {
		to.MayCost = *o.MayCost
	}
	r.change("encoding", o.Encoding, (*string)(&to.Encoding))
	r.change("scale", o.Scale, (*string)(&to.Scale))
	if o.RequestID != "" {
		to.AnswerRequestID = ""
	}
	r.change("request_id", o.RequestID, &to.RequestID)
	r.change("answer_request_id", o.AnswerRequestID, &to.AnswerRequestID)
	r.change("provider_id", o.ProviderID, &to.ProviderID)
	r.change("amount", o.Amount, &to.Amount)
	if policy := r.text("revalidate", o.Revalidate); policy != "" {
		to.Revalidate = nowpay.Revalidate(policy)
	}
	if needs := r.texts("success_needs", o.SuccessNeeds); len(needs) == 1 && needs[0] == none {
		to.SuccessNeeds = nil
	} else if len(needs) > 0 {
		to.SuccessNeeds = needs
	}
	to.Personal = append(to.Personal, r.texts("personal", o.Personal)...)
	without := r.texts("without", o.Without)
	if r.err != nil {
		return r.err
	}
	for _, name := range without {
		i := indexField(to.Fields, name)
		if i < 0 {
			return fmt.Errorf("without: the operation has no field %q", name)
		}
		to.Fields = slices.Delete(to.Fields, i, i+1)
	}
	if o.Status != nil {
		query, err := o.Status.settings()
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		to.Status = query
	}
	return o.applyFields(to)
}

// applyFields adds fields, or replaces those of the same name.
func (o *Operation) applyFields(to *nowpay.Operation) error {
	seen := make(map[string]bool)
	for _, f := range o.Fields {
		if f == nil {
			return errors.New("fields: one is null")
		}
		field, err := f.settings()
		switch {
		case err != nil:
			return fmt.Errorf("field %q: %w", f.Name, err)
		case seen[field.Name]:
			return fmt.Errorf("field %q: it is given twice", f.Name)
		}
		seen[field.Name] = true
		if i := indexField(to.Fields, field.Name); i >= 0 {
			to.Fields[i] = field
		} else {
			to.Fields = append(to.Fields, field)
		}
	}
	return nil
}

func (f *Field) settings() (nowpay.Field, error) {
	r := newResolver()
	return nowpay.Field{
		Name:     r.text("name", f.Name),
		Format:   nowpay.Format(r.text("format", f.Format)),
		Max:      f.Max,
		Choices:  r.texts("choices", f.Choices),
		Optional: f.Optional,
	}, r.err
}

func indexField(fields []nowpay.Field, name string) int {
	return slices.IndexFunc(fields, func(f nowpay.Field) bool { return f.Name == name })
}
