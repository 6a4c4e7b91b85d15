package httpsig

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Component is a part of a message that a signature covers, such as "@method" or
// "content-digest", with its parameters. Make it with [ParseComponent]; the zero
// value is none, and nothing can be signed with it.
type Component struct {
	text  string // as a signature names it: parameters stay in the order they came in
	field string // the canonical name of a header field, "" of a derived component
	id    identity
}

// identity is what makes two components the same: the order of parameters does not
// (RFC 9421 section 2).
type identity struct {
	name  string
	value string // of `key`, or of the `name` of @query-param
	flags flags
}

type flags uint8

const (
	ofRequest  flags = 1 << iota // req
	asBytes                      // bs
	structured                   // sf
	ofMember                     // key
	ofParam                      // name
)

func (c Component) is(f flags) bool { return c.id.flags&f != 0 }

// ParseComponent reads a component as a signature names it, "@method";req, or
// without the quotes, @method;req. Components are (RFC 9421 section 2):
//
//   - of a request, or of a response with `;req`: @method, @target-uri, @authority,
//     @scheme, @request-target, @path, @query, @query-param;name="…"
//   - of a response: @status
//   - header fields, in lower case. With `;bs` each line is taken as bytes, with
//     `;key="…"` one member of a dictionary, and with `;sf` a field that is known
//     to be structured is written anew, with its spaces and such as they should be.
//
// Trailers (`;tr`) are not, and nothing else is.
func ParseComponent(s string) (Component, error) {
	text := s
	if !strings.HasPrefix(s, `"`) {
		name, parameters, more := strings.Cut(s, ";")
		text = `"` + name + `"`
		if more {
			text += ";" + parameters
		}
	}
	item, err := httpsfv.UnmarshalItem([]string{text})
	if err != nil {
		return Component{}, fmt.Errorf(`parsing component %q: want it like "@method" or @query-param;name="id"`, s)
	}
	if _, parameters := separators(text); parameters != len(item.Params.Names()) {
		return Component{}, fmt.Errorf("parsing component %q: a parameter is there twice", s)
	}
	c, err := newComponent(item)
	if err != nil {
		return Component{}, fmt.Errorf("parsing component %q: %w", s, err)
	}
	return c, nil
}

// String returns the component as a signature names it, with quotes.
func (c Component) String() string { return c.text }

var errTooLong = fmt.Errorf("it is longer than %d bytes", maxText)

func newComponent(item httpsfv.Item) (Component, error) {
	name, ok := item.Value.(string)
	switch {
	case !ok:
		return Component{}, errors.New("it is not a string")
	case len(name) > maxText:
		return Component{}, errTooLong
	}
	c := Component{id: identity{name: name}}
	for _, p := range item.Params.Names() {
		value, _ := item.Params.Get(p)
		if err := c.add(p, value); err != nil {
			return Component{}, err
		}
	}
	var err error
	if strings.HasPrefix(name, "@") {
		err = c.checkDerived()
	} else {
		err = c.checkField()
		c.field = textproto.CanonicalMIMEHeaderKey(name)
	}
	if err != nil {
		return Component{}, err
	}
	if c.id.flags == 0 {
		c.text = `"` + name + `"` // which has nothing to escape
		return c, nil
	}
	if c.text, err = httpsfv.Marshal(item); err != nil {
		return Component{}, errors.New("it cannot be written anew")
	}
	if len(c.text) > maxText {
		return Component{}, errTooLong
	}
	return c, nil
}

// add takes a parameter.
func (c *Component) add(name string, value any) error {
	var f flags
	switch name {
	case "req":
		f = ofRequest
	case "bs":
		f = asBytes
	case "sf":
		f = structured
	case "key":
		f = ofMember
	case "name":
		f = ofParam
	case "tr":
		return errors.New("trailers are not supported")
	default:
		return errors.New("it has a parameter that is not known")
	}
	c.id.flags |= f
	if f == ofMember || f == ofParam {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s is not a string", name)
		}
		c.id.value = text // of the one or the other: no component has both
	} else if value != true {
		return fmt.Errorf("%s has a value", name)
	}
	return nil
}

func (c *Component) checkDerived() error {
	allowed := ofRequest
	switch c.id.name {
	case "@status":
		allowed = 0
	case "@query-param":
		allowed |= ofParam
		if !c.is(ofParam) {
			return errors.New(`it needs ;name="…"`)
		}
		if plain, err := unescape(c.id.value); err != nil || string(appendEscaped(nil, plain)) != c.id.value {
			return errors.New("name is not percent-encoded as RFC 9421 section 2.2.8 has it")
		}
	case "@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query":
	default:
		return errors.New("there is no such component")
	}
	if c.id.flags&^allowed != 0 {
		return errors.New("it cannot have this parameter")
	}
	return nil
}

func (c *Component) checkField() error {
	if c.id.name == "" {
		return errors.New("it has no name")
	}
	for i := range len(c.id.name) {
		b := c.id.name[i]
		switch {
		case 'A' <= b && b <= 'Z':
			return errors.New("write header fields in lower case")
		case !isAlnum(b) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(b)):
			return errors.New("it is not the name of a header field")
		}
	}
	switch c.id.flags &^ ofRequest {
	case 0, asBytes, ofMember:
		return nil
	case structured:
		if !isDictionary(c.id.name) {
			return errors.New("it is not known whether this field is structured, leave out sf")
		}
		return nil
	default:
		return errors.New("these parameters do not go together")
	}
}

// isDictionary reports whether a field is known to be a dictionary. Without knowing
// the type a field cannot be written anew: `a` is a list, too.
func isDictionary(name string) bool {
	switch name {
	case "content-digest", "repr-digest", "want-content-digest", "want-repr-digest",
		"signature", "signature-input", "accept-signature", "priority":
		return true
	default:
		return false
	}
}

// isAlnum reports whether b is a letter or a digit of ASCII.
func isAlnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// duplicate returns a component that is there twice.
func duplicate(components []Component) (Component, bool) {
	for i, c := range components {
		if contains(components[:i], c) {
			return c, true
		}
	}
	return Component{}, false
}

func contains(components []Component, c Component) bool {
	for i := range components {
		if components[i].id == c.id {
			return true
		}
	}
	return false
}
