package journal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func line(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keyBytes)) + "\n"
}

func TestReadKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.key")
	for _, test := range []struct {
		name, text string
		keys       int    // 0: it is refused
		says       string // and says so
	}{
		{"one", line(1), 1, ""},
		{"without an end of line", strings.TrimSpace(line(1)), 1, ""},
		{"of Windows", "  " + strings.TrimSpace(line(1)) + "\r\n" + line(2), 2, ""},
		{"with comments", "# new\n" + line(1) + "\n\n # old\n" + line(2) + "\n", 2, ""},
		{"empty", "", 0, "openssl rand -base64 32"},
		{"only comments", "# none\n\n", 0, "holds no key"},
		{"too short", line(1) + "c2hvcnQ=\n", 0, "line 2"},
		{"too long", base64.StdEncoding.EncodeToString(make([]byte, 33)), 0, "line 1"},
		{"no base64", "\n\n" + strings.Repeat("!", 44), 0, "line 3"},
		{"without padding", strings.TrimRight(line(1), "=\n"), 0, "line 1"},
		{"hexadecimal", strings.Repeat("ab", 32), 0, "line 1"},
		{"two in a line", strings.TrimSpace(line(1)) + line(2), 0, "line 1"},
	} {
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		masters, err := readKeyFile(path)
		if len(masters) != test.keys || errors.Is(err, ErrKey) != (test.keys == 0) {
			t.Errorf("%s: %d keys, %v", test.name, len(masters), err)
		}
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %q does not say %q", test.name, err, test.says)
		}
		if text := strings.TrimSpace(test.text); len(text) > 20 && strings.Contains(err.Error(), text[:20]) {
			t.Errorf("%s: %q repeats the key", test.name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := readKeyFile(path); !errors.Is(err, ErrKey) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

// A key file is made only where there is none.
func TestMakeKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "journal.key")
	if err := makeKeyFile(path); err != nil {
		t.Fatal(err)
	}
	for of, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(of); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", of, info.Mode(), err)
		}
	}
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := makeKeyFile(path); err != nil {
		t.Errorf("where there is one: %v", err)
	}
	if masters, err := readKeyFile(path); err != nil || len(masters) != 1 {
		t.Errorf("made %d keys, %v", len(masters), err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, made) {
		t.Errorf("it was changed, %v", err)
	}
	other := filepath.Join(filepath.Dir(path), "other.key")
	if err := makeKeyFile(other); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(other); err != nil || bytes.Equal(second, made) {
		t.Errorf("two files have one key, %v", err)
	}
	if err := makeKeyFile(filepath.Join(path, "journal.key")); err == nil {
		t.Error("made a key file in a file")
	}
}

// A wrapped key says under which number it is a key, and is of no use under
// another, or changed.
func TestWrap(t *testing.T) {
	master := func(b byte) masterKey {
		m, err := newMasterKey(bytes.Repeat([]byte{b}, keyBytes))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	key := bytes.Repeat([]byte("k"), keyBytes)
	old := &keyring{masters: []masterKey{master(1)}}
	wrapped := DataKey{ID: 7, Wrapped: old.wrap(7, key)}
	for _, test := range []struct {
		name   string
		ring   *keyring
		newest bool
	}{
		{"alone", old, true},
		{"behind a new one", &keyring{masters: []masterKey{master(2), master(1)}}, false},
		{"before an older one", &keyring{masters: []masterKey{master(1), master(2)}}, true},
	} {
		got, newest, err := test.ring.unwrap(wrapped)
		if err != nil || !bytes.Equal(got, key) || newest != test.newest {
			t.Errorf("%s: newest %t, %v", test.name, newest, err)
		}
	}
	if _, _, err := (&keyring{masters: []masterKey{master(2)}}).unwrap(wrapped); !errors.Is(err, ErrKey) {
		t.Errorf("without its key: %v", err)
	}
	if _, _, err := old.unwrap(DataKey{ID: 8, Wrapped: wrapped.Wrapped}); !errors.Is(err, ErrKey) {
		t.Errorf("under another number: %v", err)
	}
	for i := range wrapped.Wrapped {
		changed := bytes.Clone(wrapped.Wrapped)
		changed[i] ^= 1
		if _, _, err := old.unwrap(DataKey{ID: 7, Wrapped: changed}); !errors.Is(err, ErrKey) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
		if _, _, err := old.unwrap(DataKey{ID: 7, Wrapped: wrapped.Wrapped[:i]}); !errors.Is(err, ErrKey) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

// Fingerprints tell operations, bodies and keys apart, also where one ends and
// the other begins.
func TestFingerprint(t *testing.T) {
	seen := make(map[string]bool)
	for id := range int64(2) {
		key, err := newDataKey(id, bytes.Repeat([]byte{byte(id)}, keyBytes))
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range [][2]string{{"bank/payout", "{}"}, {"bank/payout", "{ }"}, {"bank/payou", "t{}"}, {"", "bank/payout{}"}} {
			sum := string(key.sum(of[0], []byte(of[1])))
			if seen[sum] || len(sum) != 32 {
				t.Errorf("key %d, %q: the fingerprint of another", id, of)
			}
			seen[sum] = true
		}
	}
}

// FuzzReadKeyFile looks for files that are read as something else than their
// lines say.
func FuzzReadKeyFile(f *testing.F) {
	for _, seed := range []string{line(1), "# a\n" + line(1) + line(2), "", "\n", "AAAA", strings.Repeat("=", 44), line(1) + "\x00"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "journal.key")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		masters, err := readKeyFile(path)
		if (err == nil) != (len(masters) > 0) || err != nil && !errors.Is(err, ErrKey) {
			t.Fatalf("%d keys, %v", len(masters), err)
		}
		lines := 0
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
				lines++
			}
		}
		if err == nil && len(masters) != lines {
			t.Errorf("%d keys of %d lines", len(masters), lines)
		}
	})
}
