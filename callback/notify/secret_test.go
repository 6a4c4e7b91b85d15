package notify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
)

func TestParseSecret(t *testing.T) {
	encode := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), n)) }
	for _, n := range []int{24, 25, 32, 64} {
		s, err := notify.ParseSecret(encode(n))
		if err != nil || !bytes.Equal(s.Reveal(), bytes.Repeat([]byte("k"), n)) {
			t.Errorf("%d bytes: %q, %v", n, s.Reveal(), err)
		}
	}
	good := encode(32)
	for name, text := range map[string]string{
		"empty": "", "prefix": "whsec_", "short": encode(23), "long": encode(65),
		"without prefix": strings.TrimPrefix(good, "whsec_"), "other prefix": strings.Replace(good, "whsec", "WHSEC", 1),
		"line end within": good[:20] + "\n" + good[20:], "line end": good + "\n", "space": " " + good,
		"no padding": strings.TrimRight(good, "="), "more padding": good + "=",
		"URL alphabet":  "whsec_" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 15)),
		"trailing bits": good[:len(good)-2] + "t=",
		"not base64":    "whsec_" + strings.Repeat("*", 44),
	} {
		s, err := notify.ParseSecret(text)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		if s.Reveal() != nil || strings.Contains(err.Error(), "a2tr") || strings.Contains(err.Error(), "***") {
			t.Errorf("%s: %q, %v", name, s.Reveal(), err)
		}
	}
}

func TestGenerateSecret(t *testing.T) {
	text, err := notify.GenerateSecret(bytes.NewReader(bytes.Repeat([]byte{'a'}, 40)))
	if err != nil || text != secretText('a') {
		t.Errorf("GenerateSecret() = %q, %v", text, err)
	}
	if text, err := notify.GenerateSecret(bytes.NewReader(make([]byte, 31))); err == nil || text != "" {
		t.Errorf("with too little randomness: %q, %v", text, err)
	}
}

// leaks reports whether text holds the key of secret b, in any usual notation,
// or the token of the URL.
func leaks(text string, b byte) bool {
	key := bytes.Repeat([]byte{b}, 8)
	decimal := strings.Trim(fmt.Sprint(key), "[]")
	literal := fmt.Sprintf("%#v", key)
	for _, form := range []string{
		string(key), base64.StdEncoding.EncodeToString(key[:6]), hex.EncodeToString(key), fmt.Sprintf("% x", key),
		decimal, strings.ReplaceAll(decimal, " ", ","), literal[len("[]byte{") : len(literal)-1], "tok-4711",
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return true
		}
	}
	return false
}

func TestNothingPrintsSecrets(t *testing.T) {
	if !leaks(secretText('Q'), 'Q') || !leaks(fmt.Sprintf("%x", bytes.Repeat([]byte{'Q'}, 32)), 'Q') || !leaks(fmt.Sprint(bytes.Repeat([]byte{'Q'}, 32)), 'Q') {
		t.Fatal("leaks does not see what it is to see")
	}
	path := writeSecrets(t, 0o600, secretText('Q'))
	file := notify.NewSecretFile(path)
	secrets, err := file.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusInternalServerError))
	e := endpoint(t, r.URL+"/?token=tok-4711")
	e.Secrets = file.Secrets
	s := newSender(t, e)
	result := s.Send(t.Context(), message("msg_1"))
	refused := s.Send(t.Context(), notify.Message{})
	_, bad := notify.ParseSecret(secretText('Q') + "x")
	things := []any{
		secrets, secrets[0], &secrets[0],
		struct{ S notify.Secret }{secrets[0]},
		struct{ s notify.Secret }{secrets[0]},
		map[string]any{"s": secrets[0]},
		file, e, &e,
		struct{ E notify.Endpoint }{e},
		s,
		struct{ S *notify.Sender }{s},
		result, &result, refused, refused.Err, bad,
	}
	for i, x := range things {
		for _, verb := range "vTtbcdoOqxXUeEfFgGspw!z" {
			for _, flag := range []string{"", "+", "#", " ", "-40", ".3"} {
				format := "%" + flag + string(verb)
				if text := fmt.Sprintf(format, x); leaks(text, 'Q') {
					t.Errorf("%d %T with %s: %s", i, x, format, text)
				}
			}
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("m", "x", x)
		}
		if b, err := json.Marshal(x); err == nil {
			out.Write(b)
		}
		if leaks(out.String(), 'Q') {
			t.Errorf("%d %T: %s", i, x, &out)
		}
	}
	if got := fmt.Sprintf("%v %s %#v", secrets[0], secrets[0], secrets[0]); got != "[redacted] [redacted] [redacted]" {
		t.Errorf("a secret prints as %s", got)
	}
	if got := fmt.Sprint(e); got != r.URL {
		t.Errorf("an endpoint prints as %s", got)
	}
}

func writeSecrets(t *testing.T, mode fs.FileMode, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets")
	rewrite(t, path, mode, lines...)
	return path
}

func rewrite(t *testing.T, path string, mode fs.FileMode, lines ...string) {
	t.Helper()
	next := path + ".new"
	if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(next, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// wantSecrets looks for the first bytes of the secrets of a file.
func wantSecrets(t *testing.T, f *notify.SecretFile, want string) {
	t.Helper()
	secrets, err := f.Secrets()
	var got strings.Builder
	for _, s := range secrets {
		got.WriteByte(s.Reveal()[0])
	}
	if err != nil || got.String() != want {
		t.Errorf("Secrets() = %q, %v, want %q", got.String(), err, want)
	}
}

func TestSecretFileRotates(t *testing.T) {
	path := writeSecrets(t, 0o640, "# ours since 2026", "", secretText('a'), "")
	f := notify.NewSecretFile(path)
	if f.Err() != nil {
		t.Errorf("before it was asked: %v", f.Err())
	}
	wantSecrets(t, f, "a")
	rewrite(t, path, 0o600, "  # next", "\t"+secretText('b')+"\r", "", secretText('a')+" ")
	wantSecrets(t, f, "ba")
	rewrite(t, path, 0o600, secretText('b'))
	wantSecrets(t, f, "b")
	// In place, of the same size, inode and time.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(secretText('c')), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, f, "c")
	if f.Err() != nil {
		t.Errorf("Err() = %v", f.Err())
	}
	// What was given out is the caller's.
	secrets, _ := f.Secrets()
	secrets[0] = notify.Secret{}
	wantSecrets(t, f, "c")
}

func TestSecretFileBroken(t *testing.T) {
	long := "# " + strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		breakIt func(path string)
		want    string
	}{
		"missing":        {func(path string) { _ = os.Remove(path) }, "no such file"},
		"open to all":    {func(path string) { _ = os.Chmod(path, 0o604) }, "0604"},
		"writable":       {func(path string) { _ = os.Chmod(path, 0o602) }, "0602"},
		"empty":          {func(path string) { rewrite(t, path, 0o600) }, "no secret"},
		"comments":       {func(path string) { rewrite(t, path, 0o600, "# "+secretText('a'), "") }, "no secret"},
		"garbage":        {func(path string) { rewrite(t, path, 0o600, secretText('a'), "garbage-4711") }, "line 2"},
		"binary":         {func(path string) { rewrite(t, path, 0o600, "\x00\xff\xfe") }, "line 1"},
		"same line":      {func(path string) { rewrite(t, path, 0o600, secretText('a')+" "+secretText('b')) }, "line 1"},
		"comment behind": {func(path string) { rewrite(t, path, 0o600, secretText('a')+" # new") }, "line 1"},
		"three":          {func(path string) { rewrite(t, path, 0o600, secretText('a'), secretText('b'), secretText('c')) }, "line 3"},
		"twice the same": {func(path string) { rewrite(t, path, 0o600, secretText('a'), secretText('a')) }, "same"},
		"too long":       {func(path string) { rewrite(t, path, 0o600, secretText('a'), long) }, "longer"},
		"folder":         {func(path string) { _ = os.Remove(path); _ = os.Mkdir(path, 0o700) }, "regular"},
		"pipe":           {func(path string) { _ = os.Remove(path); _ = syscall.Mkfifo(path, 0o600) }, "regular"},
	} {
		path := writeSecrets(t, 0o600, secretText('z'))
		later := notify.NewSecretFile(path)
		wantSecrets(t, later, "z")
		c.breakIt(path)
		check := func(err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), path) != 1 ||
				strings.Contains(err.Error(), "whsec_YWF") || strings.Contains(err.Error(), "garbage-4711") {
				t.Errorf("%s: %v", name, err)
			}
		}
		wantSecrets(t, later, "z") // stale beats absent
		check(later.Err())

		first := notify.NewSecretFile(path)
		secrets, err := first.Secrets()
		if len(secrets) != 0 {
			t.Errorf("%s, from the beginning: %d secrets", name, len(secrets))
		}
		check(err)
		check(first.Err())

		_ = os.RemoveAll(path)
		rewrite(t, path, 0o600, secretText('y'))
		wantSecrets(t, later, "y")
		wantSecrets(t, first, "y")
		if err := errors.Join(first.Err(), later.Err()); err != nil {
			t.Errorf("%s, repaired: %v", name, err)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(secretText('a'))
	f.Add("whsec_")
	f.Add("whsec_AAA=\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := notify.ParseSecret(text)
		if err != nil {
			return
		}
		// What is accepted has one spelling only.
		if got := "whsec_" + base64.StdEncoding.EncodeToString(s.Reveal()); got != text {
			t.Errorf("%q is read as %q", text, got)
		}
		if fmt.Sprint(s) != "[redacted]" {
			_, _ = io.WriteString(t.Output(), "printed")
			t.Fail()
		}
	})
}
