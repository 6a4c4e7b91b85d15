package httpsig

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Message is what of a request or a response can be signed. It is only read.
type Message struct {
	// Of a request:
	Method    string // as it is sent: letter case matters
	Scheme    string // http or https
	Authority string // host, and port where it is not the scheme's own
	Target    string // path and query as they are sent; "" is "/"

	// Status of a response; 0: it is a request.
	Status int
	// Request that a response answers, for components with `;req`.
	Request *Message

	// Header has the fields, their names in canonical form. Go keeps Host apart:
	// cover @authority.
	Header http.Header
}

func appendMethod(dst []byte, m *Message) ([]byte, error) {
	if m.Method == "" || strings.ContainsAny(m.Method, " \t") {
		return dst, errors.New("the method is not one")
	}
	return append(dst, m.Method...), nil
}

func appendScheme(dst []byte, m *Message) ([]byte, error) {
	switch {
	case strings.EqualFold(m.Scheme, "https"):
		return append(dst, "https"...), nil
	case strings.EqualFold(m.Scheme, "http"):
		return append(dst, "http"...), nil
	default:
		return dst, errors.New("the scheme is neither http nor https")
	}
}

// appendAuthority writes it in lower case and without the scheme's own port (RFC
// 9421 section 2.2.3). It must be a host and a port and no more: after "a/b" the
// path would begin elsewhere.
func appendAuthority(dst []byte, m *Message) ([]byte, error) {
	host, port := m.Authority, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
		if port == "" || strings.Trim(port, "0123456789") != "" || port[0] == '0' || len(port) > 5 {
			return dst, errors.New("the port is not one")
		}
	}
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
	}
	if inner == "" {
		return dst, errors.New("the host is not one")
	}
	for i := range len(inner) {
		if b := inner[i]; !isAlnum(b) && b != '.' && b != '-' && b != '_' && (!bracketed || b != ':') {
			return dst, errors.New("the host is not one")
		}
	}
	for i := range len(host) {
		b := host[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	own := "80"
	if strings.EqualFold(m.Scheme, "https") {
		own = "443"
	}
	if port == "" || port == own {
		return dst, nil
	}
	return append(append(dst, ':'), port...), nil
}

// split returns the path, which is never empty, and the query with its question
// mark, if there is one.
func (m *Message) split() (path, query string, err error) {
	path = m.Target
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i:]
	}
	if path != "" && path[0] != '/' {
		return "", "", errors.New("the target does not begin with a slash")
	}
	for i := range len(m.Target) {
		if b := m.Target[i]; b <= ' ' || b >= 0x7f || b == '#' {
			return "", "", errors.New("the target has a character that must be encoded")
		}
	}
	if path == "" {
		path = "/"
	}
	return path, query, nil
}

func appendTargetURI(dst []byte, m *Message) ([]byte, error) {
	dst, err := appendScheme(dst, m)
	if err != nil {
		return dst, err
	}
	if dst, err = appendAuthority(append(dst, "://"...), m); err != nil {
		return dst, err
	}
	return appendRequestTarget(dst, m)
}

func appendRequestTarget(dst []byte, m *Message) ([]byte, error) {
	path, query, err := m.split()
	return append(append(dst, path...), query...), err
}

func appendPath(dst []byte, m *Message) ([]byte, error) {
	path, _, err := m.split()
	return append(dst, path...), err
}

func appendQuery(dst []byte, m *Message) ([]byte, error) {
	_, query, err := m.split()
	if query == "" {
		query = "?"
	}
	return append(dst, query...), err
}

// appendQueryParam writes the value of the parameter whose name, encoded anew, is
// name (RFC 9421 section 2.2.8). It must be there once.
func appendQueryParam(dst []byte, m *Message, name string) ([]byte, error) {
	_, query, err := m.split()
	if err != nil {
		return dst, err
	}
	found := false
	for pair := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if key, err = unescape(key); err != nil {
			return dst, err
		}
		if value, err = unescape(value); err != nil {
			return dst, err
		}
		if string(appendEscaped(nil, key)) != name {
			continue
		}
		if found {
			return dst, errors.New("the query has it twice")
		}
		found = true
		dst = appendEscaped(dst, value)
	}
	if !found {
		return dst, errors.New("the query does not have it")
	}
	return dst, nil
}

// unescape reads a name or value of a query. What others would mend is refused.
func unescape(s string) (string, error) {
	plain, err := url.QueryUnescape(s)
	if err != nil || !utf8.ValidString(plain) {
		return "", errors.New("the query is not well encoded")
	}
	return plain, nil
}

// appendEscaped encodes all but what the URL standard leaves alone in forms; a space
// is %20.
func appendEscaped(dst []byte, plain string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(plain) {
		b := plain[i]
		if isAlnum(b) || b == '*' || b == '-' || b == '.' || b == '_' {
			dst = append(dst, b)
		} else {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		}
	}
	return dst
}
