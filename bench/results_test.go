package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 1000 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for percent, want := range map[float64]time.Duration{0: 1, 50: 500, 99: 990, 99.9: 999, 100: 1000} {
		if got := percentile(sorted, percent); got != want {
			t.Errorf("percentile(1 to 1000, %v) = %d, want %d", percent, got, want)
		}
	}
	if got := percentile(sorted[:1], 99.9); got != 1 {
		t.Errorf("percentile of one = %d", got)
	}
}

func TestNumber(t *testing.T) {
	for want, got := range map[string]string{
		"–": number(math.NaN(), 2), "1.50": number(1.5, 2), "999": number(999.4, 0), "1,000": number(999.6, 0),
		"1,234,567": number(1234567, 0), "12 (0.50)": withRatio(12, 0.5, 0), "–, alone": withRatio(math.NaN(), math.NaN(), 0) + ", alone",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLoadsOf(t *testing.T) {
	loads, err := loadsOf(options{rounds: 1, time: 2 * time.Second, connections: "1,64"})
	want := []load{{1, 0, 2 * time.Second}, {64, 0, 2 * time.Second}, {32, 1000, 3 * time.Second}}
	if !slices.Equal(loads, want) || err != nil {
		t.Errorf("loadsOf() = %v, %v, want %v", loads, err, want)
	}
	for _, o := range []options{
		{1, time.Second, 0, "1,x", "", "", false},
		{1, time.Second, 0, "0", "", "", false},
		{1, 1500 * time.Millisecond, 0, "1", "", "", false},
		{0, time.Second, 0, "1", "", "", false},
	} {
		if loads, err := loadsOf(o); err == nil {
			t.Errorf("loadsOf(%+v) = %v, want an error", o, loads)
		}
	}
}

// measured are results of two rounds at 64 connections, in which all was half as
// quick in the second.
func measured() *results {
	l := load{connections: 64, time: time.Second}
	r := &results{
		rounds: 2, loads: []load{l}, missing: []string{"nginx: is not installed"},
		endurances: map[string]endurance{plainCaddy: {90, 100, 110}, plainGateway: {118, 120, 130}},
	}
	for _, v := range variants {
		if v.name == plainCaddy || v.name == plainGateway || v.name == sqliteGateway {
			r.variants = append(r.variants, v)
		}
	}
	for _, slow := range []float64{1, 2} {
		r.add(plainCaddy, l, sample{throughput: 1000 / slow, cpu: 3 * slow, connects: 0, commits: math.NaN()})
		r.add(plainGateway, l, sample{throughput: 1800 / slow, cpu: 2.1 * slow, connects: 4})
		r.add(sqliteGateway, l, sample{throughput: 900 / slow, cpu: 3.36 * slow, connects: 4})
	}
	return r
}

func TestRatio(t *testing.T) {
	r := measured()
	l := r.loads[0]
	if got := r.value(plainGateway, l, throughput); got != 1350 {
		t.Errorf("the median is %v, want 1350", got)
	}
	if got := r.ratio(plainGateway, plainCaddy, l, throughput); got != 1.8 {
		t.Errorf("the ratio is %v, want 1.8", got)
	}
	for _, got := range []float64{
		r.ratio(plainGateway, plainCaddy, l, connects), // of nothing
		r.ratio(plainGateway, nginxLua, l, cpu),
		r.ratio(plainGateway, plainCaddy, load{connections: 1}, cpu),
	} {
		if !math.IsNaN(got) {
			t.Errorf("a ratio to nothing is %v, want NaN", got)
		}
	}
}

func TestTargets(t *testing.T) {
	verdicts := make(map[string]string)
	for _, target := range measured().targets() {
		verdicts[target.What] = number(target.Measured, 2) + " " + target.Verdict()
	}
	for what, want := range map[string]string{
		"CPU, gateway : plain Caddy":                                        "0.70 **missed**",
		"throughput, gateway : plain Caddy":                                 "1.80 met",
		"CPU, gateway : nginx with an HMAC in Lua":                          "– not measured",
		"throughput, payment with SQLite : plain exchange":                  "0.50 **missed**",
		"CPU, payment with SQLite : plain exchange":                         "1.60 met",
		"p99 at 1,000/s over 32 connections, gateway : plain Caddy":         "– not measured",
		"memory after a long run at 256 connections, gateway : plain Caddy": "1.20 met",
		"… growth of the gateway's from the second quarter to the last":     "1.02 met",
		"connections to the upstream opened for 10,000 exchanges":           "4.00 met",
		"CPU, 500 merchants, 5,000 sources, 200 operations : 5 of each":     "– not measured",
	} {
		if verdicts[what] != want {
			t.Errorf("%s: %q, want %q", what, verdicts[what], want)
		}
	}
	if !atMost(1.6)(1.6) || !atLeast(0.6)(0.6) {
		t.Error("a limit is not within itself")
	}
	if got := (target{Measured: 1.2}).Verdict(); got != "–" {
		t.Errorf("what is only told is %q", got)
	}
}

func TestReport(t *testing.T) {
	text, err := report(measured())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n| CPU, gateway : plain Caddy | ≤ 0.65, aim 0.5 | 0.70 | **missed** |\n",
		"\n## 64 connections\n\n| what | per second |",
		"\n| **gateway**, 5 merchants, sources, operations | 1,350 (1.80) |",
		"\n| **gateway**, 5 merchants, sources, operations | 118 | 120 | 130 |\n",
		"\n- nginx: is not installed\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	for _, unwanted := range []string{"NaN", "<no value>", "\n\n\n", "in memory, where"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("the report has %q:\n%s", unwanted, text)
		}
	}
}

func TestPicture(t *testing.T) {
	drawing, err := picture(measured())
	if err != nil {
		t.Fatal(err)
	}
	for decoder := xml.NewDecoder(strings.NewReader(drawing)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("it is no XML: %v\n%s", err, drawing)
		}
	}
	if got := strings.Count(drawing, `<rect class="bar`); got != 6 {
		t.Errorf("there are %d bars, want 3 of CPU and 3 of throughput:\n%s", got, drawing)
	}
	// The longest bar is as wide as a panel; the gateway's throughput is that, 1.80.
	if want := `width="190" height="16" rx="2"/><text class="small" x="778" y="88" dx="5" dy="12">1.80<`; !strings.Contains(drawing, want) {
		t.Errorf("the picture lacks %s:\n%s", want, drawing)
	}
}

func TestQuarter(t *testing.T) {
	all := []float64{0, 1, 2, 3, 4, 5, 6, 7}
	if got := quarter(all, 1); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("the second quarter is %v", got)
	}
	if got := quarter(all, 3); !slices.Equal(got, []float64{6, 7}) {
		t.Errorf("the last quarter is %v", got)
	}
}
