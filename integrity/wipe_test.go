package integrity

import (
	"bytes"
	"slices"
	"testing"
)

// TestWipe is inside the package: only here the memory can be seen.
func TestWipe(t *testing.T) {
	t.Parallel()
	key := []byte("~~~???>>>key+/")
	f := newFinder(key)
	if len(f.exact) < 4 || len(f.folded) != 2 {
		t.Fatalf("%d exact and %d folded forms", len(f.exact), len(f.folded))
	}
	if !f.inAny([][]byte{f.keep(bytes.Clone(key[:9])), f.keep([]byte("%6bey+/"))}) || len(f.kept) != 3 {
		t.Fatalf("key not found in pieces; %d kept", len(f.kept))
	}
	f.whole(key)
	memory := slices.Concat(f.exact, f.folded, f.kept, [][]byte{f.text})
	f.wipe()
	for i, b := range memory {
		if len(b) == 0 || len(bytes.Trim(b[:cap(b)], "\x00")) > 0 {
			t.Errorf("memory %d: %q", i, b)
		}
	}
	if string(key) != "~~~???>>>key+/" {
		t.Errorf("the key itself is overwritten: %q", key)
	}
}
