# The .mlir tests of dialects/ and compiler/. ctest runs them as one test, `lit`; by hand: lit -v build/dev/test.
import os

import lit.formats

config.name = "bitnet"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.environment["PATH"] = os.pathsep.join([config.programs, config.llvm_tools, os.environ["PATH"]])
