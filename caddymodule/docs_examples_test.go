package caddymodule_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedCallbacks: the Caddyfiles with callbacks in the documentation can
// be loaded. What they leave out is that of Caddyfile.example, whose own callbacks
// they replace.
func TestDocumentedCallbacks(t *testing.T) {
	example := read(t, "Caddyfile.example")
	inner := regexp.MustCompile(`(?ms)^\tnowpay \{\n(.*?)^\t\}\n`).FindStringSubmatch(example)
	if inner == nil {
		t.Fatal("Caddyfile.example has no nowpay block")
	}
	rest := regexp.MustCompile(`(?ms)^\t\tcallbacks \{.*?^\t\t\}\n`).ReplaceAllString(inner[1], "")
	if rest == inner[1] {
		t.Fatal("Caddyfile.example has no callbacks")
	}
	found := 0
	for _, block := range fenced(read(t, "docs/callbacks.md")) {
		if block.language != "caddy" {
			continue
		}
		found++
		text := regexp.MustCompile(`(?m)^\t\t# ….*\n`).ReplaceAllLiteralString(block.text, rest)
		if text == block.text {
			t.Errorf("nothing is left out of\n%s", text)
		}
		validate(t, text)
	}
	if found < 2 {
		t.Errorf("%d Caddyfiles", found)
	}
}

// TestCommentedNotify: so can the notify block that is a comment in
// Caddyfile.example.
func TestCommentedNotify(t *testing.T) {
	example := read(t, "Caddyfile.example")
	text := regexp.MustCompile(`(?m)^(\t+)#     `).ReplaceAllString(example, "$1")
	if !strings.Contains(text, "\n\t\t\tnotify https://") {
		t.Fatal("there is none")
	}
	validate(t, text)
}
