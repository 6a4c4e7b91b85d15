package gateway

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Code is the stable name of a refusal. It ends the problem's type URI and is
// the value of the header Nowpay-Gateway-Error.
type Code string

// The refusals of the gateway.
const (
	Unauthenticated       Code = "unauthenticated"
	SourceNotAllowed      Code = "source-not-allowed"
	OperationNotAllowed   Code = "operation-not-allowed"
	UnknownOperation      Code = "unknown-operation"
	MethodNotAllowed      Code = "method-not-allowed"
	MalformedBody         Code = "malformed-body"
	CredentialInRequest   Code = "credential-in-request"
	InvalidField          Code = "invalid-field"
	AmountNotAllowed      Code = "amount-not-allowed"
	LimitExceeded         Code = "limit-exceeded"
	BodyTooLarge          Code = "body-too-large"
	UnsupportedMediaType  Code = "unsupported-media-type"
	InFlight              Code = "in-flight"
	RequestIDReused       Code = "request-id-reused"
	NotSent               Code = "not-sent"
	CredentialUnavailable Code = "credential-unavailable"
	JournalUnavailable    Code = "journal-unavailable"
	EgressUnavailable     Code = "egress-unavailable"
	BadGateway            Code = "bad-gateway"
	GatewayTimeout        Code = "gateway-timeout"
	NotFound              Code = "not-found"
	TooEarly              Code = "too-early"
)

// retryAfter is what a merchant is asked to wait when nothing was sent for a
// reason that passes by itself.
const retryAfter = 5 * time.Second

// problems says for each code which status and title it has, and whether the
// request may simply be repeated later.
var problems = map[Code]struct {
	status int
	title  string
	retry  bool
}{
	Unauthenticated:       {http.StatusUnauthorized, "The caller is not known.", false},
	SourceNotAllowed:      {http.StatusForbidden, "The merchant may not call from this address.", false},
	OperationNotAllowed:   {http.StatusForbidden, "This operation is not allowed for the merchant.", false},
	UnknownOperation:      {http.StatusNotFound, "There is no such operation.", false},
	MethodNotAllowed:      {http.StatusMethodNotAllowed, "The method is not allowed here.", false},
	MalformedBody:         {http.StatusBadRequest, "The body cannot be read.", false},
	CredentialInRequest:   {http.StatusBadRequest, "The body must not carry username or key.", false},
	InvalidField:          {http.StatusBadRequest, "A field is missing or malformed.", false},
	AmountNotAllowed:      {http.StatusForbidden, "The amount is not allowed for the merchant.", false},
	LimitExceeded:         {http.StatusTooManyRequests, "A limit is reached.", true},
	BodyTooLarge:          {http.StatusRequestEntityTooLarge, "The body is too large.", false},
	UnsupportedMediaType:  {http.StatusUnsupportedMediaType, "The body has the wrong media type.", false},
	InFlight:              {http.StatusConflict, "The request with this request ID is still under way.", true},
	RequestIDReused:       {http.StatusUnprocessableEntity, "The request ID was used for another request.", false},
	NotSent:               {http.StatusServiceUnavailable, "Nothing was sent to the provider.", true},
	CredentialUnavailable: {http.StatusServiceUnavailable, "The provider credential is not available.", true},
	JournalUnavailable:    {http.StatusServiceUnavailable, "The journal of transactions is not available.", true},
	EgressUnavailable:     {http.StatusServiceUnavailable, "The egress address is not available.", true},
	BadGateway:            {http.StatusBadGateway, "The provider's answer cannot be trusted.", false},
	GatewayTimeout:        {http.StatusGatewayTimeout, "The provider did not answer in time.", false},
	NotFound:              {http.StatusNotFound, "There is nothing here.", false},
	TooEarly:              {http.StatusTooEarly, "The request came before the TLS handshake was complete.", false},
}

// ProblemType is the URI that a problem's code is appended to.
const ProblemType = "https://nowpay-gateway.dev/problems/"

// Problem is a refusal of the gateway itself (RFC 9457).
type Problem struct {
	Code   Code
	Detail string // safe to show to the merchant
	Field  string // only for InvalidField: which one
	Allow  string // only for MethodNotAllowed: the method that is allowed
	// RetryAfter is when repeating helps, where it does. 0: after five seconds.
	RetryAfter time.Duration
}

// Answer renders the problem; instance is the exchange id, "" if there was no
// exchange.
func (p *Problem) Answer(instance string) Answer {
	kind := problems[p.Code]
	body := marshal(struct {
		Type     string `json:"type"`
		Status   int    `json:"status"`
		Title    string `json:"title"`
		Detail   string `json:"detail,omitempty"`
		Field    string `json:"field,omitempty"`
		Instance string `json:"instance,omitempty"`
	}{ProblemType + string(p.Code), kind.status, kind.title, p.Detail, p.Field, instance})
	header := http.Header{
		"Content-Type": {"application/problem+json"},
		headerError:    {string(p.Code)},
	}
	if kind.retry {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(cmp.Or(p.RetryAfter, retryAfter).Seconds()))))
	}
	if p.Allow != "" {
		header.Set("Allow", p.Allow)
	}
	if p.Code == Unauthenticated {
		header.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 11.6.1
	}
	return Answer{Status: kind.status, Header: header, Body: body}
}
