package callback_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
	// canary stands where a value is that no error may repeat.
	canary = "cAnArY"
)

func post(contentType, body string) callback.Received {
	return callback.Received{Method: "POST", ContentType: contentType, Body: []byte(body)}
}

func postJSON(body string) callback.Received { return post(jsonType, body) }
func postForm(body string) callback.Received { return post(formType, body) }

func get(query string) callback.Received { return callback.Received{Method: "GET", Query: query} }

func mustTable(tb testing.TB, own ...callback.Shape) callback.Table {
	tb.Helper()
	table, err := callback.NewTable(own)
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

// The flat callback that most cases end in.
var flatA1 = callback.Callback{Shape: "flat", RequestID: "A-1", Says: nowpay.Success}

var readable = []struct {
	name string
	r    callback.Received
	want callback.Callback
}{
	{
		"envelope", postJSON(`{"status":"SUCCESS","statusMessage":"Done","result":{"paytmOrderId":"P9","orderId":"A-1","rrn":"33","beneficiaryName":"X"}}`),
		callback.Callback{Shape: "envelope", RequestID: "A-1", ProviderID: "P9", Reference: "33", Message: "Done", Says: nowpay.Success},
	},
	{
		"envelope, failed, without a reference", postJSON(`{"status":"failed","statusMessage":"No","result":{"paytmOrderId":"P9","orderId":"A-1","rrn":null}}`),
		callback.Callback{Shape: "envelope", RequestID: "A-1", ProviderID: "P9", Message: "No", Says: nowpay.Failed},
	},
	{
		"envelope, pending, our id only", postJSON(`{"status":"Pending","result":{"orderId":"A-1"}}`),
		callback.Callback{Shape: "envelope", RequestID: "A-1", Says: nowpay.Pending},
	},
	{
		"envelope, numbers", postJSON(`{"status":"SUCCESS","result":{"paytmOrderId":20261126093012123456,"orderId":1001,"rrn":33}}`),
		callback.Callback{Shape: "envelope", RequestID: "1001", ProviderID: "20261126093012123456", Reference: "33", Says: nowpay.Success},
	},
	{
		"envelope as a form with brackets", postForm("status=SUCCESS&result[paytmOrderId]=P9&result%5BorderId%5d=A-1&result[rrn]="),
		callback.Callback{Shape: "envelope", RequestID: "A-1", ProviderID: "P9", Says: nowpay.Success},
	},
	{
		"envelope as a form with dots", postForm("result.paytmOrderId=P9&result.orderId=A-1&status=FAILED"),
		callback.Callback{Shape: "envelope", RequestID: "A-1", ProviderID: "P9", Says: nowpay.Failed},
	},
	{
		"envelope in a query", get("status=SUCCESS&result%5BorderId%5D=A-1"),
		callback.Callback{Shape: "envelope", RequestID: "A-1", Says: nowpay.Success},
	},
	{
		"flat", postJSON(`{"status":"1","message":"ok","ourrequestid":"P9","yourrequestid":"A-1","op_ref_id":"OP1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", ProviderID: "P9", Reference: "OP1", Message: "ok", Says: nowpay.Success},
	},
	{"flat, number", postJSON(`{"status":1,"yourrequestid":"A-1"}`), flatA1},
	{"flat, word", postJSON(`{"status":"Success","yourrequestid":"A-1"}`), flatA1},
	{"flat, null is none", postJSON(`{"status":"1","yourrequestid":"A-1","ourrequestid":null,"message":null,"op_ref_id":null}`), flatA1},
	{"flat, blank is none", postJSON(`{"status":"1","yourrequestid":"A-1","ourrequestid":" ","op_ref_id":""}`), flatA1},
	{"flat, result is no object", postJSON(`{"status":"1","yourrequestid":"A-1","result":"x"}`), flatA1},
	{"flat, result is a list", postJSON(`{"status":"1","yourrequestid":"A-1","result":[{"orderId":"B"}]}`), flatA1},
	{"flat, unknown fields", postJSON(`{"status":"1","yourrequestid":"A-1","x":{"status":"0"},"y":[true,null]}`), flatA1},
	{"flat, another letter case is another field", postJSON(`{"status":"1","yourrequestid":"A-1","OurRequestId":"P9"}`), flatA1},
	{"flat in a query", get("status=1&yourrequestid=A-1"), flatA1},
	{"names that begin alike", postForm("status=1&statusMessage=x&yourrequestid=A-1&result=y&results[a]=z"), flatA1},
	{"flat as a form", postForm("status=1&yourrequestid=A%2D1&other[a][b]=2&other[a][c]=3"), flatA1},
	{"query of a POST is not read", callback.Received{
		Method: "POST", ContentType: jsonType, Query: "status=0&%&token=x", Body: []byte(`{"status":"1","yourrequestid":"A-1"}`),
	}, flatA1},
	{"content type of a GET is not read", callback.Received{Method: "GET", ContentType: "text/html;;", Query: "status=1&yourrequestid=A-1"}, flatA1},
	{"charset of JSON", post(`Application/JSON ; charset="UTF-8"`, `{"status":"1","yourrequestid":"A-1"}`), flatA1},
	{"charset of a form", post(formType+";charset=utf-8", "status=1&yourrequestid=A-1"), flatA1},
	{"largest", postJSON(`{"status":"1","yourrequestid":"A-1"}` + strings.Repeat(" ", callback.MaxBody-36)), flatA1},
	{"deepest", postJSON(`{"status":"1","yourrequestid":"A-1","x":[[[[[[[1]]]]]]]}`), flatA1},
	{
		"flat, failed", postJSON(`{"status":0,"ourrequestid":"P9"}`),
		callback.Callback{Shape: "flat", ProviderID: "P9", Says: nowpay.Failed},
	},
	{
		"flat, pending", postJSON(`{"status":"2","ourrequestid":"P9"}`),
		callback.Callback{Shape: "flat", ProviderID: "P9", Says: nowpay.Pending},
	},
	{
		"other name of the request id only", postJSON(`{"status":"1","yourreqid":"A-1"}`),
		callback.Callback{Shape: "flat-reqid", RequestID: "A-1", Says: nowpay.Success},
	},
	{
		"other name of the request id", postJSON(`{"status":"1","ourrequestid":"P9","yourreqid":"A-1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", ProviderID: "P9", Says: nowpay.Success},
	},
	{
		"answer", postJSON(`{"success":"1","message":"ok","ourrequestid":"P9","yourrequestid":"A-1","rrn":"33","amount":"1.50"}`),
		callback.Callback{Shape: "answer", RequestID: "A-1", ProviderID: "P9", Reference: "33", Message: "ok", Amount: 150, Says: nowpay.Success},
	},
	{
		"answer, number as an amount", postJSON(`{"success":2,"yourreqid":"A-1","amount":100}`),
		callback.Callback{Shape: "answer-reqid", RequestID: "A-1", Amount: 10000, Says: nowpay.Pending},
	},
	{
		"answer and flat agree", postJSON(`{"success":"1","status":"SUCCESS","yourrequestid":"A-1","amount":"2","rrn":"33"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Reference: "33", Amount: 200, Says: nowpay.Success},
	},
	{
		"envelope and flat agree", postJSON(`{"status":"SUCCESS","result":{"orderId":"A-1"},"yourrequestid":"A-1","ourrequestid":"P9"}`),
		callback.Callback{Shape: "envelope", RequestID: "A-1", ProviderID: "P9", Says: nowpay.Success},
	},
	{
		"text that is listed nowhere", postJSON(`{"status":"OK","yourrequestid":"A-1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Says: nowpay.Unknown},
	},
	{
		"other text of the number", postJSON(`{"status":1.0,"yourrequestid":"A-1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Says: nowpay.Unknown},
	},
	{
		"blank around the text", postJSON(`{"status":"0 ","yourrequestid":"A-1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Says: nowpay.Unknown},
	},
	{
		"empty text", postJSON(`{"status":"","yourrequestid":"A-1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Says: nowpay.Unknown},
	},
	{
		"boolean", postJSON(`{"success":true,"yourrequestid":"A-1"}`),
		callback.Callback{Shape: "answer", RequestID: "A-1", Says: nowpay.Unknown},
	},
	{
		"long s is no s", postJSON(`{"status":"ſucceſſ","yourrequestid":"A-1"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Says: nowpay.Unknown},
	},
	{
		"longest id", postJSON(`{"status":"1","yourrequestid":"` + strings.Repeat("é", 128) + `"}`),
		callback.Callback{Shape: "flat", RequestID: strings.Repeat("é", 128), Says: nowpay.Success},
	},
	{
		"message on two lines", postJSON(`{"status":"1","yourrequestid":"A-1","message":"a\nb"}`),
		callback.Callback{Shape: "flat", RequestID: "A-1", Message: "a\nb", Says: nowpay.Success},
	},
}

func TestReadAccepts(t *testing.T) {
	table := mustTable(t)
	for _, c := range readable {
		came := bytes.Clone(c.r.Body)
		got, err := table.Read(c.r)
		if err != nil || got != c.want {
			t.Errorf("%s: Read gives %+v, %v, want %+v", c.name, got, err, c.want)
		}
		if !bytes.Equal(c.r.Body, came) {
			t.Errorf("%s: the body has changed", c.name)
		}
	}
}

const (
	noShape    = "no shape fits"
	notScalar  = "an object or an array where"
	notText    = "neither a string nor a number"
	unfit      = "longer than 256 bytes or not printable"
	badAmount  = `field "amount": parsing amount: `
	badType    = "the content type is neither JSON nor a form"
	badMethod  = "neither a POST nor a GET"
	otherCase  = "in another letter case"
	disagree   = "it says something else than as"
	duplicate  = "malformed body: duplicate name"
	badName    = "malformed body: invalid name"
	bothValues = "a name with a value and with names below it"
)

var unreadable = []struct {
	name   string
	r      callback.Received
	reason string
}{
	{"nothing", callback.Received{}, badMethod},
	{"PUT", callback.Received{Method: "PUT", ContentType: jsonType, Body: []byte(`{"status":"1","yourrequestid":"A-1"}`)}, badMethod},
	{"HEAD", callback.Received{Method: "HEAD", Query: "status=1&yourrequestid=A-1"}, badMethod},
	{"lower case", callback.Received{Method: "get", Query: "status=1&yourrequestid=A-1"}, badMethod},
	{"GET with a body", callback.Received{Method: "GET", Query: "status=1&yourrequestid=A-1", Body: []byte("x")}, "a GET with a body"},
	{"GET without a query", get(""), noShape},
	{"POST with a query only", callback.Received{Method: "POST", ContentType: formType, Query: "status=1&yourrequestid=A-1"}, noShape},

	{"no content type", post("", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"text", post("text/plain", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"multipart", post("multipart/form-data; boundary=x", ""), badType},
	{"another charset", post(jsonType+"; charset=utf-16", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"another charset of a form", post(formType+"; charset=latin1", "status=1&yourrequestid=A-1"), badType},
	{"another parameter", post(jsonType+"; version=1", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"two charsets", post(jsonType+"; charset=utf-8; charset=utf-16", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"another parameter that says UTF-8", post(jsonType+"; version=utf-8", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"broken parameter", post(jsonType+"; charset", `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"two types", post(jsonType+", "+jsonType, `{"status":"1","yourrequestid":"A-1"}`), badType},
	{"JSON as a form", postForm(`{"status":"1","yourrequestid":"A-1"}`), "malformed body"},
	{"form as JSON", postJSON("status=1&yourrequestid=A-1"), "malformed body"},

	{"too large", postJSON(`{"status":"1","yourrequestid":"A-1"}` + strings.Repeat(" ", callback.MaxBody-35)), "too large"},
	{"form too large", postForm("status=1&yourrequestid=A-1&x=" + strings.Repeat("a", callback.MaxBody)), "too large"},
	{"query too large", get("status=1&yourrequestid=A-1&x=" + strings.Repeat("a", callback.MaxBody)), "too large"},
	{"query of a POST too large", callback.Received{
		Method: "POST", ContentType: formType, Query: strings.Repeat("a", callback.MaxBody+1), Body: []byte("status=1&yourrequestid=A-1"),
	}, "too large"},
	{"too deep", postJSON(`{"status":"1","yourrequestid":"A-1","x":[[[[[[[[1]]]]]]]]}`), "nested too deeply"},
	{"empty", postJSON(""), "malformed body: empty"},
	{"array", postJSON(`[{"status":"1","yourrequestid":"A-1"}]`), "not an object"},
	{"JSON in a string", postJSON(`"{\"status\":\"1\",\"yourrequestid\":\"A-1\"}"`), "not an object"},
	{"byte order mark", postJSON("\ufeff" + `{"status":"1","yourrequestid":"A-1"}`), "byte order mark"},
	{"trailing data", postJSON(`{"status":"1","yourrequestid":"A-1"}{}`), "trailing data"},
	{"notice in front", postJSON(`<br>Notice: x {"status":"1","yourrequestid":"A-1"}`), "invalid syntax"},
	{"duplicate", postJSON(`{"status":"1","status":"1","yourrequestid":"A-1"}`), duplicate},
	{"duplicate, escaped", postJSON(`{"status":"1","\u0073tatus":"0","yourrequestid":"A-1"}`), duplicate},
	{"duplicate below", postJSON(`{"status":"SUCCESS","result":{"orderId":"A-1","orderId":"B"}}`), duplicate},
	{"duplicate elsewhere", postJSON(`{"status":"1","yourrequestid":"A-1","x":[{"a":1,"a":2}]}`), duplicate},
	{"other letter case", postJSON(`{"status":"1","Status":"0","yourrequestid":"A-1"}`), otherCase},
	{"other letter case of an id", postJSON(`{"status":"1","YourRequestId":"B","yourrequestid":"A-1"}`), otherCase},
	{"other letter case above", postJSON(`{"status":"SUCCESS","Result":{},"result":{"orderId":"A-1"}}`), otherCase},
	{"other letter case below", postJSON(`{"status":"SUCCESS","result":{"orderId":"A-1","orderid":"B"}}`), otherCase},
	{"invalid UTF-8", postJSON("{\"status\":\"1\",\"yourrequestid\":\"A\xff\"}"), "invalid UTF-8"},
	{"lone surrogate", postJSON(`{"status":"1","yourrequestid":"A\ud800"}`), "invalid syntax"},

	{"no state", postJSON(`{"yourrequestid":"A-1"}`), noShape},
	{"state is null", postJSON(`{"status":null,"yourrequestid":"A-1"}`), noShape},
	{"no id", postJSON(`{"status":"1","message":"cAnArY"}`), noShape},
	{"ids of nothing", postJSON(`{"status":"1","yourrequestid":"","ourrequestid":null,"result":{"orderId":"  "}}`), noShape},
	{"state of one, id of another", postJSON(`{"success":"1","result":{"orderId":"cAnArY"}}`), noShape},
	{"envelope in a string", postJSON(`{"status":"SUCCESS","result":"{\"orderId\":\"cAnArY\"}"}`), noShape},
	{"dotted name in JSON", postJSON(`{"status":"SUCCESS","result.orderId":"cAnArY"}`), noShape},
	{"bracket name in JSON", postJSON(`{"status":"SUCCESS","result[orderId]":"cAnArY"}`), noShape},

	{"state is an object", postJSON(`{"status":{"cAnArY":"1"},"yourrequestid":"A-1"}`), `field "status": ` + notScalar},
	{"id is an array", postJSON(`{"status":"1","yourrequestid":["cAnArY"]}`), `field "yourrequestid": ` + notScalar},
	{"other id is an object", postJSON(`{"status":"1","yourrequestid":"A-1","ourrequestid":{}}`), `field "ourrequestid": ` + notScalar},
	{"id is a boolean", postJSON(`{"status":"1","yourrequestid":true}`), `field "yourrequestid": ` + notText},
	{"message is an array", postJSON(`{"status":"1","yourrequestid":"A-1","message":[]}`), `field "message": ` + notScalar},
	{"message is a boolean", postJSON(`{"status":"1","yourrequestid":"A-1","message":false}`), `field "message": ` + notText},
	{"message with NUL", postJSON(`{"status":"1","yourrequestid":"A-1","message":"cAnArY\u0000"}`), "NUL in a text"},
	{"reference is an object", postJSON(`{"status":"SUCCESS","result":{"orderId":"A-1","rrn":{}}}`), `field "result.rrn": ` + notScalar},
	{"long id", postJSON(`{"status":"1","yourrequestid":"cAnArY` + strings.Repeat("a", 251) + `"}`), unfit},
	{"long number", postJSON(`{"status":"1","yourrequestid":` + strings.Repeat("1", 257) + `}`), unfit},
	{"line break in an id", postJSON(`{"status":"1","yourrequestid":"cAnArY\n"}`), unfit},
	{"direction mark in an id", postJSON(`{"status":"1","ourrequestid":"cAnArY\u202e"}`), unfit},
	{"replacement character in an id", postJSON(`{"status":"1","ourrequestid":"cAnArY\ufffd"}`), unfit},
	{"escape in a reference", postJSON(`{"status":"1","yourrequestid":"A-1","op_ref_id":"cAnArY\u001b[2J"}`), unfit},
	{"NUL in an id of a form", postForm("status=1&yourrequestid=A%00"), "NUL in a value"},

	{"amount with a separator", postJSON(`{"success":"1","yourrequestid":"A-1","amount":"1,000.00"}`), badAmount},
	{"amount is a text", postJSON(`{"success":"1","yourrequestid":"A-1","amount":"cAnArY"}`), badAmount},
	{"amount is empty", postJSON(`{"success":"1","yourrequestid":"A-1","amount":""}`), badAmount},
	{"amount is zero", postJSON(`{"success":"1","yourrequestid":"A-1","amount":0}`), badAmount},
	{"amount with an exponent", postJSON(`{"success":"1","yourrequestid":"A-1","amount":1e3}`), badAmount},
	{"amount is a boolean", postJSON(`{"success":"1","yourrequestid":"A-1","amount":true}`), badAmount},
	{"amount is an object", postJSON(`{"success":"1","yourrequestid":"A-1","amount":{}}`), `field "amount": ` + notScalar},

	{"envelope and flat name two requests", postJSON(`{"status":"SUCCESS","result":{"orderId":"A-1"},"yourrequestid":"B"}`), disagree},
	{"envelope and flat name two ids of Nowpay", postJSON(`{"status":"SUCCESS","result":{"paytmOrderId":"P9"},"ourrequestid":"P8"}`), disagree},
	{"envelope and flat read the state differently", postJSON(`{"status":"1","result":{"orderId":"A-1"},"yourrequestid":"A-1"}`), disagree},
	{"two names of the request id", postJSON(`{"status":"1","yourrequestid":"A-1","yourreqid":"B"}`), disagree},
	{"status and success", postJSON(`{"status":"0","success":"1","ourrequestid":"P9"}`), disagree},
	{"the second and the third disagree", postJSON(`{"status":"SUCCESS","result":{"orderId":"A-1"},"ourrequestid":"P9","yourreqid":"B"}`), disagree},

	{"duplicate in a form", postForm("status=1&yourrequestid=A-1&status=1"), duplicate},
	{"duplicate in a query", get("status=1&yourrequestid=A-1&status=0"), duplicate},
	{"dotted and with brackets", postForm("status=SUCCESS&result.orderId=A-1&result[orderId]=A-1"), duplicate},
	{"escaped and plain brackets", postForm("status=SUCCESS&result%5BorderId%5D=A-1&result[orderId]=A-1"), duplicate},
	{"other letter case in a form", postForm("status=1&STATUS=0&yourrequestid=A-1"), otherCase},
	{"value and group", postForm("status=SUCCESS&result=x&result[orderId]=A-1"), bothValues},
	{"group and value", postForm("status=SUCCESS&a[b][c]=A-1&a[b]=1"), bothValues},
	{"list in a form", postForm("status=1&yourrequestid[]=A-1"), badName},
	{"no name", postForm("status=1&=2&yourrequestid=A-1"), badName},
	{"escaped name", postForm("status=1&yourrequesti%64=A-1"), badName},
	{"escape twice", postForm("status=SUCCESS&result%255BorderId%5D=A-1"), badName},
	{"bracket that is not closed", postForm("status=SUCCESS&result[orderId=A-1"), badName},
	{"bracket that is not opened", postForm("status=SUCCESS&resultorderId]=A-1"), badName},
	{"text behind the bracket", postForm("status=SUCCESS&result[orderId]x=A-1"), badName},
	{"text between brackets", postForm("status=SUCCESS&result[a]x[orderId]=A-1"), badName},
	{"bracket in front", postForm("status=SUCCESS&[orderId]=A-1"), badName},
	{"dot in brackets", postForm("status=SUCCESS&result[a.b]=A-1"), badName},
	{"dot before brackets", postForm("status=SUCCESS&result.a[b]=A-1"), badName},
	{"nested too deeply", postForm("status=1&yourrequestid=A-1&a[b][c][d][e][f][g][h][i]=1"), badName},
	{"field without a value", postForm("status=1&yourrequestid=A-1&x"), "field without a value"},
	{"empty field", postForm("status=1&yourrequestid=A-1&"), "empty field"},
	{"only a separator", get("&"), "empty field"},
	{"broken escape", get("status=1&yourrequestid=%4"), "broken escape"},
	{"invalid UTF-8 in a form", postForm("status=1&yourrequestid=%ff"), "invalid UTF-8"},
	{"semicolon", postForm("status=1;yourrequestid=A-1"), "must be escaped"},
	{"too many fields", postForm("status=1&yourrequestid=A-1" + strings.Repeat("&a=1", 255)), "too many fields"},
}

func TestReadRefuses(t *testing.T) {
	table := mustTable(t)
	for _, c := range unreadable {
		got, err := table.Read(c.r)
		if !errors.Is(err, callback.ErrUnreadable) || !strings.Contains(err.Error(), c.reason) || got != (callback.Callback{}) {
			t.Errorf("%s: Read gives %+v, %v, want %q", c.name, got, err, c.reason)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error repeats a value: %v", c.name, err)
		}
	}
}

func TestReadByOwnShapes(t *testing.T) {
	loose := callback.Shape{Name: "loose", ProviderID: "ourrequestid", State: "status", Success: []string{"0"}, Failed: []string{"1"}}
	flat := loose
	flat.Name = "flat"
	const both = `{"status":"0","ourrequestid":"P9","yourrequestid":"A-1"}`
	for _, c := range []struct {
		name string
		own  []callback.Shape
		r    callback.Received
		want callback.Callback
	}{
		{
			"nested",
			[]callback.Shape{own()},
			postJSON(`{"event":true,"utr":"U","note":"n","data":{"amount":"1","txn":{"merchant-ref":"A-1","id":9}}}`),
			callback.Callback{Shape: "own", RequestID: "A-1", ProviderID: "9", Reference: "U", Message: "n", Amount: 100, Says: nowpay.Success},
		},
		{
			"nested, as a form",
			[]callback.Shape{own()},
			postForm("event=bounced&data[txn][merchant-ref]=A-1&data[amount]=1.5"),
			callback.Callback{Shape: "own", RequestID: "A-1", Amount: 150, Says: nowpay.Failed},
		},
		{
			"before a built-in one that disagrees",
			[]callback.Shape{loose},
			postJSON(both),
			callback.Callback{Shape: "loose", ProviderID: "P9", Says: nowpay.Success},
		},
		{
			"behind another of one's own that does not fit",
			[]callback.Shape{own(), loose},
			postJSON(both),
			callback.Callback{Shape: "loose", ProviderID: "P9", Says: nowpay.Success},
		},
		{
			"in place of a built-in one",
			[]callback.Shape{flat},
			postJSON(both),
			callback.Callback{Shape: "flat", ProviderID: "P9", Says: nowpay.Success},
		},
		{
			"does not fit", []callback.Shape{loose}, postJSON(`{"status":"1","yourrequestid":"A-1"}`), flatA1,
		},
	} {
		got, err := mustTable(t, c.own...).Read(c.r)
		if err != nil || got != c.want {
			t.Errorf("%s: Read gives %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// TestReadWithoutNewTable: in a table that was put together by hand no shape goes before those that disagree.
func TestReadWithoutNewTable(t *testing.T) {
	loose := callback.Shape{Name: "loose", ProviderID: "ourrequestid", State: "status", Success: []string{"0"}, Failed: []string{"1"}}
	table := append(callback.Table{loose}, callback.Shapes()...)
	if got, err := table.Read(postJSON(`{"status":"0","ourrequestid":"P9"}`)); !errors.Is(err, callback.ErrUnreadable) {
		t.Errorf("Read gives %+v, %v", got, err)
	}
	other := callback.Shape{Name: "other", ProviderID: "ourrequestid", State: "success", Amount: "paid", Success: []string{"1"}, Failed: []string{"0"}}
	amounts := postJSON(`{"success":"1","ourrequestid":"P9","amount":"1","paid":"2"}`)
	if got, err := append(callback.Table{other}, callback.Shapes()...).Read(amounts); !errors.Is(err, callback.ErrUnreadable) {
		t.Errorf("with two amounts Read gives %+v, %v", got, err)
	}
	late := append(callback.Table(callback.Shapes()), mustTable(t, other)[0])
	if got, err := late.Read(postJSON(`{"success":"1","yourrequestid":"A-1","ourrequestid":"P9"}`)); err != nil || got.Shape != "answer" {
		t.Errorf("with an own shape at the end Read gives %+v, %v", got, err)
	}
	if got, err := callback.Table(nil).Read(get("status=1&yourrequestid=A-1")); !errors.Is(err, callback.ErrUnreadable) {
		t.Errorf("the zero table gives %+v, %v", got, err)
	}
}

func TestDigest(t *testing.T) {
	digests := map[[32]byte]string{}
	for name, r := range map[string]callback.Received{
		"zero":         {},
		"GET":          {Method: "GET", Query: "a=1"},
		"POST":         {Method: "POST", Query: "a=1"},
		"in the body":  {Method: "GET", Body: []byte("a=1")},
		"JSON":         {Method: "POST", ContentType: jsonType, Query: "a", Body: []byte("bc")},
		"form":         {Method: "POST", ContentType: formType, Query: "a", Body: []byte("bc")},
		"shifted":      {Method: "POST", ContentType: jsonType, Query: "ab", Body: []byte("c")},
		"other body":   {Method: "POST", ContentType: jsonType, Query: "a", Body: []byte("b c")},
		"other query":  {Method: "POST", ContentType: jsonType, Query: "b", Body: []byte("bc")},
		"no type":      {Method: "POST", Query: "a", Body: []byte("bc")},
		"broken types": {Method: "POST", ContentType: "a;", Query: "a", Body: []byte("bc")},
		"broken":       {Method: "POST", ContentType: "a b", Query: "a", Body: []byte("bc")},
	} {
		d := r.Digest()
		if other, ok := digests[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		digests[d] = name
		if r.Digest() != d {
			t.Errorf("%s: the digest is another the second time", name)
		}
	}
	plain, params := post(jsonType, "{}"), post("Application/json; charset=utf-8", "{}")
	if plain.Digest() != params.Digest() {
		t.Error("parameters of the media type change the digest")
	}
}
