package nowpay

import (
	"cmp"
	"fmt"
	"slices"
)

// Catalogue is the set of operations that the gateway knows. It is immutable and safe for concurrent use.
type Catalogue struct {
	byName map[string]*Operation
	sorted []*Operation
}

// NewCatalogue validates each operation, and that names are unique and every status operation is there.
// What the operations hold must not be modified any more.
func NewCatalogue(ops []Operation) (*Catalogue, error) {
	c := &Catalogue{byName: make(map[string]*Operation, len(ops))}
	for _, o := range ops {
		if err := o.Validate(); err != nil {
			return nil, err
		}
		if _, twice := c.byName[o.Name]; twice {
			return nil, fmt.Errorf("adding operation %q: it is there already", o.Name)
		}
		c.byName[o.Name] = &o
		c.sorted = append(c.sorted, &o)
	}
	for _, o := range c.sorted {
		if o.Status == nil {
			continue
		}
		status, ok := c.byName[o.Status.Operation]
		if !ok {
			return nil, fmt.Errorf("adding operation %q: its status operation %q is unknown", o.Name, o.Status.Operation)
		}
		if status.MovesMoney {
			return nil, fmt.Errorf("adding operation %q: its status operation %q moves money", o.Name, o.Status.Operation)
		}
	}
	slices.SortFunc(c.sorted, func(a, b *Operation) int { return cmp.Compare(a.Name, b.Name) })
	return c, nil
}

// Lookup finds an operation by its exact name.
func (c *Catalogue) Lookup(name string) (*Operation, bool) {
	o, ok := c.byName[name]
	return o, ok
}

// Operations are all operations, sorted by name.
func (c *Catalogue) Operations() []*Operation { return slices.Clone(c.sorted) }
