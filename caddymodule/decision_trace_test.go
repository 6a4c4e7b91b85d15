package caddymodule_test

import (
	"net/http"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// TestDecisionIsTraced: with Caddy's handler `tracing`, each line names the trace and
// the span, and without it none does.
func TestDecisionIsTraced(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	g := gatewaytest.Start(t, gatewaytest.Options{Site: "tracing {\nspan gateway\n}"})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	g.Must(gatewaytest.Call{
		Body: gatewaytest.Payout("1001", "1.50"), Header: http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}},
	})
	line := g.LastRecord()
	span, _ := line["spanID"].(string)
	if line["traceID"] != trace || len(span) != 16 || span == "00f067aa0ba902b7" {
		t.Errorf("trace %v, span %v", line["traceID"], line["spanID"])
	}

	if err := g.Load(gatewaytest.Options{}); err != nil {
		t.Fatal(err)
	}
	g.Must(gatewaytest.Call{Body: gatewaytest.Payout("1002", "1.50")})
	for _, name := range []string{"traceID", "spanID"} {
		if text, ok := g.LastRecord()[name]; ok {
			t.Errorf("%s is %v without tracing", name, text)
		}
	}
}
