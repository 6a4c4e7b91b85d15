package nowpay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Catalogue is the set of operations that the gateway knows. It is immutable and safe for concurrent use.
type Catalogue struct {
	byName map[string]*Operation
	sorted []*Operation
}

// NewCatalogue validates each operation, that names are unique, and that every status operation is there,
// moves no money and is sent the fields that it requires.
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
		if err := c.checkStatus(o.Status); err != nil {
			return nil, fmt.Errorf("adding operation %q: its status operation %q %w", o.Name, o.Status.Operation, err)
		}
	}
	slices.SortFunc(c.sorted, func(a, b *Operation) int { return cmp.Compare(a.Name, b.Name) })
	return c, nil
}

// checkStatus says what is wrong with asking as q says.
func (c *Catalogue) checkStatus(q *StatusQuery) error {
	status, ok := c.byName[q.Operation]
	switch {
	case !ok:
		return errors.New("is unknown")
	case status.MovesMoney:
		return errors.New("moves money")
	}
	for _, f := range status.Fields {
		if !f.Optional && !slices.ContainsFunc(q.Send, func(s StatusField) bool { return s.Name == f.Name }) {
			return fmt.Errorf("requires field %q: send it, or make it optional", f.Name)
		}
	}
	return nil
}

// Lookup finds an operation by its exact name.
func (c *Catalogue) Lookup(name string) (*Operation, bool) {
	o, ok := c.byName[name]
	return o, ok
}

// Operations are all operations, sorted by name.
func (c *Catalogue) Operations() []*Operation { return slices.Clone(c.sorted) }
