package signer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

func TestKeyEncoding(t *testing.T) {
	const all = "\xfb\xff\xbe\x00"
	tests := []struct {
		encoding signer.KeyEncoding
		text     string
		want     string
		ok       bool
	}{
		{signer.KeyBase64, "+/++AA==", all, true},
		{signer.KeyBase64, "+/++AA", all, true},
		{signer.KeyBase64, "-_--AA==", all, true},
		{signer.KeyBase64, "-_--AA", all, true},
		{signer.KeyBase64, "AAAA", "\x00\x00\x00", true},
		{signer.KeyBase64, "", "", true},
		{signer.KeyBase64, "+_++AA", "", false}, // both alphabets
		{signer.KeyBase64, "+/++AB", "", false}, // unused bits
		{signer.KeyBase64, "+/++AB==", "", false},
		{signer.KeyBase64, "-_--AB", "", false},
		{signer.KeyBase64, "-_--AB==", "", false},
		{signer.KeyBase64, "+/++AA=", "", false},   // half of the padding
		{signer.KeyBase64, "+/++AA===", "", false}, // more than the padding
		{signer.KeyBase64, "=", "", false},
		{signer.KeyBase64, "+/++A", "", false},
		{signer.KeyBase64, "+/++AA==\n", "", false},
		{signer.KeyBase64, "+/\r\n++AA==", "", false},
		{signer.KeyBase64, "-----BEGIN", "", false},
		{signer.KeyHex, "fbFFbe00", all, true},
		{signer.KeyHex, "", "", true},
		{signer.KeyHex, "fbffbe0", "", false},
		{signer.KeyHex, "fb ff be 00", "", false},
		{signer.KeyHex, "0xfbffbe00", "", false},
		{signer.KeyHex, "fbffbe00\n", "", false},
		{signer.KeyText, "fbffbe00", "fbffbe00", true},
		{signer.KeyText, "ü\n", "ü\n", true},
		{signer.KeyText, "", "", true},
		{"", "fbffbe00", "", false},
		{"BASE64", "fbffbe00", "", false},
	}
	for _, tt := range tests {
		got, err := tt.encoding.Decode([]byte(tt.text))
		if string(got) != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: Decode(%q) = %x, %v, want %x", tt.encoding, tt.text, got, err, tt.want)
		}
		if err != nil && (!errors.Is(err, signer.ErrKey) || len(tt.text) > 4 && strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: Decode(%q): %v", tt.encoding, tt.text, err)
		}
	}
}

// TestKeyEncodingOwns: who wipes what was decoded does not wipe the key.
func TestKeyEncodingOwns(t *testing.T) {
	for _, e := range []signer.KeyEncoding{signer.KeyBase64, signer.KeyHex, signer.KeyText} {
		text := []byte("0123456789abcdef")
		decoded, err := e.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		clear(decoded)
		if string(text) != "0123456789abcdef" {
			t.Errorf("%s: the key became %q", e, text)
		}
	}
}

func TestParseKeyEncoding(t *testing.T) {
	for _, name := range []string{"text", "base64", "hex"} {
		if e, err := signer.ParseKeyEncoding(name); err != nil || string(e) != name {
			t.Errorf("ParseKeyEncoding(%q) = %q, %v", name, e, err)
		}
	}
	for _, name := range []string{"", "Base64", "base64url", "raw"} {
		if e, err := signer.ParseKeyEncoding(name); err == nil || e != "" {
			t.Errorf("ParseKeyEncoding(%q) = %q", name, e)
		}
	}
}

// FuzzKeyEncoding: what decodes is what was written, and nothing else has its form.
func FuzzKeyEncoding(f *testing.F) {
	f.Add("+/++AA==")
	f.Add("-_--AA")
	f.Add("fbFFbe00")
	f.Add("-----BEGIN PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := signer.KeyBase64.Decode([]byte(text)); err == nil {
			plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
			if base64.RawStdEncoding.EncodeToString(b) != plain {
				t.Errorf("base64 %q = %x", text, b)
			}
		}
		if b, err := signer.KeyHex.Decode([]byte(text)); err == nil && hex.EncodeToString(b) != strings.ToLower(text) {
			t.Errorf("hex %q = %x", text, b)
		}
		if b, err := signer.KeyText.Decode([]byte(text)); err != nil || !bytes.Equal(b, []byte(text)) {
			t.Errorf("text %q = %x, %v", text, b, err)
		}
	})
}
