package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
)

// settings is the body of PUT /config: what is absent stays as it is.
type settings struct {
	// Keys are the valid keys of the configured username; Credentials are valid
	// pairs. Either, not both.
	Keys             []string     `json:"keys"`
	Credentials      []Credential `json:"credentials"`
	AllowedIPs       *[]string    `json:"allowed_ips"`
	RefuseDuplicates *bool        `json:"refuse_duplicates"`
	// Callback replaces the target as a whole.
	Callback *CallbackTarget `json:"callback"`
}

// kindDoc is one line of GET /kinds.
type kindDoc struct {
	Kind Kind   `json:"kind"`
	Doc  string `json:"doc"`
}

// Control is the API that looks into the provider and makes it misbehave, for a
// listener of its own. It shows no key, asks for none, and refuses browsers of
// other origins; keep it on the loopback address.
//
//	GET    /ledger                    the books
//	GET    /requests                  what reached the provider
//	GET    /kinds                     what faults there are
//	GET    /faults                    faults still to be met
//	POST   /faults                    {"kind":"pending","operation":"bank/payout","request_id":"…",
//	                                  "times":1,"probability":0.5,"delay":"5s"}; with callback-…
//	                                  also "copies":3, "from":"127.0.0.66", "shape":"flat"
//	DELETE /faults                    no faults any more
//	POST   /transactions/{id}/settle  {"state":"success"}: a pending one, by Nowpay's id
//	POST   /transactions/{id}/flip    {"state":"failed"}: a final one
//	POST   /transactions/{id}/callback {"state":"failed","fault":{"kind":"callback-repeated"}}: sends
//	                                  one now; both may be left out
//	GET    /callbacks                 what callbacks were sent
//	POST   /callbacks                 {"from":"127.0.0.66","content_type":"application/json","body":"…",
//	                                  "method":"POST","url":"http://…"}: sends this, whatever it is
//	PUT    /config                    {"keys":["new","old"]} or {"credentials":[{"username":…,"key":…}]},
//	                                  "allowed_ips":["127.0.0.2"], "refuse_duplicates":true,
//	                                  "callback":{"url":"http://…","from":"127.0.0.9","shape":"flat"}
//	POST   /reset                     as it was at the start
func (s *Simulator) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Ledger()) })
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Requests()) })
	mux.HandleFunc("GET /kinds", func(w http.ResponseWriter, _ *http.Request) {
		kinds := append(Kinds(), CallbackKinds()...)
		docs := make([]kindDoc, 0, len(kinds))
		for _, k := range kinds {
			docs = append(docs, kindDoc{k, k.Doc()})
		}
		show(w, docs)
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Faults()) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		done(w, readBody(r, &f), func() error { return s.AddFault(f) })
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /transactions/{id}/settle", s.changeState(s.SettlePending))
	mux.HandleFunc("POST /transactions/{id}/flip", s.changeState(s.FlipFinal))
	mux.HandleFunc("POST /transactions/{id}/callback", s.sendOnDemand)
	mux.HandleFunc("GET /callbacks", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Callbacks()) })
	mux.HandleFunc("POST /callbacks", func(w http.ResponseWriter, r *http.Request) {
		var raw RawCallback
		told(r.Context(), w, readBody(r, &raw), func(ctx context.Context) (any, error) { return s.SendRaw(ctx, raw) })
	})
	mux.HandleFunc("PUT /config", func(w http.ResponseWriter, r *http.Request) {
		var c settings
		done(w, readBody(r, &c), func() error { return s.configure(c) })
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

func (s *Simulator) changeState(change func(string, State) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			State State `json:"state"`
		}
		done(w, readBody(r, &body), func() error { return change(r.PathValue("id"), body.State) })
	}
}

// sendOnDemand sends a callback, and shows what became of it.
func (s *Simulator) sendOnDemand(w http.ResponseWriter, r *http.Request) {
	var body struct {
		State State `json:"state"`
		Fault Fault `json:"fault"`
	}
	told(r.Context(), w, readBody(r, &body), func(ctx context.Context) (any, error) {
		return s.SendCallback(ctx, r.PathValue("id"), body.State, body.Fault)
	})
}

// configure applies settings, all or none.
func (s *Simulator) configure(c settings) error {
	if c.Keys != nil && c.Credentials != nil {
		return errors.New("keys and credentials exclude each other")
	}
	if c.Callback != nil {
		if err := c.Callback.validate(); err != nil {
			return err
		}
	}
	var allowed []netip.Prefix
	if c.AllowedIPs != nil {
		for _, text := range *c.AllowedIPs {
			p, err := parsePrefix(text)
			if err != nil {
				return err
			}
			allowed = append(allowed, p)
		}
		s.SetAllowedIPs(allowed...)
	}
	if c.Keys != nil {
		s.SetKeys(c.Keys...)
	}
	if c.Credentials != nil {
		s.SetCredentials(c.Credentials...)
	}
	if c.RefuseDuplicates != nil {
		s.SetRefuseDuplicates(*c.RefuseDuplicates)
	}
	if c.Callback != nil {
		return s.SetCallback(*c.Callback)
	}
	return nil
}

// show writes a value as JSON, to be read by people too.
func show(w http.ResponseWriter, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		complain(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // a client that is gone is nobody's error
}

// done acts unless the body was wrong, and answers with nothing or the error.
func done(w http.ResponseWriter, err error, act func() error) {
	if err == nil {
		err = act()
	}
	if err != nil {
		complain(w, statusOf(err), err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// told acts unless the body was wrong, and answers with what came of it.
func told(ctx context.Context, w http.ResponseWriter, err error, act func(context.Context) (any, error)) {
	var v any
	if err == nil {
		v, err = act(ctx)
	}
	if err != nil {
		complain(w, statusOf(err), err)
		return
	}
	show(w, v)
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrState), errors.Is(err, ErrNoTarget):
		return http.StatusConflict
	default:
		return http.StatusBadRequest
	}
}

func complain(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// readBody reads a request's JSON; unknown members are errors.
func readBody(r *http.Request, v any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("reading body: %w", err)
	}
	return decodeStrict(b, v)
}

// decodeStrict reads one JSON value into v; unknown members are errors.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("parsing body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("parsing body: data after the JSON value")
	}
	return nil
}

// parsePrefix reads an address or a network.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parsing address: %w", err)
	}
	return p, nil
}
