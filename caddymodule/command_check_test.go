package caddymodule_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// pinOf is the pin of the first certificate in a file.
func pinOf(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// TestCommandCheck goes through everything that a gateway depends on: all there,
// and each part missing.
func TestCommandCheck(t *testing.T) {
	v := startVault(t, vaulttest.WithTLS())
	appRole := v.appRoleAuth()
	g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: true, Simulator: func(c *simulator.Config) {
		c.Username, c.Key = account(1).Username, account(1).Key
	}})
	pin := pinOf(t, filepath.Join(filepath.Dir(g.CAFile()), "server.pem"))
	good := gatewaytest.Options{Secret: v.secret(appRole), Upstream: "pin " + pin}
	check := func(t *testing.T, o gatewaytest.Options) result {
		t.Helper()
		if _, err := g.Adapt(o); err != nil {
			t.Fatal(err)
		}
		r := runNowpay(t, "check", "--config", write(t, "Caddyfile", g.Caddyfile))
		v.mustNotLeak("output", []byte(r.stdout+r.stderr))
		return r
	}
	const credentialOK, addressOK, upstreamOK = "ok      credential main              version 1",
		"ok      egress address 127.0.0.5     on this machine",
		"ok      upstream                     127.0.0.9 from 127.0.0.5 TLS 1.3"
	mustPass := func(t *testing.T) {
		t.Helper()
		check(t, good).mustSay(t, 0, credentialOK, addressOK, upstreamOK, pin)
	}
	mustPass(t)

	change := func(edit func(*gatewaytest.Options)) gatewaytest.Options {
		o := good
		edit(&o)
		return o
	}
	wrongPin := "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, tt := range []struct {
		name       string
		options    gatewaytest.Options
		away, back func()
		says       []string
	}{
		{"vault down", good, v.Stop, v.Restart, []string{"FAILED  credential main", "connection refused", addressOK, upstreamOK, "1 of the checks failed"}},
		{"vault sealed", good, v.Seal, v.Unseal, []string{"FAILED  credential main", "sealed", addressOK, upstreamOK}},
		{
			"wrong role", change(func(o *gatewaytest.Options) {
				o.Secret = v.secret("auth approle wrong-role " + appRole[strings.LastIndex(appRole, " ")+1:])
			}), nil, nil,
			[]string{"FAILED  credential main", "logging in by approle", "invalid role", addressOK, upstreamOK},
		},
		{
			"wrong path", change(func(o *gatewaytest.Options) { o.Secret = v.secret(appRole, "path secret/nowpay/other") }), nil, nil,
			[]string{"FAILED  credential main", "reading secret/nowpay/other", "not found", addressOK, upstreamOK},
		},
		{
			"unknown authority", change(func(o *gatewaytest.Options) {
				o.Secret = strings.Replace(v.secret(appRole), v.CAFile, g.CAFile(), 1)
			}), nil, nil,
			[]string{"FAILED  credential main", "unknown authority", addressOK, upstreamOK},
		},
		{
			"address missing", change(func(o *gatewaytest.Options) { o.LocalAddress = absentIP }), nil, nil,
			[]string{credentialOK, "FAILED  egress address " + absentIP, "not on this machine", "FAILED  upstream", "no configured egress address", "2 of the checks failed"},
		},
		{
			"one of two addresses missing", change(func(o *gatewaytest.Options) { o.LocalAddress = absentIP + " 127.0.0.5" }), nil, nil,
			[]string{credentialOK, "FAILED  egress address " + absentIP, addressOK, upstreamOK, "1 of the checks failed"},
		},
		{
			"wrong pin", change(func(o *gatewaytest.Options) { o.Upstream = "pin " + wrongPin }), nil, nil,
			[]string{credentialOK, addressOK, "FAILED  upstream", "no certificate has a pinned key; the server's own is " + pin},
		},
		{"provider down", good, g.StopProvider, nil, []string{credentialOK, addressOK, "FAILED  upstream", "connection refused"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v.t = t
			if tt.away != nil {
				tt.away()
			}
			r := check(t, tt.options)
			r.mustSay(t, 1, tt.says...)
			if tt.back != nil {
				tt.back()
				mustPass(t)
			}
		})
	}
	if requests := g.Simulator.Requests(); len(requests) != 0 {
		t.Errorf("the checks sent %d requests", len(requests))
	}
}

// TestCommandCheckSigns has the check try the keys that something is signed with, or
// verified by: all there, and each missing or unfit.
func TestCommandCheckSigns(t *testing.T) {
	v := startTransit(t)
	const policy = transitPolicy + `
	path "transit/keys/shared"   { capabilities = ["read"] }
	path "transit/verify/shared" { capabilities = ["update"] }`
	v.Policy("nowpay", policy)
	v.TransitKey("transit", "shared", "hmac")
	auth := v.appRoleAuth()
	g := gatewaytest.Start(t, v.options(auth))
	verifies := "\nverify httpsig {\nalgorithm hmac-sha256\ntransit shared\n}"
	shared, hook := write(t, "shop.key", sharedKey+"\n"), write(t, "hook.secret", webhookSecret+"\n")
	good := gatewaytest.Options{
		Secret: v.account(auth) + verifies,
		Shop:   "signature hmac-sha256 shop-1 " + shared + "\nnotify https://shop.example/hook {\nsecret_file " + hook + "\n}",
	}
	check := func(t *testing.T, o gatewaytest.Options, code int, says ...string) {
		t.Helper()
		if _, err := g.Adapt(o); err != nil {
			t.Fatal(err)
		}
		r := runNowpay(t, "check", "--config", write(t, "Caddyfile", g.Caddyfile))
		r.mustSay(t, code, says...)
		for _, secret := range append(v.secrets, sharedKey, webhookSecret) {
			if strings.Contains(r.stdout+r.stderr, secret) {
				t.Error("a secret is in the output")
			}
		}
	}
	const signs, shop, notifies = "ok      signing main  ", "ok      key of a merchant  ", "ok      notify shop                  secrets to sign with: 1"
	const proves = "ok      verifying main               by shared"
	check(t, good, 0, signs, proves, shop, notifies)
	file := func(key, scheme string) gatewaytest.Options {
		return gatewaytest.Options{Secret: "secret file " + write(t, "account.json", fmt.Sprintf(`{"username":"2001","key":%q}`, key)) + "\n" + scheme}
	}
	check(t, file(account(1).Key, "sign httpsig"), 0, signs)
	check(t, file(account(1).Key, "sign httpsig {\nalgorithm ed25519\n}"), 1, "FAILED  signing main", "1 of the checks failed")
	check(t, file(account(1).Key, "sign jwe"), 1, "FAILED  signing main", "1 of the checks failed")

	away := func(file string) (back func()) {
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		return func() { _ = os.Rename(file+".away", file) }
	}
	for name, tt := range map[string]struct {
		prepare func() (mend func())
		says    []string
	}{
		"no policy to sign": {func() func() {
			v.Policy("nowpay", strings.Replace(policy, "transit/sign/nowpay", "transit/sign/none", 1))
			return func() {}
		}, []string{"FAILED  signing main", "permission denied", proves, shop, notifies}},
		"no policy to verify": {func() func() {
			v.Policy("nowpay", strings.Replace(policy, "transit/verify/shared", "transit/verify/none", 1))
			return func() {}
		}, []string{signs, "FAILED  verifying main", "permission denied", shop, notifies}},
		"no shared key":        {func() func() { return away(shared) }, []string{signs, proves, "FAILED  key of a merchant", notifies}},
		"no secret for notify": {func() func() { return away(hook) }, []string{signs, proves, shop, "FAILED  notify shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			mend := tt.prepare()
			check(t, good, 1, append(tt.says, "1 of the checks failed")...)
			mend()
			v.Policy("nowpay", policy)
			check(t, good, 0, signs, proves, shop, notifies)
		})
	}
	check(t, gatewaytest.Options{Shop: "notify https://shop.example/hook {\nsecret file /nowhere/hook.json\n}"}, 1, "FAILED  notify shop", "1 of the checks failed")
	if requests := g.Simulator.Requests(); len(requests) != 0 {
		t.Errorf("the checks sent %d requests", len(requests))
	}
}
