package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// identify finds out who calls, from where, and what for. Nothing of the body
// has been read yet.
func (g *Gateway) identify(ctx context.Context, x *exchange, r Request) *Problem {
	if problem := refuseEarly(x, r); problem != nil {
		return problem
	}
	name, targetErr := whitelist.ParseTarget(r.Target)
	operation, known := g.Catalogue.Lookup(name)
	called := ""
	if known {
		called = operation.Name
	}
	merchant, problem := g.decide(ctx, x, r, called)
	if problem != nil {
		return problem
	}
	switch {
	case targetErr != nil && !strings.HasPrefix(r.Target, "/api/"):
		return &Problem{Code: NotFound, Detail: "operations are called as POST /api/<group>/<action> or POST /api/index.php?route=/api/<group>/<action>"}
	case targetErr != nil:
		return &Problem{Code: UnknownOperation, Detail: "the path must be exactly /api/<group>/<action> or /api/index.php?route=/api/<group>/<action>: unescaped, lower case, no other parameters"}
	case !known:
		return &Problem{Code: UnknownOperation, Detail: "the gateway's catalogue has no such operation; GET /operations lists what may be called"}
	case r.Method != operation.Method:
		return &Problem{Code: MethodNotAllowed, Detail: "operations are called with " + operation.Method, Allow: operation.Method}
	}
	x.account, x.operation = merchant.Account, operation
	return nil
}

// refuseEarly keeps early data from being believed. A client repeats it by
// itself once the handshake is complete (RFC 8470, section 5.2).
func refuseEarly(x *exchange, r Request) *Problem {
	if !r.Early {
		return nil
	}
	x.record.Rule = "early data"
	return &Problem{Code: TooEarly, Detail: "send it again when the TLS handshake is complete"}
}

// decide asks the whitelist who calls, and whether the operation may be called; ""
// for none. It notes the decision.
func (g *Gateway) decide(ctx context.Context, x *exchange, r Request, operation string) (*whitelist.Merchant, *Problem) {
	unsigned := g.identifySigner(ctx, x, &r)
	decision, err := g.Policy.Decide(whitelist.Args{Caller: r.Caller, Operation: operation})
	if err != nil {
		decision = whitelist.Decision{Rule: "no readable source address", Reason: whitelist.SourceNotAllowed}
	}
	x.record.Operation = operation
	x.record.note(decision)
	if decision.Allowed {
		x.merchant = decision.Merchant
		return decision.Merchant, nil
	}
	if unsigned != nil {
		x.record.Rule += "; its signature: " + unsigned.Error()
	}
	return nil, refusal(decision)
}

// refusal says of a decision only what its merchant may know.
func refusal(d whitelist.Decision) *Problem {
	problem := &Problem{Code: Code(d.Reason)}
	switch d.Reason {
	case whitelist.Unauthenticated:
		problem.Detail = "send a valid token as Authorization: Bearer <token>, or the client certificate or user that the gateway knows"
	case whitelist.SourceNotAllowed:
		problem.Detail = "the address that the request came from is not in the merchant's whitelist"
	case whitelist.OperationNotAllowed:
		problem.Detail = "GET /operations lists what the merchant may call"
	case whitelist.AmountNotAllowed:
		problem.Detail = "the amount is above the merchant's limit for one transaction, or not known beforehand"
	}
	return problem
}

// admit reads the body strictly and holds it against the operation and the
// merchant's limits.
func (g *Gateway) admit(x *exchange, r Request) *Problem {
	if problem := checkMediaType(r.Header, x.operation); problem != nil {
		return problem
	}
	body, problem := g.readBody(x, r)
	if problem != nil {
		return problem
	}
	if x.merchant.StripCredentials {
		whole := body
		if body = whole.Without("username", "key"); body != whole {
			whole.Wipe() // the key in it may be the account's
		}
	}
	if body.Has("username") || body.Has("key") {
		body.Wipe()
		return &Problem{Code: CredentialInRequest, Detail: "the gateway adds username and key itself: leave both out, in any letter case"}
	}
	if name := steering(x.operation, body); name != "" {
		return &Problem{Code: InvalidField, Field: name, Detail: fmt.Sprintf("field %q: steers the provider's routing and must not be in the body", name)}
	}
	x.body = body
	x.record.called, x.record.body = x.operation, body
	if err := x.operation.CheckFields(body); err != nil {
		return invalidField(err)
	}
	x.sent = integrity.Sent{Operation: x.operation, Live: g.Accounts[x.account].Live}
	if problem := x.admitRequestID(); problem != nil {
		return problem
	}
	if problem := g.admitAmount(x); problem != nil {
		return problem
	}
	return x.prefix()
}

// invalidField says which field of a request is wrong.
func invalidField(err error) *Problem {
	if field, ok := errors.AsType[*nowpay.FieldError](err); ok {
		return &Problem{Code: InvalidField, Detail: field.Error(), Field: field.Field}
	}
	return &Problem{Code: InvalidField}
}

// steering finds a field by which a body could choose another operation than
// the one that was decided on, where the provider reads query and body as one.
func steering(operation *nowpay.Operation, body *nowpay.Body) string {
	for _, name := range []string{"route", "method"} {
		listed := slices.ContainsFunc(operation.Fields, func(f nowpay.Field) bool { return f.Name == name })
		if !listed && body.Has(name) {
			return name
		}
	}
	return ""
}

// admitRequestID takes the request ID. One by which the transaction could not be
// looked up is refused, and not logged.
func (x *exchange) admitRequestID() *Problem {
	id, ok := x.field(x.operation.RequestID)
	if !ok {
		return nil
	}
	if !isRequestID(id.Text) {
		return invalidField(&nowpay.FieldError{
			Field: x.operation.RequestID, Reason: fmt.Sprintf("must be at most %d bytes of printable characters", maxRequestID),
		})
	}
	x.sent.RequestID, x.record.RequestID = id.Text, id.Text
	return nil
}

// admitAmount applies the merchant's limit to what the operation will cost.
func (g *Gateway) admitAmount(x *exchange) *Problem {
	if value, ok := x.field(x.operation.Amount); ok {
		amount, err := value.Amount()
		if err != nil {
			return &Problem{Code: InvalidField, Detail: fmt.Sprintf("field %q: %v", x.operation.Amount, err), Field: x.operation.Amount}
		}
		x.sent.Amount = amount
	}
	x.record.Amount = x.sent.Amount
	if !x.operation.MovesMoney {
		return nil
	}
	decision := x.merchant.DecideAmount(x.sent.Amount)
	if x.sent.Amount == 0 && x.merchant.LimitsAmount() { // what it will cost is known only afterwards
		decision = whitelist.Decision{
			Merchant: x.merchant, Reason: whitelist.AmountNotAllowed,
			Rule: "merchant " + x.merchant.Name + ": its amounts are limited, and " + x.operation.Name + " has no amount",
		}
	}
	if !decision.Allowed {
		x.record.note(decision)
		return refusal(decision)
	}
	return nil
}

// field is a field that the operation names. A trait that is not set finds
// nothing, whatever members the body has.
func (x *exchange) field(name string) (nowpay.Value, bool) {
	if name == "" {
		return nowpay.Value{}, false
	}
	return x.body.Get(name)
}

// checkMediaType refuses bodies that are not plainly of the operation's type.
func checkMediaType(header http.Header, operation *nowpay.Operation) *Problem {
	want := operation.Encoding.MediaType()
	values := header.Values("Content-Type")
	if len(values) == 1 && len(header.Values("Content-Encoding")) == 0 {
		if values[0] == want { // as nearly always
			return nil
		}
		media, params, err := mime.ParseMediaType(values[0])
		charset, hasCharset := params["charset"]
		plain := len(params) == 0 || len(params) == 1 && hasCharset && strings.EqualFold(charset, "utf-8")
		if err == nil && media == want && plain {
			return nil
		}
	}
	return &Problem{Code: UnsupportedMediaType, Detail: "send the body as Content-Type: " + want + ", without Content-Encoding"}
}

// readBody reads at most what is allowed, and all of it strictly.
func (g *Gateway) readBody(x *exchange, r Request) (*nowpay.Body, *Problem) {
	raw, err := readAll(r.Body, g.MaxBody)
	switch {
	case errors.Is(err, nowpay.ErrTooLarge):
		return nil, g.tooLarge()
	case err != nil:
		return nil, &Problem{Code: MalformedBody, Detail: "the body did not arrive whole"}
	}
	if problem := g.checkDigest(x, r.Header, raw); problem != nil {
		clear(raw)
		return nil, problem
	}
	parse := nowpay.ParseJSON
	if x.operation.Encoding == nowpay.Form {
		parse = nowpay.ParseForm
	}
	body, err := parse(raw, nowpay.Limits{Bytes: g.MaxBody})
	if err != nil {
		clear(raw)
		return nil, &Problem{Code: MalformedBody, Detail: err.Error()}
	}
	return body, nil
}

func (g *Gateway) tooLarge() *Problem {
	return &Problem{Code: BodyTooLarge, Detail: fmt.Sprintf("a body may have %d bytes", g.MaxBody)}
}

// readAll is io.ReadAll of at most limit bytes that leaves no outgrown copies
// behind: an app may still send a key. Its error is [nowpay.ErrTooLarge] beyond
// the limit, or that of r.
func readAll(r io.Reader, limit int) ([]byte, error) {
	b := make([]byte, 0, 512) // most are smaller
	for {
		n, err := r.Read(b[len(b):cap(b)])
		switch b = b[:len(b)+n]; {
		case len(b) > limit, isOverLimit(err):
			clear(b)
			return nil, nowpay.ErrTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			clear(b)
			return nil, err
		case len(b) == cap(b):
			whole := make([]byte, len(b), 2*cap(b))
			copy(whole, b)
			clear(b)
			b = whole
		}
	}
}

// isOverLimit reports whether reading ended at the limit of `request_body` in the
// Caddyfile.
func isOverLimit(err error) bool {
	if err == nil {
		return false
	}
	_, over := errors.AsType[*http.MaxBytesError](err)
	return over
}

// sign takes the credential, once for the whole exchange, and signs. The
// caller releases the credential.
func (g *Gateway) sign(ctx context.Context, x *exchange) (signer.Signed, *secret.Credential, *Problem) {
	unsent := func(code Code, detail string) (signer.Signed, *secret.Credential, *Problem) {
		x.record.Outcome = nowpay.Unsent
		return signer.Signed{}, nil, &Problem{Code: code, Detail: detail}
	}
	if ctx.Err() != nil {
		return signer.Signed{}, nil, x.cancelled()
	}
	account := g.Accounts[x.account]
	credential, err := account.Secret.Acquire()
	if err != nil {
		x.record.Err = err
		return unsent(CredentialUnavailable, "nothing was sent; the same request ID may be sent again")
	}
	signing := true
	defer func() {
		if signing { // failed, or panics
			credential.Release()
		}
	}()
	x.used, x.record.CredentialVersion = credential, credential.Version()
	x.target = x.operation.Target()
	signed, err := account.Sign.Sign(ctx, signer.Request{Operation: x.operation, Body: x.body, URL: g.Egress.URL(x.target)}, credential)
	if err != nil {
		x.record.Err = err
		if errors.Is(err, secret.ErrUnavailable) { // what signs is out of reach
			return unsent(CredentialUnavailable, "nothing was sent; the same request ID may be sent again")
		}
		return unsent(NotSent, "the request could not be signed; nothing was sent")
	}
	signing = false
	return signed, credential, nil
}

// cancelled is for a merchant that is gone before anything has happened.
func (x *exchange) cancelled() *Problem {
	x.record.Outcome = nowpay.Unsent
	return &Problem{Code: NotSent, Detail: "the request was cancelled before anything was sent"}
}

// send sends once. Neither a response nor a problem means: sent, but no answer
// that could be read, which is also what the end of ctx comes to.
func (g *Gateway) send(ctx context.Context, x *exchange, signed signer.Signed) (*egress.Response, *Problem) {
	defer signed.Wipe()
	request := &egress.Request{Target: x.target, ContentType: signed.ContentType, Header: signed.Header, Body: signed.Body}
	x.record.maybeSent = true
	response, err := g.Egress.Do(ctx, request)
	if err == nil {
		x.record.EgressAddress, x.record.ProviderStatus = response.LocalAddr, response.Status
		x.record.ProviderDuration = response.Duration
		return response, nil
	}
	x.record.Err = err
	var failure *egress.Error
	if errors.As(err, &failure) {
		x.record.EgressAddress, x.record.ProviderDuration = failure.LocalAddr, failure.Duration
	}
	if failure == nil || failure.Sent {
		return nil, nil
	}
	x.record.maybeSent = false
	x.record.Outcome = nowpay.Unsent
	if errors.Is(err, egress.ErrEgressAddress) {
		return nil, &Problem{Code: EgressUnavailable, Detail: "nothing was sent; the same request ID may be sent again"}
	}
	return nil, &Problem{Code: NotSent, Detail: "the provider could not be reached; the same request ID may be sent again"}
}

// unanswered is for a request that was sent, or partly sent, without an answer
// that could be read.
func (g *Gateway) unanswered(x *exchange) (Answer, *Problem) {
	if errors.Is(x.record.Err, egress.ErrTimeout) {
		return g.unknown(x, GatewayTimeout, "the provider did not answer in time; what became of the request is not known")
	}
	return g.unknown(x, BadGateway, "the provider gave no readable answer; what became of the request is not known")
}

// check holds the answer against the request, and passes on what is genuine.
func (g *Gateway) check(x *exchange, response integrity.Answer, key secret.Value) (Answer, *Problem) {
	verdict := integrity.Check(x.sent, response, key)
	if x.unbound && x.operation.MovesMoney && verdict.Outcome == nowpay.Refused {
		verdict.Outcome, verdict.Body = nowpay.Unknown, nil
		verdict.Findings = append(verdict.Findings, integrity.Unbound)
	}
	x.record.Outcome, x.record.Findings = verdict.Outcome, verdict.Findings
	x.record.ProviderID, x.record.Integrity = verdict.ProviderID, verified
	if verdict.Leak {
		clear(response.Body) // the verdict's body is a scrubbed copy
	}
	if len(verdict.Findings) > 0 {
		x.record.Integrity = unverified
	}
	if verdict.Outcome == nowpay.Unknown || verdict.Body == nil && !x.operation.MovesMoney {
		return g.unknown(x, BadGateway, "the provider's answer failed the gateway's checks and was not passed on")
	}
	if verdict.Body == nil {
		return ownAnswer(x), nil
	}
	return Answer{Status: http.StatusOK, Header: verdict.Header, Body: x.unprefix(verdict.Body)}, nil
}

// unknown answers where something was sent and no trustworthy answer came:
// pending if money may have moved, otherwise a problem.
func (g *Gateway) unknown(x *exchange, code Code, detail string) (Answer, *Problem) {
	x.record.Outcome, x.record.Integrity = nowpay.Unknown, unverified
	if x.operation.MovesMoney {
		return ownAnswer(x), nil
	}
	return Answer{}, &Problem{Code: code, Detail: detail}
}

// throttle holds the merchant to its rate. It comes before anything is
// recorded: what was sent is never cut off.
func (g *Gateway) throttle(merchant *whitelist.Merchant) *Problem {
	wait, ok := g.Limits.Allow(merchant.Name)
	if ok {
		return nil
	}
	return &Problem{Code: LimitExceeded, Detail: "the merchant calls more often than its rate allows", RetryAfter: wait}
}

// recovered turns a bug into the careful answer: whatever may have been sent
// is unknown, never failed. The panic's value may hold anything, so only its
// type is logged.
func (g *Gateway) recovered(ctx context.Context, x *exchange, p any) (Answer, *Problem) {
	g.logPanic(ctx, p, "exchange", x.record.ID)
	if !x.record.maybeSent && !x.record.Repeat {
		x.record.Outcome = nowpay.Unsent
		return Answer{}, &Problem{Code: NotSent, Detail: "the gateway failed before anything was sent"}
	}
	return g.unknown(x, BadGateway, "the gateway failed while the request was under way")
}

// logPanic logs a bug, and where it is.
func (g *Gateway) logPanic(ctx context.Context, p any, attrs ...any) {
	attrs = append(attrs, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	g.Logger.ErrorContext(ctx, "panic: this is a bug", attrs...)
}
