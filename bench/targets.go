package main

import "math"

// target is a figure that the gateway is to reach.
type target struct {
	What     string
	Goal     string
	Measured float64
	met      func(float64) bool // nil: it is only told
}

// Verdict is computed from what was measured.
func (t target) Verdict() string {
	switch {
	case math.IsNaN(t.Measured):
		return "not measured"
	case t.met == nil:
		return "–"
	case t.met(t.Measured):
		return "met"
	}
	return "**missed**"
}

// targetConnections are those at which the targets are, and the picture.
const targetConnections = 64

func atMost(limit float64) func(float64) bool  { return func(x float64) bool { return x <= limit } }
func atLeast(limit float64) func(float64) bool { return func(x float64) bool { return x >= limit } }

// targets are all there are.
func (r *results) targets() []target {
	busy, constant := r.loadOf(targetConnections, 0), r.loadOf(rateConnections, rate)
	plain := func(of string, f figure) float64 { return r.ratio(plainGateway, of, busy, f) }
	other := func(v string, f figure) float64 { return r.ratio(v, plainGateway, busy, f) }
	ours, caddy := r.endurances[plainGateway], r.endurances[plainCaddy]
	return []target{
		{"CPU, gateway : plain Caddy", "≤ 0.65, aim 0.5", plain(plainCaddy, cpu), atMost(0.65)},
		{"… both with a line of log for each exchange", "told", plain(loggingCaddy, cpu), nil},
		{"… both without", "told", r.ratio(quietGateway, plainCaddy, busy, cpu), nil},
		{"throughput, gateway : plain Caddy", "≥ 1.6, aim 2", plain(plainCaddy, throughput), atLeast(1.6)},
		{"CPU, gateway : Go's bare `httputil.ReverseProxy`", "≤ 0.8", plain(goProxy, cpu), atMost(0.8)},
		{"… that keeps its connections", "≤ 0.8", plain(goKeptProxy, cpu), atMost(0.8)},
		{"p99 at " + constant.String() + ", gateway : plain Caddy", "≤ 0.8", r.ratio(plainGateway, plainCaddy, constant, p99), atMost(0.8)},
		{"CPU, gateway : nginx with an HMAC in Lua", "told", plain(nginxLua, cpu), nil},
		{"allocations of an exchange in our own packages, counted by `bench/cost`", "≤ 25", r.allocations, atMost(25)},
		{"throughput, payment with SQLite : plain exchange", "≥ 0.6", other(sqliteGateway, throughput), atLeast(0.6)},
		{"CPU, payment with SQLite : plain exchange", "≤ 1.6", other(sqliteGateway, cpu), atMost(1.6)},
		{"throughput, payment with PostgreSQL : plain exchange", "≥ 0.3", other(postgresGateway, throughput), atLeast(0.3)},
		{"CPU, signed both ways : plain exchange", "told; once ≤ 1.15", other(signedGateway, cpu), nil},
		{"CPU, 500 merchants, 5,000 sources, 200 operations : 5 of each", "≤ 1.1", other(largeGateway, cpu), atMost(1.1)},
		{"memory after a long run at 256 connections, gateway : plain Caddy", "≤ 1.3", quotient(ours.late, caddy.late), atMost(1.3)},
		{"… growth of the gateway's from the second quarter to the last", "flat: ≤ 1.05", quotient(ours.late, ours.early), atMost(1.05)},
		{"connections to the upstream opened for 10,000 exchanges", "≤ 10", r.value(plainGateway, busy, connects), atMost(10)},
	}
}

// loadOf finds the load; one that was not measured has no samples.
func (r *results) loadOf(connections, rate int) load {
	for _, l := range r.loads {
		if l.connections == connections && l.rate == rate {
			return l
		}
	}
	return load{connections: connections, rate: rate}
}

// quotient is NaN where something was not measured.
func quotient(a, b float64) float64 {
	if a == 0 || b == 0 {
		return math.NaN()
	}
	return a / b
}
