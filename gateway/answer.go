package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Headers that only the gateway sets.
const (
	headerTransaction = "Nowpay-Gateway-Transaction" // the exchange id
	headerOutcome     = "Nowpay-Gateway-Outcome"
	headerIntegrity   = "Nowpay-Gateway-Integrity"
	headerError       = "Nowpay-Gateway-Error"
	headerReplayed    = "Idempotent-Replayed"
)

// ownMessages are the messages of answers that the gateway writes in the
// provider's shape.
var ownMessages = map[nowpay.Outcome]string{
	nowpay.Success: "Transaction successful.",
	nowpay.Failed:  "Transaction failed.",
	nowpay.Refused: "Transaction refused.",
	nowpay.Pending: "Transaction pending.",
	nowpay.Unknown: "Transaction pending. Its outcome is not known yet: do not send it again under another request ID.",
}

// ownAnswer is the gateway's answer in the provider's shape, for an operation
// that moves money, where the provider's own cannot be passed on.
func ownAnswer(x *exchange) Answer {
	return composed(x.operation, x.record.Outcome, map[string]string{
		x.operation.AnswerID(): x.ownID,
		x.operation.ProviderID: x.record.ProviderID,
	})
}

// composed is an answer in the provider's shape. Fields without a value are left
// out, and Nowpay's id as long as the outcome is not known: it may be that of
// another transaction.
func composed(operation *nowpay.Operation, outcome nowpay.Outcome, fields map[string]string) Answer {
	body := map[string]string{
		"success": operation.Scale.Code(outcome),
		"message": ownMessages[outcome],
	}
	for name, value := range fields {
		if name != "" && value != "" && !(name == operation.ProviderID && outcome == nowpay.Unknown) {
			body[name] = value
		}
	}
	return jsonAnswer(body)
}

// jsonAnswer is a 200 with JSON.
func jsonAnswer(v any) Answer {
	return Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: marshal(v)}
}

// marshal writes data that always can be: strings, numbers, lists of them.
// Readers are programs and terminals, not browsers: < and > stay readable.
func marshal(v any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}
