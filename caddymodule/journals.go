package caddymodule

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func init() {
	caddy.RegisterModule(new(SQLiteJournal))
	caddy.RegisterModule(new(PostgresJournal))
}

// JournalProvider is what a module in the namespace `nowpay.journals` must be: a
// description of where transactions are recorded. Describing it reaches no
// network and touches no file.
type JournalProvider interface {
	// Key identifies the store, so that configurations which name the same one
	// share it, whatever else differs. It is no secret, but too good a help for
	// guessing a weak password to be logged. Valid once the module is provisioned.
	Key() string

	// Settings are what the store is opened with. Valid once the module is
	// provisioned.
	Settings() JournalSettings
}

// JournalSettings are what a journal is opened with. They can be printed: the
// DSN, which may hold a password, shows nothing.
type JournalSettings struct {
	// Kind is "sqlite" or "postgres".
	Kind string

	// Path of the database file, absolute; "" for postgres.
	Path string

	// DSN is where the database is, and how to log in; empty for sqlite.
	DSN secret.Value

	// KeyFile is the path of the file with the key that encrypts what is stored,
	// absolute. It may not be there yet.
	KeyFile string
}

// SQLiteJournal records transactions in a file. One gateway can use it at a
// time; several share a `postgres` journal.
type SQLiteJournal struct {
	// The path of the database file. It must be on a local disk; beside it are
	// files of the same name with an ending. It is made if it is absent. Default:
	// `nowpay/journal.db` in Caddy's data folder.
	Path string `json:"path,omitempty"`

	// The file with the key that encrypts what is stored of requests and answers.
	// It is made if it is absent. Whoever loses it loses these, so back it up, but
	// not beside the journal. Default: `nowpay/journal.key` in Caddy's data folder.
	KeyFile string `json:"key_file,omitempty"`

	settings JournalSettings // resolved
}

// CaddyModule returns the Caddy module information.
func (*SQLiteJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.journals.sqlite",
		New: func() caddy.Module { return new(SQLiteJournal) },
	}
}

// UnmarshalCaddyfile reads
//
//	journal sqlite [<path>] {
//		key_file <file>
//	}
func (s *SQLiteJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	args, err := values(d, 0, 1)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		s.Path = args[0]
	}
	return words{"key_file": oneText(&s.KeyFile)}.parse(d, "journal sqlite")
}

// Provision resolves and checks the options. It does not touch the files.
func (s *SQLiteJournal) Provision(caddy.Context) error {
	r := newResolver()
	s.settings = JournalSettings{
		Kind:    "sqlite",
		Path:    dataFile(r, "path", s.Path, "journal.db"),
		KeyFile: dataFile(r, "key_file", s.KeyFile, "journal.key"),
	}
	if r.err == nil && s.settings.Path == s.settings.KeyFile {
		return errors.New("key_file: is the journal itself: name another file")
	}
	return r.err
}

// Key implements [JournalProvider].
func (s *SQLiteJournal) Key() string { return "sqlite " + s.settings.Path }

// Settings implements [JournalProvider].
func (s *SQLiteJournal) Settings() JournalSettings { return s.settings }

// PostgresJournal records transactions in a PostgreSQL database, which several
// gateways may share.
type PostgresJournal struct {
	// Where the database is: `postgres://user@host/database?sslmode=verify-full`,
	// or keywords as in `host=… dbname=…`. Do not write the password here, where
	// `/config/` shows it: name it as `{env.NAME}` or `{file.path}`, which may
	// stand for the whole DSN too, or keep it in a password file
	// (`passfile=…`, `~/.pgpass`). Required.
	DSN string `json:"dsn,omitempty"`

	// The file with the key that encrypts what is stored of requests and answers.
	// It is made if it is absent. All gateways that share the database need the
	// same one. Whoever loses it loses these, so back it up. Default:
	// `nowpay/journal.key` in Caddy's data folder.
	KeyFile string `json:"key_file,omitempty"`

	settings JournalSettings // resolved
}

// CaddyModule returns the Caddy module information.
func (*PostgresJournal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay.journals.postgres",
		New: func() caddy.Module { return new(PostgresJournal) },
	}
}

// UnmarshalCaddyfile reads
//
//	journal postgres <dsn> {
//		key_file <file>
//	}
func (p *PostgresJournal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("journal postgres takes one DSN: a URL such as `postgres://user@host/database`, or keywords in quotes, such as \"host=… dbname=…\"")
	}
	p.DSN = args[0]
	return words{"key_file": oneText(&p.KeyFile)}.parse(d, "journal postgres")
}

// Provision resolves and checks the options. It does not talk to the database.
// No error repeats anything of the DSN.
func (p *PostgresJournal) Provision(caddy.Context) error {
	r := newResolver()
	p.settings = JournalSettings{Kind: "postgres", KeyFile: dataFile(r, "key_file", p.KeyFile, "journal.key")}
	if r.err != nil {
		return r.err
	}
	dsn := r.text("dsn", p.DSN)
	switch {
	case r.err != nil: // it names what is in braces, which may be a part of a password
		return errors.New("dsn: a placeholder in it is unknown or empty; what has braces of its own is written into a file: `{file.path}`")
	case dsn == "":
		return errors.New("no dsn: write `journal postgres <dsn>`")
	case !isDSN(dsn):
		return errors.New("dsn: is neither a URL such as `postgres://user@host/database` nor keywords such as `host=… dbname=…`")
	}
	p.settings.DSN = secret.New([]byte(dsn))
	return nil
}

// Key implements [JournalProvider].
func (p *PostgresJournal) Key() string {
	return fmt.Sprintf("postgres %x", sha256.Sum256(p.settings.DSN.Reveal()))
}

// Settings implements [JournalProvider].
func (p *PostgresJournal) Settings() JournalSettings { return p.settings }

// journal loads the module, or describes the default one.
func (a *App) journal(ctx caddy.Context) (JournalProvider, error) {
	if a.JournalRaw == nil {
		s := new(SQLiteJournal)
		return s, s.Provision(ctx)
	}
	module, err := ctx.LoadModule(a, "JournalRaw")
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was loaded
	}
	provider, ok := module.(JournalProvider)
	if !ok {
		return nil, fmt.Errorf("%T is no journal", module)
	}
	return provider, nil
}

// dataFile resolves the path of a file and makes it absolute. By default it is
// in Caddy's data folder.
func dataFile(r *resolver, field, value, byDefault string) string {
	path := cmp.Or(r.text(field, value), filepath.Join(caddy.AppDataDir(), "nowpay", byDefault))
	absolute, err := filepath.Abs(path)
	switch {
	case r.err != nil:
	case strings.HasPrefix(path, "file:") || strings.ContainsAny(path, "?\x00") || strings.Contains(path, ":memory:") || strings.Contains(path, "://"):
		// SQLite would take it for something else.
		r.err = fmt.Errorf("%s: takes the path of a file: no URI, no parameters and no `:memory:`", field)
	case strings.HasSuffix(path, "/"):
		r.err = fmt.Errorf("%s: takes the path of a file, not of a folder", field)
	case err != nil:
		r.err = fmt.Errorf("%s: making the path absolute: %w", field, err)
	}
	return absolute
}

// isDSN reports whether it looks like one. Whether it is one is found out when
// it is used, since that reads further files.
func isDSN(s string) bool {
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		_, err := url.Parse(s)
		return err == nil
	}
	keywords, _, _ := strings.Cut(s, "://")
	return strings.Contains(keywords, "=")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*SQLiteJournal)(nil)
	_ caddyfile.Unmarshaler = (*SQLiteJournal)(nil)
	_ JournalProvider       = (*SQLiteJournal)(nil)
	_ caddy.Provisioner     = (*PostgresJournal)(nil)
	_ caddyfile.Unmarshaler = (*PostgresJournal)(nil)
	_ JournalProvider       = (*PostgresJournal)(nil)
)
