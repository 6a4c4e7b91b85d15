package postgres

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

func TestNewRefuses(t *testing.T) {
	const secret = "hunter2"
	for _, dsn := range []string{
		"postgres://user:" + secret + "@host:port/db",
		"postgres://user:" + secret + "/word@host/db",
		"postgres://user:%zz" + secret + "@host/db",
		"host=localhost password=" + secret + " sslmode=perhaps",
		"password=two " + secret,
		"postgres://host/db?sslmode=verify-full&sslrootcert=/" + secret,
		"postgres://user:" + secret + "@host/db?pool_max_conns=many",
		"postgres://user:" + secret + "@host/db?connect_timeout=soon",
		"postgres://user:" + secret + "@host/db?default_query_exec_mode=simple_protocol",
	} {
		_, err := New(dsn, nil)
		if err == nil {
			t.Errorf("New(%q) accepts it", dsn)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("New(%q) = %v, which repeats it", dsn, err)
		}
		if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
			t.Errorf("New(%q) = %v, which carries it", dsn, err)
		}
	}
}

// A store that is not open says so.
func TestNotOpen(t *testing.T) {
	s := made(t, "postgres://127.0.0.1:1/journal")
	_, err := s.ByID(t.Context(), "any")
	checkUnavailable(t, "ByID", err)
	checkUnavailable(t, "Write", s.Write(t.Context(), nil))
	checkUnavailable(t, "Snapshot", s.Snapshot(t.Context(), nil))
}

// Commits wait for the disk, whatever the database's default is.
func TestSynchronousCommit(t *testing.T) {
	server := postgrestest.Start(t)
	for set, want := range map[string]string{
		"off": "on", "local": "on", "remote_write": "on", "on": "on", "remote_apply": "remote_apply",
	} {
		dsn := server.NewDatabase(t)
		name := dsn[strings.LastIndexByte(dsn, '/')+1 : strings.IndexByte(dsn, '?')]
		if err := server.Exec(`ALTER DATABASE ` + name + ` SET synchronous_commit = ` + set); err != nil {
			t.Fatal(err)
		}
		err := opened(t, dsn).Write(t.Context(), func(ctx context.Context, jtx journal.Tx) error {
			got, err := query(ctx, jtx.(*tx), pgx.RowTo[string], `SELECT current_setting('synchronous_commit')`)
			if err == nil && got[0] != want {
				t.Errorf("with %s, a transaction has synchronous_commit %s, want %s", set, got[0], want)
			}
			got, err2 := query(ctx, jtx.(*tx), pgx.RowTo[string], `SHOW idle_in_transaction_session_timeout`)
			if err2 == nil && got[0] != "10s" {
				t.Errorf("a transaction may idle for %s, want 10s", got[0])
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestFsyncIsWarnedOf(t *testing.T) {
	for setting, want := range map[string]bool{"off": true, "on": false} {
		server := postgrestest.Start(t, postgrestest.With("fsync", setting))
		var log bytes.Buffer
		s, err := New(server.NewDatabase(t), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := strings.Contains(log.String(), "fsync=off"); got != want {
			t.Errorf("with fsync=%s the log is %q", setting, log.String())
		}
	}
}

// Intents, their events and the commit take two round trips, however many there
// are: what waits for an answer is sent with the next that does.
func TestRoundTrips(t *testing.T) {
	server := postgrestest.Start(t)
	p, dsn := startProxy(t, server.NewDatabase(t))
	s := opened(t, dsn)
	chain := journaltest.NewChain(1)
	n := 0
	record := func(count int) (trips int64) {
		t.Helper()
		rows := make([]journal.Transaction, count)
		events := make([]journal.Event, count)
		before := int64(n)
		for i := range rows {
			n++
			rows[i] = journaltest.NewTransaction(n)
			events[i] = journaltest.NewEvent(rows[i], 1, int64(n))
		}
		chain.Number = int64(n)
		before, started := before, p.roundTrips.Load()
		err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			if added, err := tx.Insert(ctx, rows); err != nil || len(added) != count {
				t.Errorf("Insert() = %d, %v", len(added), err)
			}
			return errors.Join(tx.Append(ctx, events, before, chain), tx.AddSpending(ctx, []journal.Spending{{Amount: 1}}))
		})
		if err != nil {
			t.Fatal(err)
		}
		return p.roundTrips.Load() - started
	}
	err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.AddChain(ctx, chain)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	record(1) // prepares the statements
	for _, count := range []int{1, 64, 256} {
		if got := record(count); got != 2 {
			t.Errorf("recording %d intents took %d round trips, want 2", count, got)
		}
	}
}

// Which refusals of the server mean what.
func TestRefusal(t *testing.T) {
	const value = "4111111111111111"
	for _, c := range []struct {
		codes              string
		retry, unavailable bool
	}{
		{"40001 40P01", true, false},
		{"57P01 57P02 57P03 57014 53100 53200 53300 25006 25P03 08006 58030 XX001", false, true},
		{"42501 42P01 40003 28000 28P01 3D000 55P03 ?", false, true},
		{"22021 22003 23505 23502 54000 22012", false, false},
	} {
		for code := range strings.FieldsSeq(c.codes) {
			err := failure("testing", &pgconn.PgError{
				Code: code, Message: "no", Detail: value, Hint: value, Where: value, InternalQuery: value,
			})
			if errors.Is(err, journal.ErrRetry) != c.retry || errors.Is(err, journal.ErrUnavailable) != c.unavailable {
				t.Errorf("%s: %v, want it to be tried again %t, unavailable %t", code, err, c.retry, c.unavailable)
			}
			if strings.Contains(err.Error(), value) {
				t.Errorf("%s: %v holds a value", code, err)
			}
		}
	}
}

// A row that is refused is not quoted.
func TestRefusedRowIsNotQuoted(t *testing.T) {
	server := postgrestest.Start(t)
	s := opened(t, server.NewDatabase(t))
	row := journaltest.NewTransaction(1)
	if _, err := insert(t.Context(), s, row); err != nil {
		t.Fatal(err)
	}
	row.RequestID = "another"
	_, err := insert(t.Context(), s, row)
	if err == nil || errors.Is(err, journal.ErrUnavailable) || strings.Contains(err.Error(), row.ID) {
		t.Errorf("inserting an ID again: %v, want an error for good without the ID", err)
	}
	long := journaltest.NewTransaction(2)
	var text strings.Builder
	for i := range 20000 { // what compresses well would fit
		text.WriteString(journaltest.NewTransaction(i).ID)
	}
	long.RequestID = text.String()
	_, err = insert(t.Context(), s, long)
	if err == nil || errors.Is(err, journal.ErrUnavailable) || strings.Contains(err.Error(), long.ID) {
		t.Errorf("inserting a request ID that is too long: %v, want an error for good", err)
	}
}
