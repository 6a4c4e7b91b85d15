package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

const (
	conditions = "goos: linux\ngoarch: amd64\ntoolchain: go1.26.8\n"
	line       = "BenchmarkExchange/plain 1 25.0 allocs/op 4321 B/op 123456 instructions/op\n"
)

func TestParseLimits(t *testing.T) {
	want := limits{
		platform{"linux", "amd64", "go1.26.8"},
		[]cost{{"plain", [3]float64{25, 4321, 123456}}, {"signed", [3]float64{30.5, 5000, 234567}}},
	}
	text := string(want.text())
	got, err := parseLimits(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseLimits(%q) = %+v, %v, want %+v", text, got, err, want)
	}
	if !strings.Contains(text, conditions+line) {
		t.Errorf("the file is %q, want %q in it", text, conditions+line)
	}
}

func TestParseLimitsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"twice":            line + line,
		"no benchmark":     "PASS\n",
		"unknown setting":  "cpu: a processor\n",
		"another name":     strings.Replace(line, "Exchange", "Do", 1),
		"no name":          strings.Replace(line, "plain", "", 1),
		"several times":    strings.Replace(line, " 1 ", " 2 ", 1),
		"without a unit":   strings.Replace(line, " 4321 B/op", "", 1),
		"unit twice":       strings.Replace(line, "B/op", "allocs/op", 1),
		"unknown unit":     strings.Replace(line, "B/op", "ns/op", 1),
		"no number":        strings.Replace(line, "4321", "many", 1),
		"nothing":          strings.Replace(line, "4321", "0", 1),
		"less":             strings.Replace(line, "4321", "-1", 1),
		"not a number":     strings.Replace(line, "4321", "NaN", 1),
		"too much of them": strings.Replace(line, "\n", " 1 MB/s\n", 1),
	} {
		if l, err := parseLimits(text); err == nil {
			t.Errorf("%s: parseLimits(%q) = %+v, want an error", name, text, l)
		}
	}
}

func TestCompiles(t *testing.T) {
	p := platform{"linux", "amd64", "go1.26.8"}
	for _, test := range []struct {
		other platform
		want  bool
	}{
		{p, true},
		{platform{"linux", "amd64", "go1.26.9"}, true},
		{platform{"linux", "amd64", "go1.27.0"}, false},
		{platform{"linux", "arm64", "go1.26.8"}, false},
		{platform{"freebsd", "amd64", "go1.26.8"}, false},
		{platform{"linux", "amd64", "devel"}, false},
		{platform{}, false},
	} {
		if got := p.compiles(test.other); got != test.want {
			t.Errorf("%v as %v: %v, want %v", p, test.other, got, test.want)
		}
	}
	if (platform{}).compiles(platform{}) {
		t.Error("nothing is known, and yet it is the same")
	}
}

// TestLimitsOfAll: the file in the repository is for what there is.
func TestLimitsOfAll(t *testing.T) {
	text, err := os.ReadFile("limits.txt")
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLimits(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var costs []cost
	for _, v := range variants {
		costs = append(costs, cost{variant: v.name})
	}
	if _, err := compare(costs, l.costs); err != nil || l.platform.version == "" {
		t.Errorf("limits of %v: %v", l.platform, err)
	}
}
