package main

import "testing"

func TestParseCount(t *testing.T) {
	const head = "==1== Cachegrind, a cache and branch-prediction profiler\n==1== Command: cost -run plain\n"
	for _, test := range []struct {
		name, said string
		want       int64 // 0: an error
	}{
		{"3.19", head + "--1-- warning: L3 cache found\n==1== \n==1== I   refs:      211,813,643\n", 211_813_643},
		{"3.22", head + "==1== I refs:        1,234\n", 1234},
		{"small", head + "==1== I   refs:      7\n", 7},
		{"ended early", head, 0},
		{"nothing", "", 0},
		{"two processes", head + "==1== I   refs:      7\n==2== I   refs:      8\n", 0},
		{"said by the program", head + "I   refs:      7\n", 0},
		{"too many", head + "==1== I   refs:      99,999,999,999,999,999,999\n", 0},
		{"of data", head + "==1== D   refs:      7\n", 0},
	} {
		got, err := parseCount(test.said)
		if got != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%s: %d, %v, want %d", test.name, got, err, test.want)
		}
	}
}
