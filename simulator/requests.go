package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// kept is how many requests, and how many callbacks, are remembered.
const kept = 10_000

// shortKey is below what a key may have, so that a wrong key of one letter does
// not blot out the whole request.
const shortKey = 8

// redacted stands where the key was.
const redacted = "[redacted]"

// Request is one HTTP request that reached the provider, whatever became of it.
// The key is cut out of every field.
type Request struct {
	// Number counts the requests from 1, also those no longer remembered.
	Number int       `json:"number"`
	Time   time.Time `json:"time"`
	// Remote is the peer: its port tells connections apart.
	Remote netip.AddrPort `json:"remote"`
	Proto  string         `json:"proto"`
	Method string         `json:"method"`
	// Target is the path and query as received.
	Target string `json:"target"`
	Host   string `json:"host"`
	// Header is what was received, but for Host. A copy.
	Header http.Header `json:"header"`
	// Body is what was received, with the value of the key replaced by
	// [redacted] and all other bytes as they were.
	Body string `json:"body"`
	// Operation is the route without /api/, "" if the request had none.
	Operation string `json:"operation"`
	// RequestID is the partner's id, "" if the operation has none.
	RequestID string `json:"request_id"`
	Username  string `json:"username"`
	// KeyRight tells whether username and key belong together and are valid
	// now. KeyHash is the beginning of the key's SHA-256 in hex (see KeyHash),
	// to tell versions apart; "" without a key.
	KeyRight bool   `json:"key_right"`
	KeyHash  string `json:"key_hash"`
	// Fault is the misbehaviour that this request met, "" for none.
	Fault Kind `json:"fault,omitempty"`
}

// KeyHash is how Request tells keys apart without showing them: the first 12
// hex digits of the SHA-256.
func KeyHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:6])
}

// ring remembers the last ones. Not safe for concurrent use.
type ring[T any] struct {
	last  []T
	total int
}

// add remembers one, which is number total from then on.
func (g *ring[T]) add(v T) {
	g.total++
	if len(g.last) < kept {
		g.last = append(g.last, v)
		return
	}
	g.last[(g.total-1)%kept] = v
}

// all returns what is remembered, oldest first.
func (g *ring[T]) all() []T {
	first := 0
	if len(g.last) == kept {
		first = g.total % kept
	}
	all := make([]T, 0, len(g.last))
	all = append(all, g.last[first:]...)
	return append(all, g.last[:first]...)
}

// redactor cuts keys out of what is remembered: the member `key` wherever the
// body has one, and the known keys wherever they stand, plain or escaped.
type redactor struct{ replace *strings.Replacer }

func newRedactor(keys ...string) redactor {
	var pairs []string
	for _, key := range keys {
		if key == "" {
			continue
		}
		inJSON := appendString(nil, key)
		goJSON, _ := json.Marshal(key) // a string always can be
		for _, form := range []string{
			key,
			url.QueryEscape(key),
			url.PathEscape(key),
			string(inJSON[1 : len(inJSON)-1]),
			string(goJSON[1 : len(goJSON)-1]),
		} {
			pairs = append(pairs, form, redacted)
		}
	}
	return redactor{strings.NewReplacer(pairs...)}
}

func (d redactor) text(s string) string { return d.replace.Replace(s) }

func (d redactor) header(h http.Header) http.Header {
	h = h.Clone()
	for name, values := range h {
		for i, v := range values {
			h[name][i] = d.text(v)
		}
	}
	return h
}

func (d redactor) body(b []byte, form bool) string {
	if form {
		return d.text(cutForm(string(b)))
	}
	return d.text(cutJSON(b))
}

// cutForm replaces the values of `key` in a form or query.
func cutForm(s string) string {
	var out strings.Builder
	for i, pair := range strings.Split(s, "&") {
		if i > 0 {
			out.WriteByte('&')
		}
		name, _, _ := strings.Cut(pair, "=")
		if strings.EqualFold(unescape(name), "key") {
			pair = name + "=" + redacted
		}
		out.WriteString(pair)
	}
	return out.String()
}

// cutJSON replaces the values of top-level members `key`, in any letter case,
// of an object; other bytes stay as they are. What does not parse to the end is
// cut only as far as it parses.
func cutJSON(b []byte) string {
	var out bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	written := 0
	if t, err := d.Token(); err == nil && t == json.Delim('{') {
		for d.More() {
			name, err := d.Token()
			if err != nil {
				break
			}
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				break
			}
			if s, ok := name.(string); ok && strings.EqualFold(s, "key") {
				end := int(d.InputOffset())
				out.Write(b[written : end-len(value)])
				out.WriteString(`"` + redacted + `"`)
				written = end
			}
		}
	}
	out.Write(b[written:])
	return out.String()
}
