package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// childPath names the file that a copy of the test program writes to.
const childPath = "JOURNAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := writeForEver(path); err != nil {
			fmt.Println(err)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// batchOfChild is how many transactions a child commits together.
const batchOfChild = 7

// writeForEver writes batches and tells after each how many are durable.
func writeForEver(path string) error {
	ctx := context.Background()
	store := sqlite.New(path)
	if err := store.Open(ctx); err != nil {
		return err
	}
	chain, err := store.Chain(ctx, 1)
	l := &ledger{store: store, chain: chain, rows: int(chain.Number)}
	if errors.Is(err, journal.ErrNotFound) {
		l, err = newLedger(ctx, store)
	}
	if err != nil {
		return err
	}
	for {
		fmt.Println(l.rows)
		if err := l.add(ctx, batchOfChild); err != nil {
			return err
		}
	}
}

// child is a process that writes.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, path string) *child {
	t.Helper()
	c := &child{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.Env = append(os.Environ(), childPath+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	c.lines = bufio.NewScanner(out)
	return c
}

// told returns the next line of the child.
func (c *child) told(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("the child ended: %v", c.lines.Err())
	}
	return c.lines.Text()
}

// kill ends the child like a power cut, and returns the last number it told.
func (c *child) kill(t *testing.T) (last int) {
	t.Helper()
	check(t, c.Process.Kill())
	for c.lines.Scan() {
		number, err := strconv.Atoi(c.lines.Text())
		if err != nil { // the line was cut
			break
		}
		last = number
	}
	_ = c.Wait() // it was killed
	return last
}

func TestSecondProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	first := startChild(t, path)
	first.told(t)

	store := sqlite.New(path)
	if err := store.Open(t.Context()); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("Open() while another process has the file = %v, want %v", err, journal.ErrLocked)
	}
	second := startChild(t, path)
	if text := second.told(t); !strings.Contains(text, journal.ErrLocked.Error()) {
		t.Errorf("a second process says %q, want %v", text, journal.ErrLocked)
	}
	_ = second.Wait() // it ended with an error

	first.kill(t)
	if err := store.Open(t.Context()); err != nil {
		t.Errorf("Open() after the owner was killed = %v", err)
	}
	check(t, store.Close())
}

// A process that is killed at any time loses nothing that it told, and leaves
// no batch half.
func TestKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	least := 0
	for round := range rounds {
		c := startChild(t, path)
		first, err := strconv.Atoi(c.told(t))
		check(t, err)
		// A moment that nobody chose: no batch begins or ends with it.
		timer := time.NewTimer(time.Duration(round*1931%97) * time.Millisecond)
		<-timer.C
		least = max(c.kill(t), first, least)

		store := open(t, path)
		rows := 0
		for _, err := range store.List(t.Context(), journal.Filter{}) {
			check(t, err)
			rows++
		}
		events := int64(0)
		for event, err := range store.AllEvents(t.Context(), 1) {
			check(t, err)
			if events++; event.Number != events {
				t.Fatalf("event %d has number %d", events, event.Number)
			}
		}
		chain, err := store.Chain(t.Context(), 1)
		check(t, err)
		if rows < least || rows%batchOfChild != 0 || int64(rows) != events || chain.Number != events {
			t.Fatalf("round %d: %d rows and %d events, the head at %d; %d were told to be durable",
				round, rows, events, chain.Number, least)
		}
		check(t, store.Close())
	}
	t.Logf("%d rows survived %d kills", least, rounds)
}
