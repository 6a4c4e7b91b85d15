package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/stats"
)

// enduranceConnections are kept while memory is watched.
const enduranceConnections = 256

// endurance is what memory did over a long time under load, in MiB.
type endurance struct {
	early, late float64 // medians of the second and of the last quarter
	peak        float64 // of all that the process has done
}

// endureAll watches the memory of plain Caddy and of the gateway, where they run.
func (s *stand) endureAll(ctx context.Context, runners []runner, length time.Duration) (map[string]endurance, error) {
	all := make(map[string]endurance)
	for _, v := range runners {
		if v.name != plainCaddy && v.name != plainGateway {
			continue
		}
		fmt.Fprintf(os.Stderr, "watching the memory of %s\n", v.name)
		watched, err := s.endure(ctx, v, load{connections: enduranceConnections, time: length})
		if err != nil {
			return nil, fmt.Errorf("watching the memory of %q: %w", v.name, err)
		}
		all[v.name] = watched
	}
	return all, nil
}

func (s *stand) endure(ctx context.Context, v runner, l load) (endurance, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := s.measure(ctx, v, l)
		done <- err
	}()
	var held []float64
	var peak float64
	for {
		select {
		case err := <-done:
			return endurance{stats.Median(quarter(held, 1)), stats.Median(quarter(held, 3)), peak}, err
		case <-time.After(250 * time.Millisecond):
		}
		now, most, err := v.process.Memory()
		if err != nil {
			cancel()
			return endurance{}, errors.Join(err, <-done)
		}
		held, peak = append(held, now), most
	}
}

// quarter is the nth one, from 0.
func quarter(all []float64, n int) []float64 {
	return all[len(all)*n/4 : len(all)*(n+1)/4]
}
