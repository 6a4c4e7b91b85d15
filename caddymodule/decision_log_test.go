package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// lineOf is what the log says of a record from a level on; nil: nothing.
func lineOf(t *testing.T, least zapcore.Level, r gateway.Record) map[string]any {
	t.Helper()
	var text bytes.Buffer
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		LevelKey: "level", MessageKey: "msg", EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.NanosDurationEncoder,
	})
	logExchange(t.Context(), zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&text), least)), &r)
	if text.Len() == 0 {
		return nil
	}
	var line map[string]any
	if err := json.Unmarshal(text.Bytes(), &line); err != nil {
		t.Fatalf("%q: %v", text.String(), err)
	}
	return line
}

func TestDecisionLine(t *testing.T) {
	full := gateway.Record{
		ID: "01EXCHANGE", Duration: 3 * time.Millisecond, Merchant: "shop", Source: netip.MustParseAddr("192.0.2.7"),
		Operation: "bank/payout", Rule: "merchant shop: allow bank/*", RequestID: "1001", Amount: 150,
		Transaction: "01TRANSACTION", Repeat: true, CredentialVersion: 7, EgressAddress: netip.MustParseAddr("198.51.100.7"),
		ProviderStatus: 200, ProviderDuration: 2 * time.Millisecond, ProviderID: "n", Outcome: nowpay.Unknown, Integrity: "unverified",
		Findings: []integrity.Finding{integrity.WrongAmount, integrity.KeyLeak}, Err: errors.New("no answer"),
	}
	for _, test := range []struct {
		name   string
		record gateway.Record
		want   map[string]any
	}{
		{"all there is", full, map[string]any{
			"level": "error", "msg": "exchange", "exchange": "01EXCHANGE", "merchant": "shop", "source": "192.0.2.7", "operation": "bank/payout",
			"allowed": true, "rule": "merchant shop: allow bank/*", "reason": "", "problem": "", "duration": 3e6, "request_id": "1001", "amount": "1.50",
			"transaction": "01TRANSACTION", "repeat": true,
			"outcome": "unknown", "integrity": "unverified", "findings": []any{"amount", "key-leak"}, "provider_id": "n", "error": "no answer",
			"provider_status": 200.0, "provider_duration": 2e6, "credential_version": 7.0, "egress_address": "198.51.100.7",
		}},
		{"refused", gateway.Record{ID: "01EXCHANGE", Rule: "no credential presented", Reason: "unauthenticated", Problem: gateway.Unauthenticated}, map[string]any{
			"level": "info", "msg": "exchange", "exchange": "01EXCHANGE", "merchant": "", "source": "", "operation": "",
			"allowed": false, "rule": "no credential presented", "reason": "unauthenticated", "problem": "unauthenticated", "duration": 0.0,
		}},
		{"unsent", gateway.Record{Problem: gateway.NotSent, Outcome: nowpay.Unsent}, map[string]any{
			"level": "warn", "msg": "exchange", "exchange": "", "merchant": "", "source": "", "operation": "",
			"allowed": true, "rule": "", "reason": "", "problem": "not-sent", "duration": 0.0,
			"outcome": "unsent", "integrity": "", "findings": []any{}, "provider_id": "",
			"provider_status": 0.0, "provider_duration": 0.0, "credential_version": 0.0, "egress_address": "",
		}},
	} {
		if got := lineOf(t, zapcore.InfoLevel, test.record); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: line\n%v\nwant\n%v", test.name, got, test.want)
		}
	}
	if got := lineOf(t, zapcore.ErrorLevel, gateway.Record{Outcome: nowpay.Unsent}); got != nil {
		t.Errorf("a warning is logged where only errors are: %v", got)
	}
}
