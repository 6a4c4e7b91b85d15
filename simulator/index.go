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
	sorted []*Entry // by id
}

func (x *index) add(e *Entry) {
	x.sorted = slices.Insert(x.sorted, x.search(x.id(e)), e)
}

// search is where an entry with this id would be.
func (x *index) search(id string) int {
	at, _ := slices.BinarySearchFunc(x.sorted, id, func(e *Entry, id string) int { return strings.Compare(x.id(e), id) })
	return at
}

// withPrefix returns the entries whose id begins as given, in no order that
// matters.
func (x *index) withPrefix(prefix string) []*Entry {
	from := x.search(prefix)
	to := from
	for to < len(x.sorted) && strings.HasPrefix(x.id(x.sorted[to]), prefix) {
		to++
	}
	return x.sorted[from:to]
}
