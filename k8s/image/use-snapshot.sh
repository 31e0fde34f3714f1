#!/bin/sh
# Points apt at the snapshot of Debian that the builder's image was made from, so that the image's digest pins the
# packages, too. The official images name that snapshot in a comment above each source; others cannot be pinned so.
#
#   use-snapshot.sh [APT]    APT is apt's folder, /etc/apt by default
set -eu

apt=${1:-/etc/apt}
sources=$apt/sources.list.d/debian.sources
if ! grep -q '^# http.*/archive/' "$sources"; then
  echo "use-snapshot: $sources names no snapshot; this takes an official Debian image as BUILDER" >&2
  exit 1
fi
# The comment takes the place of the line after it.
sed -i '/^# http.*\/archive\//{s/^# /URIs: /;n;d}' "$sources"
# A snapshot's index is out of date on purpose; its signature still counts.
echo 'Acquire::Check-Valid-Until "false";' > "$apt/apt.conf.d/snapshot"
