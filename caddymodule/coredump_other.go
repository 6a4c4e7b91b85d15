//go:build !linux

package caddymodule

import "errors"

// forbidCoreDumps is for Linux only.
func forbidCoreDumps() error { return errors.ErrUnsupported }
