package main

import (
	"strings"
	"testing"
)

// TestExchange: what is measured is what it says, more than once on a connection.
func TestExchange(t *testing.T) {
	for _, v := range variants {
		err := with(t.Context(), v.name, func(r *rig) error { return r.exchange(t.Context(), 3) })
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
	if err := with(t.Context(), "no such", func(*rig) error { return nil }); err == nil {
		t.Error("there is a variant that there is not")
	}
}

// TestExchangeNotices: an exchange that goes wrong is not measured.
func TestExchangeNotices(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"another outcome": func(r *rig) { r.outcome = "failed" },
		"another status":  func(r *rig) { r.status = 201 },
		"refused":         func(r *rig) { r.request.Caller.Token = "" },
	} {
		err := with(t.Context(), "signed", func(r *rig) error {
			spoil(r)
			return r.exchange(t.Context(), 1)
		})
		if err == nil || !strings.HasPrefix(err.Error(), "answered ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProviderAllocatesNothing: what is counted is the gateway's.
func TestProviderAllocatesNothing(t *testing.T) {
	request := []byte("POST / HTTP/1.1\r\nSignature: sig1=:" + strings.Repeat("x", len(zeroSum)) + ":\r\n\r\n" + requestBody)
	for _, signs := range []bool{false, true} {
		a := newAnswer(signs)
		if n := testing.AllocsPerRun(100, func() { a.to(request) }); n != 0 {
			t.Errorf("signs %v: %v allocations, want none", signs, n)
		}
	}
}
