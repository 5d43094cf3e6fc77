"""Moving scripts and projects from the original: which imports change, that nothing else does, that the result runs."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bitnet_py
from bitnet_py.migration import MigrationHelper, main, migrate_project
from bitnet_py.original_imports import ORIGINAL, UNION


def definitions(classes: str, functions: str = "") -> str:
    """A file that defines these names, and so is taken for the original's own."""
    lines = [f"class {name}: ..." for name in classes.split()] + [f"def {name}(): ..." for name in functions.split()]
    return "\n".join(lines) + "\n"


ORIGINAL_FILES = {
    "generate.py": definitions("GenArgs FastGen", "get_prompts main"),
    "model.py": definitions(
        "ModelArgs BitLinearKernel BitLinear Attention FeedForward TransformerBlock Transformer",
        "bitnet_int8xint2_linear squared_relu make_cache cache_prefix",
    ),
    "tokenizer.py": definitions("Message Tokenizer ChatFormat"),
}


def migrated(tmp_path: Path, text: str | bytes, name: str = "script.py") -> bytes:
    """The bytes that a script becomes."""
    old, new = tmp_path / name, tmp_path / "new.py"
    old.write_bytes(text if isinstance(text, bytes) else text.encode())
    helper = MigrationHelper(verbose=False)
    assert helper.migrate_script(old, new), helper.migration_log
    return new.read_bytes()


def analysis_of(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "script.py"
    path.write_text(text)
    return MigrationHelper(verbose=False).analyze_existing_code(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import model as fast\n", "import bitnet_py as fast\n"),
        ("import model\n", "import bitnet_py as model\n"),
        ("from generate import FastGen, GenArgs\n", "from bitnet_py import FastGen, GenArgs\n"),
        ("from generate import Tokenizer, Stats\n", "from bitnet_py import Tokenizer, Stats\n"),
        ("import stats\nprint(stats.Stats())\n", "import bitnet_py.stats as stats\nprint(stats.Stats())\n"),
        ("import os, sample_utils, sys\n", "import os, bitnet_py.sample_utils as sample_utils, sys\n"),
        ("import tokenizer as tk ; x = 1\n", "import bitnet_py.tokenizer as tk ; x = 1\n"),
        ("from tokenizer import *\n", "from bitnet_py.tokenizer import *\n"),
        (
            "from pack_weight import convert_weight_int8_to_int2\n",
            "from bitnet_py.pack_weight import convert_weight_int8_to_int2\n",
        ),
        (
            "import generate as g\ng.Transformer\ng.FastGen\n",
            "import bitnet_py.generate as g\ng.Transformer\ng.FastGen\n",
        ),
        ("import sample_utils as s\ns.FastGen\n", "import bitnet_py as s\ns.FastGen\n"),
        # the layout of a statement stays
        (
            "from model import (\n    ModelArgs,  # first\n\n    Transformer as T,\n)\n",
            "from bitnet_py import (\n    ModelArgs,  # first\n\n    Transformer as T,\n)\n",
        ),
        ("from  \\\n\tmodel\timport\tModelArgs\n", "from  \\\n\tbitnet_py\timport\tModelArgs\n"),
        ("if True:\n\tfrom model import ModelArgs\n", "if True:\n\tfrom bitnet_py import ModelArgs\n"),
        (
            "try:\n    import model as fast\nexcept ImportError:\n    fast = None\n",
            "try:\n    import bitnet_py as fast\nexcept ImportError:\n    fast = None\n",
        ),
        (
            "def f():\n    import model as fast; return fast.Transformer\n",
            "def f():\n    import bitnet_py as fast; return fast.Transformer\n",
        ),
        ("s = 'ä\u2028'; import model as fast\n", "s = 'ä\u2028'; import bitnet_py as fast\n"),
        ("x = 1\x0c\nimport model as fast\n", "x = 1\x0c\nimport bitnet_py as fast\n"),
        ("import model as fast", "import bitnet_py as fast"),
        # a name that is also a variable or an argument says nothing about the module
        (
            "import model\nmodel = f(model)\nmodel.eval()\n",
            "import bitnet_py as model\nmodel = f(model)\nmodel.eval()\n",
        ),
        (
            "import model\ndef f(model):\n    model.eval()\n",
            "import bitnet_py as model\ndef f(model):\n    model.eval()\n",
        ),
    ],
)
def test_names_of_modules_change_and_nothing_else(tmp_path: Path, old: str, new: str) -> None:
    assert migrated(tmp_path, old) == new.encode()


@pytest.mark.parametrize(
    "text",
    [
        "import model_utils\nfrom model_utils import load\nimport mymodel, models\n",
        "from . import model\nfrom .model import Transformer\nfrom pkg.model import Transformer\nimport pkg.model\n",
        "# import model as fast\ns = '''\nimport model as fast\n'''\n",
        "from model import Net\nfrom tokenizer import WordPiece\n",  # another's: the original has no such names
        "import model as m\nm.build_resnet()\n",
        "",
    ],
)
def test_other_imports_stay(tmp_path: Path, text: str) -> None:
    assert migrated(tmp_path, text) == text.encode()
    analysis = analysis_of(tmp_path, text)
    assert analysis["compatible"]
    assert not analysis["imports"]


@pytest.mark.parametrize(
    "old",
    [
        b"# c\r\nimport model as fast\r\n\r\nx\t=\t1  \r\n",
        b"import model as fast\rx = 1\r",
        b"\xef\xbb\xbfimport model as fast\n",
        b"# -*- coding: latin-1 -*-\ns = '\xe4'; import model as fast  # \xfc\n",
    ],
    ids=["CRLF and tabs", "CR", "byte order mark", "latin-1"],
)
def test_line_ends_and_encoding_stay(tmp_path: Path, old: bytes) -> None:
    assert migrated(tmp_path, old) == old.replace(b"import model ", b"import bitnet_py ")


def test_permissions_stay(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("#!/usr/bin/env python3\nimport model as fast\n")
    script.chmod(0o755)
    assert MigrationHelper(verbose=False).migrate_script(script, tmp_path / "new.py")
    assert (tmp_path / "new.py").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"import model as fast\nprint 'x'\n", "script.py:2: is not Python 3: "),
        (b"import model\n\ns = '\xff'\n", "script.py:3: expected utf-8 text, got the byte 0xff; save it as UTF-8, or "),
        (b"# coding: nonsense\n", "script.py:1: cannot be decoded: unknown encoding: nonsense"),
        (b"x = '\0'\n", "script.py:1: is not Python 3: source code string cannot contain null bytes"),
        (None, "script.py: No such file or directory"),
    ],
    ids=["Python 2", "not UTF-8", "unknown encoding", "NUL", "missing"],
)
def test_unreadable_files_say_where_and_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    script = tmp_path / "script.py"
    if content is not None:
        script.write_bytes(content)
    helper = MigrationHelper(verbose=False)
    assert not helper.migrate_script(script, tmp_path / "new.py")
    assert not (tmp_path / "new.py").exists()
    assert message in helper.migration_log[-1]
    analysis = helper.analyze_existing_code(script)
    assert not analysis["compatible"]
    assert message in analysis["issues"][0]
    assert main(["analyze", str(script)]) == 2


def test_analysis_has_the_agreed_keys_and_lines(tmp_path: Path) -> None:
    analysis = analysis_of(
        tmp_path,
        "import model as fast\nfrom generate import FastGen, GenArgs\nsys.path.append('gpu')\n"
        'g = FastGen.build("c", GenArgs(temperature=0.5), "cuda:0")\ng.generate_all([[1]], True)\nfast.make_cache()\n',
    )
    assert analysis.keys() == {"compatible", "issues", "suggestions", "imports", "classes_used", "functions_used"}
    assert analysis["compatible"] is True
    assert analysis["imports"] == [(1, "import model as fast"), (2, "from generate import FastGen, GenArgs")]
    assert analysis["classes_used"] == [("FastGen", 2), ("GenArgs", 2), ("FastGen", 4), ("GenArgs", 4)]
    assert analysis["functions_used"] == [("generate_all", 5), ("make_cache", 6)]
    assert [text.split(": ")[0].rpartition("/")[2] for text in analysis["suggestions"]] == [
        "script.py:3",
        "script.py:4",
        "script.py:4",
    ]


@pytest.mark.parametrize(
    ("line", "issue"),
    [
        ("fast.Attention", "script.py:1: Attention: not in bitnet_py: the model runs in the compiled runtime"),
        ("torch.cuda.set_device(0)", "script.py:3: torch.cuda.set_device: needs a GPU and torch"),
        ("torch.cuda.max_memory_reserved()", "script.py:3: torch.cuda.max_memory_reserved: the memory of a GPU; "),
        ("x.cuda()", "script.py:3: .cuda(): "),
        ("import importlib; importlib.import_module('model')", "script.py:3: model: imported by its name at run time"),
        ("from tokenizer import Tokenizer, WordPiece", "script.py:3: tokenizer: the original has no WordPiece; left"),
    ],
)
def test_what_needs_a_hand_is_an_issue(tmp_path: Path, line: str, issue: str) -> None:
    analysis = analysis_of(tmp_path, f"import model as fast\nfast.Transformer\n{line}\n")
    assert not analysis["compatible"]
    assert [text for text in analysis["issues"] if issue in text], analysis["issues"]


def test_is_available_needs_no_hand(tmp_path: Path) -> None:
    analysis = analysis_of(
        tmp_path,
        "import torch\nimport model as fast\nfast.Transformer\n"
        "device = 'cuda:0' if torch.cuda.is_available() else 'cpu'\nprint(torch.version.cuda)\n",
    )
    assert analysis["compatible"], analysis["issues"]


def test_a_module_of_the_project_is_not_the_originals(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("class Transformer: ...\n")  # its own
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "__init__.py").write_text("class Stats: ...\n")
    (tmp_path / "tokenizer").mkdir()  # a folder of files, no module
    text = "from model import Transformer\nimport stats\nstats.Stats\nfrom tokenizer import Tokenizer\n"
    assert migrated(tmp_path, text) == text.replace("from tokenizer", "from bitnet_py").encode()
    suggestions = MigrationHelper(verbose=False).analyze_existing_code(tmp_path / "script.py")["suggestions"]
    assert f"{tmp_path / 'script.py'}:1: model.py: the project's own; this import stays" in suggestions
    assert f"{tmp_path / 'script.py'}:2: stats/__init__.py: the project's own; this import stays" in suggestions


def test_a_copy_of_the_original_in_the_project_is_the_originals(tmp_path: Path) -> None:
    for name, text in ORIGINAL_FILES.items():
        (tmp_path / name).write_text(text)
    assert migrated(tmp_path, "from generate import FastGen\n") == b"from bitnet_py import FastGen\n"
    helper = MigrationHelper(verbose=False)
    analysis = helper.analyze_existing_code(tmp_path / "script.py")
    assert analysis["compatible"]
    assert analysis["suggestions"][0].endswith(":1: generate.py: the project's copy of the original's, unused now")
    # with something added, whoever migrates must look
    (tmp_path / "generate.py").write_text(ORIGINAL_FILES["generate.py"] + "def beam_search(): ...\n")
    issues = helper.analyze_existing_code(tmp_path / "script.py")["issues"]
    assert issues[0].endswith(":1: generate.py: the original's, with additions: beam_search")
    # the original's own files are not rewritten
    assert not helper.migrate_script(tmp_path / "generate.py", tmp_path / "new2.py")
    assert "generate.py:1: this is the original's own generate.py, which bitnet_py.generate" in helper.migration_log[-1]


def test_every_name_that_a_migrated_import_takes_is_there() -> None:
    """All names but the torch modules of model.py, the CUDA library, and steps inside the converters."""
    absent = {"Attention", "BitLinear", "BitLinearKernel", "FeedForward", "TransformerBlock", "squared_relu"}
    absent |= {"bitnet_int8xint2_linear", "bitnet_lib", "invert_convert_k", "invert_convert_q"}
    absent |= {"B_global_16x32_to_shared_load_16x32_layout", "compress_int2_to_int8", "interleave_weight_int8"}
    absent |= {"permutate_weight_fastest", "convert_safetensors.ModelArgs"}
    for module, (classes, others) in ORIGINAL.items():
        here = importlib.import_module(f"bitnet_py.{module}")
        for name in classes | others:
            assert hasattr(here, name) == absent.isdisjoint({name, f"{module}.{name}"}), f"{module}.{name}"
            if module in UNION and name not in absent | {"logger"}:
                assert hasattr(bitnet_py, name), name


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, new = tmp_path / "script.py", tmp_path / "new.py"
    script.write_text("import model as fast\n")
    new.write_text("precious\n")
    assert main(["migrate", str(script), str(new)]) == 2
    assert new.read_text() == "precious\n"
    assert f"[ERROR] {new}: exists already; name a new file (or --force)" in capsys.readouterr().out
    assert main(["migrate", str(script), str(script)]) == 2
    assert main(["migrate", str(script), str(tmp_path / "no" / "new.py")]) == 2
    assert f"no/new.py: expected an existing folder, got {tmp_path / 'no'}; make it first" in capsys.readouterr().out
    assert main(["migrate", str(script), str(new), "--force"]) == 0
    assert new.read_text() == "import bitnet_py as fast\n"
    assert main(["migrate", str(script), str(new)]) == 0  # it is already what would be written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.py", "script.py"]


def test_notebooks_are_read_and_not_rewritten(tmp_path: Path) -> None:
    notebook = tmp_path / "story.ipynb"
    cells = ["%pip install x\nimport model as fast\n", "import os", "from generate import FastGen", "not python"]
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "source": [cell]} for cell in cells]}))
    analysis = MigrationHelper(verbose=False).analyze_existing_code(notebook)
    assert analysis["imports"] == [(1, "import model as fast"), (3, "from generate import FastGen")]
    assert analysis["issues"] == [
        f"{notebook}: cell 1: import model as fast: notebooks are not rewritten: change it by hand",
        f"{notebook}: cell 3: from generate import FastGen: notebooks are not rewritten: change it by hand",
    ]
    assert main(["analyze", str(notebook)]) == 1
    notebook.write_text("[]")
    assert main(["analyze", str(notebook)]) == 2


# Projects


def make_project(folder: Path) -> Path:
    project = folder / "project"
    (project / "lib").mkdir(parents=True)
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "x.pyc").write_bytes(b"x")
    (project / "main.py").write_bytes(b"from generate import FastGen, GenArgs\r\nfrom lib import stats\r\n")
    (project / "lib" / "stats.py").write_text("import model as fast\nprint(fast.ModelArgs())\n")
    (project / "old.py").write_text("print 'Python 2'\n")
    (project / "tokenizer.py").write_text("import xformers\n" + ORIGINAL_FILES["tokenizer.py"])
    (project / "data.bin").write_bytes(bytes(range(256)))
    (project / "requirements.txt").write_text("xformers>=0.0.20\nrequests")
    return project


def test_a_project_is_copied_with_its_imports_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, output = make_project(tmp_path), tmp_path / "new"
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    assert migrate_project(project, output, test_prompts=["And God said"]) is True
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file()} == before
    assert (output / "main.py").read_bytes() == b"from bitnet_py import FastGen, GenArgs\r\nfrom lib import stats\r\n"
    assert (output / "lib" / "stats.py").read_text() == "import bitnet_py as fast\nprint(fast.ModelArgs())\n"
    assert (output / "old.py").read_text() == "print 'Python 2'\n"
    assert (output / "data.bin").read_bytes() == bytes(range(256))
    assert not (output / "__pycache__").exists()
    requirements = (output / "requirements.txt").read_text().splitlines()
    assert requirements == ["xformers>=0.0.20", "requests", f"bitnet_py>={bitnet_py.__version__}"]
    report = (output / "MIGRATION_REPORT.md").read_text()
    assert "4 files, 3 of them need no hand." in report
    assert "main.py:1: from generate import FastGen, GenArgs  ->  from bitnet_py import FastGen, GenArgs" in report
    assert f"- **to do**: {project / 'old.py'}:1: is not Python 3:" in report
    assert f"- note: {project / 'tokenizer.py'}:1: this is the original's own tokenizer.py, which bitnet_py." in report
    assert "no file of the project imports xformers any more" in report
    assert str(tmp_path / ".") not in report.replace(str(project), "").replace(str(output), "")  # no passing names
    assert (output / "SETUP.md").exists()
    assert "'And God said'," in (output / "side_by_side_test.py").read_text()
    for path in (output / "side_by_side_test.py", output / "main.py"):
        ast.parse(path.read_text())
    (backup,) = tmp_path.glob("project_backup_*")
    assert (backup / "main.py").read_bytes() == before[project / "main.py"]
    assert "[INFO] wrote" in capsys.readouterr().out


def test_projects_are_refused_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path)
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    assert not migrate_project(project, full)
    assert not migrate_project(project, project)
    assert not migrate_project(project, project / "new")
    assert not migrate_project(tmp_path / "missing", tmp_path / "new")
    (project / "SETUP.md").touch()
    assert not migrate_project(project, tmp_path / "new")
    out = capsys.readouterr().out
    for text in (
        f"[ERROR] {full}: exists already; name a new folder, or remove it first",
        f"[ERROR] {project}: is inside the project; name a folder elsewhere",
        f"[ERROR] {project / 'new'}: is inside the project; name a folder elsewhere",
        f"[ERROR] {tmp_path / 'missing'}: expected the folder of a project, got nothing",
        f"[ERROR] {project / 'SETUP.md'}: the migration writes a file of this name; rename yours first",
    ):
        assert text in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "project"]


def test_large_files_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path)
    monkeypatch.setattr("bitnet_py.migration._LINKED_FROM", 256)
    assert migrate_project(project, tmp_path / "new", create_backup=False)
    assert (tmp_path / "new" / "data.bin").samefile(project / "data.bin")
    assert not (tmp_path / "new" / "main.py").samefile(project / "main.py")
    assert not list(tmp_path.glob("project_backup_*"))


def test_configurations_become_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    config = MigrationHelper().create_migration_config(
        {"model": {"hidden_size": 256}, "generation": {"gen_length": 8, "wings": 2}, "seed": 3, "device": "cuda:0"}
    )
    assert bitnet_py.ModelArgs(**config["model_args"]) == bitnet_py.ModelArgs(dim=256)
    assert bitnet_py.GenArgs(**config["gen_args"]) == bitnet_py.GenArgs(gen_length=8)
    assert bitnet_py.InferenceConfig(**config["inference_config"]).seed == 3
    assert (config["device"], config["dtype"]) == ("cuda:0", "bfloat16")
    assert capsys.readouterr().out == "[WARNING] GenArgs: unknown setting 'wings' was left out\n"
    assert "model_args" not in MigrationHelper(verbose=False).create_migration_config({})


# As a program


def run(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bitnet_py.migration", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)


def test_the_program_helps_and_refuses() -> None:
    assert "Exit status: 0 " in run("--help").stdout
    assert run("--version").stdout == f"bitnet_py {bitnet_py.__version__}\n"
    assert run().returncode == 2
    assert run("fly").returncode == 2
    for command in ("analyze", "migrate", "check"):
        assert run(command, "--help").returncode == 0


def test_the_program_reports_as_text_and_as_json(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import model as fast\nfast.Attention\n")
    ran = run("analyze", script)
    assert ran.returncode == 1
    assert f"{script}:1: import model as fast\nto do: {script}:1: Attention: not in bitnet_py" in ran.stdout
    analysis = json.loads(run("analyze", "--json", script).stdout)[str(script)]
    assert analysis["imports"] == [[1, "import model as fast"]]
    ran = run("migrate", "--json", script, tmp_path / "new.py")
    assert ran.returncode == 1  # written; something needs a hand
    assert f"[INFO] {script}:1: import model as fast  ->  import bitnet_py as fast" in json.loads(ran.stdout)["log"]


def test_the_program_migrates_projects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, output = make_project(tmp_path), tmp_path / "new"
    arguments = ["migrate", str(project), str(output), "--no-backup", "--test-prompts", "And God said"]
    assert main(arguments) == 1  # a file is not Python 3
    assert capsys.readouterr().out.endswith(f"see {output / 'MIGRATION_REPORT.md'}\n")
    assert main(arguments) == 2
    assert f"[ERROR] {output}: exists already" in capsys.readouterr().out
    shutil.rmtree(output)
    (project / "old.py").unlink()
    assert main(arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "project"]
    assert main(["analyze", str(output / "main.py")]) == 0
    assert capsys.readouterr().out.endswith("main.py: uses nothing of the original\n")


def test_what_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path)

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copymode", full)
    assert not migrate_project(project, tmp_path / "new", create_backup=False)
    assert not MigrationHelper(verbose=False).migrate_script(project / "main.py", tmp_path / "new.py")
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


def test_check_finds_the_original(tmp_path: Path) -> None:
    assert run("check", cwd=tmp_path).returncode == 1
    (tmp_path / "gpu").mkdir()
    for name, text in ORIGINAL_FILES.items():
        (tmp_path / "gpu" / name).write_text(text)
    ran = run("check", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"[INFO] the original is in {tmp_path / 'gpu'}\n")
    assert run("check", cwd=tmp_path / "gpu").returncode == 0
    (tmp_path / "gpu").rename(tmp_path / "elsewhere")
    assert run("check", cwd=tmp_path).returncode == 1
    assert (
        run("check", cwd=tmp_path, PYTHONPATH=f"{os.environ.get('PYTHONPATH', '')}:{tmp_path / 'elsewhere'}").returncode
        == 0
    )


# What is written runs

SCRIPT = """\
import sys
import model as fast
from generate import FastGen, GenArgs
from stats import (
\tStats,  # a class
\tPhaseStats,
)
try:
    from tokenizer import Tokenizer, ChatFormat, Message
except ImportError:
    raise
import sample_utils

args = GenArgs(gen_length=8)
g = FastGen.build(sys.argv[1], args, "cpu")
tokens = [g.tokenizer.encode(text, bos=True, eos=False) for text in ("And God said", "Blessed")]
stats, answers = g.generate_all(tokens, use_cuda_graphs=True, use_sampling=False)
assert isinstance(stats, Stats) and isinstance(stats.phases[0], PhaseStats)
assert isinstance(g.tokenizer, Tokenizer) and sample_utils.top_p and fast.ModelArgs().dim == 2560
assert Message(role="user", content="x") == {"role": "user", "content": "x"} and ChatFormat and fast.make_cache
for answer in answers:
    print(g.tokenizer.decode(answer).replace("\\n", " "))
for phase in stats.phases:
    print(phase.show())
"""


def test_a_migrated_script_runs(
    tmp_path: Path, model: bitnet_py.BitNetModel, inference: bitnet_py.SimpleInference
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    migrated(tmp_path, SCRIPT)
    ran = subprocess.run([sys.executable, tmp_path / "new.py", str(model.path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    tokens = bitnet_py.FastGen.build(model.path, bitnet_py.GenArgs(gen_length=8), "cpu")
    expected = tokens.generate_all([tokens.tokenizer.encode("And God said", bos=True, eos=False)], True, False)[1][0]
    assert lines[0] == tokens.tokenizer.decode(expected).replace("\n", " ")
    assert lines[2].startswith("[prefill] generated tokens: 0 ")
    assert lines[3].startswith("[decode] generated tokens: 14 ")


TOKENS_SCRIPT = """\
import sys
from generate import FastGen, GenArgs

g = FastGen.build(sys.argv[1], GenArgs(gen_length=12), "cuda:0")
_, answers = g.generate_all([[1, 2, 3, 4, 5], [42]], use_cuda_graphs=True, use_sampling=False)
print(answers)
"""


def test_a_migrated_script_runs_on_the_originals_checkpoint(tmp_path: Path, shared_data: Path) -> None:
    """Its int2 file as it is, with the reference's tokens; only the number of heads is not in it (2B's are known)."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    shutil.copy(shared_data / "ms_gpu" / "tiny-ckpt" / "model_state_int2.pt", checkpoint)
    (checkpoint / "params.json").write_text('{"n_heads": 4, "n_kv_heads": 2}')
    migrated(tmp_path, TOKENS_SCRIPT)
    ran = subprocess.run(
        [sys.executable, "new.py", checkpoint.name],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    golden = json.loads((shared_data / "ms_gpu" / "tiny-ckpt" / "forward-golden.json").read_text())
    expected = {tuple(run["prompt"]): run["greedy12_int2_float64"] for run in golden["runs"]}
    assert json.loads(ran.stdout) == [expected[1, 2, 3, 4, 5], expected[(42,)]]


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with the original's module names for the comparison to run: torch and a GPU are not at hand."""
    folder = tmp_path / "gpu"
    folder.mkdir()
    (folder / "generate.py").write_text("from bitnet_py.generate import *\n")
    (folder / "tokenizer.py").write_text("from bitnet_py.tokenizer import *\n")
    return folder


# An original that answers otherwise in its fourth token.
DIFFERING = """\
from bitnet_py.generate import FastGen as Base, GenArgs

class FastGen(Base):
    @staticmethod
    def build(*arguments):
        g = Base.build(*arguments)
        g.__class__ = FastGen
        return g

    def generate_all(self, *arguments, **named):
        stats, answers = super().generate_all(*arguments, **named)
        return stats, [[*answer[:3], 0, *answer[4:]] for answer in answers]
"""


def test_the_side_by_side_test_runs(tmp_path: Path, model: bitnet_py.BitNetModel, stand_in: Path) -> None:
    helper = MigrationHelper(verbose=False)
    path = helper.create_side_by_side_test(["And God said", 'Say "\\n"'], tmp_path)

    def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, path, str(model.path), "--length", "8", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ)

    alone = compare("--json", tmp_path / "answers.json")
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.startswith("> And God said\n  bitnet_py    8 tokens in ")
    answers = json.loads((tmp_path / "answers.json").read_text())["bitnet_py"]
    assert [len(answer["tokens"]) for answer in answers] == [8, 8]

    both = compare("--original", stand_in)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("the first 8 of 8 tokens are equal") == 2

    (stand_in / "generate.py").write_text(DIFFERING)
    differing = compare("--original", stand_in)
    assert differing.returncode == 1, differing.stderr
    assert differing.stdout.count("the first 3 of 8 tokens are equal") == 2

    (stand_in / "generate.py").write_text("import xformers_that_is_not_here\n")
    missing = compare("--original", stand_in)
    assert missing.returncode == 2
    assert missing.stderr == (
        "original: did not run: ModuleNotFoundError: No module named 'xformers_that_is_not_here'\n"
    )
