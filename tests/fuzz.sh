#!/bin/sh
# Runs every fuzz target of the packages for a time (5s) or a number of inputs (1000x) each: tests/fuzz.sh [TIME] [PACKAGES]. Ends at the first failure, whose input
# go test leaves under the package's testdata/fuzz.
set -eu
time=${1:-5s}
packages=${2:-./...}
jobs=${FUZZJOBS:-2}

targets=$(mktemp)
trap 'rm -f "$targets"' EXIT
# shellcheck disable=SC2016,SC2086 # the template is go's; several packages are several words
go list -f '{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}' $packages |
  while read -r package file; do
    [ -n "$file" ] || continue
    sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | sed "s|^|$package |"
  done >"$targets"

count=0
while read -r package target; do
  echo "--- $target $package"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -parallel "$jobs" "$package" </dev/null
  count=$((count + 1))
done <"$targets"
echo "$count fuzz targets ran $time each and found nothing"
