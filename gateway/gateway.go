package gateway

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// Account is one account at the provider: where its credential comes from, how
// requests are signed with it, and how answers prove that they are genuine.
type Account struct {
	Secret secret.Source
	Sign   signer.Scheme
	Verify signer.Verifier // nil: answers carry no proof
	// Live says that the account moves real money. The answers of a simulator are
	// not believed then.
	Live bool
}

// Config is what a [Gateway] needs. Every field must be set, but for Signatures,
// Callbacks and Notify.
type Config struct {
	Catalogue *nowpay.Catalogue
	Policy    *whitelist.Policy
	Accounts  map[string]Account // by the name that merchants refer to
	Egress    *egress.Client
	Journal   *journal.Journal
	Limits    *Limits
	Places    *Places
	// Signatures verifies what merchants sign. Nil: none does.
	Signatures *signer.Requests
	Reconcile  Reconcile
	Callbacks  *Callbacks          // nil: none are taken
	Notify     map[string]Notifier // by merchant; those without are not told
	MaxBody    int                 // bytes of a merchant's body

	Logger   *slog.Logger                   // gets what is not about one exchange, and what needs a person
	Record   func(context.Context, *Record) // gets one record for each exchange, for the log and metrics; must not block, or keep it
	Observed func(StatusCall)               // gets each status call, for metrics; must not block
	// CalledBack gets what became of each callback request, and Posted what came
	// of working on a message, for metrics; they must not block.
	CalledBack func(result string)
	Posted     func(journal.Message)
	NewID      func() string    // makes exchange ids: ULIDs
	Now        func() time.Time // the clock
	Random     func() float64   // for jitter: from 0 up to 1
}

// Gateway carries out exchanges. It is safe for concurrent use.
type Gateway struct {
	Config
	asking   *asking
	strays   *rate.Limiter // of callbacks of which nothing is known
	refusals *rate.Limiter // of log lines of those that are refused
	alarms   *rate.Limiter // of log lines that call for a person because of refusals
	inbox    *post
	outbox   *post
}

// New makes a gateway.
func New(cfg Config) *Gateway {
	g := &Gateway{Config: cfg, asking: newAsking(cfg), strays: rate.NewLimiter(strayRate, strayBurst), refusals: rate.NewLimiter(refusalRate, refusalBurst), alarms: rate.NewLimiter(rate.Every(time.Minute), 1)}
	g.inbox = g.newPost(journal.Inbox, g.inboxLanes, g.workOff)
	g.outbox = g.newPost(journal.Outbox, g.outboxLanes, g.deliver)
	return g
}

// Request is a merchant's request as it was received.
type Request struct {
	Caller whitelist.Caller
	Method string
	Target string // the request target, byte for byte
	Scheme string // http or https, and the Host header: where a signature says it was sent to
	Host   string
	Early  bool // came before the TLS handshake was complete: neither the source nor that it comes once is certain
	Header http.Header
	Body   io.Reader
}

// Answer is what the merchant gets.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// exchange is the state of one exchange as it walks through the rooms.
type exchange struct {
	record    Record
	merchant  *whitelist.Merchant // nil in a status call of the gateway's own
	signature *httpsig.Verified   // of the merchant's; nil: none
	account   string
	used      *secret.Credential // that it was signed with last, to know it from another; released
	operation *nowpay.Operation
	body      *nowpay.Body   // as it is sent, but for the credential
	sent      integrity.Sent // with the merchant's prefix in the request ID
	ownID     string         // the request ID without the prefix
	target    string         // what the provider is asked for, once it is signed

	transaction journal.Transaction // of an operation that moves money, once recorded
	disputed    journal.State       // what the answer said, against the provider's own status
	unconfirmed bool                // a refusal about which the provider's status said nothing
	unbound     bool                // the answer's proof does not tie it to this request alone
}

// Exchange carries a merchant's request to the provider and the answer back.
// It returns when the exchange is over, also if ctx ends meanwhile: ctx counts
// only until the intent is recorded or, where no money moves, sending begins.
func (g *Gateway) Exchange(ctx context.Context, r Request) Answer {
	x := g.begin(r)
	x.record.ID = g.NewID()
	answer, problem := g.walk(ctx, x, r)
	return g.close(ctx, x, answer, problem)
}

// Explain decides a request as Exchange would, and says what it found. Without
// a body the decision is that before the body is read. No credential is taken,
// nothing is sent, logged or counted.
func (g *Gateway) Explain(ctx context.Context, r Request) (Record, *Problem) {
	x := g.begin(r)
	problem := g.identify(ctx, x, r)
	if problem == nil && r.Body != nil {
		problem = g.admit(x, r)
	}
	return x.record, problem
}

// begin makes the exchange of a request.
func (g *Gateway) begin(r Request) *exchange {
	return &exchange{record: Record{Start: g.Now(), Source: r.Caller.Source.Unmap().WithZone("")}}
}

// walk is the exchange itself. It answers, or refuses with a problem.
func (g *Gateway) walk(ctx context.Context, x *exchange, r Request) (answer Answer, problem *Problem) {
	defer func() {
		if p := recover(); p != nil {
			answer, problem = g.recovered(ctx, x, p)
		}
	}()
	if problem := g.identify(ctx, x, r); problem != nil {
		return Answer{}, problem
	}
	place, problem := g.enter(x)
	if problem != nil {
		return Answer{}, problem
	}
	defer place.GiveBack()
	if problem := g.throttle(x.merchant); problem != nil {
		return Answer{}, problem
	}
	if problem := g.admit(x, r); problem != nil {
		return Answer{}, problem
	}
	if problem := g.useNonce(ctx, x); problem != nil {
		return Answer{}, problem
	}
	if x.operation.MovesMoney {
		return g.once(ctx, x)
	}
	return g.carry(ctx, x)
}

// carry sends a request that is admitted, and checks the answer. What moves no money
// and costs nothing is sent once more if the answer may be due to a key which was
// replaced, and there is another credential by now.
func (g *Gateway) carry(ctx context.Context, x *exchange) (Answer, *Problem) {
	answer, problem := g.attempt(ctx, x)
	if x.keyMayBeWrong() && !x.operation.MovesMoney && !x.operation.MayCost && g.replaced(ctx, x) {
		x.record.Findings, x.record.Err = nil, nil
		answer, problem = g.attempt(ctx, x)
	}
	return answer, problem
}

// attempt signs and sends a request, and checks the answer.
func (g *Gateway) attempt(ctx context.Context, x *exchange) (Answer, *Problem) {
	signed, credential, problem := g.sign(ctx, x)
	if problem != nil {
		return Answer{}, problem
	}
	defer credential.Release()
	// From here on a merchant that hangs up changes nothing.
	ctx = context.WithoutCancel(ctx)
	response, problem := g.send(ctx, x, signed)
	if problem != nil {
		return Answer{}, problem
	}
	if response == nil {
		return g.unanswered(x)
	}
	answer, err := g.prove(ctx, x, signed, response, credential)
	if err != nil {
		return g.unproven(x, err)
	}
	return g.check(x, answer, credential.Key())
}

// close records the exchange and completes the answer.
func (g *Gateway) close(ctx context.Context, x *exchange, answer Answer, problem *Problem) Answer {
	if problem != nil {
		answer = problem.Answer(x.record.ID)
		x.record.Problem = problem.Code
	}
	x.record.Duration = g.Now().Sub(x.record.Start)
	values := make([]string, 0, 4) // memory for all of them
	set := func(name, value string) {
		if value != "" {
			values = append(values, value)
			answer.Header[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
	set(headerTransaction, cmp.Or(x.record.Transaction, x.record.ID))
	set("Cache-Control", "no-store")
	set(headerOutcome, string(x.record.Outcome))
	set(headerIntegrity, x.record.Integrity)
	g.Record(ctx, &x.record)
	return answer
}
