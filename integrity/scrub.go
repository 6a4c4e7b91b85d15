package integrity

import (
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// removed is the JSON text that stands in place of a value with the key in it.
const removed = `"[removed]"`

// scrub replaces every string and number of the body that holds the key. It
// gives nil if that is not enough: the key is in a name, or parts of it are in
// several values or in the header. For no body it gives none.
func scrub(body *nowpay.Body, h http.Header, f *finder) *nowpay.Body {
	if body == nil {
		return nil
	}
	text := body.ReplaceValues(func(_ string, v nowpay.Value) ([]byte, bool) {
		return []byte(removed), f.wholeText(v.Text)
	})
	scrubbed := parse(text)
	if scrubbed == nil || f.whole(text) || f.assembled(f.texts(h, scrubbed)) {
		return nil
	}
	return scrubbed
}

// inAnswer reports whether any part of the answer holds the key, or several
// parts do together. The body is nil if it could not be parsed.
func (f *finder) inAnswer(ans Answer, body *nowpay.Body) bool {
	return f.whole(ans.Body) || f.inAny(f.texts(ans.Header, body))
}

// texts gives copies of all that header and body say: names and values of the
// header, strings and numbers of the body.
func (f *finder) texts(h http.Header, body *nowpay.Body) [][]byte {
	f.said = f.said[:0]
	for name, values := range h {
		f.said = append(append(f.said, name), values...)
	}
	if body != nil {
		f.said = body.AppendTexts(f.said)
	}
	f.pieces = f.pieces[:0]
	for _, text := range f.said {
		f.pieces = append(f.pieces, append(f.take(len(text)), text...))
	}
	return f.pieces
}
