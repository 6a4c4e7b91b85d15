package integrity

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"sync"
)

const (
	// maxLayers is how many layers of escaping are undone in search of the
	// key: JSON in a JSON string in a URL in an encoded URL.
	maxLayers = 4
	// minEncoded is the length of the shortest key whose base64 forms are
	// looked for. Those of shorter ones are a few letters found anywhere.
	minEncoded = 4
)

// FindLeak reports whether the key is in one of the texts, or can be put
// together from pieces of several of them. An empty key is never found. The
// forms it knows:
//
//   - the key itself, its ASCII letters in any case;
//   - hexadecimal, in any case;
//   - base64 of the key or of a longer text around it, in both alphabets,
//     with and without padding;
//   - each of these percent-encoded or JSON-escaped, wholly or partly, up to
//     four layers of it, in any order; a space as "+".
//
// Keys of less than 8 bytes are not looked for in pieces, as these would be
// found everywhere; of less than 4 bytes not in base64 either.
func FindLeak(key []byte, texts ...[]byte) bool {
	f := newFinder(key)
	defer f.wipe()
	copies := make([][]byte, len(texts))
	for i, text := range texts {
		copies[i] = append(f.take(len(text)), text...)
	}
	return f.inAny(copies)
}

// finder looks for one key. It is for one goroutine, and for one call of
// Check: building it costs less than a microsecond, keeping it would mean more
// copies of the key in memory for as long as the credential lives. Its memory is
// overwritten and used for the next.
type finder struct {
	size   int      // of the key; no form of it is shorter
	exact  [][]byte // forms whose letter case counts: base64
	folded [][]byte // folded forms: the key itself and hexadecimal
	text   []byte   // scratch: the folded text
	said   []string // in an answer
	pieces [][]byte // copies of it
	memory []byte   // in which forms and copies are made; what is used of it may hold the key
	kept   [][]byte // other memory that may hold the key
}

// maxMemory bounds what a finder that waits for the next answer keeps.
const maxMemory = 16 << 10

var finders = sync.Pool{New: func() any { return new(finder) }}

func newFinder(key []byte) *finder {
	f, _ := finders.Get().(*finder)
	f.size = len(key)
	if len(key) == 0 {
		return f
	}
	f.folded = append(f.folded, fold(append(f.take(len(key)), key...)), hex.AppendEncode(f.take(hex.EncodedLen(len(key))), key))
	if len(key) >= minEncoded {
		for shift := range 3 {
			f.addBase64(key, shift)
		}
	}
	return f
}

// addBase64 adds the part of the base64 form that is the same whatever stands
// around the key, when the key begins shift bytes after a multiple of three.
func (f *finder) addBase64(key []byte, shift int) {
	plain := append(f.take(shift + len(key))[:shift], key...)
	text := base64.RawStdEncoding.AppendEncode(f.take(base64.RawStdEncoding.EncodedLen(len(plain))), plain)
	first := (8*shift + 5) / 6 // characters before it hold bits of what stands in front
	end := 8 * len(plain) / 6  // characters from here on hold bits of what follows
	std := text[first:end]
	clear(text[:first])
	clear(text[end:])
	f.exact = append(f.exact, std)

	if bytes.ContainsAny(std, "+/") {
		url := append(f.take(len(std)), std...)
		for i, c := range url {
			switch c {
			case '+':
				url[i] = '-'
			case '/':
				url[i] = '_'
			}
		}
		f.exact = append(f.exact, url)
	}
}

// take gives memory for n bytes that is overwritten in the end. Nothing may be
// appended beyond them.
func (f *finder) take(n int) []byte {
	used := len(f.memory)
	if cap(f.memory)-used < n {
		f.keep(f.memory)
		f.memory, used = make([]byte, 0, max(n, 2*cap(f.memory), 2048)), 0
	}
	f.memory = f.memory[:used+n]
	return f.memory[used : used : used+n]
}

// keep makes sure that b is overwritten in the end.
func (f *finder) keep(b []byte) []byte {
	f.kept = append(f.kept, b)
	return b
}

// wipe overwrites all that may hold the key. The finder must not be used afterwards.
func (f *finder) wipe() {
	for _, b := range f.kept {
		clear(b[:cap(b)])
	}
	clear(f.memory)
	clear(f.text[:cap(f.text)])
	for _, list := range []*[][]byte{&f.exact, &f.folded, &f.pieces, &f.kept} {
		clear((*list)[:cap(*list)])
		*list = (*list)[:0]
	}
	clear(f.said[:cap(f.said)])
	f.said, f.text, f.memory = f.said[:0], f.text[:0], f.memory[:0]
	if cap(f.memory) <= maxMemory && cap(f.text) <= maxMemory {
		finders.Put(f)
	}
}

// inAny reports whether one of the texts holds the key, or several of them do
// together. It modifies them.
func (f *finder) inAny(texts [][]byte) bool {
	return slices.ContainsFunc(texts, f.whole) || f.assembled(texts)
}

// whole reports whether the text holds the key in one piece.
func (f *finder) whole(text []byte) bool {
	return f.peel(text, maxLayers)
}

func (f *finder) wholeText(text string) bool {
	return f.whole(append(f.take(len(text)), text...))
}

// peel looks for the key in the text and in what the text says once escapes
// are undone. Both kinds are tried in each layer, and what an earlier layer
// said is looked at too: a key may hold "%" and "\" itself.
func (f *finder) peel(text []byte, layers int) bool {
	if len(text) < f.size { // and undoing escapes only makes it shorter
		return false
	}
	if f.contains(text) {
		return true
	}
	if layers == 0 {
		return false
	}
	for _, e := range escapes() {
		plain, ok := e.unescape(text)
		found := ok && f.peel(plain, layers-1)
		clear(plain)
		if found {
			return true
		}
	}
	return false
}

func (f *finder) contains(text []byte) bool {
	for _, form := range f.exact {
		if bytes.Contains(text, form) {
			return true
		}
	}
	if cap(f.text) < len(text) {
		f.keep(f.text)
		f.text = make([]byte, 0, max(len(text), 1024))
	}
	f.text = fold(append(f.text[:0], text...))
	for _, form := range f.folded {
		if bytes.Contains(f.text, form) {
			return true
		}
	}
	return false
}

// fold makes ASCII letters lower-case and "+" a space, as which forms read it,
// in place.
func fold(text []byte) []byte {
	for i, c := range text {
		switch {
		case 'A' <= c && c <= 'Z':
			text[i] = c | 0x20
		case c == '+':
			text[i] = ' '
		}
	}
	return text
}
