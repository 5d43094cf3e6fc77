"""Moves a script of the original to bitnet_py and runs it: python migration_example.py MODEL.

The same on the command line: python -m bitnet_py.migration migrate story.py new_story.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bitnet_py.migration import MigrationHelper

# A script for the original, which lies in microsoft/BitNet's gpu folder and needs torch, xformers and a GPU.
STORY = """\
import sys

from generate import FastGen, GenArgs  # the original's modules
from stats import Stats

g = FastGen.build(sys.argv[1], GenArgs(gen_length=24), "cuda:0")
prompt = "And God said"
stats: Stats
tokens = g.tokenizer.encode(prompt, bos=True, eos=False)
stats, answers = g.generate_all([tokens], use_cuda_graphs=True, use_sampling=False)
print(prompt + g.tokenizer.decode(answers[0]))
"""


def main() -> None:
    helper = MigrationHelper()  # its log says which lines change
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "story.py", Path(folder) / "new_story.py"
        old.write_text(STORY)

        analysis = helper.analyze_existing_code(old)
        print(f"compatible: {analysis['compatible']}; uses {sorted({name for name, _ in analysis['classes_used']})}")
        for suggestion in analysis["suggestions"]:
            print(f"note: {suggestion}")

        if not helper.migrate_script(old, new):
            sys.exit(1)
        sys.stdout.flush()
        subprocess.run([sys.executable, str(new), sys.argv[1]], check=True)


if __name__ == "__main__":
    main()
