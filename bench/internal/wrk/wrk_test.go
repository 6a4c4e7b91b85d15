package wrk

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const says = "Running 2s test\n  Non-2xx or 3xx responses: 10\nbench: 8000 10 0 4000000 2000000 1500 20000 35500\n"
	want := Answers{8000, 10, 4000000, 2 * time.Second, 1500 * time.Microsecond, 20 * time.Millisecond, 35500 * time.Microsecond}
	got, err := parse([]byte(says))
	if got != want || err != nil {
		t.Errorf("parse() = %+v, %v, want %+v", got, err, want)
	}
	if got.PerSecond() != 4000 {
		t.Errorf("PerSecond() = %v, want 4000", got.PerSecond())
	}
	for _, says := range []string{
		"", "bench: 8000 0 1 4000000 2000000 1 2 3\n", "bench: 0 0 0 0 2000000 1 2 3\n",
		"bench: 8000 0 0 4000000 0 1 2 3\n", "bench: 8000 0 0 4000000 2000000 1\n",
	} {
		if got, err := parse([]byte(says)); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", says, got)
		}
	}
}
