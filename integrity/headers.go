package integrity

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

// passedHeaders are the headers of an answer that may be passed on. Each must
// be one whose every value has been checked. What is left out, and why:
//
//   - Nowpay-Gateway-*, Idempotent-Replayed: ours, a merchant relies on them;
//   - Set-Cookie: a session of ours with Nowpay, none of the merchant's;
//   - Location, Retry-After, Refresh, Link: would send or send again a request
//     that may be executed at most once;
//   - Cache-Control, Expires, ETag, Age: an answer to a POST is nobody's to store;
//   - Content-Encoding, Content-Length, Digest: say something of the body that
//     scrubbing makes untrue;
//   - Nowpay-Simulator: what a merchant relies on is in our own headers;
//   - Date, Server, X-Powered-By and the like: of no use to a merchant.
func passedHeaders() [1]string { return [...]string{"Content-Type"} }

// passHeaders copies the headers that may be passed on, without values that
// hold the key.
func passHeaders(passed, h http.Header, f *finder) {
	for _, name := range passedHeaders() {
		values := h.Values(name)
		if slices.ContainsFunc(values, f.wholeText) {
			values = slices.DeleteFunc(slices.Clone(values), f.wholeText)
		}
		if len(values) > 0 {
			passed[name] = slices.Clip(values)
		}
	}
}

// headerSimulator is in whatever a simulator of Nowpay answers, and in nothing of
// Nowpay's own. Its value does not matter.
const headerSimulator = "Nowpay-Simulator"

// isSimulated reports whether a simulator says that it gave the answer.
func isSimulated(h http.Header) bool { return len(h.Values(headerSimulator)) > 0 }

// isJSON reports whether the answer says that it is JSON in UTF-8, and says so once.
func isJSON(h http.Header) bool {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	if values[0] == "application/json" { // as nearly always
		return true
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return len(params) == 0 || len(params) == 1 && ok && strings.EqualFold(charset, "utf-8")
}

// isPlain reports whether the body came unencoded, as was asked for.
func isPlain(h http.Header) bool {
	switch values := h.Values("Content-Encoding"); len(values) {
	case 0:
		return true
	case 1:
		return values[0] == "" || strings.EqualFold(values[0], "identity")
	}
	return false
}
