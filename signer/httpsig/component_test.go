package httpsig_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

func TestParseComponent(t *testing.T) {
	for _, c := range []struct{ text, want string }{ // want "": refused
		{`@method`, `"@method"`},
		{`"@method"`, `"@method"`},
		{`@method;req`, `"@method";req`},
		{`"@method";req`, `"@method";req`},
		{`@method;req=?1`, `"@method";req`},
		{`@target-uri`, `"@target-uri"`},
		{`@authority`, `"@authority"`},
		{`@scheme`, `"@scheme"`},
		{`@request-target`, `"@request-target"`},
		{`@path`, `"@path"`},
		{`@query`, `"@query"`},
		{`@status`, `"@status"`},
		{`@query-param;name="route"`, `"@query-param";name="route"`},
		{`@query-param;name="fa%C3%A7ade%22%3A%20"`, `"@query-param";name="fa%C3%A7ade%22%3A%20"`},
		{`@query-param;name=""`, `"@query-param";name=""`},
		{`"@query-param";req;name="a"`, `"@query-param";req;name="a"`},
		{`"@query-param";name="a";req`, `"@query-param";name="a";req`},
		{`content-type`, `"content-type"`},
		{`content-digest;req`, `"content-digest";req`},
		{`"content-digest";key="sha-256"`, `"content-digest";key="sha-256"`},
		{`signature;req;key="sig1"`, `"signature";req;key="sig1"`},
		{`x-name;bs`, `"x-name";bs`},
		{`content-digest;sf`, `"content-digest";sf`},

		{``, ``},
		{`""`, ``},
		{`;req`, ``},
		{` @method`, ``},
		{`@`, ``},
		{`@Method`, ``},
		{`@signature-params`, ``},
		{`@request-response`, ``},
		{`Content-Type`, ``},
		{`content type`, ``},
		{"content-type\n", ``},
		{"x-ä", ``},
		{`content-type"`, ``},
		{`"content-type`, ``},
		{`"content-type" "date"`, ``},
		{`("content-type")`, ``},
		{`content-type;`, ``},
		{`content-type;tr`, ``},
		{`content-type;what`, ``},
		{`content-type;req=?0`, ``},
		{`content-type;req=1`, ``},
		{`content-type;req="a"`, ``},
		{`content-type;req;req`, ``},
		{`content-type;key`, ``},
		{`content-type;key=a`, ``},
		{`content-type;name="a"`, ``},
		{`content-type;key="a";key="b"`, ``},
		{`content-type;key="a;key"`, `"content-type";key="a;key"`},
		{`content-digest;sf;bs`, ``},
		{`content-digest;key="a";bs`, ``},
		{`content-digest;key="a";sf`, ``},
		{`content-type;sf`, ``}, // a list, or a dictionary?
		{`@status;req`, ``},
		{`@method;bs`, ``},
		{`@method;sf`, ``},
		{`@method;key="a"`, ``},
		{`@method;name="a"`, ``},
		{`@query-param`, ``},
		{`@query-param;name`, ``},
		{`@query-param;name=a`, ``},
		{`@query-param;name="fa%c3%a7ade"`, ``}, // RFC 9421 encodes in capitals
		{`@query-param;name="a b"`, ``},
		{`@query-param;name="a+b"`, ``},
		{`@query-param;name="%"`, ``},
		{`@query-param;name="%FF"`, ``},
		{`@query-param;name="~"`, ``}, // must be %7E
		{`@query-param;name="a";key="b"`, ``},
		{strings.Repeat("x", 513), ``},
		{`x;key="` + strings.Repeat("x", 512) + `"`, ``},
	} {
		got, err := httpsig.ParseComponent(c.text)
		if got.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ParseComponent(%s) = %s, %v, want %s", c.text, got, err, c.want)
		}
	}
}

// baseOf is a key that keeps the signature base.
type baseOf struct{ base string }

func (*baseOf) Algorithm() httpsig.Algorithm { return httpsig.HMACSHA256 }

func (b *baseOf) Sign(_ context.Context, base []byte) ([]byte, error) {
	b.base = string(base)
	return []byte("x"), nil
}

// value returns the lines of the base that a component makes.
func value(t testing.TB, m *httpsig.Message, component string) (string, error) {
	t.Helper()
	var b baseOf
	p := httpsig.Params{Label: "s", Components: components(t, component), Created: time.Unix(1, 0)}
	_, _, err := httpsig.Sign(t.Context(), m, p, &b)
	value, _, _ := strings.Cut(b.base, "\n\"@signature-params\": ")
	return value, err
}

func request(method, scheme, authority, target string, header http.Header) *httpsig.Message {
	return &httpsig.Message{Method: method, Scheme: scheme, Authority: authority, Target: target, Header: header}
}

// TestRFC9421Components: the examples of RFC 9421 section 2. Left out are @target-uri
// and the like of targets that no gateway is sent (absolute, of CONNECT, of OPTIONS
// *), trailers, and `sf` of fields that nobody knows.
func TestRFC9421Components(t *testing.T) {
	fields := http.Header{
		"Host":         {"www.example.com"},
		"Date":         {"Tue, 20 Apr 2021 02:07:56 GMT"},
		"X-Ows-Header": {"   Leading and trailing whitespace.   "},
		// An obsolete fold is gone when net/http has read the message.
		"X-Obs-Fold-Header":  {"Obsolete line folding."},
		"Cache-Control":      {"max-age=60", "   must-revalidate"},
		"Example-Dict":       {" a=1,    b=2;x=1;y=2,   c=(a   b   c), d"},
		"Example-Header":     {"value, with, lots", "of, commas"},
		"X-Empty-Header":     {""},
		"Signature":          {"sig1=:YWJj:"},
		"Content-Digest":     {"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:  ,sha-512=:YQ==:"},
		"X-Obs-Text":         {"caf\xe9"},
		"X-Control":          {"a\nb"},
		"X-Not-A-Dictionary": {"a b"},
		"X-Twice":            {"a=1", "a=2"},
	}
	get := func(scheme, authority, target string) *httpsig.Message {
		return request("GET", scheme, authority, target, fields)
	}
	post := request("POST", "https", "www.example.com", "/path?param=value", fields)
	params := get("https", "www.example.com", "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something")
	queries := get("https", "www.example.com", "/path?param=value&foo=bar&baz=batman&qux=&a=1&a=2&bad=%zz")
	answer := &httpsig.Message{Status: 200, Header: http.Header{"Date": {"now"}}, Request: post}
	for _, c := range []struct {
		message         *httpsig.Message
		component, want string // want "": it has none
	}{
		// 2.1
		{post, `host`, `"host": www.example.com`},
		{post, `date`, `"date": Tue, 20 Apr 2021 02:07:56 GMT`},
		{post, `x-ows-header`, `"x-ows-header": Leading and trailing whitespace.`},
		{post, `x-obs-fold-header`, `"x-obs-fold-header": Obsolete line folding.`},
		{post, `cache-control`, `"cache-control": max-age=60, must-revalidate`},
		{post, `example-dict`, `"example-dict": a=1,    b=2;x=1;y=2,   c=(a   b   c), d`},
		{post, `x-empty-header`, `"x-empty-header": `},
		{post, `x-missing`, ``},
		{post, `x-obs-text`, ``},
		{post, `x-control`, ``},
		// 2.1.1
		{post, `content-digest;sf`, `"content-digest";sf: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, sha-512=:YQ==:`},
		{post, `content-digest`, `"content-digest": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:  ,sha-512=:YQ==:`},
		// 2.1.2
		{post, `example-dict;key="a"`, `"example-dict";key="a": 1`},
		{post, `example-dict;key="d"`, `"example-dict";key="d": ?1`},
		{post, `example-dict;key="b"`, `"example-dict";key="b": 2;x=1;y=2`},
		{post, `example-dict;key="c"`, `"example-dict";key="c": (a b c)`},
		{post, `example-dict;key="e"`, ``},
		{post, `x-not-a-dictionary;key="a"`, ``},
		{post, `x-twice;key="a"`, ``}, // the first, or the last?
		// 2.1.3
		{post, `example-header`, `"example-header": value, with, lots, of, commas`},
		{post, `example-header;bs`, `"example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:`},
		{post, `x-obs-text;bs`, `"x-obs-text";bs: :Y2Fm6Q==:`},
		{post, `x-control;bs`, ``},
		// 2.2.1
		{post, `@method`, `"@method": POST`},
		{request("get", "https", "a", "/", nil), `@method`, `"@method": get`},
		{request("", "https", "a", "/", nil), `@method`, ``},
		{request("GET /", "https", "a", "/", nil), `@method`, ``},
		// 2.2.2
		{post, `@target-uri`, `"@target-uri": https://www.example.com/path?param=value`},
		{get("HTTPS", "WWW.example.com:443", ""), `@target-uri`, `"@target-uri": https://www.example.com/`},
		{get("ftp", "www.example.com", "/"), `@target-uri`, ``},
		{get("https", "", "/"), `@target-uri`, ``},
		{get("https", "a/b", "/c"), `@target-uri`, ``},
		{get("https", "a", "/c#d"), `@target-uri`, ``},
		{get("https", "a", "/ä"), `@target-uri`, ``},
		{get("https", "a", "/a b"), `@target-uri`, ``},
		// 2.2.3
		{post, `@authority`, `"@authority": www.example.com`},
		{get("https", "www.example.com:443", "/"), `@authority`, `"@authority": www.example.com`},
		{get("http", "www.example.com:80", "/"), `@authority`, `"@authority": www.example.com`},
		{get("http", "www.example.com:443", "/"), `@authority`, `"@authority": www.example.com:443`},
		{get("https", "Example.COM:8443", "/"), `@authority`, `"@authority": example.com:8443`},
		{get("https", "[2001:DB8::1]:8443", "/"), `@authority`, `"@authority": [2001:db8::1]:8443`},
		{get("https", "[::1]", "/"), `@authority`, `"@authority": [::1]`},
		{get("https", "::1", "/"), `@authority`, ``},
		{get("https", "[::1", "/"), `@authority`, ``},
		{get("https", "[]", "/"), `@authority`, ``},
		{get("https", "a:", "/"), `@authority`, ``},
		{get("https", "a:0443", "/"), `@authority`, ``},
		{get("https", "a:123456", "/"), `@authority`, ``},
		{get("https", "a:1:2", "/"), `@authority`, ``},
		{get("https", ":443", "/"), `@authority`, ``},
		{get("https", "u@a", "/"), `@authority`, ``},
		{get("https", "a?", "/"), `@authority`, ``},
		{get("https", "a\nb", "/"), `@authority`, ``},
		// 2.2.4
		{get("http", "a", "/"), `@scheme`, `"@scheme": http`},
		{post, `@scheme`, `"@scheme": https`},
		// 2.2.5
		{post, `@request-target`, `"@request-target": /path?param=value`},
		{get("https", "a", ""), `@request-target`, `"@request-target": /`},
		{get("https", "a", "*"), `@request-target`, ``},
		{get("https", "a", "https://www.example.com/path"), `@request-target`, ``},
		{get("https", "a", "www.example.com:80"), `@request-target`, ``},
		// 2.2.6
		{post, `@path`, `"@path": /path`},
		{get("https", "a", ""), `@path`, `"@path": /`},
		{get("https", "a", "?a=/b"), `@path`, `"@path": /`},
		{get("https", "a", "/a/../%2e%2E//"), `@path`, `"@path": /a/../%2e%2E//`},
		// 2.2.7
		{queries, `@query`, `"@query": ?param=value&foo=bar&baz=batman&qux=&a=1&a=2&bad=%zz`},
		{get("https", "a", "/path?queryString"), `@query`, `"@query": ?queryString`},
		{get("https", "a", "/path?"), `@query`, `"@query": ?`},
		{get("https", "a", "/path"), `@query`, `"@query": ?`},
		{get("https", "a", "/path?a?b"), `@query`, `"@query": ?a?b`},
		// 2.2.8
		{get("https", "a", "/path?param=value&foo=bar&baz=batman&qux="), `@query-param;name="baz"`, `"@query-param";name="baz": batman`},
		{get("https", "a", "/path?param=value&foo=bar&baz=batman&qux="), `@query-param;name="qux"`, `"@query-param";name="qux": `},
		{get("https", "a", "/path?param=value&foo=bar&baz=batman&qux="), `@query-param;name="param"`, `"@query-param";name="param": value`},
		{params, `@query-param;name="var"`, `"@query-param";name="var": this%20is%20a%20big%0Amultiline%20value`},
		{params, `@query-param;name="bar"`, `"@query-param";name="bar": with%20plus%20whitespace`},
		{params, `@query-param;name="fa%C3%A7ade%22%3A%20"`, `"@query-param";name="fa%C3%A7ade%22%3A%20": something`},
		{params, `@query-param;name="missing"`, ``},
		{get("https", "a", "/?a=1&%61=2"), `@query-param;name="a"`, ``}, // twice
		{get("https", "a", "/?a&&b"), `@query-param;name="a"`, `"@query-param";name="a": `},
		{get("https", "a", "/?a=%FF"), `@query-param;name="a"`, ``},
		{queries, `@query-param;name="foo"`, ``}, // not all of the query is well encoded
		// 2.2.9
		{answer, `@status`, `"@status": 200`},
		{post, `@status`, ``},
		{&httpsig.Message{Status: 99}, `@status`, ``},
		{&httpsig.Message{Status: 1000}, `@status`, ``},
		{&httpsig.Message{Status: -1}, `@status`, ``},
		// 2.4
		{answer, `@method;req`, `"@method";req: POST`},
		{answer, `@path;req`, `"@path";req: /path`},
		{answer, `@target-uri;req`, `"@target-uri";req: https://www.example.com/path?param=value`},
		{answer, `date;req`, `"date";req: Tue, 20 Apr 2021 02:07:56 GMT`},
		{answer, `date`, `"date": now`},
		{answer, `signature;req;key="sig1"`, `"signature";req;key="sig1": :YWJj:`},
		{answer, `@query-param;req;name="param"`, `"@query-param";req;name="param": value`},
		{answer, `@method`, ``},
		{&httpsig.Message{Status: 200, Method: "POST"}, `@method`, ``},
		{answer, `@query-param;name="param"`, ``},
		{post, `@method;req`, ``},
		{post, `date;req`, ``},
		{&httpsig.Message{Status: 200}, `@method;req`, ``},
		{&httpsig.Message{Status: 200, Request: answer}, `date;req`, ``},
	} {
		got, err := value(t, c.message, c.component)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, httpsig.ErrNoValue) {
			t.Errorf("%s = %q, %v, want %q", c.component, got, err, c.want)
		}
	}
}

// TestBase: the base of RFC 9421 section 2.5, and of nothing but what is asked for.
func TestBase(t *testing.T) {
	m, _ := readMessage(t, `POST /foo?param=Value&Pet=dog HTTP/1.1
Host: example.com
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
Content-Length: 18

{"hello": "world"}`)
	var b baseOf
	input, signature, err := httpsig.Sign(t.Context(), m, httpsig.Params{
		Label:      "sig",
		Components: components(t, "@method", "@authority", "@path", "content-digest", "content-length", "content-type"),
		Created:    time.Unix(1618884473, 999999999),
		KeyID:      "test-key-rsa-pss",
	}, &b)
	const want = `"@method": POST
"@authority": example.com
"@path": /foo
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"content-length": 18
"content-type": application/json
"@signature-params": ("@method" "@authority" "@path" "content-digest" "content-length" "content-type");created=1618884473;keyid="test-key-rsa-pss"`
	if err != nil || b.base != want {
		t.Errorf("the base is\n%s\n%v\nwant\n%s", b.base, err, want)
	}
	_, params, _ := strings.Cut(want, `"@signature-params": `)
	if input != "sig="+params || signature != "sig=:eA==:" {
		t.Errorf("Sign = %s, %s", input, signature)
	}
}
