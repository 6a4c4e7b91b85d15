package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestDemoOnce holds the story against what the gateway promises, step by step.
func TestDemoOnce(t *testing.T) {
	needExampleAddresses(t)
	r := command{args: []string{"nowpay", "demo", "--once"}}.run(t)
	r.mustSay(t, 0, "partner as 127.0.0.5", "from 127.0.0.5", `"key":"[redacted]"`, "it is not there")
	verdict := regexp.MustCompile(`(?m)^ *(\d+)  .+\n    (\S.*\S) +HTTP (\d+)  (\S+)  payments that reached Nowpay: (\d(?:, questions: \d)?)\n    because     \S`)
	want := []string{
		"passed on 200 success 1",
		"refused 401 unauthenticated 0",
		"refused 403 source-not-allowed 0",
		"refused 403 operation-not-allowed 0",
		"refused 403 amount-not-allowed 0",
		"refused 404 unknown-operation 0",
		"refused 400 malformed-body 0",
		"refused 400 credential-in-request 0",
		"held back 200 unknown 1",
		"held back 200 unknown 0, questions: 1",
		"refused 422 request-id-reused 0",
		"told 200 success 0, questions: 1",
		"replayed 200 success 0",
		"told 200 success 0",
		"held back 200 unknown 1",
		"passed on 200 success 1",
		"held back 200 pending 1",
	}
	steps := verdict.FindAllStringSubmatch(r.stdout, -1)
	if len(steps) != len(want) {
		t.Fatalf("%d verdicts, want %d:\n%s", len(steps), len(want), r.stdout)
	}
	for i, step := range steps {
		got := strings.Join([]string{step[2], step[3], step[4], step[5]}, " ")
		if step[1] != strconv.Itoa(i+1) || got != want[i] {
			t.Errorf("step %s: %s, want %s", step[1], got, want[i])
		}
	}
	if strings.Contains(r.stdout, "UNEXPECTED") || strings.Contains(r.stdout, "stays up") {
		t.Errorf("it says:\n%s", r.stdout)
	}
	mustBeFree(t)
}

// TestDemoOfBusyAddress: the story is not played to somebody else.
func TestDemoOfBusyAddress(t *testing.T) {
	needExampleAddresses(t)
	for _, address := range []string{"127.0.0.9:8490", "127.0.0.9:8491", "127.0.0.1:8480"} {
		taken := listen(t, address)
		r := command{args: []string{"nowpay", "demo", "--once"}}.run(t)
		taken.Close()
		r.mustSay(t, 1, "address already in use")
		if r.stdout != "" {
			t.Errorf("with %s taken it printed %s", address, r.stdout)
		}
	}
}

// TestDemo stays up, does what README.md and it itself say, and ends.
func TestDemo(t *testing.T) {
	needPart(t, hasCurl(), "curl and bash")
	needExampleAddresses(t)
	demo := command{args: []string{"nowpay", "demo"}}.start(t)
	demo.prints("Ctrl-C ends the demo.")

	t.Run("README", func(t *testing.T) { tryReadme(t) })
	t.Run("docs", func(t *testing.T) {
		told := ""
		for _, name := range []string{"docs/outcomes.md", "docs/simulator.md"} {
			for _, block := range fenced(read(t, name)) {
				if block.language == "sh" && strings.Contains(block.text, "curl") {
					told += shell(t, block.text)
				}
			}
		}
		for _, want := range []string{`"state":"success"`, `"match":true`} { // of docs/outcomes.md
			if !strings.Contains(told, want) {
				t.Errorf("no %s in\n%s", want, told)
			}
		}
	})
	t.Run("what to try", func(t *testing.T) {
		_, rest, _ := strings.Cut(demo.out.String(), "in another terminal:\n")
		script, _, found := strings.Cut(rest, "A fault of the provider:")
		if !found || strings.Count(script, "curl ") != 6 {
			t.Fatalf("suggested: %q", script)
		}
		out := shell(t, script)
		for _, want := range []string{"Nowpay-Gateway-Outcome: success", `"events"`, `"operations"`, `{"status":"ok"}`, "nowpay_exchanges_total{", `"entries"`} {
			if !strings.Contains(out, want) {
				t.Errorf("no %s in\n%s", want, out)
			}
		}
	})

	logFile := regexp.MustCompile(`tail -f (\S+)`).FindStringSubmatch(demo.out.String())
	if logFile == nil {
		t.Fatal("the demo does not say where its log is")
	}
	if content, err := os.ReadFile(logFile[1]); err != nil || !strings.Contains(string(content), `"msg":"exchange"`) {
		t.Errorf("log %s: %v\n%s", logFile[1], err, content)
	}
	if code := demo.signal(os.Interrupt); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
	mustBeFree(t)
	if _, err := os.Stat(filepath.Dir(logFile[1])); !os.IsNotExist(err) {
		t.Errorf("the demo left its folder: %v", err)
	}
}

func hasCurl() bool {
	_, curl := exec.LookPath("curl")
	_, bash := exec.LookPath("bash")
	return curl == nil && bash == nil
}

// shell runs lines of documentation, of which none may fail.
func shell(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", "curl() { command curl --silent --show-error --noproxy '*' --max-time 30 \"$@\"; }\n"+script)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s\n%s", err, script, out)
	}
	return string(out)
}

// tryReadme runs README.md's requests and compares what comes back.
func tryReadme(t *testing.T) {
	blocks := fenced(read(t, "README.md"))
	tried := 0
	for i, block := range blocks {
		if block.language != "sh" || !strings.HasPrefix(block.text, "curl -i ") {
			continue
		}
		tried++
		if i+1 == len(blocks) || blocks[i+1].language != "" {
			t.Fatalf("README.md does not say what comes back of\n%s", block.text)
		}
		promised := parseAnswer(t, blocks[i+1].text)
		got := parseAnswer(t, strings.ReplaceAll(shell(t, block.text), "\r\n", "\n"))
		if got.status != promised.status {
			t.Errorf("status line %q, README.md says %q", got.status, promised.status)
		}
		for name := range promised.header {
			if !same(name, got.header.Get(name), promised.header.Get(name)) {
				t.Errorf("header %s: %q, README.md says %q", name, got.header.Get(name), promised.header.Get(name))
			}
		}
		if len(got.body) != len(promised.body) {
			t.Errorf("body %v, README.md says %v", got.body, promised.body)
		}
		for name, value := range promised.body {
			if is, ok := got.body[name].(string); ok && same(name, is, value.(string)) {
				continue
			}
			if got.body[name] != value {
				t.Errorf("body's %s: %v, README.md says %v", name, got.body[name], value)
			}
		}
	}
	if tried < 2 {
		t.Errorf("README.md has %d requests with curl", tried)
	}
}

type promisedAnswer struct {
	status string
	header http.Header
	body   map[string]any
}

// parseAnswer reads an answer, or as much of it as documentation shows: "…"
// stands for more headers.
func parseAnswer(t *testing.T, text string) promisedAnswer {
	t.Helper()
	a := promisedAnswer{header: make(http.Header)}
	lines := bufio.NewScanner(strings.NewReader(text))
	for first := true; lines.Scan(); first = false {
		line := lines.Text()
		name, value, isHeader := strings.Cut(line, ": ")
		switch {
		case first:
			a.status = line
		case strings.HasPrefix(line, "{"):
			if err := json.Unmarshal([]byte(line), &a.body); err != nil {
				t.Fatalf("body %q: %v", line, err)
			}
		case isHeader:
			a.header.Set(name, value)
		case line != "" && line != "…":
			t.Fatalf("line %q in an answer", line)
		}
	}
	if a.body == nil || len(a.header) == 0 {
		t.Fatalf("not an answer: %q", text)
	}
	return a
}

// same compares values; of those that are new each time only the form.
func same(name, got, want string) bool {
	switch name {
	case "Nowpay-Gateway-Transaction", "instance", "ourrequestid", "rrn", "date":
		form := func(s string) string {
			s = regexp.MustCompile(`[0-9A-Z]`).ReplaceAllString(s, "0")
			return strings.Replace(s, "am", "pm", 1)
		}
		return form(got) == form(want)
	}
	return got == want
}

// mustBeFree fails the test if something of the example listens still.
func mustBeFree(t *testing.T) {
	t.Helper()
	for _, address := range exampleAddresses {
		listen(t, address).Close()
	}
}

// TestExampleInTwoProcesses is the other way to run Caddyfile.example, in the
// order that the file gives and in the other one.
func TestExampleInTwoProcesses(t *testing.T) {
	for _, gatewayFirst := range []bool{false, true} {
		needExampleAddresses(t)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Caddyfile.example"), []byte(read(t, "Caddyfile.example")), 0o600); err != nil {
			t.Fatal(err)
		}
		in := func(args ...string) command { return command{dir: dir, args: args} }
		provider, gateway := in("nowpay", "simulate"), in("run", "--config", "Caddyfile.example")

		var p, g *running
		if gatewayFirst {
			g = gateway.start(t)
			gatewaytest.Eventually(t, "the gateway to say what is missing", func() bool {
				status, body := get("http://127.0.0.1:8480/health/ready")
				return status == http.StatusServiceUnavailable && strings.Contains(body, "credential-unavailable: account main")
			})
			p = provider.start(t)
		} else {
			p = provider.start(t)
			p.prints("simulated Nowpay")
			g = gateway.start(t)
		}
		gatewaytest.Eventually(t, "the gateway to be ready", func() bool {
			status, _ := get("http://127.0.0.1:8480/health/ready")
			return status == http.StatusOK
		})
		in("nowpay", "health").run(t).mustSay(t, 0, `{"status":"ok"}`)
		in("nowpay", "check", "--config", "Caddyfile.example").run(t).mustSay(t, 0, "ok      credential main", "ok      egress address 127.0.0.5", "ok      upstream")

		payAsDemoShop(t, "http://127.0.0.1:8480")
		_, body := get("http://127.0.0.9:8491/ledger")
		var ledger simulator.Ledger
		if err := json.Unmarshal([]byte(body), &ledger); err != nil || ledger.Executions["20260001"] != 1 || len(ledger.Entries) != 1 {
			t.Errorf("ledger: %v %s", err, body)
		}
		mustNotLog(t, filepath.Join(dir, "nowpay-secret.json"), g)
		for _, r := range []*running{g, p} {
			if code := r.signal(syscall.SIGTERM); code != 0 {
				t.Errorf("%v: exit code %d after SIGTERM", r.cmd.Args[1:], code)
			}
		}
		mustBeFree(t)
	}
}

// mustNotLog fails the test if a process has printed the key of a secret file.
func mustNotLog(t *testing.T, secretFile string, r *running) {
	t.Helper()
	content, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	var c simulator.Credential
	if err := json.Unmarshal(content, &c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.out.String()+r.logs.String(), c.Key) {
		t.Errorf("%v printed the key", r.cmd.Args[1:])
	}
}

// payAsDemoShop makes the payment of README.md.
func payAsDemoShop(t *testing.T, gateway string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, gateway+"/api/bank/payout", strings.NewReader(gatewaytest.Payout("20260001", "1.50")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer npg_demo_shop")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Nowpay-Gateway-Outcome") != "success" {
		t.Errorf("payment: %s %v %s", response.Status, response.Header, body)
	}
}

// get asks for a URL; without an answer the status is 0.
func get(url string) (status int, body string) {
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(content)
}
