package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	limits := []cost{{"plain", [3]float64{20, 2000, 100_000}}, {"signed", [3]float64{30, 3000, 200_000}}}
	rows, err := compare([]cost{{"signed", [3]float64{30, 3000, 0}}, {"plain", [3]float64{20, 2000, 90_000}}}, limits)
	want := []row{
		{"signed", "allocs/op", 30, 30},
		{"signed", "B/op", 3000, 3000}, // and no instructions, which were not counted
		{"plain", "allocs/op", 20, 20},
		{"plain", "B/op", 2000, 2000},
		{"plain", "instructions/op", 90_000, 100_000},
	}
	if err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("%+v, %v, want %+v", rows, err, want)
	}
	if rows, err := compare(limits[:1], limits); err == nil || !strings.Contains(err.Error(), `"signed"`) {
		t.Errorf("a limit for what is not measured: %+v, %v", rows, err)
	}
	if rows, err := compare(limits, limits[:1]); err == nil || !strings.Contains(err.Error(), `"signed"`) {
		t.Errorf("no limit for what is measured: %+v, %v", rows, err)
	}
}

func TestReport(t *testing.T) {
	for _, test := range []struct {
		name      string
		value     float64
		fails     bool
		says, not string
	}{
		{"the same", 20, false, "met (20.0)", "-update"},
		{"a little dearer", 22, false, "met (22.0)", "-update"},
		{"dearer", 22.1, true, "DEARER", "cheaper"},
		{"much dearer", 40, true, "missed (40.0)", "cheaper"},
		{"a little cheaper", 18, false, "met (18.0)", "-update"},
		{"cheaper", 17.9, false, "below the limit: plain allocs/op. Keep what was won with -update", "DEARER"},
	} {
		var out strings.Builder
		err := report(&out, []row{{"refused", "B/op", 5, 5}, {"plain", "allocs/op", test.value, 20}})
		if (err != nil) != test.fails || err != nil && !strings.Contains(err.Error(), "above the limit: plain allocs/op.") {
			t.Errorf("%s: error %v, want one: %v", test.name, err, test.fails)
		}
		if got := out.String(); !strings.Contains(got, test.says) || strings.Contains(got, test.not) {
			t.Errorf("%s: printed %q, want %q and not %q", test.name, got, test.says, test.not)
		}
	}
}
