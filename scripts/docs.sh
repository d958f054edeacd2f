#!/bin/sh
# Builds the documentation site into target/docs and checks its links. mdBook is built once, into .guerdon/tools.
set -eu
version=0.5.4
tools=.guerdon/tools
mdbook=$tools/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
    "${CARGO:-cargo}" install mdbook --version "$version" --locked --no-default-features --features search \
        --root "$tools" --quiet
fi
"${CARGO:-cargo}" check-sources book target/docs-sources
"$mdbook" build target/docs-sources --dest-dir "$PWD/target/docs"
"${CARGO:-cargo}" check-sources site target/docs
echo "target/docs/index.html"
