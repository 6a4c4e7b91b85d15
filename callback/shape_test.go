package callback_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
)

// own is a valid shape that a user might add, with two ways of nesting.
func own() callback.Shape {
	return callback.Shape{
		Name:       "own",
		RequestID:  "data.txn.merchant-ref",
		ProviderID: "data.txn.id",
		State:      "event",
		Reference:  "utr",
		Message:    "note",
		Amount:     "data.amount",
		Success:    []string{"Paid", "true"},
		Failed:     []string{"Bounced", "false"},
	}
}

func TestValidateAccepts(t *testing.T) {
	for name, change := range map[string]func(*callback.Shape){
		"as it is":              func(*callback.Shape) {},
		"no provider id":        func(s *callback.Shape) { s.ProviderID = "" },
		"no request id":         func(s *callback.Shape) { s.RequestID = "" },
		"nothing optional":      func(s *callback.Shape) { s.Reference, s.Message, s.Amount, s.Pending = "", "", "", nil },
		"longest name":          func(s *callback.Shape) { s.Name = strings.Repeat("a_-9", 8) },
		"deepest path":          func(s *callback.Shape) { s.State = "a.b.c.d.e.f.g.h" },
		"a name that begins so": func(s *callback.Shape) { s.State, s.Reference = "a", "ab.c" },
		"texts with blanks":     func(s *callback.Shape) { s.Pending = []string{"in progress", "é"} },
	} {
		s := own()
		change(&s)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	const (
		badName = "name must be 1 to 32"
		badPath = "must be 1 to 8 names"
		badText = "texts of the state must be"
		once    = "must be listed once"
	)
	for _, c := range []struct {
		name   string
		change func(*callback.Shape)
		reason string
	}{
		{"no name", func(s *callback.Shape) { s.Name = "" }, badName},
		{"long name", func(s *callback.Shape) { s.Name = strings.Repeat("a", 33) }, badName},
		{"capital", func(s *callback.Shape) { s.Name = "Own" }, badName},
		{"dot in the name", func(s *callback.Shape) { s.Name = "a.b" }, badName},
		{"letter of another script", func(s *callback.Shape) { s.Name = "оwn" }, badName},
		{"no state", func(s *callback.Shape) { s.State = "" }, "state must be the path"},
		{"no id", func(s *callback.Shape) { s.RequestID, s.ProviderID = "", "" }, "request id or provider id must be a path"},
		{"no success", func(s *callback.Shape) { s.Success = nil }, "must each list"},
		{"no failed", func(s *callback.Shape) { s.Failed = []string{} }, "must each list"},
		{"only a dot", func(s *callback.Shape) { s.State = "." }, badPath},
		{"dot in front", func(s *callback.Shape) { s.State = ".a" }, badPath},
		{"dot at the end", func(s *callback.Shape) { s.RequestID = "a." }, badPath},
		{"two dots", func(s *callback.Shape) { s.ProviderID = "a..b" }, badPath},
		{"blank in a path", func(s *callback.Shape) { s.Message = "a b" }, badPath},
		{"brackets", func(s *callback.Shape) { s.Amount = "a[b]" }, badPath},
		{"letter outside ASCII", func(s *callback.Shape) { s.Reference = "réf" }, badPath},
		{"too deep", func(s *callback.Shape) { s.State = "a.b.c.d.e.f.g.h.i" }, badPath},
		{"too long", func(s *callback.Shape) { s.State = strings.Repeat("a", 257) }, badPath},
		{"one path for two", func(s *callback.Shape) { s.ProviderID = s.RequestID }, "must have different paths"},
		{"through a value", func(s *callback.Shape) { s.State, s.Reference = "a", "a.b" }, "must not lead through"},
		{"through a value above", func(s *callback.Shape) { s.RequestID, s.Amount = "a.b.c", "a.b" }, "must not lead through"},
		{"empty text", func(s *callback.Shape) { s.Pending = []string{""} }, badText},
		{"blank text", func(s *callback.Shape) { s.Success = []string{" "} }, badText},
		{"unprintable text", func(s *callback.Shape) { s.Failed = []string{"a\n"} }, badText},
		{"invalid UTF-8", func(s *callback.Shape) { s.Failed = []string{"a\xff"} }, badText},
		{"long text", func(s *callback.Shape) { s.Failed = []string{strings.Repeat("a", 257)} }, badText},
		{"text in two lists", func(s *callback.Shape) { s.Pending = []string{"PAID"} }, once},
		{"text in the outer lists", func(s *callback.Shape) { s.Failed = []string{"paid"} }, once},
		{"text twice in one list", func(s *callback.Shape) { s.Success = []string{"a", "A"} }, once},
	} {
		s := own()
		c.change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: Validate gives %v, want %q", c.name, err, c.reason)
		}
		if table, err := callback.NewTable([]callback.Shape{s}); table != nil || err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: NewTable gives %v, %v, want %q", c.name, table, err, c.reason)
		}
	}
}

func TestShapes(t *testing.T) {
	want := []string{"envelope", "flat", "flat-reqid", "answer", "answer-reqid"}
	if got := names(callback.Shapes()); !slices.Equal(got, want) {
		t.Errorf("built in are %q, want %q", got, want)
	}
	for _, s := range callback.Shapes() {
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		s.Success[0] = "changed"
	}
	for _, s := range callback.Shapes() {
		if slices.Contains(s.Success, "changed") {
			t.Errorf("%s is no fresh copy", s.Name)
		}
	}
}

func TestNewTable(t *testing.T) {
	named := func(names ...string) (shapes []callback.Shape) {
		for _, name := range names {
			s := own()
			s.Name = name
			shapes = append(shapes, s)
		}
		return shapes
	}
	for _, c := range []struct{ own, want []string }{
		{nil, []string{"envelope", "flat", "flat-reqid", "answer", "answer-reqid"}},
		{[]string{"b", "a"}, []string{"b", "a", "envelope", "flat", "flat-reqid", "answer", "answer-reqid"}},
		{[]string{"flat", "a"}, []string{"flat", "a", "envelope", "flat-reqid", "answer", "answer-reqid"}},
		{[]string{"a", "b", "a"}, nil},
		{[]string{"flat", "flat"}, nil},
	} {
		table, err := callback.NewTable(named(c.own...))
		if got := names(table); !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("NewTable(%q) = %q, %v, want %q", c.own, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), "taken by a shape above") {
			t.Errorf("NewTable(%q): %v", c.own, err)
		}
	}
}

func names(shapes []callback.Shape) (names []string) {
	for _, s := range shapes {
		names = append(names, s.Name)
	}
	return names
}
