package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	strict "github.com/go-json-experiment/json"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func init() {
	caddy.RegisterModule(new(AdminAPI))
}

// AdminAPI adds what operators do with transactions, messages and credentials to
// Caddy's admin API, for the gateway that serves; the commands `caddy nowpay
// transactions`, `notifications`, `callbacks` and `credential` use it:
//
//	GET  /nowpay/accounts                       each account's name, mode and upstream host
//	GET  /nowpay/transactions?…                 lines of JSON, newest first; without limit=… all
//	GET  /nowpay/transactions/<id>              all of one; account=… where a request ID is of several
//	POST /nowpay/transactions/<id>/revalidate   asks the provider now
//	POST /nowpay/transactions/<id>/settle       records what a person says
//	GET  /nowpay/verify                         looks for what was changed or deleted
//	POST /nowpay/verify                         the same, with heads that are known
//	GET  /nowpay/messages?box=…                 those that go out, or came in, as lines of JSON
//	GET  /nowpay/messages/<id>                  all of one
//	POST /nowpay/messages/<id>/replay           has it worked on again
//	POST /nowpay/messages/<id>/drop             gives it up, for a reason
//	POST /nowpay/merchants/<name>/send-test     sends a notification of no transaction
//	GET  /nowpay/credentials                    how the accounts' credentials stand
//	POST /nowpay/credentials/refresh            reads them now, or those that are named
//
// Every POST, and whatever shows personal data (answer=true, body=true), needs the
// header `Nowpay-Admin: 1`, which no web page can make a browser send. Whoever reaches
// the admin endpoint may do all this, as everything else there: put it on a Unix
// socket.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.nowpay",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Routes implements [caddy.AdminRouter].
func (*AdminAPI) Routes() []caddy.AdminRoute {
	return slices.Concat(messageRoutes(), credentialRoutes(), []caddy.AdminRoute{
		{Pattern: pathAccounts, Handler: operatorRoute{http.MethodGet: (*operatorCall).accounts}},
		{Pattern: "/nowpay/transactions", Handler: operatorRoute{http.MethodGet: (*operatorCall).list}},
		{Pattern: "/nowpay/transactions/{id}", Handler: operatorRoute{http.MethodGet: (*operatorCall).show}},
		{Pattern: "/nowpay/transactions/{id}/revalidate", Handler: operatorRoute{http.MethodPost: (*operatorCall).revalidate}},
		{Pattern: "/nowpay/transactions/{id}/settle", Handler: operatorRoute{http.MethodPost: (*operatorCall).settle}},
		{Pattern: "/nowpay/verify", Handler: operatorRoute{
			http.MethodGet: (*operatorCall).verify, http.MethodPost: (*operatorCall).verify,
		}},
	})
}

const (
	headerAdmin = "Nowpay-Admin"
	// maxOperatorBody bounds a body. The largest one is a list of heads.
	maxOperatorBody = 4 << 20
	// lineTime bounds how long the reader of a list may take for a line.
	lineTime = 30 * time.Second
)

// operatorCall is one request of an operator, while a gateway serves.
type operatorCall struct {
	*http.Request
	rt      *runtime
	desk    desk
	body    []byte
	answer  http.ResponseWriter
	control *http.ResponseController
}

// operatorRoute is what may be done with a path, by method.
type operatorRoute map[string]func(*operatorCall, context.Context) error

// ServeHTTP implements [caddy.AdminHandler].
func (route operatorRoute) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	do := route[r.Method]
	if do == nil {
		return refusal(http.StatusMethodNotAllowed, errors.New("this path takes another method"))
	}
	if r.Method != http.MethodGet && r.Header.Get(headerAdmin) != "1" {
		return errNoAdminHeader()
	}
	// It is looked up now: Caddy keeps this module even when its configuration
	// could not be started.
	rt := serving.Load()
	if rt == nil || !rt.enter() {
		return refusal(http.StatusServiceUnavailable, errors.New("no Nowpay gateway serves in this Caddy now"))
	}
	defer rt.leave()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOperatorBody))
	if err != nil {
		return refusal(http.StatusBadRequest, fmt.Errorf("reading the body: %w", err))
	}
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	return do(&operatorCall{
		Request: r, rt: rt, body: body, answer: w, control: control,
		desk: &ownDesk{gateway: rt.gateway, journal: rt.journal.Journal},
	}, r.Context())
}

// untilReload bounds what may read for long: nothing that ends, a configuration
// or the process, waits for it.
func (c *operatorCall) untilReload(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.rt.reading, cancel)
	return ctx, func() { stop(); cancel() }
}

// query is the query of the request.
func (c *operatorCall) query() (url.Values, error) {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, refusal(http.StatusBadRequest, fmt.Errorf("reading the query: %w", err))
	}
	return query, nil
}

func (c *operatorCall) list(ctx context.Context) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	filter, err := parseFilter(query, time.Now())
	if err != nil {
		return refusal(http.StatusBadRequest, err)
	}
	ctx, done := c.untilReload(ctx)
	defer done()
	return writeLines(ctx, c, c.desk.list(ctx, filter))
}

// writeLines answers with lines of JSON.
func writeLines[T any](ctx context.Context, c *operatorCall, all iter.Seq2[T, error]) error {
	c.answer.Header().Set("Content-Type", "application/x-ndjson")
	encoder := json.NewEncoder(c.answer)
	begun := false
	for value, err := range all {
		switch {
		case err != nil && !begun:
			return failure(err)
		case err != nil: // the last line says that it is not the end
			c.rt.logger.ErrorContext(ctx, "writing a list for an operator", "path", c.URL.Path, "error", err)
			_ = encoder.Encode(lastLine{err.Error()})
			return nil
		}
		begun = true
		_ = c.control.SetWriteDeadline(time.Now().Add(lineTime))
		if encoder.Encode(value) != nil {
			return nil // the reader is gone
		}
	}
	return nil
}

// lastLine is the last one of a list that is not complete.
type lastLine struct {
	Error string `json:"error,omitempty"`
}

func (c *operatorCall) show(ctx context.Context) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	w := wanted{id: c.PathValue("id"), account: query.Get("account"), content: query.Get("answer") == "true"}
	if w.content && c.Header.Get(headerAdmin) != "1" {
		return errNoAdminHeader()
	}
	shown, err := c.desk.show(ctx, w)
	return c.write(shown, err)
}

func (c *operatorCall) revalidate(ctx context.Context) error {
	id := c.PathValue("id")
	if len(c.body) > 0 {
		return refusal(http.StatusBadRequest, errors.New("a revalidation takes no body"))
	}
	told, err := c.desk.revalidate(ctx, id)
	if err == nil {
		c.rt.logger.InfoContext(ctx, "an operator had the provider asked about a transaction",
			"transaction", id, "provider_says", string(told.ProviderSays), "state", string(told.Transaction.State))
	}
	return c.write(told, err)
}

func (c *operatorCall) settle(ctx context.Context) error {
	id := c.PathValue("id")
	var h gateway.ByHand
	if err := c.read(&h); err != nil {
		return err
	}
	settled, err := c.desk.settle(ctx, id, h)
	if err == nil {
		c.rt.logger.WarnContext(ctx, "an operator settled a transaction by hand", "transaction", id, "actor", h.Actor,
			"before", string(settled.Before.State), "after", string(settled.After.State))
	}
	return c.write(settled, err)
}

// knownHeads is the body of a verification: what was written down elsewhere. It
// is read out of an earlier report, too.
type knownHeads struct {
	Heads []journal.Head `json:"heads"`
}

func (c *operatorCall) verify(ctx context.Context) error {
	var known knownHeads
	if c.Method == http.MethodPost {
		if err := c.read(&known); err != nil {
			return err
		}
	}
	ctx, done := c.untilReload(ctx)
	defer done()
	report, err := c.desk.verify(ctx, known.Heads)
	return c.write(report, err)
}

// read decodes the body strictly.
func (c *operatorCall) read(into any) error {
	if err := strict.Unmarshal(c.body, into, strict.RejectUnknownMembers(true)); err != nil {
		return refusal(http.StatusBadRequest, fmt.Errorf("reading the body: %w", err))
	}
	return nil
}

// write answers with a value, or with what went wrong.
func (c *operatorCall) write(value any, err error) error {
	if err != nil {
		return failure(err)
	}
	c.answer.Header().Set("Content-Type", "application/json")
	_ = c.control.SetWriteDeadline(time.Now().Add(lineTime))
	_ = json.NewEncoder(c.answer).Encode(value) // fails if the reader is gone
	return nil
}

func refusal(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

func errNoAdminHeader() error {
	return refusal(http.StatusForbidden, fmt.Errorf("this takes the header `%s: 1`", headerAdmin))
}

// failure is the answer to what could not be done.
func failure(err error) error {
	for _, known := range []struct {
		err    error
		status int
	}{
		{gateway.ErrByHand, http.StatusBadRequest},
		{errReason, http.StatusBadRequest},
		{errNoContent, http.StatusBadRequest},
		{errNoMessage, http.StatusNotFound},
		{errNoURL, http.StatusNotFound},
		{errNoAccount, http.StatusNotFound},
		{errDropped, http.StatusConflict},
		{journal.ErrNotFound, http.StatusNotFound},
		{journal.ErrTransition, http.StatusConflict},
		{errAmbiguous, http.StatusConflict},
		{gateway.ErrNoStatus, http.StatusConflict},
		{nowpay.ErrCannotAsk, http.StatusConflict},
		{gateway.ErrAskedOften, http.StatusTooManyRequests},
		{journal.ErrUnavailable, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, known.err) {
			return refusal(known.status, err)
		}
	}
	return refusal(http.StatusBadGateway, err)
}

// Interface guards
var (
	_ caddy.AdminRouter  = (*AdminAPI)(nil)
	_ caddy.AdminHandler = operatorRoute(nil)
)
