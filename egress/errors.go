package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Sentinels for callers that decide by the cause. They are found with
// [errors.Is] in what [Client.Do] returns.
var (
	// ErrEgressAddress means that no configured local address is on this
	// machine. It implies that nothing was sent.
	ErrEgressAddress = errors.New("no configured egress address is on this machine")
	// ErrTimeout means that the context's deadline, [Config.Timeout] or the
	// time allowed for a connection has passed.
	ErrTimeout = errors.New("timed out")
	// ErrTooLarge means that the answer's header or body exceeds its bound.
	ErrTooLarge = errors.New("answer too large")
)

var errClosed = errors.New("client is closed")

// Error is what [Client.Do] and [Client.Probe] fail with.
type Error struct {
	// Sent is false only if it is certain that no byte of the request left
	// this machine. If it is true the provider may have executed the request,
	// wholly or not at all.
	Sent bool
	// LocalAddr is the source address of the connection that was used; not
	// valid if there was none.
	LocalAddr netip.Addr
	// Duration from the first attempt to write until the failure; 0 without a
	// connection.
	Duration time.Duration
	// Err is the cause. Its text holds nothing of the request's or the
	// answer's content.
	Err error
}

func (e *Error) Error() string {
	if e.Sent {
		return "request sent, no answer: " + e.Err.Error()
	}
	return "nothing sent: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failure makes the error of an exchange. The end of ctx or of its time may show in
// err only as a deadline on a socket, or as an answer that is cut off; this names the
// true cause. late tells that the time is up.
func failure(ctx context.Context, sent, late bool, err error) *Error {
	switch done := ctx.Err(); {
	case errors.Is(done, context.Canceled):
		err = fmt.Errorf("%w: %w", done, err)
	case done != nil, late, isTimeout(err):
		err = fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return &Error{Sent: sent, Err: err}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// isNetwork reports whether err is the system's or TLS's, not a parser's.
func isNetwork(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}
