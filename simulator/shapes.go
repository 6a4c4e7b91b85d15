package simulator

import (
	"net/http"
	"net/url"
	"strings"
)

// Shape is how a callback is written.
type Shape string

// The shapes of callbacks. The envelope is reported; the outbound format of
// recharges was never seen, so that all of the flat ones are guesses.
const (
	// Envelope is a POST of {"status":"SUCCESS","statusMessage":…,"result":{
	// "paytmOrderId":…,"orderId":…,"rrn":…,"beneficiaryName":…}}: paytmOrderId is
	// Nowpay's id and orderId the partner's.
	Envelope Shape = "envelope"
	// Flat is a POST of {"status":"1","message":…,"ourrequestid":…,
	// "yourrequestid":…,"op_ref_id":…}; FlatForm posts the same members as a
	// form, FlatGet has them in the query of a GET.
	Flat     Shape = "flat"
	FlatForm Shape = "flat-form"
	FlatGet  Shape = "flat-get"
)

// Content types of callbacks.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

func (s Shape) known() bool {
	return s == Envelope || s == Flat || s == FlatForm || s == FlatGet
}

// shapeOf is the shape of an operation's callbacks unless one is asked for.
func shapeOf(operation string) Shape {
	if strings.HasPrefix(operation, "recharge/") {
		return Flat
	}
	return Envelope
}

// junk is what CallbackJunk sends: a program that broke off.
const junk = "<br />\n<b>Fatal error</b>:  Uncaught TypeError in <b>/var/www/html/callback.php</b> on line <b>88</b><br />\n{\"status\":\"SUCC"

// write fills in method, URL, type and body.
func (c *callback) write(target string) {
	c.method, c.url, c.contentType = http.MethodPost, target, typeJSON
	switch c.shape {
	case FlatForm:
		c.contentType = typeForm
		c.body = c.flat().form()
	case FlatGet:
		query := c.flat().form()
		if c.junk {
			query = "%zz&" + url.QueryEscape(junk)
		}
		c.method, c.url, c.contentType = http.MethodGet, withQuery(target, query), ""
		return
	case Flat:
		c.body = string(c.flat().append(nil))
	case Envelope:
		c.body = string(c.envelope().append(nil))
	default:
		return // validated
	}
	if c.junk {
		c.body = junk
	}
}

// envelope has no reference and no name for what failed.
func (c *callback) envelope() object {
	status := "FAILED"
	if c.state == StateSuccess {
		status = "SUCCESS"
	}
	result := object{
		{"paytmOrderId", c.ours},
		{"orderId", c.yours},
		{"rrn", c.rrn},
		{"beneficiaryName", c.payee},
	}
	return object{{"status", status}, {"statusMessage", c.message()}, {"result", c.withAmount(result)}}
}

func (c *callback) flat() object {
	status := "0"
	if c.state == StateSuccess {
		status = "1"
	}
	return c.withAmount(object{
		{"status", status},
		{"message", c.message()},
		{"ourrequestid", c.ours},
		{"yourrequestid", c.yours},
		{"op_ref_id", c.rrn},
	})
}

// withAmount adds the member that no callback has, for CallbackWrongAmount.
func (c *callback) withAmount(o object) object {
	if c.amount == 0 {
		return o
	}
	return append(o, member{"amount", c.amount.String()})
}

func (c *callback) message() string {
	what, success := "Transaction", "Successful"
	if strings.HasPrefix(c.operation, "recharge/") {
		what, success = "Recharge", "Success"
	}
	if c.state == StateSuccess {
		return what + " " + success
	}
	return what + " Failed"
}

// form writes the members of an object that holds only text, in their order.
func (o object) form() string {
	pairs := make([]string, len(o))
	for i, m := range o {
		pairs[i] = url.QueryEscape(m.name) + "=" + url.QueryEscape(o.get(m.name))
	}
	return strings.Join(pairs, "&")
}

// withQuery adds to the query that a URL may have already.
func withQuery(target, query string) string {
	if strings.Contains(target, "?") {
		return target + "&" + query
	}
	return target + "?" + query
}
