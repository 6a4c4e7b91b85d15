package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	// reachTime bounds the search for somebody who listens.
	reachTime = 5 * time.Second
	// maxRefusal bounds what is read of an answer that is an error.
	maxRefusal = 64 << 10
	// unixOrigin stands in URLs for a socket, as Caddy's own client has it.
	unixOrigin = "http://127.0.0.1"
)

// adminDesk works in a running gateway, through Caddy's admin endpoint. Caddy's
// own client cannot be given a context and hides why nobody answers.
type adminDesk struct {
	address string // as the operator knows it
	origin  string
	dial    func(ctx context.Context) (net.Conn, error)
	client  http.Client
}

// newAdminDesk is for an endpoint as Caddy's `admin` option names it.
func newAdminDesk(address string) (*adminDesk, error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 || parsed.IsFdNetwork() {
		return nil, fmt.Errorf("%q is no admin endpoint that can be called: write host:port, or unix//path/of/the.sock", address)
	}
	target := parsed.JoinHostPort(0)
	d := &adminDesk{address: address, origin: "http://" + target}
	if parsed.IsUnixNetwork() {
		target, _, _ = strings.Cut(target, "|") // behind it are the permissions
		d.origin = unixOrigin
	}
	d.dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, parsed.Network, target)
	}
	d.client = http.Client{
		Transport:     &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d, nil
}

// reach finds out whether anybody listens.
func (d *adminDesk) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	conn, err := d.dial(ctx)
	if err != nil {
		return fmt.Errorf("reaching the admin endpoint %s: %w", d.address, err)
	}
	return conn.Close()
}

func (d *adminDesk) list(ctx context.Context, f journal.Filter) iter.Seq2[entry, error] {
	return readLines(ctx, d, "/nowpay/transactions?"+filterQuery(f).Encode(), func(l *entryLine) (entry, string) { return l.entry, l.Error })
}

// entryLine and messageLine are lines of a list, of which the last one may say
// that it is not the end.
type (
	entryLine struct {
		entry
		lastLine
	}
	messageLine struct {
		message
		lastLine
	}
)

// readLines yields what is in the lines of a list.
func readLines[L, T any](ctx context.Context, d *adminDesk, target string, split func(*L) (T, string)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		response, err := d.call(ctx, http.MethodGet, target, nil)
		if err != nil {
			yield(none, err)
			return
		}
		defer response.Body.Close()
		for decoder := json.NewDecoder(response.Body); ; {
			next := new(L)
			err := decoder.Decode(next)
			value, broken := split(next)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				err = fmt.Errorf("reading the gateway's answer, which is not complete: %w", err)
			case broken != "":
				err = fmt.Errorf("the gateway's answer is not complete: %s", broken)
			}
			if !yield(value, err) || err != nil {
				return
			}
		}
	}
}

func (d *adminDesk) show(ctx context.Context, w wanted) (details, error) {
	query := make(url.Values)
	if w.account != "" {
		query.Set("account", w.account)
	}
	if w.content {
		query.Set("answer", "true")
	}
	var shown details
	err := d.ask(ctx, http.MethodGet, transactionPath(w.id, "")+"?"+query.Encode(), nil, &shown)
	return shown, err
}

func (d *adminDesk) revalidate(ctx context.Context, id string) (revalidation, error) {
	var told revalidation
	err := d.ask(ctx, http.MethodPost, transactionPath(id, "/revalidate"), nil, &told)
	return told, err
}

func (d *adminDesk) settle(ctx context.Context, id string, h gateway.ByHand) (settlement, error) {
	var settled settlement
	err := d.ask(ctx, http.MethodPost, transactionPath(id, "/settle"), h, &settled)
	return settled, err
}

func (d *adminDesk) verify(ctx context.Context, known []journal.Head) (journal.Report, error) {
	var report journal.Report
	err := d.ask(ctx, http.MethodPost, "/nowpay/verify", knownHeads{known}, &report)
	return report, err
}

func (d *adminDesk) messages(ctx context.Context, f journal.MessageFilter) iter.Seq2[message, error] {
	return readLines(ctx, d, "/nowpay/messages?"+messageQuery(f).Encode(), func(l *messageLine) (message, string) { return l.message, l.Error })
}

func (d *adminDesk) message(ctx context.Context, id string, body bool) (messageDetails, error) {
	target := messagePath(id, "")
	if body {
		target += "?body=true"
	}
	var shown messageDetails
	err := d.ask(ctx, http.MethodGet, target, nil, &shown)
	return shown, err
}

func (d *adminDesk) replay(ctx context.Context, id string) (message, error) {
	var after message
	err := d.ask(ctx, http.MethodPost, messagePath(id, "/replay"), nil, &after)
	return after, err
}

func (d *adminDesk) drop(ctx context.Context, id, reason string) (message, error) {
	var after message
	err := d.ask(ctx, http.MethodPost, messagePath(id, "/drop"), dropped{reason}, &after)
	return after, err
}

func (d *adminDesk) sendTest(ctx context.Context, merchant string) (delivery, error) {
	var told delivery
	err := d.ask(ctx, http.MethodPost, "/nowpay/merchants/"+url.PathEscape(merchant)+"/send-test", nil, &told)
	return told, err
}

func (d *adminDesk) credentials(ctx context.Context) ([]credentialState, error) {
	var all []credentialState
	err := d.ask(ctx, http.MethodGet, "/nowpay/credentials", nil, &all)
	return all, err
}

func (d *adminDesk) refreshCredentials(ctx context.Context, accounts []string) ([]refreshed, error) {
	var all []refreshed
	err := d.ask(ctx, http.MethodPost, "/nowpay/credentials/refresh", refreshOf{accounts}, &all)
	return all, err
}

func messagePath(id, action string) string {
	return "/nowpay/messages/" + url.PathEscape(id) + action
}

func transactionPath(id, action string) string {
	return "/nowpay/transactions/" + url.PathEscape(id) + action
}

// ask calls and decodes the answer.
func (d *adminDesk) ask(ctx context.Context, method, target string, body, into any) error {
	response, err := d.call(ctx, method, target, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return nil
}

// call sends a request, and makes an error of any answer but 200. The caller closes
// the answer's body.
func (d *adminDesk) call(ctx context.Context, method, target string, body any) (*http.Response, error) {
	response, err := d.send(ctx, method, target, body)
	if err != nil || response.StatusCode == http.StatusOK {
		return response, err
	}
	defer response.Body.Close()
	var refused struct {
		Error string `json:"error"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err != nil || json.Unmarshal(raw, &refused) != nil || refused.Error == "" {
		return nil, fmt.Errorf("what listens at %s is no Nowpay gateway that knows these commands: HTTP %d", d.address, response.StatusCode)
	}
	return nil, errors.New(refused.Error)
}

// send sends a request. The caller closes the answer's body.
func (d *adminDesk) send(ctx context.Context, method, target string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, d.origin+target, content) //nolint:gosec // the operator names the endpoint
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	if d.origin != unixOrigin {
		request.Header.Set("Origin", d.origin) // a socket has none that Caddy would allow
	}
	request.Header.Set(headerAdmin, "1")
	request.Header.Set("Content-Type", "application/json")
	response, err := d.client.Do(request) //nolint:gosec // the operator names the endpoint
	if err != nil {
		return nil, fmt.Errorf("asking the gateway: %w", err)
	}
	return response, nil
}

// close gives the connections back.
func (d *adminDesk) close() { d.client.CloseIdleConnections() }

// Interface guards
var _ desk = (*adminDesk)(nil)
