package vaulttest

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// EnableKV1 mounts a KV version 1 engine.
func (s *Server) EnableKV1(mount string) {
	s.tb.Helper()
	s.enableKV(mount, "1")
}

// EnableKV2 mounts a KV version 2 engine and waits until it answers.
func (s *Server) EnableKV2(mount string) {
	s.tb.Helper()
	s.enableKV(mount, "2")
	s.kv2Mounts = append(s.kv2Mounts, mount)
	s.waitKV2(mount)
}

func (s *Server) enableKV(mount, version string) {
	s.tb.Helper()
	err := s.Client().Sys().MountWithContext(s.ctx(), mount, &api.MountInput{
		Type:    "kv",
		Options: map[string]string{"version": version},
	})
	if err != nil {
		s.tb.Fatalf("vaulttest: mounting %s: %v", mount, err)
	}
}

// waitKV2 waits for a mount that refuses requests while it prepares its
// storage, which it does after it was made and after every unsealing.
func (s *Server) waitKV2(mount string) {
	s.tb.Helper()
	logical := s.Client().Logical()
	s.eventually("the mount "+mount, func() error {
		_, err := logical.ReadWithContext(s.ctx(), mount+"/config")
		return err
	})
}

// PutKV1 writes a secret of a KV version 1 mount.
func (s *Server) PutKV1(mount, path string, data map[string]any) {
	s.tb.Helper()
	if err := s.Client().KVv1(mount).Put(s.ctx(), path, data); err != nil {
		s.tb.Fatalf("vaulttest: writing %s/%s: %v", mount, path, err)
	}
}

// PutKV2 writes a new version of a secret of a KV version 2 mount and returns
// its number.
func (s *Server) PutKV2(mount, path string, data map[string]any) (version int) {
	s.tb.Helper()
	secret, err := s.Client().KVv2(mount).Put(s.ctx(), path, data)
	if err != nil {
		s.tb.Fatalf("vaulttest: writing %s/%s: %v", mount, path, err)
	}
	return secret.VersionMetadata.Version
}

// DeleteKV2 deletes versions of a secret, the newest if none are named. Their
// metadata stays, and they can be restored.
func (s *Server) DeleteKV2(mount, path string, versions ...int) {
	s.tb.Helper()
	kv := s.Client().KVv2(mount)
	var err error
	if len(versions) == 0 {
		err = kv.Delete(s.ctx(), path)
	} else {
		err = kv.DeleteVersions(s.ctx(), path, versions)
	}
	if err != nil {
		s.tb.Fatalf("vaulttest: deleting %s/%s: %v", mount, path, err)
	}
}

// ForgetKV2 removes a secret with its metadata: whoever writes it again begins with
// version 1.
func (s *Server) ForgetKV2(mount, path string) {
	s.tb.Helper()
	if err := s.Client().KVv2(mount).DeleteMetadata(s.ctx(), path); err != nil {
		s.tb.Fatalf("vaulttest: forgetting %s/%s: %v", mount, path, err)
	}
}

// DestroyKV2 removes the data of versions of a secret for good. Their metadata
// stays.
func (s *Server) DestroyKV2(mount, path string, versions ...int) {
	s.tb.Helper()
	if len(versions) == 0 {
		s.tb.Fatalf("vaulttest: destroying %s/%s: no versions named", mount, path)
	}
	if err := s.Client().KVv2(mount).Destroy(s.ctx(), path, versions); err != nil {
		s.tb.Fatalf("vaulttest: destroying %s/%s: %v", mount, path, err)
	}
}

// Policy writes an ACL policy in HCL.
func (s *Server) Policy(name, hcl string) {
	s.tb.Helper()
	if err := s.Client().Sys().PutPolicyWithContext(s.ctx(), name, hcl); err != nil {
		s.tb.Fatalf("vaulttest: writing the policy %s: %v", name, err)
	}
}

// Token returns a new token without a parent, with the policies and "default".
// A ttl of zero is Vault's default of 32 days.
func (s *Server) Token(policies []string, ttl time.Duration, renewable bool) string {
	s.tb.Helper()
	request := &api.TokenCreateRequest{
		// Never empty: that would make another root token.
		Policies:  append([]string{"default"}, policies...),
		Renewable: &renewable,
	}
	if ttl > 0 {
		request.TTL = ttl.String()
	}
	secret, err := s.Client().Auth().Token().CreateOrphanWithContext(s.ctx(), request)
	if err != nil {
		s.tb.Fatalf("vaulttest: making a token: %v", err)
	}
	return secret.Auth.ClientToken
}

// RevokeToken makes a token, and the tokens made with it, worthless.
func (s *Server) RevokeToken(token string) {
	s.tb.Helper()
	if err := s.Client().Auth().Token().RevokeTreeWithContext(s.ctx(), token); err != nil {
		s.tb.Fatalf("vaulttest: revoking a token: %v", err)
	}
}

// Requests returns how many requests the server has recorded whose path begins
// with pathPrefix ("secret/data/", without "/v1/"), by anybody: this package's
// own methods count too. With operations ("read", "list", "create", "update",
// "delete"), only those count. A refused request counts; one that met a sealed
// server does not.
func (s *Server) Requests(pathPrefix string, operations ...string) int {
	s.tb.Helper()
	log, err := os.ReadFile(s.auditFile)
	if err != nil {
		s.tb.Fatalf("vaulttest: reading the audit log: %v", err)
	}
	count := 0
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // is being written: not answered yet
		}
		var entry struct {
			Type    string `json:"type"`
			Request struct {
				Operation string `json:"operation"`
				Path      string `json:"path"`
			} `json:"request"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			s.tb.Fatalf("vaulttest: reading the audit log: %v", err)
		}
		if entry.Type == "request" && strings.HasPrefix(entry.Request.Path, pathPrefix) &&
			(len(operations) == 0 || slices.Contains(operations, entry.Request.Operation)) {
			count++
		}
	}
	return count
}
