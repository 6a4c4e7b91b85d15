package caddymodule

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestFieldsDocumented checks that every field of the configuration has a tag
// and a comment, from which Caddy's website makes its pages.
func TestFieldsDocumented(t *testing.T) {
	comments := fieldComments(t)
	for _, config := range []any{
		App{},
		Account{},
		Upstream{},
		Operation{},
		StatusQuery{},
		StatusField{},
		Field{},
		Merchant{},
		Rate{},
		Reconcile{},
		VaultSecret{},
		VaultAuth{},
		FileSecret{},
		EnvSecret{},
		SystemdSecret{},
		VaultAgentSecret{},
		CredentialsSigner{},
		SQLiteJournal{},
		PostgresJournal{},
	} {
		for typ, i := reflect.TypeOf(config), 0; i < typ.NumField(); i++ {
			name, field := typ.Name()+"."+typ.Field(i).Name, typ.Field(i)
			switch {
			case !field.IsExported():
			case field.Tag.Get("json") == "":
				t.Errorf("%s has no JSON name, so it would be configurable by its Go name", name)
			case comments[name] == "":
				t.Errorf("%s has no comment", name)
			}
		}
	}
}

// fieldComments reads the comments of all fields of the package, by Type.Field.
func fieldComments(t *testing.T) map[string]string {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if structure, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range structure.Fields.List {
					for _, name := range field.Names {
						comments[spec.Name.Name+"."+name.Name] = field.Doc.Text()
					}
				}
			}
			return true
		})
	}
	return comments
}

// FuzzUnmarshalCaddyfile checks that a block which is read becomes JSON that
// Caddy accepts and that means the same, and that errors say where they are.
func FuzzUnmarshalCaddyfile(f *testing.F) {
	goldens, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(goldens) == 0 {
		f.Fatalf("no goldens: %v", err)
	}
	for _, golden := range goldens {
		if strings.HasPrefix(filepath.Base(golden), "error_") || strings.HasPrefix(filepath.Base(golden), "invalid_") {
			continue // the engine finds its way there, and each seed takes a while
		}
		data, err := os.ReadFile(golden)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), "----------\n")
		if _, block, ok := strings.Cut(input, "\tnowpay"); ok {
			f.Add(block)
		}
	}
	f.Fuzz(func(t *testing.T, input string) {
		app := new(App)
		if err := app.UnmarshalCaddyfile(caddyfile.NewTestDispenser("nowpay " + input)); err != nil {
			if !strings.Contains(err.Error(), ", at Testfile:") {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		adapted, err := json.Marshal(app)
		if err != nil {
			t.Fatal(err)
		}
		again := new(App)
		if err := caddy.StrictUnmarshalJSON(adapted, again); err != nil {
			t.Fatalf("reading %s: %v", adapted, err)
		}
		if repeated, err := json.Marshal(again); err != nil || !bytes.Equal(repeated, adapted) {
			t.Errorf("%s became %s (%v)", adapted, repeated, err)
		}
	})
}
