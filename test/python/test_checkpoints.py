"""The cache of compiled checkpoints. The compiler here is a script that writes what it was called with."""

import os
from pathlib import Path

import pytest

from bitnet_py import CompilerNotFoundError, ModelFormatError
from bitnet_py.checkpoints import bundle_for, find_compiler


def write_compiler(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bitnetc"
    log = tmp_path / "calls"
    write_compiler(path, f'echo "$@" >> {log}; for last; do :; done; echo "$@" > "$last"; echo half >&2')
    monkeypatch.setenv("BITNETC", str(path))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF one")
    return path


def calls(compiler: Path) -> int:
    return len((compiler.parent / "calls").read_text().splitlines())


def test_compiles_once(compiler: Path, checkpoint: Path, tmp_path: Path) -> None:
    first = bundle_for(checkpoint, cache_dir=tmp_path / "cache")
    assert bundle_for(checkpoint, cache_dir=tmp_path / "cache") == first
    assert calls(compiler) == 1
    assert first.name.startswith("small-")
    assert list((tmp_path / "cache").iterdir()) == [first]


def test_passes_target_and_flags(compiler: Path, checkpoint: Path, tmp_path: Path) -> None:
    bundle = bundle_for(checkpoint, target="avx2", flags=["--head=q8"], cache_dir=tmp_path / "cache")
    assert bundle.read_text().startswith(f"{checkpoint} --target=avx2 --head=q8 -o ")


def test_other_flags_content_or_compiler_compile_again(compiler: Path, checkpoint: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = {bundle_for(checkpoint, cache_dir=cache), bundle_for(checkpoint, flags=["--head=q8"], cache_dir=cache)}
    times = checkpoint.stat()
    checkpoint.write_bytes(b"GGUF two")  # the same size and, below, the same time
    os.utime(checkpoint, ns=(times.st_atime_ns, times.st_mtime_ns))
    found.add(bundle_for(checkpoint, cache_dir=cache))
    compiler.write_text(compiler.read_text() + "# newer\n")
    found.add(bundle_for(checkpoint, cache_dir=cache))
    assert len(found) == 4
    assert calls(compiler) == 4


def test_a_folder_is_a_checkpoint(compiler: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    first = bundle_for(folder, cache_dir=tmp_path / "cache")
    (folder / "config.json").write_text("{ }")
    assert bundle_for(folder, cache_dir=tmp_path / "cache") != first


def test_failure_is_the_compilers_error_and_leaves_nothing(
    compiler: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_compiler(compiler, 'echo "warning: w" >&2; echo "error: small.gguf: expected x, got y" >&2; exit 1')
    with pytest.raises(ModelFormatError, match=r"^bitnetc: small\.gguf: expected x, got y$"):
        bundle_for(checkpoint, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    assert "warning: w" in capfd.readouterr().err


def test_failure_without_an_error_line_shows_the_last_line(compiler: Path, checkpoint: Path, tmp_path: Path) -> None:
    write_compiler(compiler, 'echo "bitnetc: cannot open libHalide.so" >&2; exit 127')
    with pytest.raises(ModelFormatError, match=r"^bitnetc: exit code 127 bitnetc: cannot open libHalide\.so$"):
        bundle_for(checkpoint, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("named", ["nothing", "."])
def test_bitnetc_that_is_no_program_is_named(named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITNETC", str(tmp_path / named))
    with pytest.raises(CompilerNotFoundError, match="BITNETC: expected a program, got"):
        find_compiler()


def test_bitnetc_that_cannot_run_is_named(compiler: Path, checkpoint: Path, tmp_path: Path) -> None:
    compiler.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(CompilerNotFoundError, match=r"bitnetc: cannot run: Exec format error; set BITNETC"):
        bundle_for(checkpoint, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
