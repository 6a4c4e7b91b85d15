package journaltest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// rotating are the tests of keys.
var rotating = []journalTest{
	{name: "KeyFile", run: testKeyFile},
	{name: "Existing", run: testExisting},
	{name: "LazyChain", run: testLazyChain},
	{name: "KeyFileMissing", run: testKeyFileMissing},
	{name: "KeyFileWrong", run: testKeyFileWrong},
	{name: "Rotation", run: testRotation},
	{name: "RotationAtOnce", run: testRotationAtOnce, shared: true},
	{name: "RotationStaged", run: testRotationStaged, shared: true},
	{name: "KeyOfAnother", run: testKeyOfAnother, shared: true},
}

// newKey is a line of a key file.
func newKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key) + "\n"
}

func writeKeys(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotate makes a journal read its key file.
func (g *gateway) rotate(t tb) {
	t.Helper()
	if err := g.RotateKeys(t.Context()); err != nil {
		t.Fatalf("RotateKeys() = %v", err)
	}
}

// keys is how many data keys there are.
func (w *world) keys(t *testing.T) int { return w.number(t, "SELECT count(*) FROM data_keys") }

// number is the only value of a query.
func (w *world) number(t *testing.T, query string) (n int) {
	t.Helper()
	if err := w.SQL.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Who wants to look at a journal makes none.
func testExisting(t *testing.T, w *world) {
	look := func() error {
		j := journal.New(journal.Options{Store: w.NewStore(), KeyFile: w.keyFile, Gateway: "looker", Now: w.now})
		err := j.StartExisting(t.Context())
		if err == nil {
			for _, err := range j.List(t.Context(), journal.Filter{}) {
				if err != nil {
					t.Errorf("List() = %v", err)
				}
			}
		}
		if err := j.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		return err
	}
	checkError(t, "StartExisting without a database", look(), journal.ErrAbsent)
	var n int
	if err := w.SQL.QueryRowContext(t.Context(), "SELECT count(*) FROM data_keys").Scan(&n); err == nil {
		t.Error("it made tables")
	}
	store := w.NewStore()
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	checkError(t, "StartExisting with empty tables", look(), journal.ErrAbsent)
	if _, err := os.Stat(w.keyFile); !errors.Is(err, os.ErrNotExist) || w.keys(t) != 0 {
		t.Errorf("it made keys: %v", err)
	}
	w.start(t, "gateway").end(t)
	if err := look(); err != nil {
		t.Errorf("StartExisting() = %v", err)
	}
}

// A chain is opened for events, and not for nothing.
func testLazyChain(t *testing.T, w *world) {
	for range 3 {
		w.start(t, "gateway").end(t)
	}
	if n := w.number(t, "SELECT count(*) FROM chains"); n != 0 {
		t.Errorf("%d chains without an event", n)
	}
	g := w.start(t, "gateway")
	w.settled(t, g, "R1", journal.Success)
	if n := w.number(t, "SELECT count(*) FROM chains"); n != 1 {
		t.Errorf("%d chains, want 1", n)
	}
	g.checkHonest(t)
}

// The first start makes the key file, and no start changes it.
func testKeyFile(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	info, err := os.Stat(w.keyFile)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("the key file: %v, %v", info, err)
	}
	made := readFile(t, w.keyFile)
	w.settled(t, g, "R1", journal.Success)
	g.end(t)
	g = w.start(t, "gateway")
	if !bytes.Equal(readFile(t, w.keyFile), made) {
		t.Error("the key file was changed")
	}
	checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)
}

func testKeyFileMissing(t *testing.T, w *world) {
	w.start(t, "gateway").end(t)
	if err := os.Remove(w.keyFile); err != nil {
		t.Fatal(err)
	}
	_, err := w.try(t.Context(), "gateway", w.keyFile)
	checkError(t, "Start without the key file", err, journal.ErrKey)
	if err != nil && (!strings.Contains(err.Error(), w.keyFile) || !strings.Contains(err.Error(), "restore it")) {
		t.Errorf("Start() = %q, which does not help", err)
	}
	if _, err := os.Stat(w.keyFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key file: %v, want it still to be missing", err)
	}
}

func testKeyFileWrong(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	w.settled(t, g, "R1", journal.Success)
	right := string(readFile(t, w.keyFile))
	writeKeys(t, w.keyFile, newKey())
	checkError(t, "RotateKeys", g.RotateKeys(t.Context()), journal.ErrKey)
	checkAnswer(t, g, w.settled(t, g, "R2", journal.Success), secretAnswer) // it goes on
	g.end(t)
	_, err := w.try(t.Context(), "gateway", w.keyFile)
	checkError(t, "Start with another key", err, journal.ErrKey)
	writeKeys(t, w.keyFile, newKey(), right)
	g = w.start(t, "gateway")
	checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)
	g.checkHonest(t)
}

// A new first line encrypts what is new; then the old line is of no use.
func testRotation(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	first := w.settled(t, g, "R1", journal.Success)
	unsent := w.settled(t, g, "R2", journal.Unsent)
	g.rotate(t) // there is nothing to do
	before, after := string(readFile(t, w.keyFile)), newKey()
	writeKeys(t, w.keyFile, after, "# the one before\n", before)
	for range 3 {
		g.rotate(t)
	}
	if n := w.keys(t); n != 2 {
		t.Errorf("%d data keys, want 2", n)
	}
	second := w.settled(t, g, "R3", journal.Success)
	if first.KeyID != 1 || second.KeyID != 2 {
		t.Errorf("data keys %d and %d", first.KeyID, second.KeyID)
	}
	if n := w.number(t, "SELECT count(*) FROM events JOIN chains ON id = chain WHERE transaction_id = '"+second.ID+"' AND key_id = 2"); n != second.Version {
		t.Errorf("%d of %d events are in a chain of the new key", n, second.Version)
	}
	writeKeys(t, w.keyFile, after)
	g.rotate(t)
	for range 2 {
		checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)
		checkAnswer(t, g, g.repeat(t, w.intent("R3")), secretAnswer)
		g.checkHonest(t)
		g.end(t)
		g = w.start(t, "gateway")
	}
	begun := g.begin(t, w.intent("R2")) // with the fingerprint of then
	if begun.ID != unsent.ID || begun.KeyID != 1 {
		t.Errorf("begun again: %+v", begun)
	}
	in := w.intent("R1")
	in.RequestID, in.Account = "R1", "other" // the same body, and so the same fingerprint but for its key
	if other := g.begin(t, in); bytes.Equal(other.Fingerprint, first.Fingerprint) {
		t.Error("two keys give one fingerprint")
	}
	writeKeys(t, w.keyFile, before)
	g.end(t)
	_, err := w.try(t.Context(), "gateway", w.keyFile)
	checkError(t, "Start with the old key alone", err, journal.ErrKey)
}

func testRotationAtOnce(t *testing.T, w *world) {
	gateways := w.two(t)
	w.settled(t, gateways[0], "R1", journal.Success)
	for range 5 {
		after := newKey()
		writeKeys(t, w.keyFile, after, string(readFile(t, w.keyFile)))
		var work sync.WaitGroup
		for i := range 4 {
			work.Go(func() {
				if err := gateways[i%2].RotateKeys(t.Context()); err != nil {
					t.Errorf("RotateKeys() = %v", err)
				}
			})
		}
		work.Wait()
		writeKeys(t, w.keyFile, after)
		for _, g := range gateways {
			g.rotate(t)
			checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)
		}
	}
	third := w.start(t, "third")
	checkAnswer(t, third, third.repeat(t, w.intent("R1")), secretAnswer)
	third.checkHonest(t)
}

// While one gateway's file begins with the new key and another's with the old
// one, they do not rotate for ever.
func testRotationStaged(t *testing.T, w *world) {
	first := w.start(t, "first")
	old, fresh := string(readFile(t, w.keyFile)), newKey()
	otherFile := filepath.Join(t.TempDir(), "journal.key")
	writeKeys(t, otherFile, old, fresh)
	second, err := w.try(t.Context(), "second", otherFile)
	if err != nil {
		t.Fatal(err)
	}
	defer second.end(t)
	second.rotate(t)
	writeKeys(t, w.keyFile, fresh, old)
	for range 5 {
		first.rotate(t)
		second.rotate(t)
	}
	if n := w.keys(t); n != 2 {
		t.Errorf("%d data keys, want 2", n)
	}
	writeKeys(t, otherFile, fresh, old)
	second.rotate(t)
	writeKeys(t, otherFile, fresh)
	second.rotate(t)
	w.settled(t, second, "R1", journal.Success)
	checkAnswer(t, first, first.repeat(t, w.intent("R1")), secretAnswer)
}

// What another gateway wrote under a data key that this one has not loaded yet
// can be compared and read, as long as the key file allows it.
func testKeyOfAnother(t *testing.T, w *world) {
	first := w.start(t, "first")
	old, fresh := string(readFile(t, w.keyFile)), newKey()
	without := w.start(t, "without")
	writeKeys(t, w.keyFile, old, fresh)
	with := w.start(t, "with")
	writeKeys(t, w.keyFile, fresh, old)
	first.rotate(t)
	row := w.settled(t, first, "R1", journal.Success)
	unsent := w.settled(t, first, "R2", journal.Unsent)
	if row.KeyID != 2 {
		t.Fatalf("written under data key %d", row.KeyID)
	}
	_, err := without.Begin(t.Context(), w.intent("R1"))
	checkError(t, "Begin without the key", err, journal.ErrKey)
	_, err = without.Content(&row)
	checkError(t, "Content without the key", err, journal.ErrKey)

	if begun := with.begin(t, w.intent("R2")); begun.ID != unsent.ID {
		t.Errorf("begun again: %+v", begun)
	}
	checkAnswer(t, with, with.repeat(t, w.intent("R1")), secretAnswer)
	if row := w.settled(t, with, "R3", journal.Success); row.KeyID != 2 {
		t.Errorf("it goes on with data key %d", row.KeyID)
	}
	with.checkHonest(t)
}
