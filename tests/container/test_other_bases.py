"""The same definition on other bases: a local image, and one from a registry on loopback.

Both are a stand-in for NVIDIA's, which are gigabytes behind a login: a Debian with a TensorFlow and
a NumPy that say in their version and code that they are the vendor's. They must stay untouched.
"""

import json
import shutil
import socket
import subprocess
import tarfile
import time
import zipfile

import pytest
from support import machine

from cloudmask.system import files

MARK = "VENDOR_BUILD = 'not from PyPI'\n"
VENDOR = {"tensorflow": "+nv24.3", "numpy": "+nv"}
PROBE = "import tensorflow as t, numpy as n; print(t.VENDOR_BUILD, n.VENDOR_BUILD, t.__file__)"


@pytest.fixture(scope="module")
def standin(apptainer, cpu_image):
    """Folder with the root of an image whose TensorFlow and NumPy are marked, without the app."""
    folder = machine.shared_folder("standin")
    made = apptainer.run("apptainer", "build", "--sandbox", folder / "root", cpu_image.path)
    assert made.returncode == 0, made.stderr
    root = folder / "root"
    shutil.rmtree(root / "opt/cloudmask")
    packages = root / "usr/local/lib/python3.11/dist-packages"
    for spare in (packages / "clang", packages / "tensorflow/include"):
        shutil.rmtree(spare)  # nothing needs them, and they take time to pack
    for module, local in VENDOR.items():
        with (packages / module / "__init__.py").open("a") as file:
            file.write(f"\n{MARK}")
        # Code that is compiled without a date would hide the mark.
        shutil.rmtree(packages / module / "__pycache__")
        (info,) = packages.glob(f"{module}*.dist-info")
        lines = (info / "METADATA").read_text().split("\n")
        (at,) = (i for i, line in enumerate(lines) if line.startswith("Version: "))
        lines[at] += local
        (info / "METADATA").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def tree(apptainer, cpu_image):
    """A tree with the wheelhouse for a base that has Python 3.11 and a TensorFlow of its own."""
    made = machine.make_image(apptainer, cpu_image.tree, "wheels", "GPU=k80")
    assert made.returncode == 0, made.stderr
    return cpu_image.tree


def build(apptainer, tree, out, *words, wheels="build/wheels/cloudmask-k80"):
    """Run build.py for the K80's base with another source."""
    return apptainer.run(
        tree / ".venv-build/bin/python",
        tree / "containers/build.py",
        "--gpu",
        "k80",
        "--wheels",
        wheels,
        "--out",
        out,
        "--squashfs",
        "-comp lz4",
        "--tmp",
        tree / "build/tmp",
        "--cache",
        tree / "build/cache",
        *words,
        cwd=tree,
    )


def assert_untouched(apptainer, image):
    """TensorFlow and NumPy in the image are the marked ones, and the app runs on them."""
    probe = apptainer.run("apptainer", "exec", image, "python", "-c", PROBE)
    assert probe.returncode == 0, probe.stderr
    said = probe.stdout.strip().split("\n")[-1]
    assert said.startswith("not from PyPI not from PyPI /usr/local/lib/python3.11/")
    told = apptainer.run("apptainer", "inspect", "--json", "--labels", image)
    labels = json.loads(told.stdout)["data"]["attributes"]["labels"]
    assert "+nv24.3 in /usr/local" in labels["cloudmask.base.tensorflow"]
    assert "+nv in /usr/local" in labels["cloudmask.base.numpy"]
    return labels


def test_local_image(apptainer, tree, standin):
    image = tree / "local.sif"
    made = build(apptainer, tree, image, "--bootstrap", "localimage", "--from", standin)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    labels = assert_untouched(apptainer, image)
    assert labels["cloudmask.base"] == "tensorflow-2.14"
    assert labels["org.opencontainers.image.base.name"] == f"localimage:{standin}"
    image.unlink()


def test_a_replaced_numpy_stops_the_build(apptainer, tree, standin):
    """The same with another NumPy among the wheels of the app."""
    good, bad = tree / "build/wheels/cloudmask-k80", tree / "build/wheels/bad"
    shutil.rmtree(bad, ignore_errors=True)
    shutil.copytree(good, bad)
    wheel = bad / "numpy-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("numpy/__init__.py", "")
        info = "numpy-9.9.9.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    with (bad / "app.txt").open("a") as file:
        file.write(f"numpy==9.9.9 --hash=sha256:{files.sha256(wheel)}\n")
    image, words = tree / "bad.sif", ("--bootstrap", "localimage", "--from", standin)
    made = build(apptainer, tree, image, *words, wheels="build/wheels/bad")
    assert made.returncode == 1
    assert "error: the base's numpy" in made.stdout + made.stderr
    assert "was replaced by 9.9.9 in /opt/cloudmask" in made.stdout + made.stderr
    assert not image.exists() and not list(tree.glob(".bad*"))


@pytest.fixture(scope="module")
def registry(standin, tmp_path_factory):
    """A registry on loopback that holds the stand-in; yields (address of the image, digest)."""
    for program, package in (("docker-registry", "docker-registry"), ("skopeo", "skopeo")):
        if not shutil.which(program):
            words = ["bash", machine.REPOSITORY / "tests/env/apt.sh", package]
            subprocess.run(words, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder}/store'}}}}\n"
    )
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log
    )
    try:
        _wait(port, server)
        digest = _push(standin, folder, f"127.0.0.1:{port}/vendor/tensorflow:24.03")
        yield f"127.0.0.1:{port}/vendor/tensorflow:24.03", digest
    finally:
        server.terminate()
        server.wait()
        log.close()
        shutil.rmtree(folder)


def _wait(port, server):
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, "the registry ended"
        time.sleep(0.1)
    raise AssertionError("the registry does not answer")


def _push(root, folder, address):
    """Pack a folder as an OCI image of one layer and push it; returns the manifest's digest."""
    blobs = folder / "oci/blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(path):
        digest = files.sha256(path)
        path.rename(blobs / digest)
        return {"digest": f"sha256:{digest}", "size": (blobs / digest).stat().st_size}

    def document(content):
        path = blobs / "new"
        path.write_text(json.dumps(content))
        return blob(path)

    def owned_by_root(entry):
        entry.uid = entry.gid = 0
        return entry

    with tarfile.open(blobs / "layer", "w") as archive:
        for part in ("bin", "etc", "lib", "lib64", "sbin", "usr", "var/lib/dpkg"):
            archive.add(root / part, part, filter=owned_by_root)
        for part in ("opt", "tmp", "root", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(part)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
    layer = blob(blobs / "layer")
    kind = "application/vnd.oci.image"
    config = document(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "VENDOR=yes"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
    )
    manifest = document(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": {"mediaType": f"{kind}.config.v1+json", **config},
            "layers": [{"mediaType": f"{kind}.layer.v1.tar", **layer}],
        }
    )
    entry = {"mediaType": f"{kind}.manifest.v1+json", **manifest}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "24.03"}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (folder / "oci/index.json").write_text(json.dumps(index))
    (folder / "oci/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    words = ["skopeo", "--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false"]
    source, target = f"oci:{folder}/oci:24.03", f"docker://{address}"
    pushed = subprocess.run([*words, source, target], capture_output=True, text=True)
    assert pushed.returncode == 0, pushed.stderr
    shutil.rmtree(folder / "oci")
    return manifest["digest"]


def test_registry(apptainer, tree, registry):
    address, digest = registry
    image = tree / "registry.sif"
    words = ("--bootstrap", "docker", "--from", address, "--plain-http")
    made = build(apptainer, tree, image, *words)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    labels = assert_untouched(apptainer, image)
    # Fetched by digest, so that a tag that moves meanwhile changes nothing.
    assert labels["org.opencontainers.image.base.digest"] == digest
    name = address.rpartition(":")[0]
    assert labels["org.opencontainers.image.base.name"] == f"docker:{name}@{digest}"
    image.unlink()


def test_registry_without_the_image_is_said(apptainer, tree, registry):
    address = registry[0].replace("24.03", "99.99")
    words = ("--bootstrap", "docker", "--from", address, "--plain-http")
    made = build(apptainer, tree, tree / "none.sif", *words)
    assert made.returncode == 2 and "404" in made.stderr and "99.99" in made.stderr
