package simulator

import (
	"slices"
	"strings"
)

// index finds entries by the beginning of an id, without looking at all of
// them: a load test asks about each of its transactions. Not safe for
// concurrent use.
type index struct {
	id     func(*Entry) string
	sorted []*Entry // by id, entries of the same id by number
}

func (x *index) add(e *Entry) {
	at, _ := slices.BinarySearchFunc(x.sorted, e, func(a, b *Entry) int {
		if c := strings.Compare(x.id(a), x.id(b)); c != 0 {
			return c
		}
		return a.Number - b.Number
	})
	x.sorted = slices.Insert(x.sorted, at, e)
}

// withPrefix returns the entries whose id begins as given, sorted by id.
func (x *index) withPrefix(prefix string) []*Entry {
	from, _ := slices.BinarySearchFunc(x.sorted, prefix, func(e *Entry, prefix string) int {
		return strings.Compare(x.id(e), prefix)
	})
	to := from
	for to < len(x.sorted) && strings.HasPrefix(x.id(x.sorted[to]), prefix) {
		to++
	}
	return x.sorted[from:to]
}
