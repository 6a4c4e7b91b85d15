package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/nowpay-gateway/nowpay-gateway/caddymodule"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

var update = flag.Bool("update", false, "rewrite the expected half of the Caddyfile goldens")

// separator stands between a Caddyfile and what is expected of it.
const separator = "----------\n"

// TestCaddyfile adapts and validates each Caddyfile of testdata/caddyfile. What
// is expected of it is JSON, which also means that it is valid, or
//
//	adapt error: …       from reading the Caddyfile, with file and line
//	provision error: …   from `caddy validate`, as users of JSON get it too
func TestCaddyfile(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/caddy.service")
	t.Setenv("NOWPAY_TEST_ACCOUNT", "main")
	t.Setenv("NOWPAY_TEST_ADDRESS", "192.0.2.7")
	t.Setenv("NOWPAY_TEST_AMOUNT", "5000.50")
	t.Setenv("NOWPAY_TEST_FIELD", "bank")
	t.Setenv("NOWPAY_TEST_FILE", "testdata/ca.pem")
	t.Setenv("NOWPAY_TEST_OPERATION", "bank/payout")
	t.Setenv("NOWPAY_TEST_ROLE", "6f1c9c1e-role")
	t.Setenv("NOWPAY_TEST_EMPTY", "")
	t.Setenv("NOWPAY_TEST_HASH", "sha256:"+strings.Repeat("ab", 32))

	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) { testGolden(t, file) })
	}
}

func testGolden(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, ok := strings.Cut(string(data), separator)
	if !ok && !*update {
		t.Fatalf("%s has no line of dashes", file)
	}
	got := adaptAndValidate(t, input)
	if got == want {
		return
	}
	if !*update {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
		return
	}
	if err := os.WriteFile(file, []byte(input+separator+got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// adaptAndValidate does to a Caddyfile what `caddy validate` does.
func adaptAndValidate(t *testing.T, input string) string {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		return "adapt error: " + err.Error() + "\n"
	}
	for _, warning := range warnings {
		t.Errorf("%s:%d: %s (does `caddy fmt` agree with the file?)", warning.File, warning.Line, warning.Message)
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatalf("decoding the adapted configuration: %v", err)
	}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "discard"}`)}},
	}}
	if err := caddy.Validate(&config); err != nil {
		return "provision error: " + err.Error() + "\n"
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String() + "\n"
}

// TestDumpKeepsPlaceholders checks that what a placeholder stands for is used,
// and is not in what the admin API shows.
func TestDumpKeepsPlaceholders(t *testing.T) {
	const value = "token-hash-or-what-else-a-placeholder-stands-for"
	t.Setenv("NOWPAY_TEST_USER", value)
	t.Setenv("NOWPAY_TEST_HASH", gatewaytest.TokenHash(value))
	g := gatewaytest.Start(t, gatewaytest.Options{Shop: "user {env.NOWPAY_TEST_USER}\ntoken {env.NOWPAY_TEST_HASH}"})

	answer := g.Must(gatewaytest.Call{Token: value, Body: gatewaytest.Payout("1001", "1.50")})
	if answer.StatusCode != http.StatusOK {
		t.Errorf("a token behind a placeholder: %d %s", answer.StatusCode, answer.Body)
	}
	response, err := http.Get(g.AdminURL + "/config/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	dump, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"{env.NOWPAY_TEST_USER}"`, `"{env.NOWPAY_TEST_HASH}"`} {
		if !bytes.Contains(dump, []byte(want)) {
			t.Errorf("the dump has no %s:\n%s", want, dump)
		}
	}
	if bytes.Contains(dump, []byte(value)) || bytes.Contains(dump, []byte(gatewaytest.TokenHash(value))) {
		t.Errorf("the dump shows what a placeholder stands for:\n%s", dump)
	}
}
