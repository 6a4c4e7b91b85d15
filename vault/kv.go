package vault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/hashicorp/vault/api"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// mount is a KV engine: its path below our namespace, with a slash at the end.
type mount struct {
	path string
	v2   bool
}

// kv reads one secret out of a KV engine of either version.
type kv struct {
	client *api.Client
	token  string // that errors must not show
	path   string // mount and path
	fields fields
	mount  *mount // nil: not found out yet
}

// read returns the credential as Vault holds it now.
func (k *kv) read(ctx context.Context) (*secret.Credential, error) {
	known := k.mount != nil
	if !known {
		m, err := k.findMount(ctx)
		if err != nil {
			return nil, err
		}
		k.mount = &m
	}
	c, err := k.readFrom(ctx, *k.mount)
	if known && errors.Is(err, errGone) {
		// The engine may have become another one, as on an upgrade to version 2;
		// or it was not Vault that answered, but a proxy in front of it.
		m, err := k.findMount(ctx)
		if err != nil {
			return nil, err
		}
		if m != *k.mount {
			k.mount = &m
			return k.readFrom(ctx, m)
		}
	}
	return c, err
}

// findMount asks as Vault's own command does: anyone who may read the path may
// ask that.
func (k *kv) findMount(ctx context.Context) (mount, error) {
	fail := func(err error) (mount, error) {
		return mount{}, &StepError{Step: StepMount, Subject: k.path, Err: err}
	}
	info, err := k.client.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+k.path)
	if err != nil {
		return fail(explain(err, k.token))
	}
	if info == nil {
		return fail(errAnswer)
	}
	at, _ := info.Data["path"].(string)
	kind, _ := info.Data["type"].(string)
	options, _ := info.Data["options"].(map[string]any)
	if kind != "kv" && kind != "generic" {
		return fail(errors.New("it is not in a KV secrets engine"))
	}
	// The answer has the namespace in front, which our path has not.
	for !strings.HasPrefix(k.path+"/", at) {
		_, at, _ = strings.Cut(at, "/")
	}
	switch at {
	case "":
		return fail(errAnswer)
	case k.path + "/":
		return fail(errors.New("it is the mount itself: write mount and path"))
	}
	return mount{path: at, v2: options["version"] == "2"}, nil
}

// readFrom reads the secret from m.
func (k *kv) readFrom(ctx context.Context, m mount) (*secret.Credential, error) {
	url := k.path
	if m.v2 {
		url = m.path + "data/" + strings.TrimPrefix(k.path, m.path)
	}
	resp, err := k.client.Logical().ReadRawWithContext(ctx, url)
	if resp != nil {
		defer resp.Body.Close()
	}
	fail := func(step Step, err error) (*secret.Credential, error) {
		return nil, &StepError{Step: step, Subject: k.path, Err: err}
	}
	if err != nil {
		err = explain(err, k.token)
		if !isType[*notFoundError](err) {
			return fail(StepRead, err)
		}
		if body, readErr := readAll(resp.Body); readErr == nil && m.v2 {
			return fail(StepRead, whyNotFound(body))
		}
		return fail(StepRead, fmt.Errorf("%w: not found", errGone))
	}
	body, err := readAll(resp.Body)
	if err != nil {
		return fail(StepRead, explain(err, k.token))
	}
	step, c, err := take(body, m.v2, k.fields)
	if err != nil {
		return fail(step, err)
	}
	return c, nil
}

// take returns the credential in a KV answer, or the step that failed. It
// overwrites the answer.
func take(body []byte, v2 bool, f fields) (Step, *secret.Credential, error) {
	defer clear(body)
	a, err := parseAnswer(body, v2)
	if err != nil {
		return StepRead, nil, err
	}
	c, err := f.credential(a.data, a.version)
	return StepFields, c, err
}

// answer is what Vault says of a secret. The data point into the answer's body.
type answer struct {
	data    jsontext.Value
	version int64 // KV version 2 only, else 0
	deleted bool  // or destroyed
}

// parseAnswer takes a KV answer apart.
func parseAnswer(body []byte, v2 bool) (answer, error) {
	var a answer
	if err := members(body, pick("data", &a.data)); err != nil {
		return answer{}, errAnswer
	}
	if v2 {
		var metadata jsontext.Value
		outer := a.data
		a.data = nil
		err := members(outer, func(name string, v jsontext.Value) error {
			_ = pick("data", &a.data)(name, v)
			return pick("metadata", &metadata)(name, v)
		})
		if err != nil {
			return answer{}, errAnswer
		}
		if err := members(metadata, a.readMetadata); err != nil {
			return answer{}, errAnswer
		}
	}
	if a.data.Kind() == 'n' || a.deleted {
		return a, fmt.Errorf("%w: deleted", errGone)
	}
	if a.data.Kind() != '{' || v2 && a.version <= 0 {
		return answer{}, errAnswer
	}
	return a, nil
}

func (a *answer) readMetadata(name string, v jsontext.Value) error {
	switch name {
	case "version":
		version, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return errAnswer
		}
		a.version = version
	case "destroyed":
		a.deleted = v.Kind() == 't'
	}
	return nil
}

// pick returns a visitor that remembers the member of that name.
func pick(want string, to *jsontext.Value) func(string, jsontext.Value) error {
	return func(name string, v jsontext.Value) error {
		if name == want {
			*to = v
		}
		return nil
	}
}

// whyNotFound reads KV version 2's 404: of a version that was deleted it still
// has the metadata.
func whyNotFound(body []byte) error {
	if _, err := parseAnswer(body, true); errors.Is(err, errGone) {
		return err
	}
	return fmt.Errorf("%w: not found", errGone)
}
