"""`blendtorch doctor`: what it reads out of other programs' output, its machine checks, its report."""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from blendtorch.cli import doctor, doctor_blender, doctor_checks
from blendtorch.cli.doctor_checks import Line, Status
from blendtorch.cli.system_packages import (
    OPENED_AT_RUN_TIME,
    PACKAGES,
    RENDERING,
    install_advice,
    missing_libraries,
    missing_symbol_versions,
    unopened_library,
)

# Recorded on Debian 12 with nothing but Python installed: bpy 4.2, shortened.
LDD = """\
\tlinux-vdso.so.1 (0x00007f324ab55000)
\tlibtbb.so.2 => /venv/bpy/lib/libtbb.so.2 (0x00007f324aaf1000)
\tlibX11.so.6 => not found
\tlibXxf86vm.so.1 => not found
\tlibstdc++.so.6 => /lib/x86_64-linux-gnu/libstdc++.so.6 (0x00007f9992000000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f324ab57000)
\tlibgomp.so.1 => not found
\tlibX11.so.6 => not found
\tlibGL.so.1 => not found
"""
LDD_OLD_SYSTEM = """\
/b/blender: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.38' not found (required by /b/blender)
/b/blender: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /b/blender)
/b/blender: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.43' not found (required by /b/blender)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f9992000000)
"""
GPU = {
    "renderer": "NVIDIA H200/PCIe/SSE2",
    "vendor": "NVIDIA Corporation",
    "version": "4.6.0 NVIDIA 550.54",
    "backend": "OPENGL",
    "device_type": "NVIDIA",
    "egl": "there",
    "pixel": [255, 0, 255, 255],
}


def test_ldd_output_is_read_for_missing_libraries():
    assert missing_libraries(LDD) == ["libX11.so.6", "libXxf86vm.so.1", "libgomp.so.1", "libGL.so.1"]
    assert missing_libraries(LDD_OLD_SYSTEM) == []
    assert missing_symbol_versions(LDD_OLD_SYSTEM) == ["GLIBC_2.38", "GLIBC_2.43"]
    assert missing_symbol_versions(LDD) == []


@pytest.mark.parametrize(
    ("text", "library"),
    [
        ("ImportError: libX11.so.6: cannot open shared object file: No such file or directory", "libX11.so.6"),
        ("blender: error while loading shared libraries: libXi.so.6: cannot open shared object file: No", "libXi.so.6"),
        ("Couldn't open libEGL.so.1: libEGL.so.1: cannot open shared object file: No such file", "libEGL.so.1"),
        ("libstdc++.so.6: cannot open shared object file: No such file", "libstdc++.so.6"),
        ("failed to open swrast: /usr/lib/dri/kms-swrast_dri.so: cannot open shared object file: No such", ""),
        ("ModuleNotFoundError: No module named 'bpy'", ""),
    ],
)
def test_loader_message_is_read_for_the_library(text, library):
    assert unopened_library(text) == library


@pytest.mark.parametrize("library", PACKAGES)
def test_every_known_library_has_a_package_of_both_families(library):
    debian, fedora = PACKAGES[library]
    advice = install_advice([library])
    assert f"apt-get install {debian};" in advice
    assert advice.endswith(f"dnf install {fedora}")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="not a Debian: its package names cannot be looked up")
def test_debian_names_are_those_of_the_installed_packages():
    looked_up = 0
    for library, (package, _) in PACKAGES.items():
        done = subprocess.run(["dpkg-query", "--search", f"*/{library}"], capture_output=True, text=True)
        owners = {line.partition(":")[0] for line in done.stdout.splitlines() if line.endswith(f"/{library}")}
        looked_up += bool(owners)
        assert not owners or package in owners, f"{library} is in {owners}"
    assert looked_up, "none of the libraries is installed"


def test_a_library_that_is_not_known_is_told_how_to_look_up():
    advice = install_advice(["libX11.so.6", "libodd.so.3"])
    assert "apt-get install libx11-6;" in advice
    assert "dnf install 'libodd.so.3()(64bit)' libX11" in advice
    assert "apt-file search libodd.so.3" in advice


def test_what_is_opened_at_run_time_is_among_the_packages_for_rendering():
    for library in OPENED_AT_RUN_TIME:
        assert all(package in RENDERING for package in PACKAGES[library])


def test_a_gpu_is_ok_and_all_of_it_is_told():
    line = doctor_blender.describe_gpu(GPU)
    assert line.status is Status.OK
    for word in ("NVIDIA H200", "NVIDIA Corporation", "OPENGL 4.6.0", "EGL there"):
        assert word in line.seen


@pytest.mark.parametrize(
    "change",
    [
        {"renderer": "llvmpipe (LLVM 15.0.6, 256 bits)"},
        {"renderer": "softpipe"},
        {"renderer": "Software Rasterizer"},
        {"renderer": "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device))"},
        {"device_type": "SOFTWARE"},
    ],
)
def test_software_drawing_is_a_warning(change):
    line = doctor_blender.describe_gpu(GPU | change)
    assert line.status is Status.WARNING
    assert "drawn by the CPU" in line.seen
    assert "slow" in line.fix


def test_a_wrong_image_is_a_failure():
    line = doctor_blender.describe_gpu(GPU | {"pixel": [0, 0, 0, 0]})
    assert line.status is Status.FAILED
    assert "[0, 0, 0, 0]" in line.seen


def only(lines):
    (line,) = lines
    return line


def test_small_shared_memory_is_a_warning(monkeypatch, tmp_path):
    def statvfs(mib):
        return lambda _: os.statvfs_result((4096, 4096, mib * 256, mib * 256, mib * 256, 0, 0, 0, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs(64))  # Docker's default
    line = only(doctor_checks.check_shared_memory(tmp_path))
    assert line.status is Status.WARNING
    assert "64 MiB free of 64 MiB" in line.seen
    assert "--shm-size" in line.fix
    monkeypatch.setattr(os, "statvfs", statvfs(65))
    assert only(doctor_checks.check_shared_memory(tmp_path)).status is Status.OK


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no /dev/shm here")
def test_shared_memory_of_this_machine_is_told_and_left_clean():
    line = only(doctor_checks.check_shared_memory())
    stat = os.statvfs("/dev/shm")
    assert f"of {doctor_checks._gib(stat.f_blocks * stat.f_frsize)}" in line.seen
    assert not list(Path("/dev/shm").glob("blendtorch-doctor-*"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")
def test_shared_memory_that_takes_no_file_is_a_failure():
    line = only(doctor_checks.check_shared_memory(Path("/proc")))
    assert line.status is Status.FAILED
    assert "no file can be made" in line.seen


def test_no_shared_memory_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    assert only(doctor_checks.check_shared_memory(tmp_path / "none")).status is Status.WARNING


def test_sockets_pass_a_message_and_leave_nothing(monkeypatch):
    folder = tempfile.mkdtemp(prefix="bt-", dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    for check, scheme in ((doctor_checks.check_tcp, "tcp://127.0.0.1:"), (doctor_checks.check_ipc, f"ipc://{folder}")):
        line = only(check())
        assert line.status is Status.OK
        assert scheme in line.seen
    os.rmdir(folder)  # fails unless it is empty


def test_a_loopback_interface_that_is_down_is_a_failure():
    isolated = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets no process have a network of its own")
    code = "from blendtorch.cli.doctor_checks import check_tcp; (line,) = check_tcp(); print(line.status, line.fix)"
    done = subprocess.run([*isolated, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("failed"), done.stderr
    assert "ip link set lo up" in done.stdout


def test_a_long_temporary_folder_is_a_warning(monkeypatch, tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    line = only(doctor_checks.check_ipc())
    assert line.status is Status.WARNING
    assert "TMPDIR" in line.fix
    assert not list(folder.iterdir())


def test_free_memory_is_that_of_the_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       24000000 kB\nMemFree:    100 kB\nMemAvailable:    8000000 kB\n")
    assert doctor_checks.free_memory(tmp_path / "none", tmp_path) is None
    assert doctor_checks.free_memory(meminfo, tmp_path) == 8_000_000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor_checks.free_memory(meminfo, tmp_path) == 8_000_000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert doctor_checks.free_memory(meminfo, tmp_path) == 4000


def test_little_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor_checks, "free_memory", lambda: 300 * doctor_checks.MIB)
    lines = {line.name: line for line in doctor_checks.check_machine()}
    assert lines["memory"].status is Status.WARNING
    assert "300 MiB" in lines["memory"].seen


def test_torch_that_is_missing_is_a_warning_one_that_is_broken_is_not(monkeypatch):
    monkeypatch.setattr(doctor_checks.importlib, "import_module", lambda _: raise_missing("torch"))
    assert only(doctor_checks.check_torch()).status is Status.WARNING
    monkeypatch.setattr(doctor_checks.importlib, "import_module", lambda _: raise_missing("torch_needs_this"))
    with pytest.raises(ModuleNotFoundError):
        list(doctor_checks.check_torch())


def raise_missing(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def reported(*checks):
    output = io.StringIO()
    status = doctor.report([(check.__name__, check) for check in checks], Console(file=output, width=40))
    return status, output.getvalue()


def well():
    yield Line(Status.OK, "thing", "pip install '[bold]extra[/bold]' " + "long " * 40 + "end")


def doubtful():
    yield Line(Status.WARNING, "other", "seen", "do this")


def broken():
    yield Line(Status.OK, "before", "seen")
    raise KeyError("what")


def test_report_is_plain_whole_lines():
    status, output = reported(well, doubtful)
    assert status == 0
    lines = output.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("ok ")
    assert lines[0].endswith("long end")
    assert "'[bold]extra[/bold]'" in lines[0]
    assert lines[2].endswith("do this")
    assert lines[3] == "1 ok, 1 warning, 0 failed"
    assert "\x1b" not in output


def test_a_check_that_crashes_is_a_failed_line_and_the_others_run():
    status, output = reported(broken, well)
    assert status == 1
    assert "failed   broken" in output
    assert "KeyError: 'what'" in output
    assert "-> do:" in output
    assert output.endswith("2 ok, 0 warning, 1 failed\n")


@pytest.mark.parametrize("status", [Status.WARNING, Status.FAILED])
def test_no_line_without_what_to_do(status):
    with pytest.raises(AssertionError):
        Line(status, "name", "seen")


def test_parser():
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    args = parser.parse_args(["doctor", "--blender", "/b"])
    assert (args.run, args.blender) == (doctor.run, "/b")
    assert parser.parse_args(["doctor"]).blender is None
