package integrity

import (
	"bytes"
	"slices"
	"strings"
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
	copyOf := func(text string) []byte { return append(f.take(len(text)), text...) }
	if !f.inAny([][]byte{copyOf(string(key[:9])), copyOf("%6bey+/")}) {
		t.Fatal("key not found in pieces")
	}
	f.whole(key)
	first := f.memory
	copyOf(string(key) + strings.Repeat(" ", cap(f.memory))) // more than there is room for
	used := slices.DeleteFunc(slices.Clone(f.kept), func(b []byte) bool { return len(b) == 0 })
	if len(used) != 2 || &used[1][0] != &first[0] {
		t.Fatalf("%d kept: not what was unescaped, and the memory that was outgrown", len(used))
	}
	memory := slices.Concat(f.exact, f.folded, used, [][]byte{f.text, f.memory})
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
