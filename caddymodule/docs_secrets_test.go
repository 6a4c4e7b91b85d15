package caddymodule_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
)

// manual is docs/secrets.md, cut at its headings.
func manual(t *testing.T) map[string][]block {
	t.Helper()
	sections := make(map[string][]block)
	parts := regexp.MustCompile(`(?m)^##+ (.*)$`).Split(read(t, "docs/secrets.md"), -1)
	for i, heading := range regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatch(read(t, "docs/secrets.md"), -1) {
		sections[heading[1]] = fenced(parts[i+1])
	}
	return sections
}

// world is the machine that the manual speaks of, in a folder of the test.
type world struct {
	*vaulted
	dir    string
	change *strings.Replacer // from the manual's names to those here
}

func newWorld(t *testing.T, v *vaulted, addresses ...string) *world {
	t.Helper()
	w := &world{vaulted: v, dir: t.TempDir()}
	pairs := addresses
	for _, folder := range []string{"/var/run/secrets/", "/run/secrets/", "/run/vault/", "/run/vault-agent/", "/etc/caddy/", "/etc/vault/", "/root/"} {
		pairs = append(pairs, folder, filepath.Join(w.dir, folder)+"/")
	}
	w.change = strings.NewReplacer(pairs...)
	return w
}

// put writes a file of the manual.
func (w *world) put(name, content string, mode os.FileMode) {
	w.t.Helper()
	w.write(w.change.Replace(name), content, mode)
}

func (w *world) write(file, content string, mode os.FileMode) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask
		w.t.Fatal(err)
	}
}

// serves runs a gateway with the account of the manual, and pays.
func (w *world) serves(caddyfile string) {
	w.t.Helper()
	inner, ok := strings.CutPrefix(w.change.Replace(caddyfile), "account main {\n")
	if !ok {
		w.t.Fatalf("not an account:\n%s", caddyfile)
	}
	g := w.gateway(strings.TrimSuffix(strings.TrimSpace(inner), "}"))
	if !isReady(g)() {
		w.t.Fatalf("not ready: %s\n%s", readiness(g).Body, g.Log())
	}
	w.pays(g, 1)
}

// TestDocumentedLogins runs what the manual says of each login: first the
// commands for Vault, then the Caddyfile, with a real Vault and the simulator.
func TestDocumentedLogins(t *testing.T) {
	sections := manual(t)
	bao := append([]block{sections["AppRole"][0]}, sections["OpenBao"]...)
	bao[1].text = strings.NewReplacer("\t\tnamespace teams/pay\n", "", "bao.internal", "vault.internal").Replace(bao[1].text)
	for heading, blocks := range map[string][]block{
		"AppRole":                           sections["AppRole"],
		"AppRole with a wrapped secret ID":  sections["AppRole with a wrapped secret ID"],
		"Kubernetes":                        sections["Kubernetes"],
		"JWT":                               sections["JWT"],
		"TLS certificate":                   sections["TLS certificate"],
		"A token, and the sink of an agent": sections["A token, and the sink of an agent"],
		"OpenBao":                           bao,
	} {
		t.Run(heading, func(t *testing.T) {
			server := vaulttest.Start(t, vaulttest.WithTLS())
			cluster := vaulttest.StartCluster(t)
			w := newWorld(t, &vaulted{Server: server, t: t, secrets: []string{server.RootToken, account(1).Key}},
				"https://vault.internal:8200", server.Address, "https://kubernetes.internal:6443", cluster.URL,
				"username=2000", "username="+account(1).Username)
			w.prepare(cluster)
			for _, b := range append(sections["HashiCorp Vault"], blocks...) {
				switch b.language {
				case "sh":
					w.command(b.text)
				case "caddyfile":
					w.serves(b.text)
				}
			}
		})
	}
}

// prepare puts all files there that the manual's commands do not make.
func (w *world) prepare(cluster *vaulttest.Cluster) {
	w.t.Helper()
	issuer, authority := vaulttest.NewIssuer(w.t), vaulttest.NewAuthority(w.t)
	cert, key := authority.Issue("gateway.internal", time.Hour)
	ca, err := os.ReadFile(w.CAFile)
	if err != nil {
		w.t.Fatal(err)
	}
	jwt, token := issuer.Sign(time.Hour, nil), cluster.Sign(time.Hour, nil)
	w.secrets = append(w.secrets, jwt, token, strings.Split(key, "\n")[1])
	for name, content := range map[string]string{
		"/root/nowpay-key":              account(1).Key,
		"/etc/caddy/vault-ca.pem":       string(ca),
		"/etc/caddy/gateway.pem":        cert,
		"/etc/caddy/gateway-key.pem":    key,
		"/etc/vault/kubernetes-ca.pem":  string(ca),
		"/etc/vault/clients-ca.pem":     authority.PEM(),
		"/etc/vault/issuer.pem":         issuer.PublicKey(),
		"/run/secrets/workload.jwt":     jwt + "\n",
		"/run/vault/token":              "", // is made
		"/var/run/secrets/tokens/vault": token,
	} {
		w.put(name, content, 0o600)
	}
}

// TestDocumentedSources runs the Caddyfiles of the manual that need no Vault,
// with files as those write them who are meant to.
func TestDocumentedSources(t *testing.T) {
	sections := manual(t)
	object := `{"username":"` + account(1).Username + `","key":"` + account(1).Key + `"}`
	credentials := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	t.Setenv("NOWPAY_USERNAME", account(1).Username)
	t.Setenv("NOWPAY_KEY", account(1).Key)
	found := 0
	for _, heading := range []string{"Vault Agent", "systemd", "For development"} {
		for _, b := range sections[heading] {
			if b.language != "caddyfile" {
				continue
			}
			found++
			t.Run(strings.TrimSpace(strings.Split(b.text, "\n")[1]), func(t *testing.T) {
				w := newWorld(t, &vaulted{t: t, secrets: []string{account(1).Key}})
				w.put("/run/vault-agent/nowpay.json", object+"\n", 0o640)
				w.put("/etc/caddy/nowpay.json", object, 0o600)
				w.write(credentials+"/nowpay.json", object, 0o440)
				w.write(credentials+"/nowpay-username", account(1).Username, 0o440)
				w.write(credentials+"/nowpay-key", account(1).Key+"\n", 0o440)
				w.serves(b.text)
			})
		}
	}
	if found != 5 {
		t.Errorf("%d Caddyfiles, want 5", found)
	}
}

// command runs lines of a shell that are commands of Vault, which the tests have
// only as a server.
func (w *world) command(script string) {
	w.t.Helper()
	lines := strings.Split(strings.ReplaceAll(w.change.Replace(script), "\\\n", " "), "\n")
	for len(lines) > 0 {
		line := lines[0]
		lines = lines[1:]
		var input []string
		if before, ok := strings.CutSuffix(line, "<<EOF"); ok {
			line = before
			for lines[0] != "EOF" {
				input, lines = append(input, lines[0]), lines[1:]
			}
			lines = lines[1:]
		}
		line, file, writes := strings.Cut(line, " > ")
		if writes {
			inside, private := strings.CutPrefix(line, "(umask 077; ")
			if line, file = inside, strings.TrimSuffix(file, ")"); !private {
				w.t.Errorf("everybody may read %s: write (umask 077; …)", file)
			}
		}
		export := regexp.MustCompile(`^export (\w+)=\$\((.*)\)$`).FindStringSubmatch(line)
		if export != nil {
			line = export[2]
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		output := w.vaultCommand(strings.Fields(line), strings.Join(input, "\n"))
		switch {
		case export != nil:
			w.t.Setenv(export[1], output)
		case file != "":
			w.secrets = append(w.secrets, output)
			w.write(file, output+"\n", 0o600)
		}
	}
}

// vaultCommand does what the command would do, and returns the field asked for.
func (w *world) vaultCommand(words []string, input string) string {
	w.t.Helper()
	flags, fields := make(map[string]string), make(map[string]any)
	var names []string
	for _, word := range words {
		name, value, assigned := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(word, "-") && word != "-":
			flags[name] = value
		case assigned:
			if file, ok := strings.CutPrefix(value, "@"); ok {
				content, err := os.ReadFile(file)
				if err != nil {
					w.t.Fatal(err)
				}
				value = string(content)
			}
			fields[name] = value
		default:
			names = append(names, word)
		}
	}
	client, ctx := w.Client(), w.t.Context()
	client.SetWrappingLookupFunc(func(string, string) string { return flags["-wrap-ttl"] })
	last := names[len(names)-1]
	var answer *api.Secret
	var err error
	switch what := strings.Join(names[:len(names)-1], " "); what {
	case "vault secrets enable":
		w.EnableKV2(flags["-path"])
	case "vault kv put":
		mount, path, _ := strings.Cut(last, "/")
		w.PutKV2(mount, path, fields)
	case "vault policy write nowpay":
		w.Policy("nowpay", input)
	case "vault auth enable":
		err = client.Sys().EnableAuthWithOptionsWithContext(ctx, last, &api.MountInput{Type: last})
	case "vault write":
		answer, err = client.Logical().WriteWithContext(ctx, last, fields)
	case "vault read":
		answer, err = client.Logical().ReadWithContext(ctx, last)
	case "vault token":
		answer, err = client.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{
			Policies: []string{flags["-policy"]}, Period: flags["-period"],
		})
	default:
		w.t.Fatalf("unknown command: %s", words)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", words, err)
	}
	switch flags["-field"] {
	case "":
		return ""
	case "wrapping_token":
		return answer.WrapInfo.Token
	case "token":
		return answer.Auth.ClientToken
	}
	return answer.Data[flags["-field"]].(string)
}
