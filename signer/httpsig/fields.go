package httpsig

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dunglas/httpsfv"
)

// What is read is bounded, and what is signed as well, so that it can be read.
const (
	maxField      = 8 << 10 // bytes of a structured field, its lines joined
	maxLabels     = 8       // signatures of a message
	maxComponents = 32      // of a signature
	maxText       = 512     // bytes of a nonce, a key ID or a tag
)

// parseDictionary reads a structured field, RFC 9651, the lines of which are joined.
// What is there twice is refused: the library takes the last, others may not.
func parseDictionary(lines []string) (*httpsfv.Dictionary, error) {
	text := strings.Join(lines, ", ")
	if len(text) > maxField {
		return nil, fmt.Errorf("it is longer than %d bytes", maxField)
	}
	d, err := httpsfv.UnmarshalDictionary([]string{text})
	if err != nil {
		return nil, errNoDictionary
	}
	if len(lines) > 1 {
		// A string that goes over lines means what their joint is made of.
		for _, line := range lines {
			if _, err := httpsfv.UnmarshalDictionary([]string{line}); err != nil {
				return nil, errNoDictionary
			}
		}
	}
	members, parameters := separators(text)
	if members+1 != len(d.Names()) && text != "" {
		return nil, errors.New("a key is there twice")
	}
	for _, name := range d.Names() {
		parameters -= countParameters(d, name)
	}
	if parameters != 0 {
		return nil, errors.New("a parameter is there twice")
	}
	return d, nil
}

var errNoDictionary = errors.New("it is not a dictionary of RFC 9651")

func countParameters(d *httpsfv.Dictionary, name string) int {
	member, _ := d.Get(name)
	switch m := member.(type) {
	case httpsfv.Item:
		return len(m.Params.Names())
	case httpsfv.InnerList:
		n := len(m.Params.Names())
		for _, item := range m.Items {
			n += len(item.Params.Names())
		}
		return n
	default:
		return 0
	}
}

// separators counts the commas and semicolons outside of strings, in text that is a
// structured field: what separates members and what begins a parameter.
func separators(text string) (commas, semicolons int) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ',':
			commas++
		case ';':
			semicolons++
		case '"':
			// A display string, %"…", has no escapes with a backslash.
			display := i > 0 && text[i-1] == '%'
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' && !display {
					i++
				}
			}
		}
	}
	return commas, semicolons
}
