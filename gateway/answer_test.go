package gateway

import (
	"encoding/json"
	"maps"
	"net/http"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func TestOwnAnswer(t *testing.T) {
	payout := nowpay.Operation{Scale: nowpay.Scale012, RequestID: "yourrequestid", ProviderID: "ourrequestid"}
	coupon := nowpay.Operation{Scale: nowpay.ScalePAN, RequestID: "yourrequestid", ProviderID: "ourrequestid"}
	simple := nowpay.Operation{Scale: nowpay.Scale01, RequestID: "yourrequestid", ProviderID: "ourrequestid"}
	recharge := nowpay.Operation{Scale: nowpay.Scale012, RequestID: "yourreqid", AnswerRequestID: "yourrequestid", ProviderID: "ourrequestid"}
	for _, test := range []struct {
		name      string
		operation nowpay.Operation
		outcome   nowpay.Outcome
		id, given string // the merchant's id, and Nowpay's
		want      map[string]string
	}{
		{"payout unknown", payout, nowpay.Unknown, "a", "n", map[string]string{"success": "2", "yourrequestid": "a"}},
		{"payout pending", payout, nowpay.Pending, "a", "n", map[string]string{"success": "2", "yourrequestid": "a", "ourrequestid": "n"}},
		{"payout paid", payout, nowpay.Success, "a", "n", map[string]string{"success": "1", "yourrequestid": "a", "ourrequestid": "n"}},
		{"payout failed", payout, nowpay.Failed, "a", "n", map[string]string{"success": "0", "yourrequestid": "a", "ourrequestid": "n"}},
		{"payout refused", payout, nowpay.Refused, "a", "", map[string]string{"success": "0", "yourrequestid": "a"}},
		{"coupon unknown", coupon, nowpay.Unknown, "a", "", map[string]string{"success": "21", "yourrequestid": "a"}},
		{"coupon pending", coupon, nowpay.Pending, "a", "n", map[string]string{"success": "21", "yourrequestid": "a", "ourrequestid": "n"}},
		{"coupon bought", coupon, nowpay.Success, "a", "n", map[string]string{"success": "17", "yourrequestid": "a", "ourrequestid": "n"}},
		{"coupon failed", coupon, nowpay.Failed, "a", "n", map[string]string{"success": "0", "yourrequestid": "a", "ourrequestid": "n"}},
		{"no pending on the scale", simple, nowpay.Unknown, "a", "", map[string]string{"success": "2", "yourrequestid": "a"}},
		{"other name in the answer", recharge, nowpay.Unknown, "a", "", map[string]string{"success": "2", "yourrequestid": "a"}},
		{"id to be escaped", payout, nowpay.Unknown, `a"<\` + "\u2028", "", map[string]string{"success": "2", "yourrequestid": `a"<\` + "\u2028"}},
	} {
		x := &exchange{operation: &test.operation, ownID: test.id, sent: integrity.Sent{RequestID: "P" + test.id}}
		x.record.Outcome, x.record.ProviderID = test.outcome, test.given
		answer := ownAnswer(x)
		var got map[string]string
		if err := json.Unmarshal(answer.Body, &got); err != nil {
			t.Errorf("%s: %s: %v", test.name, answer.Body, err)
		}
		if got["message"] == "" {
			t.Errorf("%s: no message: %s", test.name, answer.Body)
		}
		delete(got, "message")
		if answer.Status != http.StatusOK || answer.Header.Get("Content-Type") != "application/json" || !maps.Equal(got, test.want) {
			t.Errorf("%s: %d %s, want %v", test.name, answer.Status, answer.Body, test.want)
		}
	}
}

// TestProblems holds the table against section 6 of the design.
func TestProblems(t *testing.T) {
	contract := map[Code]int{
		"unauthenticated": 401, "source-not-allowed": 403, "operation-not-allowed": 403, "unknown-operation": 404,
		"method-not-allowed": 405, "malformed-body": 400, "credential-in-request": 400, "invalid-field": 400,
		"amount-not-allowed": 403, "limit-exceeded": 429, "in-flight": 409, "request-id-reused": 422, "journal-unavailable": 503, "body-too-large": 413, "unsupported-media-type": 415, "not-sent": 503,
		"credential-unavailable": 503, "egress-unavailable": 503, "bad-gateway": 502, "gateway-timeout": 504, "not-found": 404,
		"too-early": 425, // beyond the contract: RFC 8470
	}
	if len(problems) != len(contract) {
		t.Errorf("%d problems, want %d", len(problems), len(contract))
	}
	for code, status := range contract {
		problem := &Problem{Code: code, Detail: "why <so>", Field: "amount", Allow: "POST"}
		answer := problem.Answer("01EXCHANGE")
		var body map[string]any
		if err := json.Unmarshal(answer.Body, &body); err != nil {
			t.Fatalf("%s: %s: %v", code, answer.Body, err)
		}
		title, _ := body["title"].(string)
		want := map[string]any{
			"type": "https://nowpay-gateway.dev/problems/" + string(code), "status": float64(status), "title": title,
			"detail": "why <so>", "field": "amount", "instance": "01EXCHANGE",
		}
		if answer.Status != status || title == "" || !maps.Equal(body, want) {
			t.Errorf("%s: %d %s", code, answer.Status, answer.Body)
		}
		header := answer.Header
		retry, challenge := header.Get("Retry-After") != "", header.Get("WWW-Authenticate") != ""
		if header.Get("Content-Type") != "application/problem+json" || header.Get("Nowpay-Gateway-Error") != string(code) ||
			retry != (status == 503 || status == 429 || status == 409) || challenge != (status == 401) || header.Get("Allow") != "POST" {
			t.Errorf("%s: header %v", code, header)
		}
	}
}
