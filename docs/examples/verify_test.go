// Package examples_test runs the examples of the documentation.
package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/internal/nodetest"
)

// language is one in which there is an example.
type language struct {
	name string
	// programs that it needs, and the Debian packages that have them.
	programs map[string]string
	// command makes the command that serves on a port, in a folder of its own.
	command func(t *testing.T, folder, port string) *exec.Cmd
}

func languages() []language {
	return []language{
		{"go", map[string]string{"go": "golang"}, goCommand},
		{"node", map[string]string{"node": "nodejs", "npm": "npm"}, nodeCommand},
		{"php", map[string]string{"php": "php-cli"}, func(t *testing.T, _, port string) *exec.Cmd {
			return exec.CommandContext(t.Context(), "php", "-S", "127.0.0.1:"+port, example(t, "php", "receive.php"))
		}},
		{"python", map[string]string{"python3": "python3"}, func(t *testing.T, _, _ string) *exec.Cmd {
			return exec.CommandContext(t.Context(), "python3", "-B", example(t, "python", "receive.py"))
		}},
		// javac, because Java alone cannot run a source file.
		{"java", map[string]string{"java": "default-jdk-headless", "javac": "default-jdk-headless"}, func(t *testing.T, _, _ string) *exec.Cmd {
			return exec.CommandContext(t.Context(), "java", "-XX:TieredStopAtLevel=1", example(t, "java", "Receive.java"))
		}},
	}
}

// example is the path of a file of the examples.
func example(t *testing.T, parts ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"verify"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func goCommand(t *testing.T, folder, _ string) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(folder, "verify")
	mustRun(t, exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./verify/go"))
	return exec.CommandContext(t.Context(), binary)
}

// nodeCommand runs the example with what it depends on.
func nodeCommand(t *testing.T, folder, _ string) *exec.Cmd {
	t.Helper()
	installed := nodetest.Install(t, example(t, "node"))
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	copyExample(t, "node", folder, "package.json", "server.js")
	return exec.CommandContext(t.Context(), "node", filepath.Join(folder, "server.js"))
}

func copyExample(t *testing.T, language, into string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(into, name), mustRead(t, example(t, language, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// missing skips a test that cannot have what it needs; in CI it fails.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func mustRun(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// output is what a program says, which it may do while the test reads it.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// server is an example that runs.
type server struct {
	url  *url.URL // nil if it did not start
	says *output
}

// serve starts an example and waits until it listens, or ends.
func (l language) serve(t *testing.T, secret string) server {
	t.Helper()
	port := freePort(t)
	c := l.command(t, t.TempDir(), port)
	s := server{says: new(output)}
	c.Env = append(os.Environ(), "WEBHOOK_SECRET="+secret, "PORT="+port)
	c.Stdout, c.Stderr = s.says, s.says
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // it is killed in the end
		close(ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			s.url = &url.URL{Scheme: "http", Host: "127.0.0.1:" + port, Path: "/"}
			return s
		}
		select {
		case <-ended:
			return s
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("it does not listen:\n%s", s.says)
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// send has the gateway's own sender send a message there.
func send(t *testing.T, to *url.URL, m notify.Message, secrets ...string) notify.Result {
	t.Helper()
	sender, err := notify.New(notify.Endpoint{URL: to, Private: true, Secrets: func() (parsed []notify.Secret, err error) {
		for _, text := range secrets {
			secret, err := notify.ParseSecret(text)
			if err != nil {
				return nil, err
			}
			parsed = append(parsed, secret)
		}
		return parsed, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	return sender.Send(t.Context(), m)
}

// request is a notification on its way.
type request struct {
	header http.Header
	body   string
}

// signed is what the gateway sends.
func signed(t *testing.T, m notify.Message, secrets ...string) request {
	t.Helper()
	var r request
	catcher := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
		body, _ := io.ReadAll(got.Body)
		r = request{got.Header.Clone(), string(body)}
	}))
	defer catcher.Close()
	to, err := url.Parse(catcher.URL)
	if err != nil {
		t.Fatal(err)
	}
	if result := send(t, to, m, secrets...); !result.Delivered() {
		t.Fatalf("signing: %s", result)
	}
	return r
}

// deliver posts a request to an example, and returns the status.
func (s server) deliver(t *testing.T, method string, r request) int {
	t.Helper()
	status, err := s.try(t, method, r)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.says)
	}
	return status
}

func (s server) try(t *testing.T, method string, r request) (status int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url.String(), strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func newSecret(t *testing.T, seed string) string {
	t.Helper()
	text, err := notify.GenerateSecret(strings.NewReader(strings.Repeat(seed, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestVerify holds every example against the notifications that the gateway
// signs, and against those that others could make of them.
func TestVerify(t *testing.T) {
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			for _, program := range slices.Sorted(maps.Keys(l.programs)) {
				if _, err := exec.LookPath(program); err != nil {
					missing(t, fmt.Sprintf("%s is missing: install Debian's package %s", program, l.programs[program]))
				}
			}
			l.verify(t)
			l.verifyWithoutSecret(t)
		})
	}
}

func (l language) verify(t *testing.T) {
	t.Helper()
	mine, next, others := newSecret(t, "m"), newSecret(t, "n"), newSecret(t, "o")
	s := l.serve(t, mine)
	if s.url == nil {
		t.Fatalf("it has ended:\n%s", s.says)
	}
	const body = `{"type":"transaction.success","timestamp":"2026-11-26T10:00:00Z", "data":{"request_id":"20260001 \u00e9é"}}`
	message := func(age time.Duration) notify.Message {
		return notify.Message{ID: "msg_01KAZ3V5M8Q2T7W9X4Y6Z8A1B3-3", Time: time.Now().Add(-age), Body: []byte(body)}
	}
	change := func(r request, change func(*request)) request {
		r.header = r.header.Clone()
		change(&r)
		return r
	}
	genuine := signed(t, message(0), mine)
	setting := func(name, value string) request {
		return change(genuine, func(r *request) { r.header.Set(name, value) })
	}
	without := func(name string) request {
		return change(genuine, func(r *request) { r.header.Del(name) })
	}
	signature := genuine.header.Get(webhooks.HeaderWebhookSignature)
	seconds, err := strconv.ParseInt(genuine.header.Get(webhooks.HeaderWebhookTimestamp), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		request request
		accepts bool
	}{
		{"genuine", genuine, true},
		{"genuine again", genuine, true},
		{"four minutes old", signed(t, message(4*time.Minute), mine), true},
		{"signed twice, this secret being the newer one", signed(t, message(0), mine, others), true},
		{"signed twice, this secret being the older one", signed(t, message(0), next, mine), true},
		{"a signature of another version in front", setting("webhook-signature", "v1a,AAAA "+signature), true},

		{"another body", change(genuine, func(r *request) { r.body = strings.Replace(body, "0001", "0002", 1) }), false},
		{"a body that means the same", change(genuine, func(r *request) { r.body = strings.Replace(body, ", ", ",", 1) }), false},
		{"no body", change(genuine, func(r *request) { r.body = "" }), false},
		{"another secret", signed(t, message(0), others), false},
		{"two other secrets", signed(t, message(0), others, next), false},
		{"six minutes old", signed(t, message(6*time.Minute), mine), false},
		{"six minutes ahead", signed(t, message(-6*time.Minute), mine), false},
		{"another timestamp", setting("webhook-timestamp", strconv.FormatInt(seconds+1, 10)), false},
		{"a timestamp that is no number", setting("webhook-timestamp", "now"), false},
		{"an endless timestamp", setting("webhook-timestamp", strings.Repeat("9", 40)), false},
		{"another id", setting("webhook-id", "msg_01KAZ3V5M8Q2T7W9X4Y6Z8A1B3-4"), false},
		{"no id", without("webhook-id"), false},
		{"no timestamp", without("webhook-timestamp"), false},
		{"no signature", without("webhook-signature"), false},
		{"an empty signature", setting("webhook-signature", ""), false},
		{"a version without a signature", setting("webhook-signature", "v1 v1, "), false},
		{"the signature under another version", setting("webhook-signature", strings.Replace(signature, "v1", "v2", 1)), false},
		{"the signature without a version", setting("webhook-signature", strings.TrimPrefix(signature, "v1,")), false},
		{"half of the signature", setting("webhook-signature", signature[:len(signature)/2]), false},
		{"a signature of other letters", setting("webhook-signature", "v1,é"), false},
	} {
		status := s.deliver(t, http.MethodPost, c.request)
		switch {
		case c.accepts && status != http.StatusNoContent:
			t.Errorf("%s: HTTP %d, want 204\n%s", c.name, status, s.says)
		case !c.accepts && status != http.StatusUnauthorized:
			t.Errorf("%s: HTTP %d, want 401\n%s", c.name, status, s.says)
		}
	}
	large := message(0)
	large.Body = []byte(`{"type":"` + strings.Repeat("x", 2<<20) + `"}`)
	// Or it hangs up before it has all of it.
	if status, err := s.try(t, http.MethodPost, signed(t, large, mine)); err == nil && (status < 400 || status >= 500) {
		t.Errorf("two MiB: HTTP %d, want 4xx", status)
	}
	if status := s.deliver(t, http.MethodGet, request{genuine.header, ""}); status == http.StatusNoContent {
		t.Errorf("a GET: HTTP %d", status)
	}
	if result := send(t, s.url, message(0), mine); !result.Delivered() {
		t.Errorf("the gateway's sender: %s", result)
	}
	if strings.Contains(s.says.String(), mine) || strings.Contains(s.says.String(), strings.TrimPrefix(mine, "whsec_")) {
		t.Errorf("it shows its secret:\n%s", s.says)
	}
}

// verifyWithoutSecret: an example that was given none believes nobody, whatever
// they sign with.
func (l language) verifyWithoutSecret(t *testing.T) {
	t.Helper()
	// To HMAC a key of zeros is the same as an empty one.
	zeros := newSecret(t, "\x00")
	for _, none := range []string{"", "whsec_", "whsec_AAAA", strings.TrimPrefix(zeros, "whsec_")} {
		s := l.serve(t, none)
		if s.url == nil {
			continue
		}
		m := notify.Message{ID: "msg_1", Time: time.Now(), Body: []byte(`{"type":"transaction.success","data":{"request_id":"1"}}`)}
		if status := s.deliver(t, http.MethodPost, signed(t, m, zeros)); status < 400 {
			t.Errorf("with the secret %q: HTTP %d", none, status)
		}
	}
}

// schema is the part of a JSON Schema that is used here.
type schema struct {
	Ref        string            `json:"$ref"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	Enum       []string          `json:"enum"`
	Defs       map[string]schema `json:"$defs"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	var root schema
	if err := json.Unmarshal(mustRead(t, "../notification.schema.json"), &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestSchema: the schema of notifications has the members that they have, and
// requires those that are always there.
func TestSchema(t *testing.T) {
	root := readSchema(t)
	compare(t, root, root, reflect.TypeFor[gateway.Notification]())
}

func compare(t *testing.T, root, s schema, described reflect.Type) {
	t.Helper()
	for described.Kind() == reflect.Pointer || described.Kind() == reflect.Slice {
		if described.Kind() == reflect.Slice && s.Items != nil {
			s = *s.Items
		}
		described = described.Elem()
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		s = root.Defs[name]
	}
	if described.Kind() != reflect.Struct || described == reflect.TypeFor[time.Time]() {
		return
	}
	// Only in answers to a merchant's own calls.
	answers := []string{"asked", "detail", "notified", "match"}
	var members, required []string
	for field := range described.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if slices.Contains(answers, name) {
			continue
		}
		members = append(members, name)
		if options == "" {
			required = append(required, name)
		}
		if property, ok := s.Properties[name]; ok {
			compare(t, root, property, field.Type)
		}
	}
	if got, want := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(slices.Values(members)); !slices.Equal(got, want) {
		t.Errorf("%s: members %q, want %q", described, got, want)
	}
	if got, want := slices.Sorted(slices.Values(s.Required)), slices.Sorted(slices.Values(required)); !slices.Equal(got, want) {
		t.Errorf("%s: required %q, want %q", described, got, want)
	}
}

// TestDocumentedNotification: the notification that the documentation shows is
// one.
func TestDocumentedNotification(t *testing.T) {
	block := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindSubmatch(mustRead(t, "../notifications.md"))
	if block == nil {
		t.Fatal("it shows none")
	}
	var n gateway.Notification
	decoder := json.NewDecoder(bytes.NewReader(block[1]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&n); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := errors.Join(json.Unmarshal(block[1], &want), json.Unmarshal(again, &got)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the gateway would write it as\n%s", again)
	}
	if types := readSchema(t).Properties["type"].Enum; !slices.Contains(types, n.Type) {
		t.Errorf("type %q, want one of %q", n.Type, types)
	}
}
