package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAdminMessages(t *testing.T) {
	p := withMessages(t)
	var callbacks []shownMessage
	p.decodeNowpay(&callbacks, "callbacks", "list", "--account", "main")
	sent, came := "/nowpay/messages/"+p.done, "/nowpay/messages/"+callbacks[0].Message
	waits, test := "/nowpay/messages/msg_"+p.waits, "/nowpay/merchants/shop/send-test"
	ours := http.Header{"Nowpay-Admin": {"1"}}
	const drop = `{"reason":"it has closed"}`
	for _, tt := range []struct {
		method, target string
		header         http.Header
		body           string
		status         int
		says           string
	}{
		{"GET", "/nowpay/messages", nil, "", 400, "box: must be in or out"},
		{"GET", "/nowpay/messages?box=both", nil, "", 400, "box: must be in or out"},
		{"GET", "/nowpay/messages?box=out&box=in", nil, "", 400, "box: is there more than once"},
		{"GET", "/nowpay/messages?box=out", nil, "", 200, `"message":"msg_` + p.done},
		{"GET", "/nowpay/messages?box=in", nil, "", 200, `"shape":"unreadable"`},
		{"GET", "/nowpay/messages?box=out&merchant=kiosk", nil, "", 200, ""},
		{"GET", "/nowpay/messages?box=out&account=main", nil, "", 400, "account: there is no such filter"},
		{"GET", "/nowpay/messages?box=in&merchant=shop", nil, "", 400, "merchant: there is no such filter"},
		{"GET", "/nowpay/messages?box=in&stat=dead", nil, "", 400, "stat: there is no such filter"},
		{"GET", "/nowpay/messages?box=in&state=dead&state=done", nil, "", 400, "state: is there more than once"},
		{"GET", "/nowpay/messages?box=in&state=", nil, "", 400, "state: has no value"},
		{"GET", "/nowpay/messages?box=in&limit=x", nil, "", 400, `is no number of messages`},
		{"GET", "/nowpay/messages?a=%zz", nil, "", 400, "reading the query"},
		{"POST", "/nowpay/messages?box=in", ours, "", 405, "another method"},

		{"GET", sent, nil, "", 200, `"note":"HTTP 204"`},
		{"GET", waits, nil, "", 200, `"state":"waiting"`},
		{"GET", "/nowpay/messages/none", nil, "", 404, "there is no such message"},
		{"GET", sent + "?bodies=true", nil, "", 400, "bodies: there is no such parameter"},
		{"GET", came + "?body=1", ours, "", 400, "is not true"},
		{"GET", came + "?body=true", nil, "", 403, "Nowpay-Admin: 1"},
		{"GET", came + "?body=true", http.Header{"Nowpay-Admin": {"0"}}, "", 403, "Nowpay-Admin: 1"},
		{"GET", came + "?body=true", ours, "", 200, "Asha Rao"},
		{"GET", sent + "?body=true", ours, "", 400, "only a callback has a body"},
		{"DELETE", sent, ours, "", 405, "another method"},

		{"GET", waits + "/drop", ours, "", 405, "another method"},
		{"POST", waits + "/drop", nil, drop, 403, "Nowpay-Admin: 1"},
		{"POST", waits + "/drop", ours, "", 400, "reading the body"},
		{"POST", waits + "/drop", ours, "{}", 400, "it takes a reason"},
		{"POST", waits + "/drop", ours, `{"reason":"a","Reason":"b"}`, 400, "reading the body"},
		{"POST", waits + "/drop", ours, `{"reason":"a","reason":"b"}`, 400, "reading the body"},
		{"POST", waits + "/drop", ours, `{"reason":"` + strings.Repeat("x", 5<<20), 400, "too large"},
		{"POST", waits + "/drop?force=true", ours, drop, 400, "takes no query"},
		{"POST", "/nowpay/messages/none/drop", ours, drop, 404, "there is no such message"},
		{"POST", sent + "/drop", ours, drop, 409, "it is done"},
		{"POST", waits + "/drop", ours, drop, 200, `"note":"it has closed"`},
		{"POST", waits + "/drop", ours, drop, 409, "it is dropped"},

		{"GET", sent + "/replay", ours, "", 405, "another method"},
		{"POST", sent + "/replay", nil, "", 403, "Nowpay-Admin: 1"},
		{"POST", sent + "/replay", ours, "{}", 400, "a replay takes no body"},
		{"POST", sent + "/replay?all=true", ours, "", 400, "takes no query"},
		{"POST", "/nowpay/messages/none/replay", ours, "", 404, "there is no such message"},
		{"POST", sent + "/replay", ours, "", 200, `"state":"waiting"`},

		{"GET", test, ours, "", 405, "another method"},
		{"POST", test, nil, "", 403, "Nowpay-Admin: 1"},
		{"POST", test, ours, "{}", 400, "a test takes no body"},
		{"POST", "/nowpay/merchants/kiosk/send-test", ours, "", 404, "no notify URL"},
		{"POST", "/nowpay/merchants/none/send-test", ours, "", 404, "no notify URL"},
		{"POST", test, ours, "", 200, `{"delivered":false,"result":"HTTP 503"}`},
	} {
		response := p.call(tt.method, tt.target, tt.header, tt.body) //nolint:bodyclose // it closes it at the end
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s %s %v %.80s: %d %.500s, %v; want %d %s", tt.method, tt.target, tt.header, tt.body, response.StatusCode, body, err, tt.status, tt.says)
		}
		if !strings.HasSuffix(tt.target, "?body=true") && strings.Contains(string(body), "Asha") {
			t.Errorf("%s %s shows what is personal: %s", tt.method, tt.target, body)
		}
	}

	for _, want := range []string{
		fmt.Sprintf(`"msg":"an operator dropped a message","message":%q`, p.waits),
		fmt.Sprintf(`"msg":"an operator had a message worked on again","message":%q`, p.done),
		`"msg":"an operator had a test notification sent","merchant":"shop","result":"HTTP 503"`,
	} {
		if n := strings.Count(string(p.Log()), want); n != 1 {
			t.Errorf("the log says %s %d times", want, n)
		}
	}
	for _, personal := range []string{"Asha Rao", bankInPost, "it has closed"} {
		if strings.Contains(string(p.Log()), personal) {
			t.Errorf("the log holds %s", personal)
		}
	}
}
