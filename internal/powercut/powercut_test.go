//go:build linux

package powercut

import (
	"database/sql"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/journal/postgres"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// The long version: go test ./internal/powercut -timeout 8h -powercut.kills 20000
var (
	killsFlag = flag.Int("powercut.kills", 200, "how often gateways are killed in each test, all in all")
	seedFlag  = flag.Uint64("powercut.seed", 0, "what decides on chances; 0: the time")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func seed() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return uint64(time.Now().UnixNano())
}

// TestSQLite cuts the power of a single gateway.
func TestSQLite(t *testing.T) {
	skipIfShort(t)
	w := newWorld(t)
	folder := t.TempDir()
	file, keyFile := filepath.Join(folder, "journal.db"), filepath.Join(folder, "journal.key")
	w.gateways = []*gateway{newGateway(t, "127.0.0.21", "sqlite "+file, keyFile, w.provider.address)}
	w.run(func() { w.cutAll(*killsFlag) }, nil)
	w.compare(sqlite.New(file), keyFile)
	checkFile(t, file)
}

// checkFile lets SQLite look at every page of the journal's file.
func checkFile(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the file's integrity: %s %v", verdict, err)
	}
}

// TestPostgres cuts the power of two gateways that share a database, and that of
// the database.
func TestPostgres(t *testing.T) {
	skipIfShort(t)
	server := postgrestest.Start(t, postgrestest.With("fsync", "on"), postgrestest.With("synchronous_commit", "on"))
	dsn := server.NewDatabase(t)
	w := newWorld(t)
	keyFile := filepath.Join(t.TempDir(), "journal.key")
	for _, ip := range []string{"127.0.0.22", "127.0.0.23"} {
		w.gateways = append(w.gateways, newGateway(t, ip, "postgres "+dsn, keyFile, w.provider.address))
	}
	w.run(func() { w.cutAll(*killsFlag) }, disturbDatabase(server))
	store, err := postgres.New(dsn, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.compare(store, keyFile)
	w.mustHaveHappened(map[string]int{"restarts of the database": w.restarts})
}

// disturbDatabase restarts, kills or halts the server.
func disturbDatabase(server *postgrestest.Server) func(*rand.Rand) {
	return func(r *rand.Rand) {
		switch r.IntN(3) {
		case 0:
			server.Restart()
		case 1:
			server.Kill()
			time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
			server.Restart()
		case 2:
			server.Pause()
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			server.Resume()
		}
	}
}

// TestFirstStart cuts the power while a gateway makes its journal. The next start
// finds a whole one, or makes it.
func TestFirstStart(t *testing.T) {
	skipIfShort(t)
	w := newWorld(t)
	r := w.random(0)
	for range max(1, *killsFlag/10) {
		folder := t.TempDir()
		file, keyFile := filepath.Join(folder, "journal.db"), filepath.Join(folder, "keys", "journal.key")
		g := newGateway(t, "127.0.0.21", "sqlite "+file, keyFile, w.provider.address)
		for range 3 {
			g.start()
			time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
			g.cut()
		}
		g.start()
		if !g.ready() {
			return
		}
		g.stop()
		checkFile(t, file)
	}
}

func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("cutting the power takes minutes; not with -short")
	}
}
