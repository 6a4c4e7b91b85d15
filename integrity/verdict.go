package integrity

import (
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Sent is what the answer must agree with.
type Sent struct {
	// Operation that was called. It must not be nil.
	Operation *nowpay.Operation
	// RequestID as it was sent. Empty: none was, and none is compared.
	RequestID string
	// Amount as it was sent. Zero: none was, and none is compared.
	Amount nowpay.Paise
	// Live says that the account moves real money: then a simulator's answer is
	// not believed.
	Live bool
}

// Answer is what came back: a complete response, bounded in size by whoever
// read it. Names of the header are in canonical form.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Verdict is what an [Answer] is worth.
type Verdict struct {
	// Outcome is never Unsent. With a finding other than KeyLeak it is
	// Unknown, but for MissingField alone: that makes it Pending.
	Outcome nowpay.Outcome
	// Findings are all that is wrong with the answer, in the order in which
	// the constants are declared. Empty: every check passed.
	Findings []Finding
	// ProviderID is Nowpay's id of the transaction, also if the outcome is
	// Unknown: at most 100 bytes of printable text. It is empty if the answer has none, may be about another
	// request, or if the id is not certain to be free of the key.
	ProviderID string
	// Header holds the headers that may be passed on together with Body. It is
	// the caller's, never nil, and empty if Body is nil.
	Header http.Header
	// Body is what may be passed on: the answer's own bytes, not to be
	// modified, or with a leak a scrubbed copy. It is nil if nothing may be
	// passed on, and the caller then writes a body of its own:
	//
	//   - the outcome is Unknown;
	//   - a success lacks what it needs (MissingField): the outcome is
	//     Pending, while the answer's own body reads "paid";
	//   - the answer holds the key and the operation moves no money;
	//   - the key is still there after scrubbing, or what was scrubbed is one
	//     of the fields that tell the outcome.
	Body []byte
	// Leak is set if the key is in the answer, in whatever part of it.
	Leak bool
}

// Finding is something that is wrong with an answer. There are only those
// declared here, so they can label a metric.
type Finding string

const (
	// Unproven means that the answer has no proof that it is the provider's and
	// this request's, where one is asked for. Nothing else of it was looked at.
	Unproven Finding = "unproven"
	// Simulated means that a simulator says of itself that it gave the answer, to
	// a request of a live account.
	Simulated Finding = "simulator"
	// Unbound means that a refusal of a payment may be that of another one: it names
	// none, and its proof ties it to none.
	Unbound Finding = "unbound"
	// WrongStatus is not 200.
	WrongStatus Finding = "status"
	// WrongContentType is missing, there twice, or not JSON in UTF-8.
	WrongContentType Finding = "content-type"
	// WrongEncoding says that the body is compressed, which was not asked for.
	WrongEncoding Finding = "encoding"
	// Malformed means that the body is not one JSON object by strict rules.
	Malformed Finding = "malformed"
	// AmbiguousName means that a field which is checked is there under a name
	// of other letter case too, or only. A reader that ignores case could take
	// one for the other.
	AmbiguousName Finding = "ambiguous-name"
	// WrongSuccess means that `success` is missing or not on the operation's scale.
	WrongSuccess Finding = "success-value"
	// WrongRequestID is not that of the request, or missing where it has to be.
	WrongRequestID Finding = "request-id"
	// WrongProviderID is no id, being over 100 bytes or not printable for example,
	// or missing where it has to be.
	WrongProviderID Finding = "provider-id"
	// Contradiction means that an answer which refuses speaks of a transaction
	// all the same: it has a bank reference, or Nowpay's id in another place. Or
	// that a status answer tells one state and its `success` another.
	Contradiction Finding = "contradiction"
	// WrongAmount is not that of the request.
	WrongAmount Finding = "amount"
	// MissingField means that a success lacks a field without which it is none yet.
	MissingField Finding = "missing-field"
	// QueryRefused means that Nowpay refused a status query itself: for its key
	// or address, say. That is nothing about the transaction.
	QueryRefused Finding = "query-refused"
	// ManyRows means that more than one row of a status answer has an id of the
	// transaction: it may have been paid twice.
	ManyRows Finding = "many-rows"
	// WrongField means that a status answer repeats another field of the
	// request than was sent.
	WrongField Finding = "field"
	// WrongState is not among the states that the status query knows.
	WrongState Finding = "state"
	// KeyLeak means that the answer holds the key, see [FindLeak].
	KeyLeak Finding = "key-leak"
)
