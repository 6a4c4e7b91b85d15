package simulator

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// What a refusal says. The provider's own texts are not known.
const (
	wrongKeyMessage   = "Invalid Username Or Key"
	lowBalanceMessage = "Insufficient Balance"
)

// says refuses with a fixed message.
func says(message string) func(*exchange) string {
	return func(*exchange) string { return message }
}

// wrongIPMessage tells the address that the provider saw.
func wrongIPMessage(x *exchange) string { return "Invalid IP Address " + x.ip.String() }

// duplicateMessage refuses a request ID that is in the books.
func duplicateMessage(x *exchange) string {
	if id := x.requestID(); id != "" && x.books.executions[id] > 0 {
		return "Duplicate Request Id"
	}
	return ""
}

// ambiguous is what a payout answers when its bank did not: success, sic.
func ambiguous(x *exchange, a object) object {
	a.set("success", x.op.code(StateSuccess))
	a.set("message", "Transaction Successfull") //nolint:misspell // as reported
	return a.without("rrn", "beneficiaryName")
}

// flipFinal moves the transaction to failed once the answer is made.
func flipFinal(x *exchange, a object) object {
	if x.entry != nil {
		x.books.change(x.entry, StateFailed)
	}
	return a
}

// setter sets a member that the answer has.
func setter(name, value string) func(*exchange, object) object {
	return func(_ *exchange, a object) object { a.set(name, value); return a }
}

func successAsNumber(_ *exchange, a object) object {
	a.set("success", json.Number(a.get("success")))
	return a
}

func otherID(_ *exchange, a object) object {
	for _, name := range []string{"yourrequestid", "yourreqid"} {
		a.set(name, a.get(name)+"0")
	}
	return a
}

func otherAmount(_ *exchange, a object) object {
	if p, ok := (fields{"amount": a.get("amount")}).amount("amount"); ok {
		a.set("amount", (p + 100).String())
	}
	return a
}

func noProviderID(_ *exchange, a object) object { return a.without("ourrequestid", "Clientid") }

// everywhere makes a change in the answer and in the rows that it lists.
func everywhere(change func(*exchange, object) object) func(*exchange, object) object {
	return func(x *exchange, a object) object {
		for _, m := range a {
			rows, _ := m.value.([]object)
			for i := range rows {
				rows[i] = change(x, rows[i])
			}
		}
		return change(x, a)
	}
}

func deepJSON(_ *exchange, a object) object {
	const depth = 100
	deep := strings.Repeat("[", depth) + strings.Repeat("]", depth)
	return append(a, member{"debug", json.RawMessage(deep)})
}

// echoKey puts the key into the message, written in some form as JSON text.
func echoKey(form func(*exchange) string) func(*exchange, object) object {
	return func(x *exchange, a object) object {
		return append(a.without("message"), member{"message", json.RawMessage(form(x))})
	}
}

func quote(s string) string { return string(appendString(nil, s)) }

func plain(x *exchange) string { return quote("Debug key=" + x.key) }

func inBase64(x *exchange) string {
	return quote("Debug " + base64.StdEncoding.EncodeToString([]byte(x.username+":"+x.key)))
}

func inBase64URL(x *exchange) string {
	return quote("Debug " + base64.RawURLEncoding.EncodeToString([]byte(x.key)))
}

func inHex(x *exchange) string { return quote("Debug " + hex.EncodeToString([]byte(x.key))) }

func inPercent(x *exchange) string {
	var b strings.Builder
	for _, c := range []byte(x.key) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return quote("Debug " + b.String())
}

func inJSON(x *exchange) string {
	b := []byte(`"Debug `)
	for _, r := range x.key {
		if r > 0xffff {
			r = '\ufffd' // keys are ASCII; a half-escaped one would prove nothing
		}
		b = appendUnit(b, r)
	}
	return string(append(b, '"'))
}

func keyInHeader(x *exchange, r *response) { r.header.Set("X-Debug", x.key) }

func keyInHeaders(x *exchange, r *response) {
	half := len(x.key) / 2
	r.header.Set("X-Debug-1", x.key[:half])
	r.header.Set("X-Debug-2", x.key[half:])
}

func header(name, value string) func(*exchange, *response) {
	return func(_ *exchange, r *response) { r.header.Set(name, value) }
}

// reservedHeaders claims what only the gateway may say, and what ends at the
// next hop.
func reservedHeaders(_ *exchange, r *response) {
	for name, value := range map[string]string{
		"Set-Cookie":                 "PHPSESSID=0123456789abcdef; path=/",
		"Nowpay-Gateway-Transaction": "forged",
		"Nowpay-Gateway-Outcome":     "success",
		"Nowpay-Gateway-Integrity":   "revalidated",
		"Nowpay-Gateway-Error":       "forged",
		"Idempotent-Replayed":        "true",
		"Proxy-Authenticate":         `Basic realm="forged"`,
		"Strict-Transport-Security":  "max-age=31536000",
	} {
		r.header.Set(name, value)
	}
}

func http500(_ *exchange, r *response) { r.page(http.StatusInternalServerError) }

// redirectTo answers with a redirect, "" to where the request went.
func redirectTo(target string, status int) func(*exchange, *response) {
	return func(x *exchange, r *response) {
		location := target
		if location == "" {
			location = x.target
		}
		r.status, r.body = status, nil
		r.header.Set("Location", location)
	}
}

func compress(_ *exchange, r *response) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(r.body) // a bytes.Buffer takes all
	_ = z.Close()
	r.body = b.Bytes()
	r.header.Set("Content-Encoding", "gzip")
}

func junkBeforeJSON(x *exchange, r *response) {
	debug := object{
		{"accountnumber", x.fields.text("accountnumber")},
		{"name", x.fields.text("name")},
		{"email", "customer@example.com"},
		{"status", "SUCCESS"},
	}
	r.body = append(debug.append(nil), r.body...)
}

func htmlWarning(_ *exchange, r *response) {
	const warning = "<br />\n<b>Warning</b>:  Undefined array key \"statusCode\" in <b>/var/www/html/api.php</b> on line <b>214</b><br />\n"
	r.body = append([]byte(warning), r.body...)
}

func duplicateNames(_ *exchange, r *response) {
	r.body = append([]byte(`{"success":"0",`), r.body[1:]...)
}

func tooLarge(_ *exchange, r *response) {
	r.body = r.body[:len(r.body)-1]
	r.body = append(r.body, `,"padding":"`...)
	r.body = append(r.body, bytes.Repeat([]byte("x"), 2<<20)...)
	r.body = append(r.body, `"}`...)
	r.chunked = true
}

// The changes of callbacks.

func repeated(c *callback, _ *Entry, f Fault) { c.copies = cmp.Or(f.Copies, defaultCopies) }

func delayed(c *callback, _ *Entry, f Fault) { c.delay = cmp.Or(f.Delay, defaultDelay) }

func fromElsewhere(c *callback, _ *Entry, f Fault) { c.from = cmp.Or(f.From, wrongSource) }

// wrongProviderID changes the last digit: what is forged looks right.
func wrongProviderID(c *callback, _ *Entry, _ Fault) {
	last := len(c.ours) - 1
	c.ours = c.ours[:last] + string('0'+(c.ours[last]-'0'+1)%10)
}

func wrongRequestID(c *callback, _ *Entry, _ Fault) { c.yours += "0" }

func wrongAmount(c *callback, e *Entry, _ Fault) { c.amount = e.Amount + 100 }

func contradicts(c *callback, _ *Entry, _ Fault) {
	if c.state == StateSuccess {
		c.state = StateFailed
	} else {
		c.state = StateSuccess
	}
}

// ending ends an exchange on the wire.
type ending func(*Simulator, http.ResponseWriter, *http.Request)

// hang waits until the client gives up or the simulator closes.
func hang(s *Simulator, w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closed:
	}
	hangUp(s, w, r)
}

// hangUp closes the connection: the peer reads the end of the stream.
func hangUp(_ *Simulator, w http.ResponseWriter, _ *http.Request) {
	if conn := takeOver(w); conn != nil {
		_ = conn.Close()
	}
}

// reset closes the connection so that the peer gets a reset.
func reset(_ *Simulator, w http.ResponseWriter, _ *http.Request) {
	conn := takeOver(w)
	if conn == nil {
		return
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn() // closing the TLS layer would say goodbye
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// takeOver returns the connection. Where there is none of its own to take, as
// in HTTP/2, it aborts the stream and does not return.
func takeOver(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's way to end a stream unanswered
	}
	return conn
}
