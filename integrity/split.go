package integrity

import (
	"bytes"
	"iter"
)

const (
	// minSplit is the length of the shortest key that is looked for in pieces.
	minSplit = 8
	// minPiece is the length of the shortest value that counts as a piece from
	// the middle of the key. Pieces from its ends may be shorter: they are
	// held together by a longer one.
	minPiece = 4
	// maxPieceLayers is how many layers of escaping are undone within a piece.
	maxPieceLayers = 2
)

// assembled reports whether some form of the key can be put together, in any
// order of the pieces, from the end of one, whole ones, and the beginning of
// another. It folds the pieces.
func (f *finder) assembled(pieces [][]byte) bool {
	if f.size < minSplit {
		return false
	}
	for _, piece := range pieces {
		pieces = f.appendUnescaped(pieces, piece, maxPieceLayers)
	}
	for _, form := range f.exact {
		if f.assemble(form, pieces) {
			return true
		}
	}
	for _, piece := range pieces {
		fold(piece)
	}
	for _, form := range f.folded {
		if f.assemble(form, pieces) {
			return true
		}
	}
	return false
}

func (f *finder) appendUnescaped(pieces [][]byte, piece []byte, layers int) [][]byte {
	if layers == 0 {
		return pieces
	}
	for _, e := range escapes() {
		if plain, ok := e.unescape(piece); ok {
			pieces = f.appendUnescaped(append(pieces, f.keep(plain)), plain, layers-1)
		}
	}
	return pieces
}

// assemble builds the form from its beginning. A piece may be used more than
// once; that matters only to keys that repeat themselves.
func (f *finder) assemble(form []byte, pieces [][]byte) bool {
	var built []byte // built[n] is 1 if the first n bytes can be put together
	for _, piece := range pieces {
		for n := range endsWithStart(piece, form) {
			if built == nil {
				built = f.take(len(form))[:len(form)]
			}
			built[n] = 1
		}
	}
	for n := range built {
		if built[n] == 0 {
			continue
		}
		rest := form[n:]
		for _, piece := range pieces {
			if bytes.HasPrefix(piece, rest) {
				return true
			}
			if len(piece) >= minPiece && len(piece) < len(rest) && bytes.HasPrefix(rest, piece) {
				built[n+len(piece)] = 1
			}
		}
	}
	return false
}

// endsWithStart yields every length n, less than that of form, for which piece
// ends with the first n bytes of form.
func endsWithStart(piece, form []byte) iter.Seq[int] {
	return func(yield func(n int) bool) {
		tail := piece[max(0, len(piece)-len(form)+1):]
		for {
			at := bytes.IndexByte(tail, form[0])
			if at < 0 {
				return
			}
			tail = tail[at:]
			if bytes.HasPrefix(form, tail) && !yield(len(tail)) {
				return
			}
			tail = tail[1:]
		}
	}
}
