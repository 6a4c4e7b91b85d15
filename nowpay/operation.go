package nowpay

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Operation is one call of Nowpay and all that the gateway needs to know of it. It must not be modified
// once it is in a [Catalogue].
type Operation struct {
	// Name is the route without /api/, such as "bank/payout": two words of a-z, 0-9 and underscore.
	Name string
	// Method is "POST". Nowpay may take others, but then the key would be in the URL.
	Method string
	// Encoding of the request; answers are JSON always.
	Encoding Encoding
	// Fields of the request without username and key. Fields that are not listed are let through.
	Fields []Field
	// MovesMoney is set if the operation debits a wallet.
	MovesMoney bool
	// MayCost is set if it moves no money but may cost a fee, or has another effect, such as a message that is
	// sent. It is not sent again unasked.
	MayCost bool
	// RequestID is the field of the request with the merchant's own id; "" if there is none.
	RequestID string
	// AnswerRequestID is the field of the answer that repeats it; "" if the name is that of the request.
	AnswerRequestID string
	// ProviderID is the field of the answer with Nowpay's id; "" if the answer carries none.
	ProviderID string
	// Amount is the field of the request with the amount in rupees, "" if there is none. The answer repeats
	// it under the same name, if at all.
	Amount string
	// Scale of the answer's field `success`.
	Scale Scale
	// SuccessNeeds are fields of the answer without which a success is not one yet.
	SuccessNeeds []string
	// Status is how to ask what became of a transaction; nil if no way is known.
	Status *StatusQuery
	// Revalidate says when to ask. "" means: about what is pending or unknown if there is a way, else never.
	Revalidate Revalidate
	// Personal are fields of request and answer, at any depth, that logs must mask.
	Personal []string
}

// Route is the path of the operation, as in "/api/bank/payout".
func (o *Operation) Route() string { return "/api/" + o.Name }

// Target is what Nowpay is asked for, as in "/api/index.php?route=/api/bank/payout".
func (o *Operation) Target() string { return "/api/index.php?route=/api/" + o.Name }

// AnswerID is the field of the answer that repeats the request ID.
func (o *Operation) AnswerID() string {
	if o.AnswerRequestID != "" {
		return o.AnswerRequestID
	}
	return o.RequestID
}

// IsPersonal reports whether logs must mask the field.
func (o *Operation) IsPersonal(field string) bool { return slices.Contains(o.Personal, field) }

// Validate checks that names are well-formed and that the traits agree with each other.
func (o *Operation) Validate() error {
	if err := o.validate(); err != nil {
		return fmt.Errorf("validating operation %q: %w", o.Name, err)
	}
	return nil
}

func (o *Operation) validate() error {
	if !isRoute(o.Name) {
		return errors.New("the name must be group/action in a-z, 0-9 and underscore")
	}
	if o.Method != http.MethodPost {
		return errors.New("the method must be POST")
	}
	if o.Encoding.MediaType() == "" {
		return fmt.Errorf("the encoding must be %q or %q", JSON, Form)
	}
	if _, ok := scales[o.Scale]; !ok {
		return fmt.Errorf("the scale must be %q, %q or %q", Scale012, Scale01, ScalePAN)
	}
	if err := o.validateFields(); err != nil {
		return err
	}
	for _, name := range slices.Concat(o.SuccessNeeds, o.Personal) {
		if !isName(name) {
			return fmt.Errorf("%q is not a field name", name)
		}
	}
	if err := o.validateMoney(); err != nil {
		return err
	}
	return o.validateStatus()
}

func (o *Operation) validateFields() error {
	for i := range o.Fields {
		f := &o.Fields[i]
		if err := f.validate(); err != nil {
			return err
		}
		same := func(other Field) bool { return strings.EqualFold(other.Name, f.Name) }
		if slices.ContainsFunc(o.Fields[:i], same) {
			return fmt.Errorf("field %q is there twice", f.Name)
		}
	}
	if o.RequestID != "" {
		if _, ok := o.field(o.RequestID); !ok {
			return errors.New("the request ID must be one of the fields")
		}
	}
	if o.AnswerRequestID != "" && (o.RequestID == "" || !isName(o.AnswerRequestID)) {
		return errors.New("the answer's request ID must be a field name and repeat a request ID")
	}
	if o.ProviderID != "" && !isName(o.ProviderID) {
		return errors.New("the provider ID must be a field name")
	}
	if o.Amount != "" {
		// An amount that may be left out would be no limit.
		if f, ok := o.field(o.Amount); !ok || f.Format != FormatAmount || f.Optional {
			return fmt.Errorf("the amount must be a required field of format %q", FormatAmount)
		}
	}
	return nil
}

func (o *Operation) validateMoney() error {
	if !o.MovesMoney {
		return nil
	}
	if o.MayCost {
		return errors.New("it either moves money or may cost a fee")
	}
	if f, ok := o.field(o.RequestID); !ok || f.Optional || f.Format == FormatAmount || f.Format == FormatChoice {
		return errors.New("moving money takes a request ID that is a required field of text, digits or alphanumeric")
	}
	if o.ProviderID == "" {
		// Without it a failed transaction looks as if none had been created.
		return errors.New("moving money takes a provider ID")
	}
	return nil
}

func (o *Operation) field(name string) (Field, bool) {
	for _, f := range o.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// CheckFields checks that the required fields are in the body and that all listed fields have their format.
// JSON null counts as missing. The error is a *[FieldError] for the first field that is wrong, or nil.
func (o *Operation) CheckFields(b *Body) error {
	for i := range o.Fields {
		f := &o.Fields[i]
		if b.hasOther(f.Name) {
			return &FieldError{Field: f.Name, Reason: "is there in another letter case: the provider could read either"}
		}
		v, ok := b.Get(f.Name)
		if !ok || v.Kind == Null {
			if !f.Optional {
				return &FieldError{Field: f.Name, Reason: "is missing"}
			}
			continue
		}
		if reason := f.check(v); reason != "" {
			return &FieldError{Field: f.Name, Reason: reason}
		}
	}
	return nil
}

// CheckField checks a value of one field on its own, as [Operation.CheckFields] would in a body: of use for a
// request ID that a prefix was put in front of. What is not a field of the operation is let through. The error
// is a *[FieldError], or nil.
func (o *Operation) CheckField(name string, v Value) error {
	f, ok := o.field(name)
	if !ok {
		return nil
	}
	if reason := f.check(v); reason != "" {
		return &FieldError{Field: name, Reason: reason}
	}
	return nil
}

// isRoute reports whether s is group/action.
func isRoute(s string) bool {
	group, action, ok := strings.Cut(s, "/")
	return ok && isName(group) && isName(action) && s == strings.ToLower(s)
}
