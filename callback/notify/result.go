package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// The kinds of failures, found with [errors.Is] in [Result.Err]. A call that
// its context ended has [context.Canceled] instead.
var (
	// ErrMessage means that the message cannot be sent to anybody as it is.
	ErrMessage = errors.New("message not sendable")
	// ErrSecrets means that there was nothing to sign with.
	ErrSecrets = errors.New("no secret")
	// ErrClosed means that the sender is closed, or was while it sent.
	ErrClosed = errors.New("sender closed")
	// ErrName means that the host's name has no address, or could not be looked up.
	ErrName = errors.New("host not found")
	// ErrAddress means that the host has only addresses that may not be dialled.
	ErrAddress = errors.New("address not allowed")
	// ErrLocalAddress means that [Endpoint.LocalAddress] cannot be used.
	ErrLocalAddress = errors.New("local address not usable")
	// ErrRefused means that nobody listens.
	ErrRefused = errors.New("connection refused")
	// ErrConnect means that no connection came about for another reason.
	ErrConnect = errors.New("connection failed")
	// ErrTLS means that the peer is not who it should be, or speaks no TLS of ours.
	ErrTLS = errors.New("tls failed")
	// ErrTimeout means that a part of the call, or all of it, took too long.
	ErrTimeout = errors.New("timeout")
	// ErrBroken means that the connection ended without an answer.
	ErrBroken = errors.New("connection closed")
	// ErrAnswer means that the answer is not HTTP, is cut off in its header, or that
	// its header is too large.
	ErrAnswer = errors.New("bad answer")
	// ErrRedirect means that the answer sends us elsewhere, where we do not go.
	ErrRedirect = errors.New("redirect refused")
)

// kinds are all of them.
func kinds() []error {
	return []error{
		ErrMessage, ErrSecrets, ErrClosed, ErrName, ErrAddress, ErrLocalAddress, ErrRefused, ErrConnect,
		ErrTLS, ErrTimeout, ErrBroken, ErrAnswer, context.Canceled,
	}
}

// Result is what became of a sending. The zero Result is one that did not
// happen.
type Result struct {
	// Status of the answer; 0 without one.
	Status int
	// Err is why there is no answer, or none that counts. Nil for an answer with
	// any status but a redirect. It wraps one of the errors of this package or
	// [context.Canceled]. Its text may tell addresses, and what [Endpoint.Secrets]
	// failed with, and is for the operator; nothing of the URL's path and query,
	// of secrets or of the answer is in it.
	Err error
}

// Delivered reports whether the merchant has accepted the message.
func (r Result) Delivered() bool {
	return r.Err == nil && r.Status >= http.StatusOK && r.Status < http.StatusMultipleChoices
}

// String says in a few words what became of the message, such as "HTTP 500" or
// "timeout". They are from a fixed list and can be stored and shown to anybody.
func (r Result) String() string {
	switch {
	case errors.Is(r.Err, ErrRedirect):
		return ErrRedirect.Error() + " (HTTP " + strconv.Itoa(r.Status) + ")"
	case r.Err == nil && r.Status == 0:
		return "not sent"
	case r.Err == nil:
		return "HTTP " + strconv.Itoa(r.Status)
	}
	for _, kind := range kinds() {
		if errors.Is(r.Err, kind) {
			return kind.Error()
		}
	}
	return "failed"
}

// answer judges a status.
func answer(status int) Result {
	if status >= http.StatusMultipleChoices && status < http.StatusBadRequest {
		return Result{Status: status, Err: ErrRedirect}
	}
	return Result{Status: status}
}

// failure makes the error of a call out of the transport's, whose text may quote
// the peer and is therefore left behind. answered tells whether the peer had
// begun to answer.
func failure(ctx context.Context, err error, answered bool) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("sending: %w", context.Canceled)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: waiting for the answer", ErrTimeout)
	}
	for _, kind := range kinds() {
		if errors.Is(err, kind) {
			return err // of dial, by way of the transport
		}
	}
	switch {
	case isTimeout(err):
		return fmt.Errorf("%w: waiting for the answer", ErrTimeout)
	case isAlert(err):
		return fmt.Errorf("%w: the peer refused after the handshake", ErrTLS)
	case !answered, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return ErrBroken
	}
	return ErrAnswer
}

func dialFailure(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil, isTimeout(err):
		return fmt.Errorf("%w: connecting", ErrTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrRefused
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: it is not on this machine", ErrLocalAddress)
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("%w: %w", ErrConnect, number)
	}
	return ErrConnect
}

// handshakeFailure names the frequent reasons; the text of others may quote the
// peer's certificate.
func handshakeFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil || isTimeout(err) {
		return fmt.Errorf("%w: in the handshake of TLS", ErrTimeout)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w: the certificate is signed by an unknown authority", ErrTLS)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w: the certificate is for another host", ErrTLS)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: the certificate is expired or not yet valid", ErrTLS)
	}
	return ErrTLS
}

// isAlert reports whether TLS ended the connection.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
