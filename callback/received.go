package callback

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// MaxBody is how many bytes a body may have, and a query too.
const MaxBody = 16 << 10

// Received is a callback as it came.
type Received struct {
	// Method is "POST" or "GET"; others cannot be read.
	Method string
	// ContentType is the only header Content-Type there was, "" if there was none. It matters for a POST only:
	// a GET has no content.
	ContentType string
	// Query is the raw query without the question mark. It has the fields of a GET. The one of a POST belongs to
	// the address that Nowpay was given and is not read at all.
	Query string
	// Body has the fields of a POST: one JSON object, or a form. A GET has none. It is read whole by the caller,
	// who reads at most one byte more than MaxBody.
	Body []byte
}

// Digest is the same for two callbacks if, and only if, they have the same method, media type (without its
// parameters), query and body, byte for byte. It is the SHA-256 of these four, each with its length in front.
// It tells repeated callbacks, and it is not a secret.
func (r Received) Digest() [32]byte {
	mediaType, _, err := mime.ParseMediaType(r.ContentType)
	if err != nil {
		mediaType = r.ContentType
	}
	var text []byte
	for _, part := range []string{r.Method, mediaType, r.Query, string(r.Body)} {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	return sha256.Sum256(text)
}

// lookup finds the value at a path, and gives false if there is none.
type lookup func(path string) (nowpay.Value, bool, error)

func (r Received) fields() (lookup, error) {
	switch {
	case len(r.Body) > MaxBody || len(r.Query) > MaxBody:
		return nil, errors.New("too large")
	case r.Method == http.MethodGet && len(r.Body) > 0:
		return nil, errors.New("a GET with a body")
	case r.Method == http.MethodGet:
		return readForm(r.Query)
	case r.Method != http.MethodPost:
		return nil, errors.New("neither a POST nor a GET")
	}
	switch r.encoding() {
	case nowpay.JSON:
		return readJSON(r.Body)
	case nowpay.Form:
		return readForm(string(r.Body))
	}
	return nil, errors.New("the content type is neither JSON nor a form in UTF-8")
}

// encoding is "" for what cannot be read. Of the parameters only the charset UTF-8 is allowed.
func (r Received) encoding() nowpay.Encoding {
	mediaType, params, err := mime.ParseMediaType(r.ContentType)
	if err != nil {
		return ""
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return ""
		}
	}
	for _, e := range []nowpay.Encoding{nowpay.JSON, nowpay.Form} {
		if mediaType == e.MediaType() {
			return e
		}
	}
	return ""
}

func readJSON(text []byte) (lookup, error) {
	body, err := nowpay.ParseJSON(text, nowpay.Limits{Bytes: MaxBody, Depth: maxDepth})
	if err != nil {
		return nil, err
	}
	return func(path string) (nowpay.Value, bool, error) { return findInJSON(body, path) }, nil
}

var errOtherCase = errors.New("there a second time in another letter case")

// findInJSON goes down the path. What leads through something that is no object is not there.
func findInJSON(body *nowpay.Body, path string) (nowpay.Value, bool, error) {
	name, rest, nested := strings.Cut(path, ".")
	v, ok := body.Get(name)
	if !ok {
		return nowpay.Value{}, false, nil
	}
	for other := range body.Members() {
		if other != name && strings.EqualFold(other, name) {
			return nowpay.Value{}, false, errOtherCase
		}
	}
	if !nested {
		return v, true, nil
	}
	if v.Kind != nowpay.Object {
		return nowpay.Value{}, false, nil
	}
	inner, err := nowpay.ParseJSON(v.Raw, nowpay.Limits{Bytes: MaxBody, Depth: maxDepth})
	if err != nil {
		return nowpay.Value{}, false, err
	}
	return findInJSON(inner, rest)
}

// readForm reads a form, also one with names that stand for nested ones. Each name is replaced by its number
// before the form is parsed, since the parser allows only names that PHP leaves as they are.
func readForm(text string) (lookup, error) {
	var form []byte
	var names []string
	for rest, more := text, text != ""; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, "&")
		if len(names) > 0 {
			form = append(form, '&')
		}
		name, value, ok := strings.Cut(pair, "=")
		if ok { // else the parser says what is wrong
			pair = strconv.Itoa(len(names)) + "=" + value
		}
		form = append(form, pair...)
		names = append(names, name)
	}
	body, err := nowpay.ParseForm(form, nowpay.Limits{Bytes: max(len(form), 1)})
	if err != nil {
		return nil, err
	}
	return findInForm(body, names)
}

// findInForm looks up the fields of a form by the paths that their names stand for. The names are in the order of
// the fields.
func findInForm(body *nowpay.Body, names []string) (lookup, error) {
	fields := make(map[string]nowpay.Value, len(names))
	for _, v := range body.Members() {
		path := pathOf(names[len(fields)])
		if path == "" {
			return nil, fmt.Errorf("%w: invalid name", nowpay.ErrMalformed)
		}
		if _, twice := fields[path]; twice {
			return nil, fmt.Errorf("%w: duplicate name", nowpay.ErrMalformed)
		}
		fields[path] = v
	}
	for path := range fields {
		for end := range len(path) {
			if _, value := fields[path[:end]]; value && path[end] == '.' {
				return nil, fmt.Errorf("%w: a name with a value and with names below it", nowpay.ErrMalformed)
			}
		}
	}
	return func(path string) (nowpay.Value, bool, error) {
		v, ok := fields[path]
		for other := range fields {
			if ok && other != path && strings.EqualFold(other, path) {
				return nowpay.Value{}, false, errOtherCase
			}
		}
		return v, ok, nil
	}, nil
}

// pathOf is the path that a name in a form stands for: `a.b` and PHP's `a[b]`, with brackets escaped or not, are
// the path a.b. It is "" for a name that is neither.
func pathOf(name string) string {
	name = strings.NewReplacer("%5B", "[", "%5b", "[", "%5D", "]", "%5d", "]").Replace(name)
	head, rest, bracket := strings.Cut(name, "[")
	if bracket {
		inner, closed := strings.CutSuffix(rest, "]")
		if !closed || !isName(head) || strings.Contains(inner, ".") {
			return ""
		}
		name = head + "." + strings.ReplaceAll(inner, "][", ".")
	}
	if !isPath(name) {
		return ""
	}
	return name
}
