package main

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
)

//go:embed wrk.lua
var wrkScript []byte

// loaded is what merchants saw.
type loaded struct {
	answers        int
	perSecond      float64
	p50, p99, p999 time.Duration
}

// runWrk has merchants call for some time, each again as soon as it is answered.
func (s *stand) runWrk(ctx context.Context, v runner, l load) (loaded, error) {
	a, err := wrk.Run(ctx, wrk.Load{
		URL: v.url + v.path, Connections: l.connections, Time: l.time, Script: wrkScript, Folder: s.folder,
		Env: []string{
			"BENCH_TOKEN=" + token, "BENCH_PREFIX=" + newPrefix(),
			"BENCH_NUMBER=" + strconv.Itoa(numberLength), "BENCH_BEFORE=" + requestBefore, "BENCH_AFTER=" + requestAfter,
		},
	})
	if err != nil {
		return loaded{}, err
	}
	return loaded{a.All, a.PerSecond(), a.P50, a.P99, a.P999}, checkAnswers(a, v.answer, l.connections)
}

// checkAnswers checks that none was refused, and that all were as long as they have
// to be; of those that wrk did not wait for, a part may have come.
func checkAnswers(a wrk.Answers, length, connections int) error {
	least, most := a.All*length, (a.All+connections)*length
	if a.Refused > 0 || a.Bytes < least || a.Bytes > most {
		return fmt.Errorf("of %d answers %d are refusals, and all have %d bytes, want %d to %d", a.All, a.Refused, a.Bytes, least, most)
	}
	return nil
}
