#!/usr/bin/env bash
# Both libraries package, and build from what was packaged.
#
# In one call, because spanwire names spanwire-runtime by version: cargo then resolves it from the package it has
# just made instead of the registry. Nothing is published. A tree with uncommitted changes is refused, as a
# release would be, unless PACKAGE_ALLOW_DIRTY=1.
set -euo pipefail
cd "$(dirname "$0")/.."

LIBRARIES=(spanwire-runtime spanwire)
# Files that whoever gets only the package needs.
PAPERS=(LICENSE-MIT LICENSE-APACHE README.md src/lib.rs)

dirty=()
[ "${PACKAGE_ALLOW_DIRTY:-0}" = 1 ] && dirty=(--allow-dirty)

version=$(cargo pkgid --locked -p spanwire | sed 's/.*[#@]//')
# cargo takes a package of a known version for unchanged. So nothing may remain of an earlier run: neither what was
# built from it, nor what cargo unpacked from the registry that it makes up for this call (its directory has no host
# name before the hash).
target="${PACKAGE_TARGET_DIR:-target/package-check}"
rm -rf "$target"
for library in "${LIBRARIES[@]}"; do
    rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/{src,cache}/-*/"$library-$version"{,.crate}
done
CARGO_TARGET_DIR="$target" cargo package --locked "${LIBRARIES[@]/#/-p=}" "${dirty[@]}"

for library in "${LIBRARIES[@]}"; do
    archive="$target/package/$library-$version.crate"
    files=$(tar tzf "$archive")
    for paper in "${PAPERS[@]}"; do
        grep -qx "$library-$version/$paper" <<<"$files" || {
            echo "package: $archive lacks $paper" >&2
            exit 1
        }
    done
    echo "package: $library $version, $(wc -l <<<"$files") files, $(stat -c %s "$archive") bytes"
done
