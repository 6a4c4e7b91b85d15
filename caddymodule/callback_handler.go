package caddymodule

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
)

func init() {
	caddy.RegisterModule(new(CallbackHandler))
}

// CallbackHandler receives Nowpay's callbacks, as `callbacks` in the app `nowpay`
// is configured. It answers every request that reaches it: 200 once the callback
// is recorded, whatever is in it; 403 to all other addresses; and 503 while it
// cannot be recorded. Register the URL of its site at Nowpay.
//
// The caller's address is Caddy's `client_ip`, as for `nowpay_gateway`.
type CallbackHandler struct {
	app    *App
	logger *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (*CallbackHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.nowpay_callback",
		New: func() caddy.Module { return new(CallbackHandler) },
	}
}

// Provision finds the app.
func (h *CallbackHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.AppIfConfigured("nowpay")
	if err != nil {
		return fmt.Errorf("nowpay_callback needs a nowpay block in the global options: %w", err)
	}
	h.app = app.(*App)
	h.logger = ctx.Slogger()
	if h.app.Callbacks == nil {
		return errors.New("nowpay_callback needs `callbacks { from <cidr>... }` in the nowpay block: nobody else's callbacks are taken")
	}
	return nil
}

// ServeHTTP takes a callback. It is terminal.
func (h *CallbackHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return write(w, h.take(w, r))
}

func (h *CallbackHandler) take(w http.ResponseWriter, r *http.Request) gateway.Answer {
	rt := h.app.rt.enterServing()
	if rt == nil {
		return gateway.Answer{Status: http.StatusServiceUnavailable}
	}
	defer rt.leave()
	return rt.gateway.Callback(r.Context(), gateway.CallbackRequest{
		Source: sourceOf(r, h.logger), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Target: r.RequestURI, Scheme: schemeOf(r), Host: r.Host,
		Early: early(r), Header: r.Header, Body: &timedBody{body: r.Body, control: *http.NewResponseController(w)},
	})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*CallbackHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*CallbackHandler)(nil)
)
