package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
)

//go:embed report.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// tableColumns are those of the report's tables.
var tableColumns = []struct {
	figure    figure
	head      string
	precision int
}{
	{throughput, "per second", 0},
	{p50, "p50 ms", 2},
	{p99, "p99 ms", 2},
	{p999, "p99.9 ms", 2},
	{cpu, "CPU s/10,000", 2},
	{mallocs, "allocations", 0},
	{bytesAllocated, "bytes", 0},
	{memory, "memory MiB", 0},
	{connects, "upstream conn./10,000", 1},
	{commits, "commits", 3},
}

// report is the whole report, in Markdown.
func report(r *results) (string, error) {
	type table struct {
		Load load
		Rows []string
	}
	data := struct {
		Machine machine.Machine
		Rounds  int
		Targets []string
		Tables  []table
		Memory  []string
		Missing []string
	}{Machine: r.machine, Rounds: r.rounds, Missing: r.missing}
	for _, t := range r.targets() {
		data.Targets = append(data.Targets, row(t.What, t.Goal, number(t.Measured, 2), t.Verdict()))
	}
	for _, l := range r.loads {
		data.Tables = append(data.Tables, table{l, r.rows(l)})
	}
	for _, v := range r.variants {
		if e, ok := r.endurances[v.name]; ok {
			data.Memory = append(data.Memory, row(v.title, number(e.early, 0), number(e.late, 0), number(e.peak, 0)))
		}
	}
	var out bytes.Buffer
	if err := reportTemplate.Execute(&out, data); err != nil {
		return "", fmt.Errorf("writing the report: %w", err)
	}
	return strings.TrimSpace(out.String()) + "\n", nil
}

// rows are those of one load, with the head.
func (r *results) rows(l load) []string {
	head, rule := []string{"what"}, []string{"---"}
	for _, c := range tableColumns {
		head, rule = append(head, c.head), append(rule, "---:")
	}
	rows := []string{row(head...), row(rule...)}
	for _, v := range r.variants {
		cells := []string{v.title}
		for _, c := range tableColumns {
			cells = append(cells, withRatio(r.value(v.name, l, c.figure), r.ratio(v.name, plainCaddy, l, c.figure), c.precision))
		}
		rows = append(rows, row(cells...))
	}
	return rows
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |" }

func withRatio(value, ratio float64, precision int) string {
	if math.IsNaN(ratio) {
		return number(value, precision)
	}
	return fmt.Sprintf("%s (%.2f)", number(value, precision), ratio)
}

func number(value float64, precision int) string {
	switch {
	case math.IsNaN(value):
		return "–"
	case precision == 0:
		return thousands(value)
	}
	return strconv.FormatFloat(value, 'f', precision, 64)
}

// thousands is a number without a fraction, with commas.
func thousands(value float64) string {
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
