package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	c := gateway().of(500, 5000, 200)
	ranges := make(map[string]bool)
	for _, m := range c.Merchants {
		for _, r := range m.From {
			ranges[r] = true
		}
	}
	if len(c.Merchants) != 500 || len(ranges) != 5000 || len(c.Operations) != 200 {
		t.Errorf("%d merchants, %d ranges, %d operations", len(c.Merchants), len(ranges), len(c.Operations))
	}
	last := c.Merchants[499]
	if last.Hash != hash(token) || last.From[9] != "127.0.0.0/8" || c.Operations[199] != quote {
		t.Errorf("what is called is not the last: %+v, %s", last, c.Operations[199])
	}
	if small := gateway(); len(small.Merchants) != 5 || len(small.Merchants[4].From) != 1 || len(small.Operations) != 5 {
		t.Errorf("gateway() = %+v, want 5 of each", small)
	}
}

func TestCaddyfile(t *testing.T) {
	text := func(c caddyfile) string {
		t.Helper()
		var out bytes.Buffer
		if err := caddyfileTemplate.Execute(&out, c); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	plain := text(caddyfile{Site: "127.0.0.1:1", Upstream: "127.0.0.9:2"})
	if !strings.Contains(plain, "http://127.0.0.1:1 {\n\tbind 127.0.0.1\n\treverse_proxy 127.0.0.9:2\n}") || strings.Contains(plain, "nowpay") {
		t.Errorf("plain Caddy is\n%s", plain)
	}
	for with, want := range map[*caddyfile]string{
		{AccessLog: true}:                                  "format json",
		{Level: "WARN"}:                                    "\t\tlevel WARN\n",
		{Merchants: []merchant{{}}}:                        "sign credentials",
		{Merchants: []merchant{{}}, Signed: true}:          "verify httpsig",
		{Merchants: []merchant{{}}, Folder: "/f"}:          "journal sqlite /f/journal.db",
		{Merchants: []merchant{{}}, Journal: "postgres x"}: "journal postgres x",
	} {
		if got := text(*with); !strings.Contains(got, want) {
			t.Errorf("%+v lacks %q:\n%s", *with, want, got)
		}
		if strings.Contains(plain, want) {
			t.Errorf("plain Caddy has %q", want)
		}
	}
}
