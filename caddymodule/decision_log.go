package caddymodule

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
)

// logExchange writes one line for each exchange. It uses zap itself: a line costs a
// third of what it does by way of slog, where Caddy also makes a logger for each request,
// with what the handler `tracing` knows of it: that is added here.
func logExchange(ctx context.Context, logger *zap.Logger, r *gateway.Record) {
	entry := logger.Check(zapLevel(r.Level()), "exchange")
	if entry == nil {
		return
	}
	if trace, ok := caddyhttp.GetVar(ctx, "trace_id").(string); ok {
		span, _ := caddyhttp.GetVar(ctx, "span_id").(string)
		entry.Write(zap.String("traceID", trace), zap.String("spanID", span), zap.Inline(recordLine{r}))
		return
	}
	entry.Write(zap.Inline(recordLine{r}))
}

func zapLevel(level slog.Level) zapcore.Level {
	switch {
	case level >= slog.LevelError:
		return zapcore.ErrorLevel
	case level >= slog.LevelWarn:
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

// recordLine is a record as it stands in the log.
type recordLine struct{ *gateway.Record }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (r recordLine) MarshalLogObject(line zapcore.ObjectEncoder) error {
	line.AddString("exchange", r.ID)
	line.AddString("merchant", r.Merchant)
	line.AddString("source", addressText(r.Source))
	line.AddString("operation", r.Operation)
	line.AddBool("allowed", r.Admitted())
	line.AddString("rule", r.Rule)
	line.AddString("reason", r.Reason)
	line.AddString("problem", string(r.Problem))
	line.AddDuration("duration", r.Duration)
	if r.RequestID != "" {
		line.AddString("request_id", r.RequestID)
	}
	if r.Transaction != "" {
		line.AddString("transaction", r.Transaction)
		line.AddBool("repeat", r.Repeat)
	}
	if r.Amount != 0 {
		line.AddString("amount", r.Amount.String())
	}
	if r.HasFields() {
		_ = line.AddObject("fields", fieldsLine(r)) // it never fails
	}
	if r.Outcome != "" {
		r.addOutcome(line)
	}
	if r.Err != nil {
		line.AddString("error", r.Err.Error())
	}
	return nil
}

// addOutcome adds what there is of an exchange that came as far as signing.
func (r recordLine) addOutcome(line zapcore.ObjectEncoder) {
	line.AddString("outcome", string(r.Outcome))
	line.AddString("integrity", r.Integrity)
	_ = line.AddArray("findings", findingsLine(r.Findings)) // it never fails
	line.AddString("provider_id", r.ProviderID)
	line.AddInt("provider_status", r.ProviderStatus)
	line.AddDuration("provider_duration", r.ProviderDuration)
	line.AddInt64("credential_version", r.CredentialVersion)
	line.AddString("egress_address", addressText(r.EgressAddress))
}

// fieldsLine is the fields of a record.
type fieldsLine struct{ *gateway.Record }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (f fieldsLine) MarshalLogObject(line zapcore.ObjectEncoder) error {
	for name, text := range f.Fields() {
		line.AddString(name, text)
	}
	return nil
}

type findingsLine []integrity.Finding

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (f findingsLine) MarshalLogArray(line zapcore.ArrayEncoder) error {
	for _, finding := range f {
		line.AppendString(string(finding))
	}
	return nil
}

// addressText is the address, or nothing where none was used.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
