package gateway

import (
	"encoding/json"
	"strconv"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// prefix puts the merchant's prefix in front of the request ID, so that the ids
// of merchants that share an account cannot be the same.
func (x *exchange) prefix() *Problem {
	x.ownID = x.sent.RequestID
	if x.ownID == "" {
		return nil
	}
	name := x.operation.RequestID
	if prefix := x.merchant.RequestIDPrefix; prefix != "" {
		x.body = x.body.WithText(name, prefix+x.ownID)
		value, _ := x.body.Get(name)
		if err := x.operation.CheckField(name, value); err != nil {
			return invalidField(err)
		}
		x.sent.RequestID = value.Text
	}
	if !x.merchant.MayUse(x.sent.RequestID) {
		return invalidField(&nowpay.FieldError{Field: name, Reason: "begins with characters that are reserved for another app; choose other request IDs"})
	}
	return nil
}

// unprefix takes the prefix off again, wherever the answer repeats the id.
func (x *exchange) unprefix(answer []byte) []byte {
	if x.ownID == x.sent.RequestID {
		return answer
	}
	body, err := nowpay.ParseJSON(answer, nowpay.Limits{Bytes: len(answer)})
	if err != nil {
		return answer // cannot happen: it was checked
	}
	return body.ReplaceValues(func(_ string, v nowpay.Value) ([]byte, bool) {
		if v.Text != x.sent.RequestID {
			return nil, false
		}
		if _, err := strconv.ParseUint(x.ownID, 10, 63); err == nil && v.Kind == nowpay.Number && x.ownID[0] != '0' {
			return []byte(x.ownID), true
		}
		text, _ := json.Marshal(x.ownID) // a string always marshals
		return text, true
	})
}
