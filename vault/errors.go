package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/api"
)

// Step is a part of fetching a credential.
type Step string

// The steps, in order. A file has only the last two.
const (
	StepLogin  Step = "login"
	StepMount  Step = "mount"  // finding the KV engine and its version
	StepRead   Step = "read"   // reading the secret
	StepFields Step = "fields" // taking username and key out of it
)

// StepError says at which step fetching a credential failed. It holds no
// secret.
type StepError struct {
	Step Step
	// Subject is what the step was about: the login method, or the path.
	Subject string
	Err     error
}

// Error implements error.
func (e *StepError) Error() string {
	doing := map[Step]string{
		StepLogin:  "logging in by",
		StepMount:  "finding the mount of",
		StepRead:   "reading",
		StepFields: "checking the fields of",
	}[e.Step]
	return fmt.Sprintf("%s %s: %v", doing, e.Subject, e.Err)
}

// Unwrap returns the reason.
func (e *StepError) Unwrap() error { return e.Err }

// Reasons that decide what happens next.
var (
	errDenied   = errors.New("permission denied") // the token is not good for it
	errGone     = errors.New("no usable secret")  // Vault says there is none, or none that is well-formed
	errRedirect = errors.New("answered with a redirect, which is not followed: give the address of the active server")
	errAnswer   = errors.New("the answer is not of Vault's form")
	errBehind   = errors.New("this server has not caught up with what another one has answered; is tried again")
	errTooLarge = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	errClosed   = errors.New("source is closed")
	errStarted  = errors.New("source was started before")
	errNoStart  = errors.New("source was not started")
)

// maxMessage bounds what is shown of Vault's own words.
const maxMessage = 300

// explain turns an error of Vault's client into one that is safe to log: it
// says what went wrong, but shows of the answer nothing except Vault's error
// messages, and those without the given secrets. The original error is not
// wrapped, since printers could find the answer in it.
func explain(err error, secrets ...string) error {
	if refused, ok := errors.AsType[*api.ResponseError](err); ok {
		return explainStatus(refused, secrets)
	}
	if cause, ok := errors.AsType[*url.Error](err); ok {
		err = cause.Err // without method and URL
	}
	if own, ok := errors.AsType[*certificateError](err); ok {
		return own
	}
	if isType[*http.MaxBytesError](err) {
		return errTooLarge
	}
	for _, known := range []error{
		errRedirect, context.Canceled, context.DeadlineExceeded,
		io.EOF, io.ErrUnexpectedEOF, http.ErrSchemeMismatch,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	text := fmt.Sprintf("no proper answer (%T)", err)
	if isConnectionError(err) {
		text = err.Error()
	}
	return errors.New(clean(text, secrets))
}

// isConnectionError reports whether the error's text is about the connection:
// that holds nothing of what an answer carried.
func isConnectionError(err error) bool {
	for _, is := range []func(error) bool{
		isType[*net.OpError], isType[*net.DNSError], isType[*tls.CertificateVerificationError],
		isType[tls.AlertError], isType[tls.RecordHeaderError],
	} {
		if is(err) {
			return true
		}
	}
	return strings.HasPrefix(err.Error(), "tls: ")
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func explainStatus(refused *api.ResponseError, secrets []string) error {
	text := fmt.Sprintf("Vault answered with status %d", refused.StatusCode)
	// A message that is not Vault's JSON is somebody else's page.
	if message := strings.Join(refused.Errors, "; "); !refused.RawError && message != "" {
		text += ": " + clean(message, secrets)
	}
	switch refused.StatusCode {
	case http.StatusForbidden:
		return fmt.Errorf("%w: %s", errDenied, text)
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %s", errBehind, text)
	case http.StatusNotFound:
		return &notFoundError{text}
	}
	return errors.New(text)
}

// notFoundError is Vault's 404. Only of the secret itself does it mean that the
// secret is gone.
type notFoundError struct{ text string }

func (e *notFoundError) Error() string { return e.text }

// clean makes one printable line of text, of bounded length and without the
// secrets.
func clean(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + " …"
	}
	return text
}
