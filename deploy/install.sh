#!/bin/sh
# Lays out guerdon below a prefix, as the container and the Debian package have it:
#
#   bin/guerdon                the program
#   lib/guerdon/               ONNX Runtime's shared library
#   share/guerdon/             the example configuration with its model, packs and rubrics
#   share/man, share/bash-completion, share/zsh, share/fish, share/doc/guerdon
#
#   deploy/install.sh PREFIX [BINARY] [RUNTIME]      for example: sudo deploy/install.sh /usr/local
#
# BINARY defaults to target/release/guerdon, RUNTIME to .guerdon/onnxruntime (see `make onnxruntime`).
set -eu
cd "$(dirname "$0")/.."

prefix=${1:?usage: deploy/install.sh PREFIX [BINARY] [RUNTIME]}
binary=${2:-${CARGO_TARGET_DIR:-target}/release/guerdon}
runtime=${3:-.guerdon/onnxruntime}
for needed in "$binary" "$runtime/libonnxruntime.so"; do
    if [ ! -f "$needed" ]; then
        echo "cannot find $needed; run \`cargo build --release -p guerdon-cli\` and \`make onnxruntime\`" >&2
        exit 1
    fi
done

share=$prefix/share/guerdon
doc=$prefix/share/doc/guerdon
install -d "$prefix/bin" "$prefix/lib/guerdon" "$share/models" "$share/examples" "$doc" "$prefix/share/man/man1" \
    "$prefix/share/bash-completion/completions" "$prefix/share/zsh/site-functions" \
    "$prefix/share/fish/vendor_completions.d"
install -m 755 "$binary" "$prefix/bin/guerdon"
install -m 644 "$runtime/libonnxruntime.so" "$prefix/lib/guerdon/"
for notice in LICENSE ThirdPartyNotices.txt; do
    install -m 644 "$runtime/$notice" "$doc/onnxruntime-$notice"
done
install -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$doc/"
install -m 644 guerdon.toml "$share/"
for folder in models/e5-hh rules judge-prompts examples/data; do
    rm -rf "${share:?}/$folder"
    cp -R "$folder" "$share/$folder"
done
chmod -R u=rwX,go=rX "$share"
"$binary" man --out "$prefix/share/man/man1" >/dev/null
"$binary" completions bash > "$prefix/share/bash-completion/completions/guerdon"
"$binary" completions zsh > "$prefix/share/zsh/site-functions/_guerdon"
"$binary" completions fish > "$prefix/share/fish/vendor_completions.d/guerdon.fish"
