package provider

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRequests(t *testing.T) {
	first := "POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\nSignature:  sig1=:a=: \r\n\r\nhello"
	second := "POST / HTTP/1.1\r\nContent-Length: 0\r\nX-Signature: no\r\n\r\n"
	for name, from := range map[string]io.Reader{
		"at once":       strings.NewReader(first + second),
		"byte by byte":  iotest.OneByteReader(strings.NewReader(first + second)),
		"with its end":  iotest.DataErrReader(strings.NewReader(first + second)),
		"one and a bit": io.MultiReader(strings.NewReader(first+second[:9]), strings.NewReader(second[9:])),
	} {
		in := &requests{from: from, buffer: make([]byte, 100)}
		for _, want := range []struct{ body, signature string }{{"hello", "sig1=:a=:"}, {"", ""}} {
			head, body, err := in.next()
			if err != nil || string(body) != want.body || string(field(head, "signature")) != want.signature {
				t.Errorf("%s: next() = %q, %q, %v, want %+v", name, head, body, err, want)
			}
		}
		if _, _, err := in.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v, want EOF", name, err)
		}
	}
	for _, bad := range []string{"POST / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", strings.Repeat("x", 101)} {
		in := &requests{from: strings.NewReader(bad), buffer: make([]byte, 100)}
		if head, body, err := in.next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("next() of %q = %q, %q, %v, want an error", bad, head, body, err)
		}
	}
}
