package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/postgres"
)

// The variants that targets and the picture name.
const (
	plainCaddy      = "caddy" // the reference of all ratios
	loggingCaddy    = "caddy-log"
	nginxLua        = "nginx-lua"
	goProxy         = "go"
	goKeptProxy     = "go-kept"
	plainGateway    = "gateway"
	signedGateway   = "gateway-httpsig"
	sqliteGateway   = "gateway-sqlite"
	postgresGateway = "gateway-postgres"
	largeGateway    = "gateway-large"
	quietGateway    = "gateway-quiet"
)

// variant is something that merchants can call.
type variant struct {
	name  string // for -only
	title string // for the report
	path  string
	start func(context.Context, *stand, variant) (*subject, error)
}

// subject is a variant that runs.
type subject struct {
	url      string                                // without the path
	process  *machine.Process                      // nil: none of its own
	proves   bool                                  // it puts the key or a signature in
	counters func(context.Context) (counts, error) // nil: it counts nothing
}

// runner is a variant and what runs for it.
type runner struct {
	variant
	*subject
	answer int // the bytes of an answer, with its head
}

// Operations of the same fields: one moves no money.
const (
	quotePath  = "/api/" + quote
	payoutPath = "/api/bank/payout"
)

// variants are all there are, in the order of the report.
var variants = []variant{
	{"direct", "the upstream alone", quotePath, startDirect},
	{plainCaddy, "**Caddy `reverse_proxy`, defaults**", quotePath, startCaddy(caddyfile{})},
	{loggingCaddy, "… with an access log", quotePath, startCaddy(caddyfile{AccessLog: true})},
	{"nginx", "nginx `proxy_pass`, kept-alive", quotePath, startNginx("")},
	{nginxLua, "nginx, HMAC of the body in Lua", quotePath, startNginx(luaModule)},
	{goProxy, "Go's bare `httputil.ReverseProxy`", quotePath, startProxy("0")},
	{goKeptProxy, "… that keeps its connections", quotePath, startProxy("512")},
	{plainGateway, "**gateway**, 5 merchants, sources, operations", quotePath, startCaddy(gateway())},
	{largeGateway, "… with 500, 5,000 and 200 of them", quotePath, startCaddy(gateway().of(500, 5000, 200))},
	{quietGateway, "… without its decision log", quotePath, startCaddy(gateway().with(func(c *caddyfile) { c.Level = "WARN" }))},
	{"gateway-log", "… with an access log too", quotePath, startCaddy(gateway().with(func(c *caddyfile) { c.AccessLog = true }))},
	{signedGateway, "… `sign httpsig`, `verify httpsig`", quotePath, startCaddy(gateway().with(func(c *caddyfile) { c.Signed = true }))},
	{sqliteGateway, "**gateway, payment**, journal in SQLite", payoutPath, startCaddy(gateway())},
	{postgresGateway, "… in PostgreSQL on this machine", payoutPath, startWithPostgres},
}

// startAll starts the variants whose name matches, and plain Caddy. Those for
// which something is not installed are left out.
func (s *stand) startAll(ctx context.Context, only *regexp.Regexp, r *results) (runners []runner, err error) {
	for _, v := range variants {
		if v.name != plainCaddy && !only.MatchString(v.name) {
			continue
		}
		subject, err := v.start(ctx, s, v)
		if errors.Is(err, machine.ErrMissing) {
			r.missing = append(r.missing, fmt.Sprintf("%s: %v", v.name, err))
			fmt.Fprintln(os.Stderr, "left out:", r.missing[len(r.missing)-1])
			continue
		}
		var answer int
		if err == nil {
			answer, err = probe(ctx, subject.url+v.path)
		}
		if err != nil {
			return nil, fmt.Errorf("starting %q: %w", v.name, err)
		}
		runners = append(runners, runner{v, subject, answer})
		r.variants = append(r.variants, v)
	}
	return runners, nil
}

// startWithPostgres starts a PostgreSQL server, and the gateway with its journal there.
func startWithPostgres(ctx context.Context, s *stand, v variant) (*subject, error) {
	server, err := postgres.Start(ctx)
	if err != nil {
		return nil, err
	}
	s.ends(server.Stop)
	s.postgres = server.Version()
	dsn, err := server.Database()
	if err != nil {
		return nil, err
	}
	return startCaddy(gateway().with(func(c *caddyfile) { c.Journal = "postgres " + dsn }))(ctx, s, v)
}

func startDirect(_ context.Context, s *stand, _ variant) (*subject, error) {
	return &subject{url: "http://" + s.upstream.Address}, nil
}
