#!/bin/sh
# Runs a command with the build settings of a release, so that the image, the
# linters and the smoke tests compile Caddy once between them:
#
#	internal/tools/release.sh go build -o caddy ./cmd/caddy
#
# The binary is static (the image holds no C library), the same wherever it is
# built, and leaves out the databases of Caddy's ACME server, as Caddy's own
# releases do. It sets no GOEXPERIMENT=runtimesecret: docs/operating.md, Memory, says
# why.
set -eu

export CGO_ENABLED=0
export GOFLAGS="-trimpath -buildvcs=false -ldflags=-s -tags=nobadger,nomysql,nopgx"
exec "$@"
