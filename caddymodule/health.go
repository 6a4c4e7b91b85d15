package caddymodule

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
)

// health answers 200, or 503 with the reasons why merchants cannot be served.
func health(r *http.Request, reasons []string) gateway.Answer {
	status, view := http.StatusOK, map[string]any{"status": "ok"}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		problem := &gateway.Problem{Code: gateway.MethodNotAllowed, Detail: "health is asked for with GET", Allow: http.MethodGet}
		return problem.Answer("")
	case len(reasons) > 0:
		slices.Sort(reasons)
		status, view = http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "reasons": reasons}
	}
	body, err := json.Marshal(view)
	if err != nil { // a map of strings always marshals
		panic(err)
	}
	return gateway.Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}},
		Body:   body,
	}
}
