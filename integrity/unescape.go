package integrity

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// escapes are the ways of escaping that are undone in search of the key.
func escapes() [2]escape {
	return [...]escape{
		{mark: '\\', undo: undoJSON},
		{mark: '%', undo: undoPercent},
	}
}

type escape struct {
	mark byte
	// undo appends to dst what the escape at the start of text means, and
	// returns the length of the escape: 0 if it is none.
	undo func(dst, text []byte) ([]byte, int)
}

// unescape gives the text with one layer of escaping undone, in memory of its
// own, and false if there is nothing to undo. What is no well-formed escape
// stays as it is.
func (e escape) unescape(text []byte) (plain []byte, ok bool) {
	for {
		next := bytes.IndexByte(text, e.mark)
		switch {
		case next < 0 && !ok:
			return nil, false
		case next < 0:
			return append(plain, text...), true
		case plain == nil:
			plain = make([]byte, 0, len(text)) // never grows: what is meant is shorter than its escape
		}
		plain = append(plain, text[:next]...)
		text = text[next:]

		var n int
		if plain, n = e.undo(plain, text); n == 0 {
			plain, n = append(plain, e.mark), 1
		} else {
			ok = true
		}
		text = text[n:]
	}
}

func undoPercent(dst, text []byte) ([]byte, int) {
	code, ok := hexDigits(text, 1, 2)
	if !ok {
		return dst, 0
	}
	return append(dst, byte(code&0xff)), 3
}

func undoJSON(dst, text []byte) ([]byte, int) {
	if len(text) < 2 {
		return dst, 0
	}
	switch c := text[1]; c {
	case '"', '\\', '/':
		return append(dst, c), 2
	case 'b', 'f', 'n', 'r', 't':
		return append(dst, '\n'), 2 // control characters: in no form of a key, so any will do
	case 'u':
		return undoRune(dst, text)
	}
	return dst, 0
}

// undoRune undoes \uXXXX, or two of them that are one character.
func undoRune(dst, text []byte) ([]byte, int) {
	r, ok := hexDigits(text, 2, 4)
	if !ok {
		return dst, 0
	}
	if utf16.IsSurrogate(r) && bytes.HasPrefix(text[6:], []byte(`\u`)) {
		low, _ := hexDigits(text, 8, 4)
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return utf8.AppendRune(dst, pair), 12
		}
	}
	return utf8.AppendRune(dst, r), 6
}

// hexDigits reads the n hexadecimal digits at text[from:].
func hexDigits(text []byte, from, n int) (value rune, ok bool) {
	if len(text) < from+n {
		return 0, false
	}
	for _, c := range text[from : from+n] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		value = value<<4 | rune(c)
	}
	return value, true
}
