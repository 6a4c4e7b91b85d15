package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
)

// checkUnavailable fails unless err tells the journal to keep what it has, and
// its text keeps the secret.
func checkUnavailable(t *testing.T, what string, err error, secrets ...string) {
	t.Helper()
	if !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("%s: %v, want %v", what, err, journal.ErrUnavailable)
	}
	for _, secret := range secrets {
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("%s: %v repeats the DSN", what, err)
		}
	}
}

// eventuallyInserts fails unless the store can write again soon.
func eventuallyInserts(t *testing.T, s *Store, row journal.Transaction) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var added []string
		if added, err = insert(t.Context(), s, row); err == nil {
			if len(added) != 1 {
				t.Errorf("inserting %s added %d rows, want one: what failed before was kept", row.ID, len(added))
			}
			return
		}
	}
	t.Fatalf("it does not recover: %v", err)
}

func checkMissing(t *testing.T, s *Store, row journal.Transaction) {
	t.Helper()
	if _, err := s.ByID(t.Context(), row.ID); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("ByID(%s) = %v, want %v", row.ID, err, journal.ErrNotFound)
	}
}

// What was written is there after each way in which a server can end; what was
// under way is not, and can be written again by the same store.
func TestServerEnds(t *testing.T) {
	server := postgrestest.Start(t, postgrestest.With("fsync", "on"))
	s := opened(t, server.NewDatabase(t))
	n := 0
	next := func() journal.Transaction { n++; return journaltest.NewTransaction(n) }
	for name, end := range map[string]func(){"stopped": server.Stop, "killed": server.Kill} {
		kept, lost := next(), next()
		eventuallyInserts(t, s, kept)
		err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
			_, err := tx.Insert(ctx, []journal.Transaction{lost})
			end()
			return err
		})
		checkUnavailable(t, name+" within a transaction", err, server.Password(), server.Address)
		_, err = insert(t.Context(), s, lost)
		checkUnavailable(t, name, err, server.Password(), server.Address)
		_, err = s.ByID(t.Context(), kept.ID)
		checkUnavailable(t, name+", reading", err, server.Password(), server.Address)
		err = s.Snapshot(t.Context(), func(context.Context, journal.Reader) error { return nil })
		checkUnavailable(t, name+", snapshot", err, server.Password(), server.Address)

		server.Restart()
		eventuallyInserts(t, s, lost)
		if _, err := s.ByID(t.Context(), kept.ID); err != nil {
			t.Errorf("%s: what was written before is gone: %v", name, err)
		}
	}
}

// A server that does not answer is unavailable when the caller's time is over,
// with connections that it has and with those it would need.
func TestServerFrozen(t *testing.T) {
	server := postgrestest.Start(t)
	s := opened(t, server.NewDatabase(t))
	eventuallyInserts(t, s, journaltest.NewTransaction(0))
	server.Pause()
	for i := range writers + 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		_, err := insert(ctx, s, journaltest.NewTransaction(1))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("write %d took %v", i, took)
		}
		cancel()
		checkUnavailable(t, "frozen", err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("frozen: %v, want %v", err, context.DeadlineExceeded)
		}
	}
	server.Resume()
	eventuallyInserts(t, s, journaltest.NewTransaction(2))
}

// A full disk is unavailable until there is room again.
func TestDiskFull(t *testing.T) {
	server := postgrestest.Start(t)
	server.SmallTablespace(t, "small", 8)
	dsn := server.NewDatabase(t)
	s := opened(t, dsn)
	mustExec := func(statement string) {
		t.Helper()
		if _, err := s.pools.Load().writes.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	mustExec(`ALTER TABLE transactions SET TABLESPACE small`)
	mustExec(`CREATE TABLE filler (text TEXT) TABLESPACE small`)
	mustExec(`INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 6000)`)
	row := journaltest.NewTransaction(0)
	row.Integrity = strings.Repeat("x", 1000)
	var err error
	for n := 1; err == nil && n < 10_000; n++ {
		row.ID, row.RequestID = strconv.Itoa(n), strconv.Itoa(n)
		_, err = insert(t.Context(), s, row)
	}
	checkUnavailable(t, "a full disk", err)
	if err == nil || !strings.Contains(err.Error(), "53100") {
		t.Errorf("a full disk: %v, want it to be told by its code", err)
	}
	mustExec(`DROP TABLE filler`)
	eventuallyInserts(t, s, row)
}

// A server that became a standby reads and does not write.
func TestStandby(t *testing.T) {
	server := postgrestest.Start(t)
	s := opened(t, server.NewDatabase(t))
	row := journaltest.NewTransaction(1)
	eventuallyInserts(t, s, row)
	server.RestartAsStandby()
	for range 3 {
		_, err := insert(t.Context(), s, journaltest.NewTransaction(2))
		checkUnavailable(t, "writing to a standby", err)
	}
	if _, err := s.ByID(t.Context(), row.ID); err != nil {
		t.Errorf("reading from a standby: %v", err)
	}
	server.Promote()
	eventuallyInserts(t, s, journaltest.NewTransaction(2))
}

// A server that answers and does not write is left for one that does, if the DSN
// names several.
func TestFailover(t *testing.T) {
	first, second := postgrestest.Start(t), postgrestest.Start(t)
	for _, server := range []*postgrestest.Server{first, second} {
		server.NewDatabase(t)
		if err := server.Exec(`CREATE ROLE gateway SUPERUSER LOGIN PASSWORD 'same'`); err != nil {
			t.Fatal(err)
		}
	}
	both := fmt.Sprintf("postgres://gateway:same@%s,%s/test1?sslmode=disable", first.Address, second.Address)
	s := opened(t, both)
	eventuallyInserts(t, s, journaltest.NewTransaction(1))
	other := opened(t, fmt.Sprintf("postgres://gateway:same@%s/test1?sslmode=disable", second.Address))
	checkMissing(t, other, journaltest.NewTransaction(1))

	// Connections stay.
	for _, statement := range []string{`ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`} {
		if err := first.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for readOnly := "off"; readOnly == "off"; { // until the signal has come
		if err := s.pools.Load().writes.QueryRow(t.Context(), `SHOW default_transaction_read_only`).Scan(&readOnly); err != nil {
			t.Fatal(err)
		}
	}
	eventuallyInserts(t, s, journaltest.NewTransaction(2))
	for _, reader := range []*Store{other, s} { // s had connections for readers to the first server
		if _, err := reader.ByID(t.Context(), journaltest.NewTransaction(2).ID); err != nil {
			t.Errorf("reading what was written after the failover: %v", err)
		}
	}

	if err := second.Exec(`ALTER ROLE gateway SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	none := made(t, both)
	err := none.Open(t.Context())
	checkUnavailable(t, "no server that writes", err)
	if !errors.Is(err, errUnfit) {
		t.Errorf("Open() = %v, want it to say %q", err, errUnfit)
	}
}

// A connection that is lost during the commit leaves open whether it came to
// pass. The chain of events tells.
func TestCommitLost(t *testing.T) {
	server := postgrestest.Start(t)
	row, chain := journaltest.NewTransaction(1), journaltest.NewChain(1)
	event := journaltest.NewEvent(row, 1, 1)
	head := chain
	head.Number, head.MAC = event.Number, event.MAC
	for name, c := range map[string]struct {
		cut  func(p *proxy, sign *string)
		sign string
		want int64
	}{
		"the request is lost": {func(p *proxy, sign *string) { p.cutRequest.Store(sign) }, "COMMIT", 0},
		"the answer is lost":  {func(p *proxy, sign *string) { p.cutAnswer.Store(sign) }, "COMMIT\x00", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, dsn := startProxy(t, server.NewDatabase(t))
			s := opened(t, unprepared(dsn))
			if err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
				_, err := tx.AddChain(ctx, chain)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			c.cut(p, &c.sign)
			err := s.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
				if _, err := tx.Insert(ctx, []journal.Transaction{row}); err != nil {
					return err
				}
				return tx.Append(ctx, []journal.Event{event}, 0, head)
			})
			checkUnavailable(t, "Write", err)
			c.cut(p, nil)
			got, err := s.Chain(t.Context(), 1)
			if err != nil || got.Number != c.want {
				t.Errorf("the chain is at %d (%v), want %d", got.Number, err, c.want)
			}
		})
	}
}

// Readers that keep all their connections busy do not keep intents from being
// recorded.
func TestReadersDoNotHinderWriters(t *testing.T) {
	server := postgrestest.Start(t)
	s := opened(t, server.NewDatabase(t))
	for range s.pools.Load().reads.Config().MaxConns {
		conn, err := s.pools.Load().reads.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := insert(ctx, s, journaltest.NewTransaction(1)); err != nil {
		t.Errorf("Insert() = %v", err)
	}
}

// Our sessions take what is left of the server's connections, and say so.
func TestTooManyConnections(t *testing.T) {
	server := postgrestest.Start(t, postgrestest.With("max_connections", "5"),
		postgrestest.With("superuser_reserved_connections", "0"))
	dsn := server.NewDatabase(t)
	s := opened(t, dsn)
	if _, err := insert(t.Context(), s, journaltest.NewTransaction(1)); err != nil {
		t.Fatal(err)
	}
	taken := opened(t, dsn)
	for range taken.pools.Load().reads.Config().MaxConns {
		conn, err := taken.pools.Load().reads.Acquire(t.Context())
		if err != nil {
			break
		}
		defer conn.Release()
	}
	checkUnavailable(t, "no connection left", made(t, dsn).Open(t.Context()), server.Password())
	if _, err := insert(t.Context(), s, journaltest.NewTransaction(2)); err != nil {
		t.Errorf("with the connection it has: %v", err)
	}
}

// The errors of a login name neither the user nor the database: badly quoted, a
// password can be in each of them.
func TestLoginRefused(t *testing.T) {
	server := postgrestest.Start(t)
	dsn, err := url.Parse(server.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	const secret = "hunter2"
	for name, change := range map[string]func(u *url.URL){
		"user":     func(u *url.URL) { u.User = url.UserPassword(secret, secret) },
		"password": func(u *url.URL) { u.User = url.UserPassword("postgres", secret) },
		"database": func(u *url.URL) { u.Path = "/" + secret },
		"host":     func(u *url.URL) { u.Host = secret + ".invalid" },
		"TLS":      func(u *url.URL) { u.RawQuery = "sslmode=verify-full&user=" + secret },
	} {
		u := *dsn
		change(&u)
		checkUnavailable(t, name, made(t, u.String()).Open(t.Context()), secret, server.Password())
	}
}
