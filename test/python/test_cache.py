"""The cache of compiled checkpoints. The compiler here is a script that writes what it was called with."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bitnet_py
from bitnet_py import CompilerNotFoundError, ConfigError, ModelFormatError, ModelNotFoundError, cache
from bitnet_py.checkpoints import bundle_for, find_compiler, open_bundle, open_tokenizer, tokenizer_for


def write_compiler(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bitnetc"
    log = tmp_path / "calls"
    write_compiler(path, f'echo "$@" >> {log}; for last; do :; done; echo "$@" > "$last"; echo half >&2')
    monkeypatch.setenv("BITNETC", str(path))
    monkeypatch.delenv("BITNET_QUIET", raising=False)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF one")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def calls(compiler: Path) -> int:
    return len((compiler.parent / "calls").read_text().splitlines())


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"index.json"}


class Process:
    """Another process that asks for the bundle of a checkpoint; prints its path."""

    CODE = """
import sys
from pathlib import Path
from bitnet_py.checkpoints import bundle_for
print(bundle_for(Path(sys.argv[1]), cache_dir=Path(sys.argv[2])))
"""

    def __init__(self, small: Path, folder: Path) -> None:
        self.errors = small.with_name(f"errors-{time.monotonic_ns()}")
        command = [sys.executable, "-c", self.CODE, small, folder]
        with self.errors.open("w") as errors:
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

    def end(self) -> tuple[str, str]:
        out, _ = self.popen.communicate(timeout=300)
        return out.strip(), self.said()

    def said(self) -> str:
        """What it has said so far."""
        return self.errors.read_text()


def wait_for(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_compiles_once(compiler: Path, small: Path, folder: Path) -> None:
    first = bundle_for(small, cache_dir=folder)
    assert bundle_for(small, cache_dir=folder) == first
    assert calls(compiler) == 1
    assert first.name.startswith("small-")
    assert contents(folder) == {first.name}


def test_passes_target_and_flags(compiler: Path, small: Path, folder: Path) -> None:
    bundle = bundle_for(small, target="avx2", flags=["--head=q8"], cache_dir=folder)
    assert bundle.read_text().startswith(f"{small} --target=avx2 --head=q8 --json -o ")


def test_other_flags_content_or_compiler_compile_again(compiler: Path, small: Path, folder: Path) -> None:
    found = {bundle_for(small, cache_dir=folder), bundle_for(small, flags=["--head=q8"], cache_dir=folder)}
    times = small.stat()
    small.write_bytes(b"GGUF two")  # the same size and, below, the same time
    os.utime(small, ns=(times.st_atime_ns, times.st_mtime_ns))
    found.add(bundle_for(small, cache_dir=folder))
    compiler.write_text(compiler.read_text() + "# newer\n")
    found.add(bundle_for(small, cache_dir=folder))
    assert len(found) == 4
    assert calls(compiler) == 4


def test_the_end_of_a_big_file_counts(compiler: Path, small: Path, folder: Path) -> None:
    def write(last: bytes) -> None:
        with small.open("wb") as file:
            file.seek(5 << 20)
            file.write(last)

    write(b"1")
    first = bundle_for(small, cache_dir=folder)
    write(b"2")
    assert bundle_for(small, cache_dir=folder) != first


def test_the_same_content_elsewhere_is_the_same_model(compiler: Path, small: Path, folder: Path) -> None:
    first = bundle_for(small, cache_dir=folder)
    (small.parent / "other").mkdir()
    moved = small.rename(small.parent / "other" / small.name)
    assert bundle_for(moved, cache_dir=folder) == first
    assert calls(compiler) == 1


def test_an_unchanged_file_is_not_read_again(
    compiler: Path, small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    digest = cache._file_digest
    monkeypatch.setattr(cache, "_file_digest", lambda file: read.append(file) or digest(file))
    time.sleep(2 * cache._RACY_SECONDS)  # what was written just now is read again, as it may be written once more
    first = bundle_for(small, cache_dir=folder)
    assert read == [small, compiler]
    assert bundle_for(small, cache_dir=folder) == first
    assert read == [small, compiler]
    (folder / "index.json").write_text("[damaged")
    assert bundle_for(small, cache_dir=folder) == first
    assert read == [small, compiler] * 2


def test_another_cpu_compiles_for_host_again(
    compiler: Path, small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both() -> tuple[Path, Path]:
        return bundle_for(small, cache_dir=folder), bundle_for(small, target="avx2", cache_dir=folder)

    host, avx2 = both()
    monkeypatch.setattr(bitnet_py._runtime, "cpu_variant", lambda: "another")
    other_host, same_avx2 = both()
    assert host != other_host
    assert avx2 == same_avx2


def each_counts(files: list[str], beside: Path, made: Callable[[], Path]) -> None:
    """Fails unless every one of the files gives another bundle when it comes, and when it changes."""
    bundles = [made()]
    for name in files:
        file = beside / name
        file.parent.mkdir(exist_ok=True)
        for content in ("{}", "{ }"):
            file.write_text(content)
            bundles.append(made())
            assert bundles[-1] not in bundles[:-1], f"{name}: {content}"


SIDE_FILES = [
    "config.json",
    "generation_config.json",
    "params.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "modules.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
]


def test_a_folder_is_a_checkpoint(compiler: Path, tmp_path: Path, folder: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    whole = ["model.safetensors", "model.gguf", "model_state_int2.pt"]
    each_counts(
        [*SIDE_FILES, "model.safetensors.index.json", *shards, *whole],
        model,
        lambda: bundle_for(model, cache_dir=folder),
    )
    last = bundle_for(model, cache_dir=folder)
    for name in ("notes.md", "pytorch_model.bin"):
        (model / name).write_text("no part of the model")
        assert bundle_for(model, cache_dir=folder) == last


@pytest.mark.parametrize("name", ["model.safetensors", "model_state_int2.pt"])
def test_what_lies_beside_a_file_counts(name: str, compiler: Path, tmp_path: Path, folder: Path) -> None:
    model = tmp_path / name
    model.write_bytes(b"weights")
    each_counts(SIDE_FILES, tmp_path, lambda: bundle_for(model, cache_dir=folder))


def test_a_gguf_file_is_all_of_its_parts(compiler: Path, tmp_path: Path, folder: Path) -> None:
    parts = [tmp_path / f"model-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    parts[0].write_text("first")
    each_counts([part.name for part in parts[1:]], tmp_path, lambda: bundle_for(parts[0], cache_dir=folder))
    last = bundle_for(parts[0], cache_dir=folder)
    for name in ("model-00002-of-00004.gguf", "another-00002-of-00003.gguf", "model.gguf", "config.json"):
        (tmp_path / name).write_text("no part of the model")
        assert bundle_for(parts[0], cache_dir=folder) == last


@pytest.mark.parametrize("flags", [["--tokenizer={}"], ["--tokenizer", "{}"]])
def test_the_content_of_a_tokenizer_flag_counts(
    flags: list[str], compiler: Path, small: Path, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "other.model"
    path.write_text("one")
    flags = [flag.format(path) for flag in flags]
    first = bundle_for(small, flags=flags, cache_dir=folder)
    path.write_text("two")
    assert bundle_for(small, flags=flags, cache_dir=folder) != first


def test_what_lies_beside_a_tokenizer_counts(compiler: Path, small: Path, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "ranks"
    path.write_text("one")
    flags = [f"--tokenizer={path}"]
    each_counts(SIDE_FILES, path.parent, lambda: bundle_for(small, flags=flags, cache_dir=folder))


def test_a_tokenizer_is_kept_too(compiler: Path, small: Path, folder: Path) -> None:
    first = tokenizer_for(small, cache_dir=folder)
    assert tokenizer_for(small, cache_dir=folder) == first
    assert first.read_text().startswith(f"{small} --emit=tokenizer --json -o ")
    assert calls(compiler) == 1
    assert [entry.path for entry in cache.list(folder)] == [first]


def test_a_damaged_tokenizer_is_made_again(model: bitnet_py.BitNetModel, checkpoint: Path, folder: Path) -> None:
    first = open_tokenizer(checkpoint, cache_dir=folder)
    (entry,) = cache.list(folder)
    whole = entry.path.read_bytes()
    entry.path.write_bytes(whole[:1000])
    assert open_tokenizer(checkpoint, cache_dir=folder).size == first.size == 4096
    assert entry.path.read_bytes() == whole


def test_two_processes_compile_once(compiler: Path, small: Path, folder: Path) -> None:
    go = compiler.parent / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.05; done"
    write_compiler(compiler, f"echo >> {compiler.parent}/calls; {wait}; for last; do :; done; echo > $last")
    first = Process(small, folder)
    wait_for((compiler.parent / "calls").exists)
    second = Process(small, folder)
    try:
        wait_for(lambda: "waiting" in second.said())
    finally:
        go.touch()
    (bundle, said), (same_bundle, waited) = first.end(), second.end()
    assert bundle == same_bundle
    assert calls(compiler) == 1
    assert "waiting" not in said
    assert f"waiting for another process: {Path(bundle).name}" in waited
    assert contents(folder) == {Path(bundle).name}


def test_one_that_waited_for_a_failure_tries_itself(compiler: Path, small: Path, folder: Path) -> None:
    log = compiler.parent / "calls"
    write_compiler(
        compiler, f"echo >> {log}; sleep 1; [ $(wc -l < {log}) = 2 ] && for last; do :; done && echo > $last"
    )
    first = Process(small, folder)
    wait_for(log.exists)
    second = Process(small, folder)
    assert first.end()[0] == ""
    assert Path(second.end()[0]).exists()


def test_ctrl_c_leaves_nothing(compiler: Path, small: Path, folder: Path) -> None:
    pid = compiler.parent / "pid"
    write_compiler(compiler, f"for last; do :; done; echo half > $last; echo $$ > {pid}; exec sleep 60")
    process = Process(small, folder)
    wait_for(lambda: pid.exists() and pid.read_text())
    process.popen.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.end()[1]
    assert contents(folder) == set()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_ctrl_c_while_the_compiler_starts_ends_it(
    compiler: Path, small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_compiler(compiler, "exec sleep 60")
    start, started = subprocess.Popen, []

    def interrupted(*arguments: Any, **keywords: Any) -> Any:
        started.append(start(*arguments, **keywords))
        os.kill(os.getpid(), signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    idle = threading.Event()
    threading.Thread(target=idle.wait).start()  # which may get the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            bundle_for(small, cache_dir=folder)
    finally:
        idle.set()
    assert started[0].poll() == -signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert contents(folder) == set()


def test_what_a_killed_process_left_goes_with_the_next_compile(compiler: Path, small: Path, folder: Path) -> None:
    body = compiler.read_text()
    pid = compiler.parent / "pid"
    write_compiler(compiler, f"for last; do :; done; echo half > $last; echo $$ > {pid}; exec sleep 60")
    process = Process(small, folder)
    wait_for(lambda: pid.exists() and pid.read_text())
    process.popen.kill()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    process.end()
    assert any(".part" in name for name in contents(folder))
    compiler.write_text(body)
    bundle = bundle_for(small, cache_dir=folder)
    assert contents(folder) == {bundle.name}


def test_the_least_recently_used_go_first(
    compiler: Path, small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_compiler(compiler, 'for last; do :; done; head -c 1000 /dev/zero > "$last"')
    made = [bundle_for(small, flags=[f"--set=n={n}"], cache_dir=folder) for n in range(4)]
    for age, bundle in zip((500, 900, 700, 5), made, strict=True):  # seconds since the last use
        os.utime(bundle, (time.time() - age, time.time()))
    assert [entry.path for entry in cache.list(folder)] == [made[n] for n in (3, 0, 2, 1)]
    bundle_for(small, flags=["--set=n=1"], cache_dir=folder)  # now the youngest
    monkeypatch.setenv("BITNET_CACHE_BYTES", "3e3")
    last = bundle_for(small, flags=["--set=n=4"], cache_dir=folder)
    assert contents(folder) == {made[1].name, made[3].name, last.name}
    # What was used just now may be about to be opened; what was made is there in any case.
    monkeypatch.setenv("BITNET_CACHE_BYTES", "0")
    newest = bundle_for(small, flags=["--set=n=5"], cache_dir=folder)
    assert contents(folder) == {made[1].name, made[3].name, last.name, newest.name}
    monkeypatch.setattr(cache, "_GRACE_SECONDS", -1)
    newest = bundle_for(small, flags=["--set=n=6"], cache_dir=folder)
    assert contents(folder) == {newest.name}


@pytest.mark.parametrize("bound", ["much", "-1", "nan"])
def test_a_bound_that_is_no_number_is_named(
    bound: str, compiler: Path, small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITNET_CACHE_BYTES", bound)
    with pytest.raises(
        ConfigError, match=f"^BITNET_CACHE_BYTES: expected a number of bytes, such as 20e9, got '{bound}'"
    ):
        bundle_for(small, cache_dir=folder)


def test_list_and_clear(
    compiler: Path, small: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / "bitnet" / "models"
    assert cache.list() == []
    assert cache.clear() == 0
    bundle = bundle_for(small)
    old = bundle_for(small, flags=["--head=q8"])
    os.utime(old, (time.time() - 3600, time.time()))
    entries = cache.list()
    assert [(e.path, e.source, e.size) for e in entries] == [
        (path, str(small), path.stat().st_size) for path in (bundle, old)
    ]
    assert abs(entries[0].last_used - time.time()) < 60
    size = old.stat().st_size
    assert cache.clear(older_than=60) == size
    assert [e.path for e in cache.list()] == [bundle]
    assert cache.clear() == entries[0].size
    assert cache.list() == []


def test_command_line(
    compiler: Path,
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    bundle = bundle_for(small)
    capsys.readouterr()
    assert cache.main(["list"]) == 0
    assert f"{bundle.name}  {small}\n" in capsys.readouterr().out
    assert cache.main(["path"]) == 0
    assert capsys.readouterr().out == f"{cache.folder()}\n"
    assert cache.main(["clear", "--older-than", "1"]) == 0
    assert capsys.readouterr().out == "freed 0.0 MB\n"
    assert bundle.exists()
    assert cache.main(["clear"]) == 0
    assert not bundle.exists()


def test_a_cache_that_cannot_be_written_is_named(compiler: Path, small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/models: cannot keep compiled models there: .*; name another folder"):
        bundle_for(small, cache_dir=tmp_path / "file" / "models")


def test_a_damaged_bundle_is_compiled_again_once(compiler: Path, small: Path, folder: Path) -> None:
    def load(bundle: Path) -> str:
        text = bundle.read_text()
        if "broken" in text:
            raise ModelFormatError("broken")
        return text

    bundle, text = open_bundle(small, load, cache_dir=folder)
    bundle.write_text("broken")
    assert open_bundle(small, load, cache_dir=folder) == (bundle, text)
    assert calls(compiler) == 2
    write_compiler(compiler, f'echo >> {compiler.parent}/calls; for last; do :; done; echo broken > "$last"')
    with pytest.raises(ModelFormatError, match="broken"):  # as made: once is enough
        open_bundle(small, load, cache_dir=folder)
    assert calls(compiler) == 3
    with pytest.raises(ModelFormatError, match="broken"):
        open_bundle(small, load, cache_dir=folder)
    assert calls(compiler) == 4


def test_a_damaged_byte_of_a_real_bundle_is_found(
    model: bitnet_py.BitNetModel, checkpoint: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = bitnet_py.load_model(checkpoint, cache_dir=folder, verbose=False)
    with first.path.open("r+b") as file:
        file.seek(-64, os.SEEK_END)
        byte = file.read(1)
        file.seek(-64, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    assert capfd.readouterr().err == ""
    again = bitnet_py.load_model(checkpoint, cache_dir=folder)
    assert "do not match its checksum" in capfd.readouterr().err
    assert again.path == first.path
    assert again.path.read_bytes() == model.path.read_bytes()


def test_failure_is_the_compilers_error_and_leaves_nothing(
    compiler: Path, small: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_compiler(compiler, 'echo "warning: w" >&2; echo "error: small.gguf: expected x, got y" >&2; exit 1')
    with pytest.raises(ModelFormatError, match=r"^bitnetc: small\.gguf: expected x, got y$"):
        bundle_for(small, cache_dir=folder)
    assert contents(folder) == set()
    assert "warning: w" in capfd.readouterr().err


def test_failure_without_an_error_line_shows_the_last_line(compiler: Path, small: Path, folder: Path) -> None:
    write_compiler(compiler, 'echo "bitnetc: a strange end" >&2; exit 127')
    with pytest.raises(ModelFormatError, match=r"^bitnetc: exit code 127 bitnetc: a strange end$"):
        bundle_for(small, cache_dir=folder)


def test_a_compiler_that_writes_nothing_is_named(compiler: Path, small: Path, folder: Path) -> None:
    write_compiler(compiler, "exit 0")
    with pytest.raises(ModelFormatError, match="bitnetc: expected it to write a file, got none"):
        bundle_for(small, cache_dir=folder)


@pytest.mark.parametrize("quiet", ["verbose", "environment"])
def test_says_what_it_does_unless_told_not_to(
    quiet: str,
    compiler: Path,
    small: Path,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = bundle_for(small, target="avx2", cache_dir=folder)
    said = capfd.readouterr()
    assert said.out == ""
    first, half, last = said.err.splitlines()
    assert (first, half) == ("bitnet_py: compiling small.gguf for avx2, once", "half")
    assert last.startswith("bitnet_py: compiled in ")
    assert last.endswith(str(bundle))
    if quiet == "environment":
        monkeypatch.setenv("BITNET_QUIET", "1")
    bundle_for(small, flags=["--head=q8"], cache_dir=folder, verbose=quiet == "environment")
    assert capfd.readouterr() == ("", "")


def said_on_a_terminal(checkpoint: Path, folder: Path) -> str:
    """What another process says that asks for a bundle, if its standard error is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", Process.CODE, checkpoint, folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 4096):
            said += block
    except OSError:
        pass  # closed
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


def test_on_a_terminal_the_compiler_has_one(compiler: Path, small: Path, folder: Path) -> None:
    write_compiler(compiler, '[ -t 2 ] && echo "a bar" >&2; for last; do :; done; echo > "$last"')
    assert "a bar" in said_on_a_terminal(small, folder)


def test_on_a_terminal_there_is_a_bar(
    model: bitnet_py.BitNetModel, checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "no kernels"))  # compiling them takes seconds
    said = said_on_a_terminal(checkpoint, folder)
    assert "\rcompiling kernels [###" in said
    assert "%\r\x1b[Kbitnet_py: compiled in " in said


@pytest.mark.parametrize("named", ["nothing", "."])
def test_bitnetc_that_is_no_program_is_named(named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITNETC", str(tmp_path / named))
    with pytest.raises(CompilerNotFoundError, match="BITNETC: expected a program, got"):
        find_compiler()


def test_bitnetc_that_cannot_run_is_named(compiler: Path, small: Path, folder: Path) -> None:
    compiler.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(CompilerNotFoundError, match=r"bitnetc: cannot run: Exec format error; set BITNETC"):
        bundle_for(small, cache_dir=folder)
    assert contents(folder) == set()


def test_without_halide_it_says_what_to_install(compiler: Path, small: Path, folder: Path) -> None:
    loader = "bitnetc: error while loading shared libraries: libHalide.so: cannot open shared object file"
    write_compiler(compiler, f'echo "{loader}: No such file or directory" >&2; exit 127')
    with pytest.raises(
        CompilerNotFoundError, match=r'the halide package is not installed; pip install "bitnet_py\[comp'
    ):
        bundle_for(small, cache_dir=folder)


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITNETC", raising=False)
    monkeypatch.setattr(bitnet_py.checkpoints, "packaged", lambda name: None)
    write_compiler(tmp_path / "bitnetc", "# made by pip: from bitnet_py.programs import bitnetc")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerNotFoundError, match=r'pip install "bitnet_py\[compiler\]"'):
        find_compiler()
    write_compiler(tmp_path / "bitnetc", "")
    assert find_compiler() == tmp_path / "bitnetc"


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path, compiler: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"none\.gguf: does not exist"):
        bundle_for(tmp_path / "none.gguf")
