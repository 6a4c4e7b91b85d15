package caddymodule

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler serves merchants: it carries their requests to the provider as the
// app `nowpay` is configured. It answers every request that reaches it:
//
//	POST /api/index.php?route=/api/<group>/<action>   an operation
//	POST /api/<group>/<action>                        the same, the short way
//	GET  /transactions/<request id>                   what became of a transaction of the merchant's
//	POST /transactions/<request id>/revalidate        the same, having asked the provider
//	GET  /operations                                  what the merchant may call
//	GET  /health/live, GET /health/ready              without authentication
//
// The caller's address is Caddy's `client_ip`. Where `trusted_proxies` is
// configured, `trusted_proxies_strict` is needed as well: without it a caller
// could choose its address, so every request would be refused.
type Handler struct {
	app    *App
	logger *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.nowpay_gateway",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision finds the app.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := ctx.AppIfConfigured("nowpay")
	if err != nil {
		return fmt.Errorf("nowpay_gateway needs a nowpay block in the global options: %w", err)
	}
	h.app = app.(*App)
	h.logger = ctx.Slogger()
	return nil
}

// ServeHTTP answers a merchant. It is terminal.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch r.URL.Path {
	case "/health/live":
		return write(w, health(r, nil))
	case "/health/ready":
		return write(w, health(r, notReady()))
	}
	return write(w, h.exchange(w, r))
}

// exchange carries the request out. It is over before the answer is written:
// a merchant that reads slowly holds up no reload and no shutdown.
func (h *Handler) exchange(w http.ResponseWriter, r *http.Request) gateway.Answer {
	rt := h.app.rt.enterServing()
	if rt == nil {
		problem := &gateway.Problem{Code: gateway.NotSent, Detail: "the gateway is shutting down; the same request ID may be sent again"}
		return problem.Answer("")
	}
	defer rt.leave()
	request := gateway.Request{
		Caller: h.caller(r), Method: r.Method, Target: r.RequestURI, Scheme: schemeOf(r), Host: r.Host, Header: r.Header,
		Early: early(r), Body: &timedBody{body: r.Body, control: *http.NewResponseController(w)},
	}
	switch {
	case r.RequestURI == "/operations":
		return rt.gateway.Operations(r.Context(), request)
	case strings.HasPrefix(r.RequestURI, "/transactions/"):
		return rt.gateway.Transactions(r.Context(), request)
	}
	return rt.gateway.Exchange(r.Context(), request)
}

// early reports whether the request came as TLS early data: its source address
// is not proven yet, and whoever recorded it can play it again (RFC 8446,
// section 8). A proxy in front says so in a header (RFC 8470, section 5.1).
func early(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header.Values("Early-Data")) > 0
}

// schemeOf is the scheme by which the request came.
func schemeOf(r *http.Request) string {
	if r.TLS == nil {
		return "http"
	}
	return "https"
}

// bodyTime is how long a merchant may take to send a body.
const bodyTime = 30 * time.Second

// timedBody bounds the time that reading a body takes. A merchant that sends a
// byte now and then would otherwise hold up a shutdown.
type timedBody struct {
	body    io.Reader
	control http.ResponseController
	begun   bool
}

// Read implements io.Reader. A server that knows no deadlines keeps its own
// limits.
func (b *timedBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		_ = b.control.SetReadDeadline(time.Now().Add(bodyTime))
	}
	n, err := b.body.Read(p)
	if err != nil { // the end: the server goes on reading, to notice a merchant that hangs up
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// write sends the answer. A merchant that is gone is no error of the gateway:
// the exchange is over and recorded.
func write(w http.ResponseWriter, answer gateway.Answer) error {
	header := w.Header()
	maps.Copy(header, answer.Header)
	values := []string{strconv.Itoa(len(answer.Body)), "nosniff"} // memory for both
	header["Content-Length"], header["X-Content-Type-Options"] = values[0:1:1], values[1:2:2]
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body)
	return nil
}

// caller gathers what the request proves about who sent it.
func (h *Handler) caller(r *http.Request) whitelist.Caller {
	caller := whitelist.Caller{Token: bearerToken(r.Header), Source: sourceOf(r, h.logger)}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		caller.Certificate = r.TLS.PeerCertificates[0]
		caller.CertificateVerified = len(r.TLS.VerifiedChains) > 0
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		caller.User, _ = repl.GetString("http.auth.user.id")
	}
	return caller
}

// bearerToken is the token of a request with exactly one Authorization header
// (RFC 6750, section 2.1).
func bearerToken(header http.Header) string {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// sourceOf is the caller's address as Caddy resolved it; the zero address, which
// the whitelist refuses, where it cannot be relied on.
func sourceOf(r *http.Request, logger *slog.Logger) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	client, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	// Without the strict mode Caddy believes the left-most address of
	// X-Forwarded-For, which the caller itself may have written.
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	strict := ok && server.TrustedProxiesStrict > 0
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if !strict && (err != nil || peer.Addr().WithZone("") != client) {
		logger.Error("refusing a forwarded address: set trusted_proxies_strict beside trusted_proxies")
		return netip.Addr{}
	}
	return client
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
