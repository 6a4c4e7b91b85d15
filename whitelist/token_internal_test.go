package whitelist

import (
	"strconv"
	"testing"
)

// The table visits every entry, whatever matched before: if it holds the same
// hash twice, which NewPolicy refuses, the later entry decides. Time is not
// measured; that find neither branches on the result of a comparison nor
// leaves its loop is seen by reading its three lines.
func TestFindVisitsEveryHash(t *testing.T) {
	const size = 100
	for first := range size - 1 {
		table := make(tokenTable, size)
		for i := range table {
			table[i] = tokenEntry{newTokenSum(HashToken(string(rune('A' + i)))), i}
		}
		table[first].sum = newTokenSum(HashToken("token"))
		if got := table.find("token"); got != first {
			t.Fatalf("find = %d, want %d", got, first)
		}
		table[size-1].sum = newTokenSum(HashToken("token"))
		if got := table.find("token"); got != size-1 {
			t.Fatalf("find = %d after a match at %d: it did not go on to the last entry", got, first)
		}
	}
}

func TestFindNothing(t *testing.T) {
	table := tokenTable{{newTokenSum(HashToken("")), 0}, {newTokenSum(HashToken("token")), 1}, {tokenSum{}, 2}}
	for _, token := range []string{"", "Token", "token ", "toke", "tokens", "\x00"} {
		if got := table.find(token); got != -1 {
			t.Errorf("find(%q) = %d, want -1", token, got)
		}
	}
	if got := tokenTable(nil).find("token"); got != -1 {
		t.Errorf("find in an empty table = %d, want -1", got)
	}
}

// Each bit counts.
func TestTokenSumsAreEqual(t *testing.T) {
	hash := HashToken("token")
	sum := newTokenSum(hash)
	if again := newTokenSum(hash); sum.equal(&again) != 1 {
		t.Error("a hash is not itself")
	}
	for bit := range 8 * len(hash) {
		other := hash
		other[bit/8] ^= 1 << (bit % 8)
		if changed := newTokenSum(other); sum.equal(&changed) != 0 {
			t.Errorf("without bit %d it is the same", bit)
		}
	}
}

func BenchmarkFindToken(b *testing.B) {
	table := make(tokenTable, 5000)
	for i := range table {
		table[i] = tokenEntry{newTokenSum(HashToken(strconv.Itoa(i))), i}
	}
	for b.Loop() {
		if table.find("2500") != 2500 {
			b.Fatal("not found")
		}
	}
}
