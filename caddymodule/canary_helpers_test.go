package caddymodule_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
)

// search gathers all that the gateway has said, to look for secrets in it.
type search struct {
	mu   sync.Mutex
	said []saying
}

// saying is one text, or several that together may make a secret.
type saying struct {
	where string
	texts [][]byte
}

func (s *search) add(where string, texts ...[]byte) {
	all := slices.Clone(texts)
	for _, text := range texts {
		if unzipped, err := gunzip(text); err == nil {
			all = append(all, unzipped)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, saying{where, all})
}

func gunzip(text []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// leaks lists where a secret is, in any form.
func (s *search) leaks(secret string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]bool)
	plain := forms(secret)
	for _, saying := range s.said {
		leaked := integrity.FindLeak([]byte(secret), saying.texts...)
		for _, text := range saying.texts {
			text = bytes.ToLower(text)
			leaked = leaked || slices.ContainsFunc(plain, func(form []byte) bool { return bytes.Contains(text, form) })
		}
		if leaked {
			found[saying.where] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// forms are the common ones of a secret in lower case, written down without the
// help of package integrity, which the gateway itself relies on.
func forms(secret string) (all [][]byte) {
	inJSON, err := json.Marshal(secret)
	if err != nil {
		panic(err)
	}
	texts := []string{
		secret, string(inJSON[1 : len(inJSON)-1]), fmt.Sprintf("%q", secret), hex.EncodeToString([]byte(secret)),
		url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret), fmt.Sprint([]byte(secret)),
	}
	for shift := range 3 { // the first and the last characters depend on what is around
		text := base64.StdEncoding.EncodeToString([]byte("??"[:shift] + secret))
		text = strings.TrimRight(text, "=")
		texts = append(texts, text[2*shift:len(text)-1])
	}
	for _, text := range texts {
		all = append(all, bytes.ToLower([]byte(text)))
	}
	return all
}

// mustBeSilent fails the test if any secret was said.
func (s *search) mustBeSilent(t *testing.T, secrets map[string]string) {
	t.Helper()
	for name, secret := range secrets {
		for _, where := range s.leaks(secret) {
			t.Errorf("%s is in %s", name, where)
		}
	}
}

// through makes a client search its answers.
func (s *search) through(client *http.Client) *http.Client {
	searched := *client
	searched.Transport = searchedTransport{client.Transport, s}
	return &searched
}

type searchedTransport struct {
	http.RoundTripper
	search *search
}

func (t searchedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	texts := [][]byte{[]byte(answer.Status), body}
	for _, header := range []http.Header{answer.Header, answer.Trailer} {
		for name, values := range header {
			texts = append(texts, []byte(name))
			for _, value := range values {
				texts = append(texts, []byte(value))
			}
		}
	}
	t.search.add(fmt.Sprintf("the answer to %s %s", r.Method, r.URL.RequestURI()), texts...)
	return answer, err
}

// CloseIdleConnections is what http.Client looks for.
func (t searchedTransport) CloseIdleConnections() {
	t.RoundTripper.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

// asked is what a hostile provider got.
type asked struct{ key, id, amount, raw string }

// fields are those of an answer that is in order.
func (a asked) fields() map[string]any {
	return map[string]any{
		"success": "1", "message": "ok", "ourrequestid": "P26010112000000001", "yourrequestid": a.id,
		"rrn": "123456789012", "amount": a.amount, "tradebal": "1.00", "aepsbal": "1.00",
	}
}

// with is the answer with one field changed.
func (a asked) with(name string, value any) string {
	fields := a.fields()
	fields[name] = value
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// head is the answer's head, up to further lines.
func head(lines ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

// whole is an answer with a body.
func whole(body string, lines ...string) string {
	return head(append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}

// hostile are answers, byte by byte, with the key in places where the simulated
// Nowpay does not put it.
var hostile = map[string]func(asked) string{
	"no HTTP":     func(a asked) string { return a.key + "\r\n\r\n" },
	"version":     func(a asked) string { return a.key + " 200 OK\r\n\r\n" },
	"status code": func(a asked) string { return "HTTP/1.1 " + a.key + "\r\n\r\n" },
	"reason": func(a asked) string {
		return strings.Replace(whole(a.with("message", "ok")), "OK", a.key, 1)
	},
	"header line": func(a asked) string { return whole("{}", a.key) },
	"header name": func(a asked) string {
		return whole(a.with("message", "ok"), "X-"+hex.EncodeToString([]byte(a.key))+": 1")
	},
	"header value":      func(a asked) string { return whole(a.with("message", "ok"), "Date: "+a.key) },
	"content length":    func(a asked) string { return head("Content-Length: "+a.key) + "{}" },
	"transfer encoding": func(a asked) string { return head("Transfer-Encoding: "+a.key) + "{}" },
	"content type": func(a asked) string {
		return strings.Replace(whole(a.with("message", "ok")), "json", "json; debug="+a.key, 1)
	},
	"content encoding": func(a asked) string { return whole(a.with("message", "ok"), "Content-Encoding: "+a.key) },
	"cookie":           func(a asked) string { return whole(a.with("message", "ok"), "Set-Cookie: id="+a.key) },
	"redirect": func(a asked) string {
		return strings.Replace(whole("", "Location: http://192.0.2.1/?key="+a.key), "200", "302", 1)
	},
	"interim answer": func(a asked) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: " + a.key + "\r\n\r\n" + whole(a.with("message", "ok"))
	},
	"trailer": func(a asked) string {
		body := a.with("message", "ok")
		return head("Transfer-Encoding: chunked", "Trailer: X-Debug") + fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Debug: %s\r\n\r\n", len(body), body, a.key)
	},
	"chunk extension": func(a asked) string {
		body := a.with("message", "ok")
		return head("Transfer-Encoding: chunked") + fmt.Sprintf("%x;key=%s\r\n%s\r\n0\r\n\r\n", len(body), a.key, body)
	},
	"chunk size":  func(a asked) string { return head("Transfer-Encoding: chunked") + a.key + "\r\n" },
	"body":        func(a asked) string { return whole(a.key) },
	"cut body":    func(a asked) string { return head("Content-Length: 1000") + a.with("message", a.key) },
	"provider id": func(a asked) string { return whole(a.with("ourrequestid", a.key)) },
	"request id":  func(a asked) string { return whole(a.with("yourrequestid", a.key)) },
	"success":     func(a asked) string { return whole(a.with("success", a.key)) },
	"amount":      func(a asked) string { return whole(a.with("amount", a.key)) },
	"reference":   func(a asked) string { return whole(a.with("rrn", a.key)) },
	"member name": func(a asked) string { return whole(a.with(a.key, "1")) },
	"nested": func(a asked) string {
		return whole(a.with("debug", []any{map[string]any{"a": []string{"x " + a.key}}}))
	},
	"failed": func(a asked) string { return whole(strings.Replace(a.with("message", a.key), `"1"`, `"0"`, 1)) },
	"two fields": func(a asked) string {
		return whole(strings.Replace(a.with("message", a.key[:len(a.key)/2]), "123456789012", a.key[len(a.key)/2:], 1))
	},
	"request": func(a asked) string { return whole(a.with("debug", a.raw)) },
	"request base64": func(a asked) string {
		return whole(a.with("debug", base64.StdEncoding.EncodeToString([]byte("?"+a.raw))))
	},
	"duplicate": func(a asked) string {
		name, _ := json.Marshal(a.key)
		return whole(fmt.Sprintf(`{%s:1,%s:2}`, name, name))
	},
}

// moody is a provider that can be told to be hostile.
type moody struct {
	answer atomic.Pointer[func(asked) string]
}

func (m *moody) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := m.answer.Load()
		if answer == nil {
			next.ServeHTTP(w, r)
			return
		}
		raw, err := io.ReadAll(r.Body)
		var body struct {
			Key    string `json:"key"`
			ID     string `json:"yourrequestid"`
			Amount string `json:"amount"`
		}
		if err != nil || json.Unmarshal(raw, &body) != nil {
			panic("the gateway sends JSON")
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, (*answer)(asked{body.Key, body.ID, body.Amount, string(raw)}))
	})
}
