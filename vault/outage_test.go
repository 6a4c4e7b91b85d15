package vault_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// TestOutages takes Vault away in every way, and gives it back.
func TestOutages(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	role := vaulttest.AppRoleOptions{Policies: []string{"nowpay"}}
	roleID, secretID := server.AppRole("gateway", role)
	token := config(t, server)
	approle := config(t, server)
	approle.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))

	n := 1
	for _, tt := range []struct {
		name       string
		away, back func()
	}{
		{"stopped and started", server.Stop, server.Restart},
		{"sealed", server.Seal, server.Unseal},
		{"started again but sealed", server.RestartSealed, server.Unseal},
		{
			"permission revoked",
			func() { server.Policy("nowpay", `path "secret/data/other" { capabilities = ["read"] }`) },
			func() { server.Policy("nowpay", policy) },
		},
		{
			"denied",
			func() { server.Policy("nowpay", strings.Replace(policy, "read", "deny", 1)) },
			func() { server.Policy("nowpay", policy) },
		},
	} {
		for method, cfg := range map[string]vault.Config{"token": token, "approle": approle} {
			t.Run(tt.name+", "+method, func(t *testing.T) {
				s, log := startSource(t, cfg, vault.Options{})
				version := s.Status().Version
				tt.away()
				eventually(t, "the failure to be noticed", failing(s))
				mustHold(t, s, n, version)
				mustNotHold(t, s.Status().Err.Error(), secretID)
				tt.back()
				n++
				server.PutKV2("secret", "nowpay/main", pair(n))
				eventually(t, "the new key", keyIs(s, n))
				if !available(s)() {
					t.Errorf("Status() = %+v", s.Status())
				}
				if log.count(msgUnavailable) != 0 || log.count(msgFailing) < 1 || log.count(msgFailing) > 2 {
					t.Errorf("want one or two records of the failure: %s", log)
				}
			})
		}
	}
}

func TestUnreachableAtStart(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	cfg := config(t, server)
	server.Stop()
	s, log := newSource(t, cfg, vault.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := s.Start(ctx)
	mustFailAt(t, err, vault.StepLogin)
	if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("Acquire(): %v", err)
	}
	if log.String() != "" {
		t.Errorf("an error that Start returned was logged too: %s", log)
	}
	server.Restart()
	eventually(t, "the credential", available(s))
	mustHold(t, s, 1, 1)
	eventually(t, "the record", func() bool { return log.count(msgAvailable) == 1 })
}

// TestStale goes to the limit, by the clock.
func TestStale(t *testing.T) {
	t.Parallel()
	const staleFor = 10 * time.Minute
	server := newVault(t)
	clock := newClock()
	cfg := config(t, server)
	cfg.StaleFor = staleFor
	s, log := startSource(t, cfg, vault.Options{Now: clock.now})
	server.Stop()
	eventually(t, "the failure to be noticed", func() bool { return log.count(msgFailing) == 1 })

	clock.advance(staleFor)
	if st := s.Status(); !st.Available || st.Age != staleFor {
		t.Errorf("Status() at the limit = %+v", st)
	}
	mustHold(t, s, 1, 1)

	clock.advance(1)
	_, err := s.Acquire()
	if !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("Acquire() one nanosecond past the limit: %v", err)
	}
	mustFailAt(t, err, vault.StepRead) // the reason is in it
	if st := s.Status(); st.Available || st.Version != 1 {
		t.Errorf("Status() past the limit = %+v", st)
	}
	eventually(t, "the record", func() bool { return log.count(msgUnavailable) == 1 })

	server.Restart()
	eventually(t, "recovery", available(s))
	mustHold(t, s, 1, 1)
	eventually(t, "the record", func() bool { return log.count(msgAvailable) == 2 })
	if log.count(msgUnavailable) != 1 || log.count(msgFailing) != 1 {
		t.Errorf("changes were logged more than once: %s", log)
	}
}

// TestContent makes the secret unusable in every way. That counts at once, and
// a usable one counts again.
func TestContent(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	put := func(data map[string]any) func() {
		return func() { server.PutKV2("secret", "nowpay/main", data) }
	}
	with := func(name string, value any) func() {
		data := pair(66)
		data[name] = value
		if value == nil {
			delete(data, name)
		}
		return put(data)
	}
	s, log := startSource(t, config(t, server), vault.Options{})
	version := 1
	for i, tt := range []struct {
		name   string
		change func()
		step   vault.Step
		want   string
	}{
		{"deleted", func() { server.DeleteKV2("secret", "nowpay/main") }, vault.StepRead, "deleted"},
		{"destroyed", func() { server.DestroyKV2("secret", "nowpay/main", version) }, vault.StepRead, "deleted"},
		{"all of it removed", func() {
			if err := server.Client().KVv2("secret").DeleteMetadata(t.Context(), "nowpay/main"); err != nil {
				t.Fatal(err)
			}
			version = -1
		}, vault.StepRead, "not found"},
		{"no key", with("key", nil), vault.StepFields, `"key" is missing`},
		{"no username", with("username", nil), vault.StepFields, `"username" is missing`},
		{"nothing", put(map[string]any{}), vault.StepFields, "is missing"},
		{"empty key", with("key", ""), vault.StepFields, "the key is empty"},
		{"empty username", with("username", ""), vault.StepFields, "the username is empty"},
		{"CR LF", with("key", "s3cr3t\r\n"), vault.StepFields, "the key holds a control character"},
		{"LF", with("username", "s3cr3t\n"), vault.StepFields, "the username holds a control character"},
		{"NUL", with("key", "s3cr3t\x00"), vault.StepFields, "the key holds a control character"},
		{"too long", with("key", strings.Repeat("s3cr3t", 100)), vault.StepFields, "longer than 265"},
		{"number for a key", with("key", 5320137), vault.StepFields, `"key" is not a text`},
		{"fraction for a username", with("username", 1.5), vault.StepFields, "neither a text nor a whole number"},
		{"negative username", with("username", -1), vault.StepFields, "neither a text nor a whole number"},
		{"object", with("key", map[string]any{"s3cr3t": "s3cr3t"}), vault.StepFields, "is not a text"},
		{"list", with("key", []string{"s3cr3t"}), vault.StepFields, "is not a text"},
		{"null", with("key", (*string)(nil)), vault.StepFields, "is not a text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records := log.count(msgUnavailable)
			tt.change()
			eventually(t, "the credential to be gone", gone(s))
			_, err := s.Acquire()
			if !errors.Is(err, secret.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Acquire(): %v, want it to say %q", err, tt.want)
			}
			mustFailAt(t, err, tt.step)
			if st := s.Status(); st.Version != 0 || !st.FetchedAt.IsZero() {
				t.Errorf("Status() = %+v", st)
			}
			eventually(t, "the record", func() bool { return log.count(msgUnavailable) == records+1 })

			version = server.PutKV2("secret", "nowpay/main", pair(i))
			eventually(t, "the new key", keyIs(s, i))
			mustHold(t, s, i, int64(version))
		})
	}
}
