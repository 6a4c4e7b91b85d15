package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestParseStat(t *testing.T) {
	const stat = "42 (a) S (b) S 1 42 42 0 -1 4194560 5000 0 0 0 123 45 0 0 20 0 9 0 8000 1 2\n"
	if got, err := parseStat(stat); got != 1680*time.Millisecond || err != nil {
		t.Errorf("parseStat(%q) = %v, %v, want 1.68s", stat, got, err)
	}
	for _, stat := range []string{"", "42 (caddy) S 1 42", strings.Replace(stat, "123", "x", 1)} {
		if got, err := parseStat(stat); err == nil {
			t.Errorf("parseStat(%q) = %v, want an error", stat, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const status = "Name:\tcaddy\nVmHWM:\t   10240 kB\nVmRSS:\t    5120 kB\nThreads:\t9\n"
	if now, peak, err := parseStatus(status); now != 5 || peak != 10 || err != nil {
		t.Errorf("parseStatus() = %v, %v, %v, want 5 and 10 MiB", now, peak, err)
	}
	for _, status := range []string{"Name:\tcaddy\n", "VmRSS:\tx kB\n"} {
		if now, peak, err := parseStatus(status); err == nil {
			t.Errorf("parseStatus(%q) = %v, %v, want an error", status, now, peak)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	const text = `# HELP go_memstats_mallocs_total x
go_memstats_alloc_bytes 7
go_memstats_alloc_bytes_total 2.5e+06
go_memstats_mallocs_total 1234
nowpay_exchanges_total{merchant="a",operation="bank/x y",outcome="success"} 3
nowpay_exchanges_total{merchant="a",operation="bank/payout",outcome="unknown"} 100
nowpay_exchanges_total{merchant="b",operation="bank/payout",outcome="success"} 4
nowpay_journal_commits_total 9
`
	if got, want := parseMetrics(text), (counts{mallocs: 1234, bytes: 2.5e6, commits: 9, successes: 7}); got != want {
		t.Errorf("parseMetrics() = %+v, want %+v", got, want)
	}
	got := parseMetrics("go_memstats_mallocs_total 1\n")
	for _, n := range []float64{got.bytes, got.commits, got.successes} {
		if !math.IsNaN(n) {
			t.Errorf("parseMetrics() = %+v, want NaN for what is not there", got)
		}
	}
}

func TestParseWrk(t *testing.T) {
	const says = "Running 2s test\n  Non-2xx or 3xx responses: 0\nbench: 8000 0 2000000 1500 20000 35500\n"
	want := loaded{8000, 4000, 1500 * time.Microsecond, 20 * time.Millisecond, 35500 * time.Microsecond}
	if got, err := parseWrk([]byte(says)); got != want || err != nil {
		t.Errorf("parseWrk() = %+v, %v, want %+v", got, err, want)
	}
	for _, says := range []string{"", "bench: 8000 1 2000000 1 2 3\n", "bench: 0 0 2000000 1 2 3\n", "bench: 8000 0 2000000 1\n"} {
		if got, err := parseWrk([]byte(says)); err == nil {
			t.Errorf("parseWrk(%q) = %+v, want an error", says, got)
		}
	}
}

func TestParseVegeta(t *testing.T) {
	const says = "1000000000,200,3000000,400,350,,,,0,POST,http://x,\n" +
		"2000000000,200,1000000,400,350,,,,1,POST,http://x,\n" +
		"2998000000,200,2000000,400,350,,,,2,POST,http://x,\n"
	want := loaded{3, 1.5, 2 * time.Millisecond, 3 * time.Millisecond, 3 * time.Millisecond}
	if got, err := parseVegeta(strings.NewReader(says)); got != want || err != nil {
		t.Errorf("parseVegeta() = %+v, %v, want %+v", got, err, want)
	}
	for _, says := range []string{"", "1,200\n", "1,503,1,,,refused\n", "1,0,1,,,refused\n", "1,200,x,,,\n", "x,200,1,,,\n", says + "\"\n"} {
		if got, err := parseVegeta(strings.NewReader(says)); err == nil {
			t.Errorf("parseVegeta(%q) = %+v, want an error", says, got)
		}
	}
}

func TestRequests(t *testing.T) {
	first := "POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\nSignature:  sig1=:a=: \r\n\r\nhello"
	second := "POST / HTTP/1.1\r\nContent-Length: 0\r\nX-Signature: no\r\n\r\n"
	for name, from := range map[string]io.Reader{
		"at once":       strings.NewReader(first + second),
		"byte by byte":  iotest.OneByteReader(strings.NewReader(first + second)),
		"with its end":  iotest.DataErrReader(strings.NewReader(first + second)),
		"one and a bit": io.MultiReader(strings.NewReader(first+second[:9]), strings.NewReader(second[9:])),
	} {
		in := &requests{from: from, buffer: make([]byte, 100)}
		for _, want := range []struct{ body, signature string }{{"hello", "sig1=:a=:"}, {"", ""}} {
			head, body, err := in.next()
			if err != nil || string(body) != want.body || string(field(head, "signature")) != want.signature {
				t.Errorf("%s: next() = %q, %q, %v, want %+v", name, head, body, err, want)
			}
		}
		if _, _, err := in.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v, want EOF", name, err)
		}
	}
	for _, bad := range []string{"POST / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", strings.Repeat("x", 101)} {
		in := &requests{from: strings.NewReader(bad), buffer: make([]byte, 100)}
		if head, body, err := in.next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("next() of %q = %q, %q, %v, want an error", bad, head, body, err)
		}
	}
}

func TestMessage(t *testing.T) {
	a, b := newRequest(newPrefix(), 7), newRequest(newPrefix(), 7)
	idA, idB := requestID([]byte(a)), requestID([]byte(b))
	if len(idA) != idLength || len(idB) != idLength || bytes.Equal(idA, idB) {
		t.Errorf("request IDs %s and %s, want two of %d characters", idA, idB, idLength)
	}
	if n := len(a); n < 380 || n > 420 {
		t.Errorf("a request has %d bytes, want about 400", n)
	}
	if n := len(appendAnswer(nil, idA)); n < 330 || n > 370 {
		t.Errorf("an answer has %d bytes, want about 350", n)
	}
}
