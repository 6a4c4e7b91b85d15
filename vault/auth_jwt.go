package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// defaultServiceAccount is where Kubernetes puts a pod's token.
const defaultServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// JWTAuth logs in with a role and the JWT in a file. The file is read at each
// login: whoever keeps it replaces the JWT before it expires.
func JWTAuth(role, jwtFile string) Auth {
	return jwtAuth{method: "jwt", role: role, file: jwtFile}
}

// KubernetesAuth logs in with a role and the token of a Kubernetes service
// account in a file, which is read at each login. The file is by default the
// pod's own, /var/run/secrets/kubernetes.io/serviceaccount/token.
func KubernetesAuth(role, jwtFile string) Auth {
	if jwtFile == "" {
		jwtFile = defaultServiceAccount
	}
	return jwtAuth{method: "kubernetes", role: role, file: jwtFile}
}

// jwtAuth is both methods: to Vault they say the same.
type jwtAuth struct{ method, role, file string }

func (a jwtAuth) String() string { return a.method }

func (a jwtAuth) validate() error {
	switch {
	case a.role == "":
		return errors.New("no role given")
	case a.file == "":
		return errors.New("no JWT file given")
	}
	return nil
}

func (a jwtAuth) login(ctx context.Context, d door) (*api.Secret, error) {
	jwt, err := readWord(a.file)
	if err != nil {
		return nil, fmt.Errorf("reading the JWT file: %w", err)
	}
	return d.login(ctx, map[string]any{"role": a.role, "jwt": jwt}, jwt)
}
