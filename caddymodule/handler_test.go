package caddymodule

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestEarly(t *testing.T) {
	for _, test := range []struct {
		name  string
		tls   *tls.ConnectionState
		proxy []string
		want  bool
	}{
		{"plain", nil, nil, false},
		{"TLS", &tls.ConnectionState{HandshakeComplete: true}, nil, false},
		{"TLS before the handshake is complete", &tls.ConnectionState{}, nil, true},
		{"a proxy says so", nil, []string{"1"}, true},
		{"a proxy says so, oddly", &tls.ConnectionState{HandshakeComplete: true}, []string{""}, true},
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/bank/payout", nil)
		r.TLS, r.Header["Early-Data"] = test.tls, test.proxy
		if got := early(r); got != test.want {
			t.Errorf("%s: early = %v, want %v", test.name, got, test.want)
		}
	}
}

// deadlines records what is set on a connection.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestTimedBody: a body has bodyTime from its first byte asked for, and the
// connection none after it.
func TestTimedBody(t *testing.T) {
	w := &deadlines{}
	body := &timedBody{body: strings.NewReader("a body"), control: *http.NewResponseController(w)}
	if len(w.set) != 0 {
		t.Error("the time runs before the body is asked for")
	}
	before := time.Now()
	var byteByByte [1]byte
	for {
		if _, err := body.Read(byteByByte[:]); errors.Is(err, io.EOF) {
			break
		}
	}
	if len(w.set) != 2 || w.set[0].Before(before.Add(bodyTime)) || w.set[0].After(time.Now().Add(bodyTime)) || !w.set[1].IsZero() {
		t.Errorf("deadlines %v, want one in %v and none in the end", w.set, bodyTime)
	}
}
