package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/journaltest"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// need skips a test whose surroundings are missing, but fails it where they
// are supposed to be there.
func need(t *testing.T, there bool, what string) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("CI") == "true":
		t.Fatalf("this test needs %s", what)
	default:
		t.Skipf("this test needs %s", what)
	}
}

// insert writes the n-th transaction.
func insert(ctx context.Context, store journal.Store, n int) error {
	return store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
		_, err := tx.Insert(ctx, []journal.Transaction{journaltest.NewTransaction(n)})
		return err
	})
}

// checkRows fails unless the journal holds n transactions.
func checkRows(t *testing.T, store journal.Reader, n int) {
	t.Helper()
	got := 0
	for _, err := range store.List(t.Context(), journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != n {
		t.Errorf("the journal holds %d transactions, want %d", got, n)
	}
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "a journal?#%41.db")
	store := open(t, path)
	if err := insert(t.Context(), store, 1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700 | os.ModeDir,
		path:               0o600,
		path + "-wal":      0o600,
		path + "-shm":      0o600,
		path + ".lock":     0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if err := store.Open(t.Context()); err == nil {
		t.Error("opening twice: no error")
	}
	if err := store.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is left after Close: %v", err)
	}

	store = open(t, path)
	defer store.Close()
	checkRows(t, store, 1)
}

func TestNotOpen(t *testing.T) {
	store := sqlite.New(filepath.Join(t.TempDir(), "journal.db"))
	if err := insert(t.Context(), store, 1); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("Write() before Open = %v, want %v", err, journal.ErrUnavailable)
	}
	if _, err := store.ByID(t.Context(), "1"); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("ByID() before Open = %v, want %v", err, journal.ErrUnavailable)
	}
	if err := store.Close(); err != nil {
		t.Errorf("Close() without Open = %v", err)
	}
}

// The same file by another name is the same file.
func TestOneOwner(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "journal.db")
	first := open(t, path)
	for _, name := range []string{"link.db", "link/journal.db"} {
		target := path
		if strings.Contains(name, "/") {
			target = folder
		}
		if err := os.Symlink(target, filepath.Join(folder, strings.Split(name, "/")[0])); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{path, filepath.Join(folder, "link.db"), filepath.Join(folder, "link/journal.db")} {
		second := sqlite.New(other)
		err := second.Open(t.Context())
		if !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), path+".lock") {
			t.Errorf("a second store on %s: %v, want %v with the lock's name", other, err, journal.ErrLocked)
		}
		if err := second.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	if err := insert(t.Context(), first, 1); err != nil {
		t.Errorf("the owner after others were refused: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, path)
	checkRows(t, second, 1)
	second.Close()
}

// What is not a journal's file is refused, with a word what to do, and kept.
func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    string
	}{
		"a folder": {func(t *testing.T, path string) {
			check(t, os.Mkdir(path, 0o700))
		}, "name a file in it"},
		"a pipe": {func(t *testing.T, path string) {
			check(t, syscall.Mkfifo(path, 0o600))
		}, "no regular file"},
		"text": {func(t *testing.T, path string) {
			check(t, os.WriteFile(path, []byte(strings.Repeat("no database\n", 1000)), 0o600))
		}, "no SQLite database"},
		"somebody else's database": {func(t *testing.T, path string) {
			execute(t, path, "CREATE TABLE goose_db_version (version_id INTEGER)")
		}, "something else"},
		"a newer journal": {func(t *testing.T, path string) {
			check(t, open(t, path).Close())
			execute(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
		}, "a newer gateway wrote it"},
		"a file as the folder": {func(t *testing.T, path string) {
			check(t, os.RemoveAll(filepath.Dir(path)))
			check(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
		}, "folder"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "journal.db")
			check(t, os.Mkdir(filepath.Dir(path), 0o700))
			c.prepare(t, path)
			before := content(path)
			store := sqlite.New(path)
			for range 2 { // a failed Open leaves nothing locked
				err := store.Open(t.Context())
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("Open() = %v, want %q and the file's name", err, c.want)
				}
			}
			if name != "a newer journal" && !bytes.Equal(content(path), before) {
				t.Error("the file was changed")
			}
			check(t, store.Close())
		})
	}
	if err := sqlite.New("").Open(t.Context()); err == nil {
		t.Error("Open without a path: no error")
	}
}

// content returns what is in a regular file.
func content(path string) []byte {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	bytes, _ := os.ReadFile(path)
	return bytes
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// execute runs a statement on the file as somebody else would.
func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	check(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	check(t, err)
}

// filled returns the path of a closed journal of some megabytes.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	store := open(t, path)
	l, err := newLedger(t.Context(), store)
	check(t, err)
	for range 2 {
		check(t, l.add(t.Context(), 500))
	}
	check(t, store.Close())
	return path
}

// Whatever was flipped where: every answer is an error or the truth, and no
// error is one that looks like "there is no such transaction, go ahead".
func TestDamagedFile(t *testing.T) {
	path := filled(t)
	whole, err := os.ReadFile(path)
	check(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	for round := range 16 {
		damaged := bytes.Clone(whole)
		from := 0 // the head
		if round > 0 {
			from = random.IntN(len(damaged) - 64<<10)
		}
		for i := range 64 << 10 {
			damaged[from+i] ^= byte(1 + random.IntN(255))
		}
		check(t, os.WriteFile(path, damaged, 0o600))
		if readAll(t, path) {
			found++
		}
	}
	if found < 8 {
		t.Errorf("of 16 damaged files only %d were noticed", found)
	}
}

// readAll reports whether an error said that the file is damaged.
func readAll(t *testing.T, path string) (noticed bool) {
	store := sqlite.New(path)
	err := store.Open(t.Context())
	if err == nil {
		defer store.Close()
		for _, err = range store.List(t.Context(), journal.Filter{}) {
			if err != nil {
				break
			}
		}
	}
	if err == nil {
		err = insert(t.Context(), store, 1e6)
	}
	if err == nil {
		return false
	}
	if !errors.Is(err, journal.ErrUnavailable) && !strings.Contains(err.Error(), "something else") {
		t.Errorf("a damaged file: %v, want %v", err, journal.ErrUnavailable)
	}
	return strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "something else")
}
