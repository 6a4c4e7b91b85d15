// Command cost counts what one exchange costs in our own packages.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
)

func main() {
	profiled := flag.String("profile", "", "print where an exchange of this variant allocates")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *profiled != "" {
		runtime.MemProfileRate = 1
		fail(profileNamed(ctx, *profiled))
		return
	}
	for _, v := range variants {
		allocs, bytes, err := allocations(ctx, v)
		fail(err)
		fmt.Printf("%-8s %8.1f allocs %8.0f bytes\n", v.name, allocs, bytes)
	}
}

func profileNamed(ctx context.Context, name string) error {
	for _, v := range variants {
		if v.name == name {
			return profile(ctx, os.Stdout, v)
		}
	}
	return fmt.Errorf("there is no variant %q", name)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}
