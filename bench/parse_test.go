package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/caddy"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
)

func TestParseVegeta(t *testing.T) {
	says := strings.ReplaceAll("1000000000,200,3000000,400,LENGTH,,,,0,POST,http://x,\n"+
		"2000000000,200,1000000,400,LENGTH,,,,1,POST,http://x,\n"+
		"2998000000,200,2000000,400,LENGTH,,,,2,POST,http://x,\n", "LENGTH", answerLength)
	want := loaded{3, 1.5, 2 * time.Millisecond, 3 * time.Millisecond, 3 * time.Millisecond}
	if got, err := parseVegeta(strings.NewReader(says)); got != want || err != nil {
		t.Errorf("parseVegeta() = %+v, %v, want %+v", got, err, want)
	}
	for _, says := range []string{
		"", "1,200\n", strings.Replace(says, ",200,", ",503,", 1), strings.Replace(says, ",200,", ",0,", 1),
		strings.Replace(says, answerLength, "7", 1), strings.Replace(says, "3000000", "x", 1), strings.Replace(says, "1000000000", "x", 1), says + "\"\n",
	} {
		if got, err := parseVegeta(strings.NewReader(says)); err == nil {
			t.Errorf("parseVegeta(%q) = %+v, want an error", says, got)
		}
	}
}

func TestMessage(t *testing.T) {
	a, b := newRequest(newPrefix(), 7), newRequest(newPrefix(), 7)
	idA, idB := provider.RequestID([]byte(a)), provider.RequestID([]byte(b))
	if len(idA) != idLength || len(idB) != idLength || bytes.Equal(idA, idB) {
		t.Errorf("request IDs %s and %s, want two of %d characters", idA, idB, idLength)
	}
	if n := len(a); n < 380 || n > 420 {
		t.Errorf("a request has %d bytes, want about 400", n)
	}
	if n := len(provider.AppendAnswer(nil, idA)); n < 330 || n > 370 {
		t.Errorf("an answer has %d bytes, want about 350", n)
	}
}

func TestCountsOf(t *testing.T) {
	got := countsOf([]caddy.Metric{
		{Name: "go_memstats_mallocs_total", Value: 1234},
		{Name: "go_memstats_alloc_bytes_total", Value: 2.5e6},
		{Name: "nowpay_exchanges_total", Labels: `merchant="a",operation="bank/x y",outcome="success"`, Value: 3},
		{Name: "nowpay_exchanges_total", Labels: `merchant="a",operation="bank/payout",outcome="unknown"`, Value: 100},
		{Name: "nowpay_exchanges_total", Labels: `merchant="b",operation="bank/payout",outcome="success"`, Value: 4},
		{Name: "nowpay_journal_commits_total", Value: 9},
	})
	if want := (counts{mallocs: 1234, bytes: 2.5e6, commits: 9, successes: 7}); got != want {
		t.Errorf("countsOf() = %+v, want %+v", got, want)
	}
	got = countsOf([]caddy.Metric{{Name: "go_memstats_mallocs_total", Value: 1}})
	for _, n := range []float64{got.bytes, got.commits, got.successes} {
		if !math.IsNaN(n) {
			t.Errorf("countsOf() = %+v, want NaN for what is not there", got)
		}
	}
}

func TestParseCost(t *testing.T) {
	const says = "exchange unit              measured      limit  ratio\n" +
		"plain    B/op                7699.0    16303.0   0.47\nplain    allocs/op             23.0      117.1   0.20 cheaper\nsigned   allocs/op             95.0      186.1   0.51\n"
	if n, found := parseCost([]byte(says)); n != 23 || !found {
		t.Errorf("parseCost() = %v, %v, want 23", n, found)
	}
	if n, found := parseCost([]byte("cost: measuring \"plain\": x\n")); found {
		t.Errorf("parseCost() of nothing = %v", n)
	}
}

func TestCheckAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers wrk.Answers
		good    bool
	}{
		"all":                   {wrk.Answers{All: 100, Bytes: 40_000}, true},
		"some that came late":   {wrk.Answers{All: 100, Bytes: 40_800}, true},
		"too short":             {wrk.Answers{All: 100, Bytes: 39_999}, false},
		"too long":              {wrk.Answers{All: 100, Bytes: 40_801}, false},
		"one that is no 200 OK": {wrk.Answers{All: 100, Refused: 1, Bytes: 40_000}, false},
	} {
		if err := checkAnswers(c.answers, 400, 2); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckExchanges(t *testing.T) {
	quiet := reading{counts: unknown}
	reads := func(received, proven, repeated int, successes float64) reading {
		return reading{counts: counts{successes: successes}, Counts: provider.Counts{Received: received, Proven: proven, Repeated: repeated}}
	}
	before := reads(50, 20, 0, 10)
	for name, c := range map[string]struct {
		before, after reading
		proves, good  bool
	}{
		"a proxy":                      {quiet, reading{counts: unknown, Counts: provider.Counts{Received: 100}}, false, true},
		"a gateway":                    {before, reads(150, 120, 0, 110), true, true},
		"… of which wrk left some":     {before, reads(155, 125, 0, 115), true, true},
		"not all came to the upstream": {before, reads(149, 120, 0, 110), true, false},
		"not all had the key":          {before, reads(150, 119, 0, 110), true, false},
		"not all are successes":        {before, reads(150, 120, 0, 109), true, false},
		"one was paid twice":           {before, reads(150, 120, 1, 110), true, false},
	} {
		if err := checkExchanges(100, c.before, c.after, c.proves); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
