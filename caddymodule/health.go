package caddymodule

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
)

// serveHealth answers 200, or 503 with the reasons why merchants cannot be served.
func serveHealth(w http.ResponseWriter, r *http.Request, reasons []string) error {
	status, view := http.StatusOK, map[string]any{"status": "ok"}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", http.MethodGet)
		status, view = http.StatusMethodNotAllowed, map[string]any{"status": "method not allowed"}
	case len(reasons) > 0:
		slices.Sort(reasons)
		status, view = http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "reasons": reasons}
	}
	body, err := json.Marshal(view)
	if err != nil { // a map of strings always marshals
		panic(err)
	}
	return write(w, gateway.Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}},
		Body:   body,
	})
}
