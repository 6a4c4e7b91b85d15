package main

import (
	"context"
	_ "embed"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
)

//go:embed load.lua
var script []byte

// loads counts them, so that no two send the same request IDs.
var loads atomic.Int64

// load has merchants call for some time, as fast as they are answered.
func (g *gateway) load(ctx context.Context, length time.Duration) (wrk.Answers, error) {
	return wrk.Run(ctx, wrk.Load{
		URL: "http://" + g.server.Site, Connections: g.row.connections, Time: length, Script: script, Folder: g.folder,
		Env: []string{
			fmt.Sprintf("SCALE_MERCHANTS=%d", g.row.merchants),
			fmt.Sprintf("SCALE_SUFFIX=L%d", loads.Add(1)),
			fmt.Sprintf("SCALE_PAYS=%t", g.row.pays),
		},
	})
}
