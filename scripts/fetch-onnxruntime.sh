#!/bin/sh
# Fetches the ONNX Runtime library to the folder in which guerdon looks for it. The library is loaded when the server
# starts, not linked, so that one binary runs with the CPU build or the CUDA build.
#
#   scripts/fetch-onnxruntime.sh [DEST]        DEST defaults to .guerdon/onnxruntime under the current folder
#   GPU=1 scripts/fetch-onnxruntime.sh         the CUDA build (NVIDIA's own libraries are not part of it)
#
# The library comes from the official Python wheel, through pip and its configured index. If the pinned version is
# already there, the script does nothing.
set -eu

version=1.31.1
dest=${1:-.guerdon/onnxruntime}
if [ "${GPU:-0}" = 1 ]; then
    package=onnxruntime-gpu
else
    package=onnxruntime
fi

# Written last, so that an interrupted run is repeated.
stamp="$dest/.version"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$package $version" ]; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT HUP INT TERM

echo "fetching $package $version into $dest" >&2
python3 -m pip download --no-deps --only-binary :all: --quiet --disable-pip-version-check \
    --dest "$work" "$package==$version"

mkdir -p "$dest"
rm -f "$stamp" "$dest"/libonnxruntime*
python3 - "$work" "$dest" <<'PYTHON'
import pathlib, sys, zipfile

work, dest = map(pathlib.Path, sys.argv[1:])
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        path = pathlib.PurePosixPath(name)
        if path.match("onnxruntime/capi/libonnxruntime*"):
            (dest / path.name).write_bytes(archive.read(name))
        elif path.match("onnxruntime/LICENSE") or path.match("onnxruntime/ThirdPartyNotices.txt"):
            (dest / path.name).write_bytes(archive.read(name))

# The server looks for the plain name; the provider libraries are found next to the file it points to.
versioned = [p for p in dest.glob("libonnxruntime.*") if "providers" not in p.name]
if not versioned:
    sys.exit(f"{wheel.name} holds no libonnxruntime")
suffix = ".dylib" if versioned[0].name.endswith(".dylib") else ".so"
plain = dest / f"libonnxruntime{suffix}"
if plain not in versioned:
    plain.symlink_to(versioned[0].name)
PYTHON
echo "$package $version" > "$stamp"
