package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/stats"
)

// table is one of the page's: rows that are measured by turns.
type table struct {
	part    string
	title   string
	text    string
	rows    []row
	columns []column
}

// column is a figure of a row.
type column struct {
	title  string
	format string
	value  func(g *gateway, s sample) float64
}

// What the tables show.
var (
	perSecond = column{"exchanges/s", "%.0f", func(_ *gateway, s sample) float64 { return float64(s.All-s.Refused) / s.Length.Seconds() }}
	cpu       = column{"CPU µs/exchange", "%.0f", func(_ *gateway, s sample) float64 { return s.cpu / s.exchanges }}
	perReq    = column{"CPU µs/request", "%.0f", func(_ *gateway, s sample) float64 { return s.cpu / (s.exchanges + s.refusals) }}
	refused   = column{"refused/s", "%.0f", func(_ *gateway, s sample) float64 { return float64(s.Refused) / s.Length.Seconds() }}
	p50       = column{"p50 ms", "%.1f", func(_ *gateway, s sample) float64 { return milliseconds(s.P50) }}
	p99       = column{"p99 ms", "%.1f", func(_ *gateway, s sample) float64 { return milliseconds(s.P99) }}
	idle      = column{"idle MiB", "%.0f", func(g *gateway, _ sample) float64 { return g.idle }}
	resident  = column{"resident MiB", "%.0f", func(_ *gateway, s sample) float64 { return s.resident }}
	underWay  = column{"under way", "%.0f", func(_ *gateway, s sample) float64 { return s.places }}
	goroutine = column{"goroutines", "%.0f", func(_ *gateway, s sample) float64 { return s.goroutines }}
	each      = column{"KiB/connection", "%.0f", func(g *gateway, s sample) float64 {
		return (s.resident - g.idle) * 1024 / float64(g.row.connections)
	}}
	growth  = column{"bytes/payment", "%.0f", func(_ *gateway, s sample) float64 { return s.journal / s.exchanges }}
	commits = column{"commits/exchange", "%.3f", func(_ *gateway, s sample) float64 { return s.commits / s.exchanges }}
)

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// few connections are those of a table about something else.
const few = 64

// tables are all there are.
func tables(o options) []table {
	return []table{merchantTable(), connectionTable(), latencyTable(o), limitTable(o), gatewayTable(), journalTable(o)}
}

func merchantTable() table {
	t := table{
		part: "merchants", title: "Merchants", columns: []column{perSecond, cpu, p99, idle, resident},
		text: fmt.Sprintf("Each has ten source ranges and an operation of its own, which moves no money. They call by turns, over %d connections.", few),
	}
	for _, n := range []int{5, 50, 500, 5000} {
		t.rows = append(t.rows, row{name: fmt.Sprintf("%d merchants", n), merchants: n, connections: few})
	}
	return t
}

func connectionTable() table {
	t := table{
		part: "connections", title: "Connections", columns: []column{perSecond, cpu, p50, p99, resident, each},
		text: "One operation that moves no money; the provider answers at once.",
	}
	for _, n := range []int{16, 64, 256, 1024, 4096} {
		t.rows = append(t.rows, row{name: fmt.Sprintf("%d connections", n), merchants: 1, connections: n})
	}
	return t
}

func latencyTable(o options) table {
	t := table{
		part: "latency", title: "The provider's latency", columns: []column{perSecond, cpu, underWay, goroutine, resident, each},
		text: fmt.Sprintf("%d connections, each of which waits for its answer before it sends the next request.", o.waiting),
	}
	for _, d := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		t.rows = append(t.rows, row{name: d.String(), merchants: 1, connections: o.waiting, latency: d, watched: true})
	}
	return t
}

func limitTable(o options) table {
	const latency = 2 * time.Second
	t := table{
		part: "limit", title: "max_in_flight", columns: []column{perSecond, refused, perReq, underWay, goroutine, resident, each},
		text: fmt.Sprintf("A provider that takes %v, with `max_in_flight %d`: requests beyond get 429 `limit-exceeded` at once, and wrk sends "+
			"the next one at once, without waiting as it is told to.", latency, o.places),
	}
	for _, r := range []row{
		{name: "default", connections: o.waiting},
		{name: strconv.Itoa(o.places), connections: o.waiting, maxInFlight: o.places},
		{name: strconv.Itoa(o.places), connections: 2 * o.waiting, maxInFlight: o.places},
	} {
		r.name = fmt.Sprintf("%s, %d connections", r.name, r.connections)
		r.merchants, r.latency, r.watched = 1, latency, true
		t.rows = append(t.rows, r)
	}
	return t
}

func journalTable(o options) table {
	t := table{
		part: "journal", title: "Transactions in the journal", columns: []column{perSecond, cpu, commits, growth, p99, resident},
		text: fmt.Sprintf("Payments, each recorded before and after it is sent, in a SQLite journal that has many already; %d connections. "+
			"For the journal alone with ten million: `JOURNAL_BENCHMARK_LARGE=1 go test -run '^$' -bench InsertInto -benchtime 1000x -timeout 1h ./journal/sqlite`.", few),
	}
	for _, n := range o.transactions {
		t.rows = append(t.rows, row{name: fmt.Sprintf("%d transactions", n), merchants: 1, connections: few, transactions: n, pays: true})
	}
	return t
}

func gatewayTable() table {
	t := table{
		part: "gateways", title: "Gateways", columns: []column{perSecond, cpu, commits, p50, p99, resident},
		text: fmt.Sprintf("Payments, %d connections for each gateway. Two together share a journal in PostgreSQL, whose server is on the same "+
			"machine and as durable as in production; its CPU is not counted. Commits, CPU and memory are those of both.", few),
	}
	for _, r := range []row{{name: "one, SQLite"}, {name: "one, PostgreSQL", gateways: 1}, {name: "two, PostgreSQL", gateways: 2}} {
		r.merchants, r.connections, r.pays = 1, few, true
		t.rows = append(t.rows, r)
	}
	return t
}

func (t table) print(w io.Writer, groups []*group) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n| |", t.title, t.text)
	for _, c := range t.columns {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---:|", len(t.columns)))
	for _, g := range groups {
		fmt.Fprintf(w, "| %s |", g.row.name)
		for _, c := range t.columns {
			var all []float64
			for _, s := range g.samples {
				all = append(all, c.value(g.gateways[0], s))
			}
			fmt.Fprintf(w, " "+c.format+" |", stats.Median(all))
		}
		fmt.Fprintln(w)
	}
}
