package nowpay

import "slices"

// AnswerID is the field of the answer that repeats the request ID.
func (o *Operation) AnswerID() string {
	if o.AnswerRequestID != "" {
		return o.AnswerRequestID
	}
	return o.RequestID
}

// IsPersonal reports whether logs must mask the field.
func (o *Operation) IsPersonal(field string) bool { return slices.Contains(o.Personal, field) }

// Code is the text of `success` that tells an outcome on the scale. What is not final is pending: "2", also
// where the scale itself knows none.
func (s Scale) Code(o Outcome) string {
	success, pending := "1", "2"
	if s == ScalePAN {
		success, pending = "17", "21"
	}
	switch o {
	case Success:
		return success
	case Failed, Refused:
		return "0"
	case Pending, Unknown, Unsent:
		return pending
	}
	return pending
}
