package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func (a *App) parseCallbacks(d *caddyfile.Dispenser) error {
	if a.Callbacks != nil {
		return d.Err("callbacks is given twice")
	}
	if _, err := values(d, 0, 0); err != nil {
		return err
	}
	c := new(Callbacks)
	a.Callbacks = c
	mode := func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if _, err := values(d, 0, 0); err != nil {
			return err
		}
		if c.Mode != "" {
			return d.Err("callbacks takes `settle` or `hint`, once")
		}
		c.Mode = name
		return nil
	}
	return words{
		"from":           manyTexts(&c.From),
		settleByCallback: mode,
		hintByCallback:   mode,
		"secret_path":    func(d *caddyfile.Dispenser) error { return c.parseSecret(d, 0) },
		"secret_header":  func(d *caddyfile.Dispenser) error { return c.parseSecret(d, 1) },
		"signed":         bareWord(&c.Signed),
	}.parse(d, "callbacks")
}

// parseSecret reads the file of the secret, behind as many names of headers.
func (c *Callbacks) parseSecret(d *caddyfile.Dispenser, headers int) error {
	args, err := values(d, headers+1, headers+1)
	if err != nil {
		return err
	}
	if c.SecretFile != "" {
		return d.Err("callbacks takes one secret, in the path or in a header")
	}
	c.SecretFile = args[headers]
	if headers == 1 {
		c.SecretHeader = args[0]
	}
	return nil
}

func (s *CallbackShape) words() words {
	return words{
		"request_id":  oneText(&s.RequestID),
		"provider_id": oneText(&s.ProviderID),
		"state":       oneText(&s.State),
		"reference":   oneText(&s.Reference),
		"message":     oneText(&s.Message),
		"amount":      oneText(&s.Amount),
		"success":     manyTexts(&s.Success),
		"failed":      manyTexts(&s.Failed),
		"pending":     manyTexts(&s.Pending),
	}
}

func (m *Merchant) parseNotify(d *caddyfile.Dispenser) error {
	if m.Notify != nil {
		return d.Err("notify is given twice in this block: a merchant has one URL")
	}
	args, err := values(d, 1, 1)
	if err != nil {
		return err
	}
	n := &Notify{URL: args[0]}
	m.Notify = n
	return words{
		"secret_file":   oneText(&n.SecretFile),
		"secret":        guestModule(&n.SecretRaw, "nowpay.secrets", "source"),
		"private":       bareWord(&n.Private),
		"insecure_http": bareWord(&n.InsecureHTTP),
		"ca":            oneText(&n.CA),
		"local_address": oneText(&n.LocalAddress),
	}.parse(d, "notify")
}
