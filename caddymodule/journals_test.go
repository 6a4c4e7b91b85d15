package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestJournalDefaults: without a word of it the journal is a file in Caddy's
// data folder, which loading the configuration does not make.
func TestJournalDefaults(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	for _, journal := range []string{"", `"journal": {"store": "sqlite"}, `} {
		s, err := load(t, strings.Replace(testConfig, `{`, `{`+journal, 1))
		if err != nil {
			t.Fatal(err)
		}
		want := filepath.Join(data, "caddy", "nowpay", "journal.db")
		if got := s.journal.Settings(); got.Kind != "sqlite" || got.Path != want || got.KeyFile != strings.TrimSuffix(want, "db")+"key" || got.DSN.Reveal() != nil {
			t.Errorf("%q: settings = %+v", journal, got)
		}
		if got := s.journal.Key(); got != "sqlite "+want {
			t.Errorf("%q: Key() = %q", journal, got)
		}
	}
	if entries, err := os.ReadDir(data); err != nil || len(entries) > 0 {
		t.Errorf("loading made %v (%v)", entries, err)
	}
}

// TestSQLiteKey: one file is one journal however it is written.
func TestSQLiteKey(t *testing.T) {
	t.Chdir(t.TempDir())
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "journal.db")
	t.Setenv("NOWPAY_TEST_FILE", "journal.db")
	for _, s := range []*SQLiteJournal{
		{Path: "journal.db"},
		{Path: "./data/../journal.db"},
		{Path: path, KeyFile: "other.key"},
		{Path: "{env.NOWPAY_TEST_FILE}"},
	} {
		if err := s.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		if s.Key() != "sqlite "+path || s.Settings().Path != path || !filepath.IsAbs(s.Settings().KeyFile) {
			t.Errorf("%q: Key() = %q, Settings() = %+v, want %s", s.Path, s.Key(), s.Settings(), path)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("provisioning touched %s: %v", path, err)
	}
}

func TestPostgresKey(t *testing.T) {
	t.Setenv("NOWPAY_TEST_PASSWORD", "secret")
	key := func(p *PostgresJournal) string {
		t.Helper()
		if err := p.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		return p.Key()
	}
	first := key(&PostgresJournal{DSN: "postgres://gateway:secret@db.internal/nowpay"})
	if resolved := key(&PostgresJournal{DSN: "postgres://gateway:{env.NOWPAY_TEST_PASSWORD}@db.internal/nowpay", KeyFile: "other.key"}); resolved != first {
		t.Errorf("a placeholder gives %q, its value %q", resolved, first)
	}
	if other := key(&PostgresJournal{DSN: "postgres://gateway:secret2@db.internal/nowpay"}); other == first {
		t.Error("another password gives the same key, so that the old one would stay in use")
	}
}

// TestPostgresDSN: what is taken for a DSN. The word secret is a password, which
// nothing repeats: no error, no key, and nothing that prints.
func TestPostgresDSN(t *testing.T) {
	t.Setenv("NOWPAY_TEST_EMPTY", "")
	t.Setenv("NOWPAY_TEST_DSN", "host=db.internal password=secret")
	for dsn, ok := range map[string]bool{
		"postgres://gateway:secret@db.internal/nowpay?sslmode=verify-full": true,
		"postgresql:///nowpay?host=/run/postgresql&password=secret":        true,
		"postgres://gateway:secret@a.internal:1,b.internal:2/nowpay":       true,
		"host=db.internal dbname=nowpay password='secret://?'":             true,
		"{env.NOWPAY_TEST_DSN}":             true,
		"":                                  false,
		"secret":                            false,
		"gateway:secret@db.internal/nowpay": false,
		"mysql://gateway:secret@db.internal/nowpay?a=b":           false,
		"postgres://gateway:secret%zz@db.internal/nowpay":         false,
		"postgres://gateway:secret@db.internal:port/nowpay":       false,
		"host=db.internal password={secret}":                      false,
		"host=db.internal password=secret{env.NOWPAY_TEST_EMPTY}": false,
	} {
		p := &PostgresJournal{DSN: dsn}
		err := p.Provision(caddy.Context{})
		if (err == nil) != ok {
			t.Errorf("%q: %v, want it taken: %t", dsn, err, ok)
		}
		encoded, jsonErr := json.Marshal(p.Settings())
		var logged strings.Builder
		slog.New(slog.NewJSONHandler(&logged, nil)).Error("opening", "settings", p.Settings(), "error", err)
		for _, shown := range []string{fmt.Sprint(err), p.Key(), fmt.Sprintf("%v %+v %#v", p.Settings(), p.Settings(), p.Settings()), string(encoded), logged.String()} {
			if strings.Contains(shown, "secret") || jsonErr != nil {
				t.Errorf("%q: shows %s (%v)", dsn, shown, jsonErr)
			}
		}
	}
}

// TestDSNInTheWrongPlace: no error of the parser repeats one either.
func TestDSNInTheWrongPlace(t *testing.T) {
	const dsn = "postgres://gateway:secret@db.internal/nowpay"
	for _, block := range []string{
		"journal " + dsn,
		"journal postgres " + dsn + " " + dsn,
		"journal postgres host=db.internal password=secret",
		"journal postgres {\n" + dsn + "\n}",
		"journal postgres a=b {\n" + dsn + "\n}",
		"journal postgres a=b {\nkey_file a " + dsn + "\n}",
		"journal sqlite " + dsn + " " + dsn,
		"journal sqlite {\npassword=secret\n}",
		dsn,
	} {
		err := new(App).UnmarshalCaddyfile(caddyfile.NewTestDispenser("nowpay {\n" + block + "\n}"))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", block, err)
		}
	}
	s := &SQLiteJournal{Path: dsn}
	if err := s.Provision(caddy.Context{}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("as a path: %v", err)
	}
}
