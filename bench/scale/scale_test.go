package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/caddy"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

func TestIntegers(t *testing.T) {
	if got, err := integers("10000,7"); !slices.Equal(got, []int{10000, 7}) || err != nil {
		t.Errorf("integers() = %v, %v", got, err)
	}
	for _, list := range []string{"", "1,", "1,x", "1 2"} {
		if got, err := integers(list); err == nil {
			t.Errorf("integers(%q) = %v, want an error", list, got)
		}
	}
}

func TestLength(t *testing.T) {
	for _, c := range []struct {
		row  row
		want time.Duration
	}{
		{row{connections: 64}, 3 * time.Second},
		{row{connections: 4096}, 8 * time.Second},
		{row{connections: 64, merchants: 5000}, 10 * time.Second},
		{row{connections: 16, latency: 2 * time.Second}, 20 * time.Second},
		{row{connections: 16, latency: 333 * time.Millisecond}, 3 * time.Second},
	} {
		if got := c.row.length(3 * time.Second); got != c.want {
			t.Errorf("%+v is measured for %v, want %v", c.row, got, c.want)
		}
	}
}

func TestCaddyfile(t *testing.T) {
	g := &gateway{row: row{merchants: 300, maxInFlight: 7}, folder: "/f", provider: &machine.Child{Address: "127.0.0.9:1"}}
	text, err := g.caddyfile("127.0.0.1:2", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]int{
		"\tmerchant m": 300, "\toperation m": 300, " 127.0.0.0/8\n": 300, "/28": 2700, "allow m299/* bank/payout\n": 1,
		" 10.1.43.128/28": 1, "max_in_flight 7\n": 301, "journal sqlite /f/journal.db\n": 1, "upstream http://127.0.0.9:1 {": 1,
	} {
		if got := strings.Count(text, part); got != want {
			t.Errorf("it has %d times %q, want %d", got, part, want)
		}
	}
	g.row, g.shared = row{merchants: 1}, "postgres x"
	if text, err = g.caddyfile("", ""); err != nil || strings.Contains(text, "max_in_flight") || !strings.Contains(text, "journal postgres x\n") {
		t.Errorf("without a bound, and with PostgreSQL: %v\n%s", err, text)
	}
}

func TestCount(t *testing.T) {
	var got state
	got.count([]caddy.Metric{
		{Name: "go_goroutines", Value: 9},
		{Name: "nowpay_in_flight", Value: 5},
		{Name: "nowpay_exchanges_in_flight", Labels: `merchant="a"`, Value: 3},
		{Name: "nowpay_exchanges_in_flight", Labels: `merchant="b"`, Value: 1},
		{Name: "nowpay_journal_commits_total", Value: 7},
		{Name: "nowpay_exchanges_total", Labels: `merchant="a",outcome="success"`, Value: 10},
		{Name: "nowpay_exchanges_total", Labels: `merchant="b",outcome="success"`, Value: 20},
		{Name: "nowpay_exchanges_total", Labels: `merchant="b",outcome="unknown"`, Value: 100},
		{Name: "nowpay_decisions_total", Labels: `decision="deny",reason="limit-exceeded"`, Value: 4},
		{Name: "nowpay_decisions_total", Labels: `decision="allow",reason=""`, Value: 100},
	})
	want := state{goroutines: 9, inFlight: 5, places: 4, commits: 7, successes: 30, refusals: 4}
	if got != want {
		t.Errorf("count() makes %+v, want %+v", got, want)
	}
}

func TestCheck(t *testing.T) {
	bounded := row{maxInFlight: 10}
	after := func(received, repeated int) state {
		return state{provider: provider.Counts{Received: 50 + received, Repeated: repeated}}
	}
	for name, c := range map[string]struct {
		sample sample
		row    row
		after  state
		good   bool
	}{
		"all":                      {sample{Answers: wrk.Answers{All: 100}, exchanges: 100}, row{}, after(100, 0), true},
		"and some that wrk left":   {sample{Answers: wrk.Answers{All: 100}, exchanges: 104}, row{}, after(104, 0), true},
		"some refused":             {sample{Answers: wrk.Answers{All: 100, Refused: 60}, exchanges: 40, refusals: 61}, bounded, after(40, 0), true},
		"refused without a bound":  {sample{Answers: wrk.Answers{All: 100, Refused: 1}, exchanges: 99, refusals: 1}, row{}, after(99, 0), false},
		"refused for other reason": {sample{Answers: wrk.Answers{All: 100, Refused: 60}, exchanges: 40, refusals: 59}, bounded, after(40, 0), false},
		"not all succeeded":        {sample{Answers: wrk.Answers{All: 100}, exchanges: 99}, row{}, after(100, 0), false},
		"not all were sent":        {sample{Answers: wrk.Answers{All: 100}, exchanges: 100}, row{}, after(99, 0), false},
		"one was paid twice":       {sample{Answers: wrk.Answers{All: 100}, exchanges: 100}, row{}, after(101, 1), false},
	} {
		if err := c.sample.check(c.row, after(0, 0), c.after); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTogether(t *testing.T) {
	a := sample{Answers: wrk.Answers{All: 3, Bytes: 30, Length: time.Second, P50: 2, P99: 9, P999: 11}, exchanges: 3, cpu: 4, commits: 1, resident: 70}
	b := sample{Answers: wrk.Answers{All: 5, Refused: 1, Bytes: 50, Length: 2 * time.Second, P50: 3, P99: 8, P999: 10}, exchanges: 4, refusals: 1, cpu: 6, commits: 2, resident: 90}
	want := sample{
		Answers:   wrk.Answers{All: 8, Refused: 1, Bytes: 80, Length: 2 * time.Second, P50: 3, P99: 9, P999: 11},
		exchanges: 7, refusals: 1, cpu: 10, commits: 3, resident: 160,
	}
	if got := together([]sample{a, b}); got != want {
		t.Errorf("together they are %+v, want %+v", got, want)
	}
	if got := together([]sample{a}); got != a {
		t.Errorf("one alone is %+v, want %+v", got, a)
	}
}

func TestFill(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	file := filepath.Join(folder, "journal.db")
	open := func() {
		t.Helper()
		j := journal.New(journal.Options{Store: sqlite.New(file), KeyFile: filepath.Join(folder, "journal.key"), Gateway: "scale"})
		if err := j.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open()
	empty, err := pages(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	const transactions = 2000
	if err := fill(ctx, file, transactions); err != nil {
		t.Fatal(err)
	}
	full, err := pages(ctx, file)
	if each := (full - empty) / transactions; err != nil || each < 500 || each > 3000 {
		t.Errorf("a transaction takes %.0f bytes, %v", each, err)
	}
	open()
}
