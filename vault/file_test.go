package vault_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

const goodFile = `{"username":"1001","key":"k3y-1-s3cr3t"}`

func newFile(t *testing.T, path string) (*vault.File, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	f := vault.NewFile(path, vault.Options{Logger: log.logger()})
	t.Cleanup(func() {
		f.Close()
		mustNotHold(t, log.String())
	})
	return f, log
}

func TestFileContent(t *testing.T) {
	for _, tt := range []struct {
		name, content, want string // "" no error
	}{
		{"good", goodFile, ""},
		{"other order and white space", " {\n\t\"key\" : \"k3y-1-s3cr3t\" ,\r\n\"username\":\"1001\" }\n", ""},
		{"number", `{"username":1001,"key":"k3y-1-s3cr3t"}`, ""},
		{"escapes", `{"username":"\u0031001","key":"k3y-1-s3cr3\u0074"}`, ""},
		{"empty", ``, "not a well-formed JSON object"},
		{"list", `["1001","k3y-1-s3cr3t"]`, "not a well-formed JSON object"},
		{"cut off", `{"username":"1001","key":"k3y-1-s3cr3t"`, "not a well-formed JSON object"},
		{"no quotes", `{"username":"1001","key":s3cr3t}`, "not a well-formed JSON object"},
		{"trailing", goodFile + goodFile, "not a well-formed JSON object"},
		{"twice", `{"username":"1001","key":"k3y-a","key":"k3y-b"}`, "not a well-formed JSON object"},
		{"twice, escaped", `{"username":"1001","key":"k3y-a","\u006bey":"k3y-b"}`, "not a well-formed JSON object"},
		{"not UTF-8", `{"username":"1001","key":"k3y-` + "\xff" + `"}`, "not a well-formed JSON object"},
		{"lone surrogate", `{"username":"1001","key":"k3y-\ud800"}`, "not a well-formed JSON object"},
		{"no key", `{"username":"1001"}`, `field "key" is missing`},
		{"no username", `{"key":"k3y-1-s3cr3t"}`, `field "username" is missing`},
		{"other case", `{"username":"1001","Key":"k3y-1-s3cr3t"}`, "no members but"},
		{"more", `{"username":"1001","key":"k3y-1-s3cr3t","s3cr3t":1}`, "no members but"},
		{"key is a number", `{"username":"1001","key":5320137}`, `field "key" is not a text`},
		{"null", `{"username":null,"key":"k3y-1-s3cr3t"}`, `field "username" is neither`},
		{"exponent", `{"username":1e3,"key":"k3y-1-s3cr3t"}`, `field "username" is neither`},
		{"empty key", `{"username":"1001","key":""}`, "the key is empty"},
		{"line end", `{"username":"1001","key":"s3cr3t\n"}`, "the key holds a control character"},
		{"NUL", `{"username":"1001","key":"s3cr3t\u0000"}`, "the key holds a control character"},
		{"too large", goodFile + strings.Repeat(" ", 64<<10), "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, log := newFile(t, writeFile(t, "secret.json", tt.content))
			err := f.Start(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Fatalf("Start(): %v", err)
				}
				mustHold(t, f, 1, 1)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Start(): %v, want it to say %q", err, tt.want)
			}
			mustNotHold(t, err.Error())
			if _, err := f.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
				t.Errorf("Acquire(): %v", err)
			}
			if log.String() != "" {
				t.Errorf("an error that Start returned was logged too: %s", log)
			}
		})
	}
}

func TestFileMode(t *testing.T) {
	private := func(path string) *vault.File { return vault.NewFile(path, vault.Options{}) }
	shared := func(path string) *vault.File { return vault.NewSharedFile(path, vault.Options{}) }
	pair := func(path string) *vault.File { return vault.NewFilePair(path, path, vault.Options{}) }
	for _, tt := range []struct {
		mode                  fs.FileMode
		private, shared, pair bool
	}{
		{0o600, true, true, true},
		{0o400, true, true, true},
		{0o700, true, true, true},
		{0o640, false, true, true}, // Vault Agent's
		{0o440, false, true, true}, // systemd's
		{0o644, false, false, false},
		{0o604, false, false, false},
		{0o660, false, false, false},
		{0o620, false, false, false},
		{0o601, false, false, false},
		{0o666, false, false, false},
	} {
		file := writeFile(t, "secret.json", goodFile)
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		for _, source := range []struct {
			name string
			make func(string) *vault.File
			ok   bool
			todo string
		}{{"file", private, tt.private, "chmod 600"}, {"shared", shared, tt.shared, "chmod 640"}, {"pair", pair, tt.pair, "chmod 640"}} {
			f := source.make(file)
			err := f.Start(t.Context())
			f.Close()
			if (err == nil) != source.ok {
				t.Errorf("Start() of %s with mode %04o: %v", source.name, tt.mode, err)
			}
			if err != nil {
				mustFailAt(t, err, vault.StepRead)
				if !strings.Contains(err.Error(), source.todo) || !strings.Contains(err.Error(), file) {
					t.Errorf("Start() of %s: %v, want it to say what to do", source.name, err)
				}
			}
		}
	}
}

func TestFilePair(t *testing.T) {
	for _, tt := range []struct{ name, username, key, want string }{
		{"as they are", "1001", keyOf(1), ""},
		{"line ends", "1001\n", keyOf(1) + "\r\n", ""},
		{"two line ends", "1001", keyOf(1) + "\n\n", "the key holds a control character"},
		{"carriage return", "1001\r", keyOf(1), "the username holds a control character"},
		{"empty username", "\n", keyOf(1), "the username is empty"},
		{"empty key", "1001", "", "the key is empty"},
		{"too large", "1001", strings.Repeat("s3cr3t", 12<<10), "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			username, key := writeFile(t, "username", tt.username), writeFile(t, "key", tt.key)
			f := vault.NewFilePair(username, key, vault.Options{})
			defer f.Close()
			err := f.Start(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Fatalf("Start(): %v", err)
				}
				mustHold(t, f, 1, 1)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Start(): %v, want it to say %q", err, tt.want)
			}
			mustNotHold(t, err.Error())
		})
	}
	for _, missing := range []int{0, 1} {
		files := []string{writeFile(t, "username", "1001"), writeFile(t, "key", keyOf(1))}
		files[missing] += ".none"
		f := vault.NewFilePair(files[0], files[1], vault.Options{})
		if err := f.Start(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), files[missing]) {
			t.Errorf("Start() without %s: %v", files[missing], err)
		}
		f.Close()
	}
}

// TestFilePairChanges: whoever replaces both replaces one first, and no
// credential is a mixture.
func TestFilePairChanges(t *testing.T) {
	username, key := writeFile(t, "username", "1001"), writeFile(t, "key", keyOf(1))
	synctest.Test(t, func(t *testing.T) {
		second := func() { time.Sleep(time.Second); synctest.Wait() }
		f := vault.NewFilePair(username, key, vault.Options{})
		defer f.Close()
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		rewriteFile(t, key, keyOf(2))
		second()
		mustHold(t, f, 1, 1)
		rewriteFile(t, username, "1002")
		second()
		mustHold(t, f, 1, 1)
		second()
		mustHold(t, f, 2, 2)
		second()
		if st := f.Status(); st.Err != nil {
			t.Errorf("Status() = %+v", st)
		}
		rewriteFile(t, key, "")
		second()
		if _, err := f.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
			t.Errorf("Acquire() without a key: %v", err)
		}
		rewriteFile(t, key, keyOf(2))
		second()
		mustHold(t, f, 2, 3)
	})
}

func TestEnvironment(t *testing.T) {
	t.Setenv("NOWPAY_TEST_USERNAME", "1001")
	t.Setenv("NOWPAY_TEST_KEY", keyOf(1))
	t.Setenv("NOWPAY_TEST_EMPTY", "")
	t.Setenv("NOWPAY_TEST_LINES", "s3cr3t\n")
	for _, tt := range []struct{ username, key, want string }{
		{"NOWPAY_TEST_USERNAME", "NOWPAY_TEST_KEY", ""},
		{"NOWPAY_TEST_NONE", "NOWPAY_TEST_KEY", "reading the environment variable NOWPAY_TEST_NONE: no usable secret: it is not set"},
		{"NOWPAY_TEST_USERNAME", "NOWPAY_TEST_NONE", "NOWPAY_TEST_NONE"},
		{"NOWPAY_TEST_USERNAME", "NOWPAY_TEST_EMPTY", "the key is empty"},
		{"NOWPAY_TEST_USERNAME", "NOWPAY_TEST_LINES", "the key holds a control character"},
	} {
		f := vault.NewEnvironment(tt.username, tt.key, vault.Options{})
		err := f.Start(t.Context())
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("Start(): %v", err)
		case tt.want == "":
			mustHold(t, f, 1, 1)
		case err == nil || !strings.Contains(err.Error(), tt.want):
			t.Errorf("Start(): %v, want it to say %q", err, tt.want)
		default:
			mustNotHold(t, err.Error())
		}
		f.Close()
	}
}

func TestFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{filepath.Join(dir, "none"): fs.ErrNotExist, dir: nil, pipe: nil} {
		f, _ := newFile(t, path)
		err := f.Start(t.Context())
		mustFailAt(t, err, vault.StepRead)
		if want != nil && !errors.Is(err, want) {
			t.Errorf("Start() of %s: %v, want %v", path, err, want)
		}
		if strings.Count(err.Error(), path) != 1 {
			t.Errorf("Start(): %v, want the path once", err)
		}
	}
}

// TestFileChanges follows a file through its changes, a second at a time.
func TestFileChanges(t *testing.T) {
	file := writeFile(t, "secret.json", goodFile)
	second := strings.ReplaceAll(strings.ReplaceAll(goodFile, "1001", "1002"), "k3y-1", "k3y-2")
	inPlace := func(content string) func() error {
		return func() error { return os.WriteFile(file, []byte(content), 0o600) }
	}
	replaced := func(content string) func() error {
		return func() error { rewriteFile(t, file, content); return nil }
	}
	synctest.Test(t, func(t *testing.T) {
		f, log := newFile(t, file)
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustHold(t, f, 1, 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if st := f.Status(); !st.Available || st.Age > time.Second || st.Version != 1 {
			t.Errorf("Status() after a while = %+v", st)
		}
		for _, step := range []struct {
			name    string
			change  func() error
			pair    int // 0: unavailable
			version int64
			message string
		}{
			{"written in place", inPlace(second), 2, 2, msgNewVersion},
			{"replaced by the first", replaced(goodFile), 1, 3, msgNewVersion},
			{"replaced by the same", replaced(goodFile), 1, 3, ""},
			{"broken", inPlace(goodFile[:20]), 0, 0, msgUnavailable},
			{"still broken", inPlace("{"), 0, 0, ""},
			{"whole again", inPlace(second), 2, 4, msgAvailable},
			{"opened to others", func() error { return os.Chmod(file, 0o644) }, 0, 0, msgUnavailable},
			{"closed again", func() error { return os.Chmod(file, 0o600) }, 2, 5, msgAvailable},
			{"removed", func() error { return os.Remove(file) }, 0, 0, msgUnavailable},
			{"back", replaced(goodFile), 1, 6, msgAvailable},
		} {
			before := log.String()
			if err := step.change(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if step.pair == 0 {
				if _, err := f.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
					t.Errorf("%s: Acquire(): %v", step.name, err)
				}
			} else {
				mustHold(t, f, step.pair, step.version)
			}
			records := strings.TrimPrefix(log.String(), before)
			if want := min(len(step.message), 1); strings.Count(records, "\n") != want || !strings.Contains(records, step.message) {
				t.Errorf("%s: logged %q, want %q", step.name, records, step.message)
			}
		}
		f.Close()
	})
}

func TestFileMissingAtStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret.json")
	synctest.Test(t, func(t *testing.T) {
		f, log := newFile(t, file)
		if err := f.Start(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Start(): %v", err)
		}
		rewriteFile(t, file, goodFile)
		time.Sleep(time.Second)
		synctest.Wait()
		mustHold(t, f, 1, 1)
		if log.count(msgAvailable) != 1 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("logged: %s", log)
		}
		f.Close()
	})
}

func TestFileLifecycle(t *testing.T) {
	file := writeFile(t, "secret.json", goodFile)
	f, _ := newFile(t, file)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err == nil {
		t.Error("a second Start() succeeded")
	}
	f.Close()
	f.Close()
	if _, err := f.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("Acquire() after Close: %v", err)
	}
	if err := f.Start(t.Context()); err == nil {
		t.Error("Start() after Close succeeded")
	}
	never, _ := newFile(t, file)
	never.Close()
	if err := never.Start(t.Context()); err == nil {
		t.Error("Start() after Close succeeded")
	}
}
