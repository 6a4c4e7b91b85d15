package caddymodule

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestSource has the peers that a test on this machine cannot be.
func TestSource(t *testing.T) {
	for _, test := range []struct {
		name, remote, clientIP string
		strict                 int
		want                   string
	}{
		{"IPv4", "192.0.2.7:4711", "192.0.2.7", 0, "192.0.2.7"},
		{"IPv6", "[2001:db8::7]:4711", "2001:db8::7", 0, "2001:db8::7"},
		{"mapped", "[::ffff:192.0.2.7]:4711", "::ffff:192.0.2.7", 0, "::ffff:192.0.2.7"},
		{"link-local, whose zone Caddy drops", "[fe80::7%eth0]:4711", "fe80::7", 0, "fe80::7"},
		{"forwarded, strict", "192.0.2.1:4711", "192.0.2.7", 1, "192.0.2.7"},
		{"forwarded, not strict", "192.0.2.1:4711", "192.0.2.7", 0, "invalid IP"},
		{"a socket file", "@", "", 0, "invalid IP"},
		{"a socket file, strict", "@", "@", 1, "invalid IP"},
		{"a name", "192.0.2.1:4711", "shop.internal", 1, "invalid IP"},
	} {
		r := httptest.NewRequest("POST", "/api/bank/payout", nil)
		r.RemoteAddr = test.remote
		ctx := context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: test.clientIP})
		ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, &caddyhttp.Server{TrustedProxiesStrict: test.strict})
		if got := sourceOf(r.WithContext(ctx), slog.New(slog.DiscardHandler)).String(); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}

	r := httptest.NewRequest("POST", "/api/bank/payout", nil)
	if got := sourceOf(r, slog.New(slog.DiscardHandler)); got.IsValid() {
		t.Errorf("outside of Caddy: %s", got)
	}
}
