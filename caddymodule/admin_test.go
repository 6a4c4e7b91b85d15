package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// call sends a request to the admin API.
func (o *operator) call(method, target string, header http.Header, body string) *http.Response {
	o.t.Helper()
	request, err := http.NewRequestWithContext(o.t.Context(), method, o.AdminURL+target, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	response, err := o.Client("http/1.1").Do(request)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestAdminAPI(t *testing.T) {
	g := withTransactions(t, gatewaytest.Options{})
	o := &operator{Gateway: g, t: t, config: write(t, "Caddyfile", g.Caddyfile), way: "asking"}
	id := o.find("1002").Transaction
	path := "/nowpay/transactions/" + id
	ours := http.Header{"Nowpay-Admin": {"1"}}
	const settle = `{"state":"failed","actor":"asha","reason":"so"}`
	for _, tt := range []struct {
		method, target string
		header         http.Header
		body           string
		status         int
		says           string
	}{
		{"GET", "/nowpay/transactions", nil, "", 200, `"request_id":"1001"`},
		{"GET", "/nowpay/transactions?merchant=kiosk", nil, "", 200, ""},
		{"GET", "/nowpay/transactions?stat=success", nil, "", 400, "stat: there is no such filter"},
		{"GET", "/nowpay/transactions?a=%zz", nil, "", 400, "reading the query"},
		{"POST", "/nowpay/transactions", ours, "", 405, "another method"},
		{"HEAD", "/nowpay/transactions", nil, "", 405, ""},
		{"GET", path, nil, "", 200, `"events":[`},
		{"GET", path + "?answer=true", nil, "", 403, "Nowpay-Admin: 1"},
		{"GET", path + "?answer=true", ours, "", 200, `"content":{`},
		{"GET", "/nowpay/transactions/none", nil, "", 404, "there is no such transaction"},
		{"DELETE", path, ours, "", 405, "another method"},
		{"GET", "/nowpay/verify", nil, "", 200, `"problems":[]`},
		{"POST", "/nowpay/verify", nil, `{"heads":[]}`, 403, "Nowpay-Admin: 1"},
		{"POST", "/nowpay/verify", ours, `{"heads":[]}`, 200, `"problems":[]`},
		{"POST", "/nowpay/verify", ours, `{"heads":[{"chain":99,"gateway":"g","number":1,"mac":"00"}]}`, 200, "chain 99, which was known, is missing"},
		{"POST", "/nowpay/verify", ours, `{"heads":` + strings.Repeat("[", 5<<20), 400, "too large"},
		{"GET", path + "/revalidate", ours, "", 405, "another method"},
		{"POST", path + "/revalidate", nil, "", 403, "Nowpay-Admin: 1"},
		{"POST", path + "/revalidate", ours, "{}", 400, "takes no body"},
		{"POST", path + "/revalidate", ours, "", 409, "there is no status operation"},
		{"POST", "/nowpay/transactions/none/revalidate", ours, "", 404, "there is no such transaction"},
		{"GET", path + "/settle", ours, "", 405, "another method"},
		{"POST", path + "/settle", nil, settle, 403, "Nowpay-Admin: 1"},
		{"POST", path + "/settle", http.Header{"Nowpay-Admin": {"0"}}, settle, 403, "Nowpay-Admin: 1"},
		{"POST", path + "/settle", ours, "", 400, "reading the body"},
		{"POST", path + "/settle", ours, `{"state":"failed","actor":"asha","reason":"so","State":"success"}`, 400, "reading the body"},
		{"POST", path + "/settle", ours, `{"state":"failed","state":"success","actor":"asha","reason":"so"}`, 400, "reading the body"},
		{"POST", path + "/settle", ours, settle + settle, 400, "reading the body"},
		{"POST", path + "/settle", ours, `{"state":"failed","actor":"asha"}`, 400, "it takes a reason"},
		{"POST", path + "/settle", ours, `{"state":"unsent","actor":"asha","reason":"so"}`, 400, "must be success, failed or refused"},
		{"POST", path + "/settle", ours, `{"state":"failed","from":"success","actor":"asha","reason":"so"}`, 409, "it is pending, not success"},
		{"POST", "/nowpay/transactions/none/settle", ours, settle, 404, "there is no such transaction"},
		{"POST", path + "/settle", ours, settle, 200, `"after":{`},
		{"POST", path + "/settle", ours, settle, 409, "nothing was recorded"},
	} {
		response := o.call(tt.method, tt.target, tt.header, tt.body) //nolint:bodyclose // it closes it at the end
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s %s %v %.80s: %d %.500s, %v; want %d %s", tt.method, tt.target, tt.header, tt.body, response.StatusCode, body, err, tt.status, tt.says)
		}
	}

	log := string(g.Log())
	if want := fmt.Sprintf(`"transaction":%q,"actor":"asha","before":"pending","after":"failed"`, id); strings.Count(log, want) != 1 {
		t.Errorf("the log does not say %s once", want)
	}
	for _, personal := range []string{"Asha Rao", "50100012345678", "9876543210"} {
		if strings.Contains(log, personal) {
			t.Errorf("the log holds %s", personal)
		}
	}
}

// TestReloadEndsAnExport: neither a reload nor the end of the process waits for a
// reader that is slow, and what was read says that it is not all.
func TestReloadEndsAnExport(t *testing.T) {
	const many = 20_000 // more than what is on the way
	g := withTransactions(t, gatewaytest.Options{})
	o := &operator{Gateway: g, t: t}
	o.exec(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO transactions SELECT printf('00%%024d', i), account, printf('many%%d', i), merchant, operation, amount, day, state, attempt,
			provider_id, integrity, reversed, attention, created, updated, deadline, version, 0, checks, key_id, fingerprint, sealed
		FROM transactions, n WHERE request_id = '1001'`, many))
	response := o.call("GET", "/nowpay/transactions?merchant=shop", nil, "") //nolint:bodyclose // it closes it at the end
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() {
		t.Fatal(lines.Err())
	}
	if err := g.Load(gatewaytest.Options{Nowpay: walletStatus}); err != nil {
		t.Fatal(err)
	}
	read, last := 1, ""
	for lines.Scan() {
		read, last = read+1, lines.Text()
	}
	if read >= many || !strings.Contains(last, `"error":`) || lines.Err() != nil {
		t.Errorf("%d lines, the last of which is %s: %v", read, last, lines.Err())
	}
}

// TestAdminAPIWithoutAGateway: the endpoint outlives the gateway.
func TestAdminAPIWithoutAGateway(t *testing.T) {
	g := withTransactions(t, gatewaytest.Options{})
	o := &operator{Gateway: g, t: t, config: write(t, "Caddyfile", g.Caddyfile)}
	admin := fmt.Sprintf(`{"admin":{"listen":%q,"config":{"persist":false}}}`, strings.TrimPrefix(g.AdminURL, "http://"))
	if err := g.LoadJSON([]byte(admin)); err != nil {
		t.Fatal(err)
	}
	o.run("list").mustSay(t, 1, "no Nowpay gateway serves in this Caddy now")
	if err := g.Load(gatewaytest.Options{Nowpay: walletStatus}); err != nil {
		t.Fatal(err)
	}
	o.run("list").mustSay(t, 0, " 1001 ")

	// A configuration that cannot be started leaves the endpoint's modules of it,
	// and the gateway that was there before.
	busy := listen(t, freeAddress(t))
	defer busy.Close()
	config, err := g.Adapt(gatewaytest.Options{Nowpay: walletStatus})
	if err != nil {
		t.Fatal(err)
	}
	spoilt := strings.Replace(string(config), g.URL[strings.LastIndex(g.URL, ":"):], busy.Addr().String()[len("127.0.0.1"):], 1)
	if err := g.LoadJSON([]byte(spoilt)); err == nil {
		t.Fatal("it was loaded")
	}
	o.run("list").mustSay(t, 0, " 1001 ")
	if err := g.Load(gatewaytest.Options{Nowpay: walletStatus}); err != nil {
		t.Fatal(err)
	}
}
