package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// errUnfit is wrapped by a failure to connect to a server that is there but not
// what the DSN asks for: a standby, most of the time.
var errUnfit = errors.New("no server is writable, or what target_session_attrs asks for")

// failure turns an error of the driver into one of the journal's. Its text is
// made of what is known to be harmless: the driver's own repeats parts of the
// DSN, and a badly quoted password can end up in any of them.
func failure(doing string, err error) error {
	var server *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &server):
		return refusal(doing, server)
	default:
		return fmt.Errorf("%s: %w: %w", doing, journal.ErrUnavailable, connectionFailure(err))
	}
}

// refusal is what the server said. Detail, Hint and Where are left out: they
// hold values of rows.
func refusal(doing string, server *pgconn.PgError) error {
	message := server.Message
	switch class := server.Code[:min(2, len(server.Code))]; {
	case server.Code == "40001", server.Code == "40P01": // serialisation, deadlock
		return fmt.Errorf("%s: %w: %s", doing, journal.ErrRetry, message)
	case server.Code == "22012": // see demand
		return fmt.Errorf("%s: a row that was to be changed is not there, or not as expected", doing)
	case class == "22", class == "23", class == "54": // data, constraints, limits
		return fmt.Errorf("%s: %s (SQLSTATE %s)", doing, message, server.Code)
	case class == "28": // whose text names the user
		message = "the server refused the user or the password"
	case class == "3D": // whose text names the database
		message = "there is no such database"
	}
	// The rest is not the batch's fault: the server stops or starts, is full,
	// overloaded or read-only, broken, or lacks our tables or permissions.
	return fmt.Errorf("%s: %w: %s (SQLSTATE %s)", doing, journal.ErrUnavailable, message, server.Code)
}

// connectionFailure says in our words why there was no answer.
func connectionFailure(err error) error {
	var errno syscall.Errno
	var network net.Error
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, errClosed):
		return errClosed
	case errors.Is(err, errUnfit):
		return errUnfit
	case errors.As(err, &errno):
		return errno // such as: connection refused
	case errors.As(err, &dns):
		return errors.New("the host's name cannot be resolved")
	case errors.As(err, &certificate):
		return errors.New("the server's certificate is not trusted")
	case errors.As(err, &network) && network.Timeout():
		return errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return errors.New("the connection was lost")
	default:
		return fmt.Errorf("an error whose text is not repeated (%T)", err)
	}
}
